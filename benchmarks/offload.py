"""The same song under caps: ours, and diffusers' model, sequential and group offload with streams.

Without a GPU everything runs over tensors without values on the simulated card, at the real 2B
sizes in bf16, and two songs each, of which the second is told, so that what stays is there and
hooks have learned. Counted: live bytes at most, bytes over the link both ways and on which queue,
and the products with their operations and bytes. Modelled, for all alike: the time. A product
takes the longer of its operations and its bytes at the rates of `card(GB)`, and writing converted
weights out takes its bytes; nothing else takes any. A copy on the computing queue is waited for,
those on another go on beside a stage's products; every copy goes at the rate of page-locked
memory, which model and sequential offload do not have. A peer does not look at the cap, so it is
run once without one, and fits where its peak does: there the card would have refused it nothing.
See `offload_peer.py` for what is real.

With a GPU both run on it under a cap of torch's allocator, and seconds are measured.

    python benchmarks/offload.py [--seconds 60] [--steps 8] [--caps 1.5 4 6 8 12 16 24] [--save]

"ours" keeps the released weights as the peers do; "converted" is what the adaptive policy takes
where it would rather round them. Peers decode whole and in tiles of theirs, group offload goes by
blocks and by leaves, and the best that fits is told of each way. The exit code is 1 where ours, or
converted, is slower than one that fits, or neither fits where one does. "no offload", the pipeline
with everything on the card, is told beside them and decides nothing.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import common
import torch
from torch import Tensor, nn

from headroom.device import Device, open_device
from headroom.device.simulated import SimulatedDevice, SimulatedRates, operations
from headroom.errors import DoesNotFit, OutOfMemory
from headroom.hardware.machine import CONTEXT, Machine, card
from headroom.hardware.probe import probe_device
from headroom.memory.plan import Plan
from headroom.memory.planner import plan
from headroom.memory.policy import resolve_policy
from headroom.models.acestep.blueprint import Blueprint
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.tiers import TIERS
from headroom.models.base import Setup
from headroom.runtime.events import Event, StageStarted
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run
from headroom.settings import Options
from headroom.units import GIB

MODEL, DTYPE = "acestep-v15-turbo", "bfloat16"
CAPS = (1.5, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)  # GB; the first is too small for any peer at 30 s
CAPTION = "slow bossa nova, nylon guitar, brushed drums, a warm night by the sea"
LYRICS = "[Verse]\n" + "the moon is low above the quiet bay\n" * 12
OURS = {"ours": Options(quantization="none"), "converted": Options()}
OFFLOAD, PLAIN = ("model", "sequential", "group"), "no offload"
TURNS = 3  # of each on a GPU
MARGIN = 1.02  # what two measurements of the same may differ by
UNBOUND = 1 << 50
TOLD = {
    True: "On the GPU, under caps of torch's allocator: peaks and seconds are measured.",
    False: "No GPU: peaks and bytes moved are counted on the simulated card, seconds are modelled.",
}
CONVERTED = (torch.int8, torch.uint8, torch.float8_e4m3fn)


@dataclass(frozen=True, slots=True)
class Turn:
    """One way under one cap.

    variant  how it was done, or why not
    peak     live bytes at most; None where there was no plan or memory ran out
    moved    bytes over the link, both ways; None where nobody counts them
    planned  seconds that our plan expects
    """

    way: str
    variant: str
    fits: bool
    peak: int | None = None
    moved: int | None = None
    seconds: float | None = None
    planned: float | None = None


# --- counting ------------------------------------------------------------------------------


@dataclass(slots=True)
class Booked:
    """What one stage did.

    waiting   bytes to the card on the queue that computes
    beside    bytes to the card on other queues
    back      bytes to the host
    products  (operations, bytes read and written) of a product, and how often it was done;
              without operations: converted weights written out
    """

    waiting: int = 0
    beside: int = 0
    back: int = 0
    products: Counter[tuple[float, int]] = field(default_factory=Counter)

    def seconds(self, rates: SimulatedRates) -> float:
        """Modelled as the top of the file says."""
        computing = sum(
            times * max(work / rates.matrix, touched / rates.memory)
            for (work, touched), times in self.products.items()
        )
        return (self.waiting + self.back) / rates.link + max(computing, self.beside / rates.link)


class CountedDevice(SimulatedDevice):
    """A simulated card that books copies and products by stage."""

    def __init__(self, total: int, *, fake: bool = True) -> None:
        super().__init__(total, fake=fake)
        self._computing = self.current_stream()
        self._stage, self.book = "", dict[str, Booked]()

    def enter(self, stage: str) -> None:
        """What follows belongs to this stage; "" begins a new account."""
        self._stage = stage
        if not stage:
            self.book, self.bytes_to_device, self.bytes_to_host = {}, 0, 0
            self.reset_peak()

    def moved(self, tensor: Tensor, to_device: bool) -> None:
        """Book the copy."""
        super().moved(tensor, to_device)
        size, stage = tensor.numel() * tensor.element_size(), self._booked()
        if not to_device:
            stage.back += size
        elif self.current_stream() is self._computing:
            stage.waiting += size
        else:
            stage.beside += size

    def worked(self, function: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Book a product, or what writes converted weights out."""
        super().worked(function, inputs, outputs)
        work = operations(function.overloadpacket.__name__, inputs, outputs) if outputs else 0.0
        if work or any(x.dim() == 2 and x.dtype in CONVERTED for x in inputs):
            touched = sum(x.numel() * x.element_size() for x in (*inputs, *outputs))
            self._booked().products[work, touched] += 1

    def _booked(self) -> Booked:
        return self.book.setdefault(self._stage, Booked())


