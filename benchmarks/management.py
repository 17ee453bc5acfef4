"""What memory management costs and gives: a card's bytes while idle, a first and a later song.

    python benchmarks/management.py [--vram 24] [--seconds 60] [--turns 5] [--save]

Always loaded and managed, one after the other, with the same request: bytes of the card before the
first song, at the peak, and once the song is done; seconds of the first song and, as a median,
of the later ones; bytes copied to the card for a later one.

With an NVIDIA card the 2B model has random weights at its real size and seconds are measured.
Without one it has tensors without values on a simulated card: bytes are counted, and seconds are
what its clocks say at the rates of `card(GB)`, without reading files. Both ways the ceiling is the
link: a later song must not take longer than one of a loaded engine by more than the copy of the
weights. The exit code is 1 where it does, where bytes stay while idle, or where the songs differ.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from functools import cached_property

import common
import torch

from headroom.device import present
from headroom.device.simulated import SimulatedDevice, SimulatedRates
from headroom.engine.engine import Engine
from headroom.hardware.machine import card
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.base import AnyModel
from headroom.models.registry import family_named
from headroom.settings import load
from headroom.units import GIB

MODEL = "acestep-v15-turbo"
SLACK = 1.25  # of the copy's floor: many copies are no single one


@dataclass(frozen=True, slots=True)
class Way:
    """One way of keeping a model, measured. Bytes of the card, and seconds.

    copied  bytes to the card for a later song
    """

    managed: bool
    before: int
    peak: int
    idle: int
    first: float
    later: float
    copied: int | None


class Sized(Engine):
    """An engine with the released sizes: without values on a simulated card, else random ones."""

    @cached_property
    def model(self) -> AnyModel:
        real = not isinstance(self.device, SimulatedDevice)
        return family_named().rehearsal().model(MODEL, self._setup, drawn=real)


def opened(vram: float, managed: bool) -> Sized:
    settings = load({"MAX_CUDA_VRAM": f"{vram:g}"})
    word = "cuda:0" if "cuda" in present() else "simulated"
    engine = Sized(word, "bfloat16", settings=settings, gpu_management=managed, init_lm=False)
    if isinstance(engine.device, SimulatedDevice):
        rates = card(vram)
        engine.device.fake = True
        engine.device.rates = SimulatedRates(rates.matrix_rate, rates.memory_rate, rates.copy_rate)
    return engine


def clock(engine: Sized) -> float:
    """Seconds, of the card's own clock where it is simulated."""
    if isinstance(engine.device, SimulatedDevice):
        return engine.device._main.now
    engine.device.synchronize()
    return time.perf_counter()


def measured(
    vram: float, managed: bool, request: Text2Music, turns: int
) -> tuple[Way, torch.Tensor]:
    """One way, and the samples of its last song."""
    with opened(vram, managed) as engine:
        floor = engine.device.memory_allocated()
        seconds, copied = [], None
        for _ in range(1 + turns):
            before = getattr(engine.device, "bytes_to_device", None)
            began = clock(engine)
            result = engine.generate(request)
            seconds.append(clock(engine) - began)
            if before is not None:
                copied = engine.device.bytes_to_device - before  # type: ignore[attr-defined]
        peak = engine.device.max_memory_allocated()
        idle = engine.device.memory_allocated()
        made = Way(managed, floor, peak, idle, seconds[0], statistics.median(seconds[1:]), copied)
        return made, result.audio.samples


def link(vram: float) -> float:
    """Bytes a second to the card."""
    if "cuda" not in present():
        return card(vram).copy_rate
    here, there = torch.empty(GIB, dtype=torch.uint8).pin_memory(), None
    best = 0.0
    for _ in range(3):
        torch.cuda.synchronize()
        began = time.perf_counter()
        there = here.to("cuda:0", non_blocking=True)
        torch.cuda.synchronize()
        best = max(best, GIB / (time.perf_counter() - began))
    del there
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vram", type=float, default=24.0, metavar="GB")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--turns", type=int, default=5, help="later songs")
    parser.add_argument("--save", action="store_true", help="keep the report")
    args = parser.parse_args()
    request = Text2Music(caption="slow bossa nova", duration=args.seconds, seed=7)
    (loaded, one), (managed, other) = (
        measured(args.vram, way, request, args.turns) for way in (False, True)
    )
    rate = link(args.vram)
    simulated = "cuda" not in present()
    same = None if simulated else torch.equal(one, other)  # tensors without values are all alike
    floor = loaded.idle / rate
    print(f"{'':>24} {'always loaded':>14} {'managed':>14}")
    for name in ("before", "peak", "idle"):
        row = [getattr(way, name) / GIB for way in (loaded, managed)]
        print(f"{name + ', GiB':>24} {row[0]:>14.2f} {row[1]:>14.2f}")
    for name in ("first", "later"):
        row = [getattr(way, name) for way in (loaded, managed)]
        print(f"{name + ' song, s':>24} {row[0]:>14.3f} {row[1]:>14.3f}")
    print(
        f"copy of the weights: {floor:.3f} s at {rate / 1e9:.1f} GB/s; same songs: {same}".replace(
            "None", "-"
        )
    )
    good = (
        same is not False
        and one.shape == other.shape
        and managed.idle == managed.before
        and managed.later - loaded.later <= SLACK * floor
    )
    result = {
        "vram_gb": args.vram,
        "seconds_of_audio": args.seconds,
        "turns": args.turns,
        "simulated": simulated,
        "link_bytes_per_second": rate,
        "same_songs": same,
        "loaded": asdict(loaded),
        "managed": asdict(managed),
        "holds": good,
    }
    common.finish("management", result, args.save)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