@dataclass(frozen=True, slots=True)
class Counted:
    """What the account of a song says, and the seconds our plan expected."""

    way: str
    variant: str
    peak: int
    moved: int
    book: Mapping[str, Booked]
    planned: float | None = None

    def turn(self, cap: float) -> Turn:
        """Under a cap."""
        seconds = sum(stage.seconds(rates_of(card(cap))) for stage in self.book.values())
        fits = self.peak <= room(cap)
        return Turn(self.way, self.variant, fits, self.peak, self.moved, seconds, self.planned)

    def stages(self) -> dict[str, object]:
        """For the last line: the bytes and the operations of each stage."""
        return {
            name: {
                **{key: getattr(stage, key) for key in ("waiting", "beside", "back")},
                "operations": sum(times * work for (work, _), times in stage.products.items()),
            }
            for name, stage in self.book.items()
        }


def counted(
    way: str, variant: str, device: CountedDevice, peak: int, planned: float | None = None
) -> Counted:
    """What a device's account says now."""
    moved = device.bytes_to_device + device.bytes_to_host
    return Counted(way, variant, peak, moved, device.book, planned)


def room(cap: float) -> int:
    """Bytes for tensors: what the driver takes of a cap is not there."""
    return int(cap * GIB) - CONTEXT


def rates_of(machine: Machine) -> SimulatedRates:
    """Of a card that all three rates are known of."""
    matrix, memory, link = machine.matrix_rate, machine.memory_rate, machine.copy_rate
    assert matrix and memory and link
    return SimulatedRates(matrix, memory, link)


def count_ours(cap: float, seconds: float, steps: int) -> Iterator[Counted | Turn]:
    """Ours under a cap that binds; a turn where it does not fit."""
    device, machine = CountedDevice(int(cap * GIB)), card(cap)
    device.set_cap(room(cap))
    model = Blueprint(MODEL, Setup(device, machine, dtype=DTYPE))

    def listen(event: Event) -> None:
        if isinstance(event, StageStarted):
            device.enter(event.stage)

    for way, songs, made in plans(model, machine, seconds, steps):
        if isinstance(made, DoesNotFit):
            yield Turn(way, str(made), False)
            continue
        pool = Pool(device, model.loaders())
        try:
            for _ in range(2):
                device.enter("")
                run = Run(made, pool, device, listen)
                model.render(songs, run)
        except OutOfMemory as error:
            yield Turn(way, str(error), False)
            continue
        finally:
            pool.release()
        peak = max(stage.measured for stage in run.report)
        yield counted(way, described(made), device, peak, made.seconds)


def plans(
    model: Blueprint, machine: Machine, seconds: float, steps: int
) -> Iterator[tuple[str, Sequence[Song], Plan | DoesNotFit]]:
    """The song that is asked for, and each plan of ours that differs; or why there is none."""
    asked = Text2Music(caption=CAPTION, lyrics=LYRICS, duration=seconds, inference_steps=steps)
    songs = compose(asked, model.variant, (1,)).songs
    needs, before = model.footprint(songs), None
    for way, choices in OURS.items():
        made: Plan | DoesNotFit
        try:
            made = plan(
                needs, machine, resolve_policy(machine, "adaptive", choices, TIERS).wishes(needs)
            )
        except DoesNotFit as refusal:
            made = refusal
        if before is None or isinstance(before, DoesNotFit) or made != before:
            yield way, songs, made
        before = made


def described(made: Plan) -> str:
    """A plan in a few words."""
    dit, tile = made.placement("dit"), made.stage("decode").tile
    kept = f", {dit.kept} stay" if dit.kept else ""
    words = f"dit {dit.precision} {dit.residency.value}{kept}"
    return words + ("" if tile is None else f", tiles of {tile}")


def request(seconds: float, steps: int) -> dict[str, object]:
    """What the peers' pipeline is asked for."""
    return {
        "prompt": CAPTION,
        "lyrics": LYRICS,
        "audio_duration": seconds,
        "num_inference_steps": steps,
        "guidance_scale": 1.0,
    }


def variants(ways: Iterable[str]) -> Iterator[tuple[str, str, str, bool]]:
    """Each as (its way, its variant, its name in `offload_peer`, whether it decodes in tiles)."""
    for name, tiled in product(ways, (False, True)):
        way, _, level = name.partition(": ")
        yield way, ", ".join(filter(None, (level, "tiles" if tiled else "whole"))), name, tiled


def count_all(caps: Sequence[float], seconds: float, steps: int) -> tuple[list[list[Turn]], Any]:
    """Every way under every cap, ours first, and what goes to the last line beside it."""
    import offload_peer as peer

    others, tokens, stages = [], tokenizer(), {}
    for way, variant, name, tiled in variants(peer.WAYS):
        tell(f"{way}, {variant}")
        device = CountedDevice(UNBOUND)
        peer.run(device, name, tiled, tokens, request(seconds, steps), device.enter)
        others.append(counted(way, variant, device, device.max_memory_allocated()))
        stages[f"{way}, {variant}"] = others[-1].stages()
    rows = []
    for cap in caps:
        tell(f"ours, {cap:g} GB")
        own = list(count_ours(cap, seconds, steps))
        every = [*own, *others]
        rows.append([each if isinstance(each, Turn) else each.turn(cap) for each in every])
        stages |= {f"{x.way}, {cap:g} GB": x.stages() for x in own if isinstance(x, Counted)}
    rates = {f"{cap:g}": asdict(rates_of(card(cap))) for cap in caps}
    return rows, {"rates": rates, "stages": stages}


def tokenizer() -> Any:
    """The bundled one, which both read the words with."""
    from tokenizers import Tokenizer

    from headroom.models.acestep.catalogue import BUNDLED, TEXT_ENCODER

    return Tokenizer.from_file(str(BUNDLED / TEXT_ENCODER / "tokenizer.json"))


# --- on a GPU ------------------------------------------------------------------------------


def measure_all(caps: Sequence[float], seconds: float, steps: int) -> tuple[list[list[Turn]], Any]:
    """Every way under every cap that the card is large enough for, over real tensors."""
    device = open_device("cuda")
    machine = probe_device(device)
    loaders = drawn_loaders(Blueprint(MODEL, Setup(device, machine, dtype=DTYPE)))
    within = [cap for cap in caps if cap * GIB <= device.total_memory()]
    rows = []
    for cap in within:
        tell(f"ours, {cap:g} GB")
        device.set_cap(room(cap))
        capped = replace(machine, cap=int(cap * GIB))
        rows.append(list(measure_ours(capped, device, loaders, seconds, steps)))
    missing = missing_peers()
    if missing:
        tell(f"no peers: {missing}")
        return rows, {"peers": missing}
    import offload_peer as peer

    values, tokens = peer.drawn(torch.bfloat16), tokenizer()
    for way, variant, name, tiled in variants(peer.WAYS):
        for cap, row in zip(within, rows, strict=True):
            tell(f"{way}, {variant}, {cap:g} GB")
            device.set_cap(room(cap))

            def build(name: str = name, tiled: bool = tiled) -> Any:
                pipe = peer.pipeline(peer.networks(torch.bfloat16, values), tokens)
                if tiled:
                    pipe.vae.enable_tiling()
                peer.offload_really(pipe, device.torch, name)
                return pipe

            row.append(measure_peer(way, variant, device, build, request(seconds, steps)))
    return rows, {"peers": "measured"}


def missing_peers() -> str:
    """What the peers need and is not here."""
    from importlib.util import find_spec

    needed = ("diffusers", "transformers", "accelerate")
    names = [name for name in needed if find_spec(name) is None]
    return f"{', '.join(names)} not installed" if names else ""


def drawn_loaders(model: Blueprint) -> dict[str, Callable[[], nn.Module]]:
    """Loaders of random weights, drawn once; each load is a module of its own around them."""
    from peers import Weights

    weights = Weights(getattr(torch, DTYPE))
    kept: dict[str, dict[str, Tensor]] = {}

    def filled(name: str, load: Callable[[], Any]) -> nn.Module:
        part: nn.Module = load()
        if name not in kept:
            kept[name] = {key: weights.like(key, x) for key, x in part.state_dict().items()}
        part.load_state_dict(kept[name], assign=True)
        return part.requires_grad_(False).eval()

    return {
        name: (lambda name=name, load=load: filled(name, load))
        for name, load in model.loaders().items()
    }


def measure_ours(
    machine: Machine, device: Device, loaders: Mapping[str, Any], seconds: float, steps: int
) -> Iterator[Turn]:
    """The median of some songs after a first one."""
    model = Blueprint(MODEL, Setup(device, machine, dtype=DTYPE))
    for way, songs, made in plans(model, machine, seconds, steps):
        if isinstance(made, DoesNotFit):
            yield Turn(way, str(made), False)
            continue
        pool, taken, peak = Pool(device, loaders), [], 0
        try:
            for _ in range(1 + TURNS):
                run = Run(made, pool, device)
                taken.append(common.seconds(partial(model.render, songs, run), device.torch))
                peak = max(stage.measured for stage in run.report)
        except OutOfMemory as error:
            yield Turn(way, str(error), False)
            continue
        finally:
            pool.release()
        median = statistics.median(taken[1:])
        yield Turn(way, described(made), True, peak, None, median, made.seconds)


def measure_peer(
    way: str,
    variant: str,
    device: Device,
    build: Callable[[], Any],
    asked: Mapping[str, object],
) -> Turn:
    """The same of a peer: a pipeline of its own around the same weights."""
    taken = []
    try:
        pipe = build()
        song = partial(pipe, **asked, output_type="np")
        for _ in range(1 + TURNS):
            device.reset_peak()
            taken.append(common.seconds(song, device.torch))
        peak, median = device.max_memory_allocated(), statistics.median(taken[1:])
        return Turn(way, variant, True, peak, None, median)
    except torch.OutOfMemoryError:
        return Turn(way, variant, False)
    finally:
        pipe = song = None
        gc.collect()
        device.release()


# --- what comes of it ----------------------------------------------------------------------


def best(row: Sequence[Turn]) -> Iterator[Turn]:
    """Of each way the fastest that fits; where none does, the one that needs least."""
    for way in dict.fromkeys(turn.way for turn in row):
        turns = [turn for turn in row if turn.way == way]
        fitting = [turn for turn in turns if turn.fits]
        if fitting:
            yield min(fitting, key=lambda turn: turn.seconds or 0.0)
        else:
            yield min(turns, key=lambda turn: turn.peak or 0)


def faults(
    cap: float, row: Sequence[Turn], margin: float, ways: Sequence[str] = OFFLOAD
) -> Iterator[str]:
    """Where ours is behind one of these ways of the peer under this cap."""
    own = [turn for turn in row if turn.way in OURS and turn.fits]
    for turn in row:
        if turn.way not in ways or not turn.fits:
            continue
        words = f"{cap:g} GB: {turn.way} ({turn.variant})"
        if not own:
            yield f"{words} fits, ours does not"
        for ours in own:
            if (ours.seconds or 0.0) > margin * (turn.seconds or 0.0):
                yield f"{words} takes {turn.seconds:.2f} s, {ours.way} {ours.seconds:.2f} s"


def show(caps: Sequence[float], rows: Sequence[Sequence[Turn]]) -> None:
    """The table for people."""
    print(f"{'cap':>6}  {'way':<11}{'fits':>5}{'peak GiB':>10}{'moved GiB':>11}{'seconds':>9}")
    for cap, row in zip(caps, rows, strict=False):
        for turn in best(row):
            sizes = [None if x is None else x / GIB for x in (turn.peak, turn.moved)]
            seconds = turn.seconds if turn.fits else None
            cells = ["–" if x is None else f"{x:.2f}" for x in (*sizes, seconds)]
            told = f"{cells[0]:>10}{cells[1]:>11}{cells[2]:>9}  {turn.variant}"
            print(f"{cap:>3g} GB  {turn.way:<11}{'yes' if turn.fits else 'no':>5}{told}")


def tell(text: str) -> None:
    """How far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--caps", type=float, nargs="+", default=CAPS, help="GB")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    real = torch.cuda.is_available()
    rows, more = (measure_all if real else count_all)(args.caps, args.seconds, args.steps)
    print(TOLD[real])
    show(args.caps, rows)
    margin, pairs = MARGIN if real else 1.0, list(zip(args.caps, rows, strict=False))
    wrong = [fault for cap, row in pairs for fault in faults(cap, row, margin)]
    behind = [fault for cap, row in pairs for fault in faults(cap, row, margin, (PLAIN,))]
    print("\n".join([*wrong, *behind]) or "Nowhere is ours behind.")
    result = {
        "model": MODEL,
        "dtype": DTYPE,
        "seconds_of_audio": args.seconds,
        "steps": args.steps,
        "seconds_are": "measured" if real else "modelled",
        "caps": {f"{cap:g}": [asdict(turn) for turn in row] for cap, row in pairs},
        "behind_offload": wrong,
        "behind_no_offload": behind,
        **more,
    }
    common.finish(f"offload_{DTYPE}", result, args.save)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
