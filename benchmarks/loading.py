"""From the start of a process to the end of its first denoising step: ours and diffusers.

Random weights of the real 2B sizes are written once: the official layout for us, diffusers' own
layout of the same DiT weights for diffusers. Then each runs as a fresh process, in turn, with the
files in the cache of the operating system. The parts in use are the DiT and its time path.

What bounds the memory: the bytes of those parts, which must be in memory to be computed with, and
what an interpreter with nothing but torch holds. What bounds the time: `import torch`, and reading
every weight once in the step.

    python benchmarks/loading.py [--folder DIR] [--keep] [--repeats 5] [--dtype bfloat16]

`resident` figures count the pages of mapped files. `disk_bytes` is what a turn had to fetch from
the disk: 0 where the cache was warm.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import common
import torch
from loading_turn import FRAMES, NAME, ROWS
from torch import Tensor

TURN = Path(__file__).with_name("loading_turn.py")
PARTS = (NAME, "vae", "Qwen3-Embedding-0.6B", "transformer")
COMPETITORS = ("torch", "ours", "diffusers")
MARGIN = 1.05  # of the bytes in use, beside the interpreter's own
SECONDS = ("start_s", "import_s", "open_s", "load_s", "step_s", "total_s")


# --- writing -------------------------------------------------------------------------------


def write_tree(folder: Path) -> None:
    """Everything both need, below `folder`; what is there already is left as it is."""
    whole = folder / "whole.json"
    if whole.is_file():
        return
    import peers  # diffusers and transformers come with it

    from support.networks import build_networks, build_text, build_vae, official_state
    from support.tiny import REAL_2B, TextSizes, VaeSizes
    from support.tokenizer import write_tokenizer

    text_sizes, vae_sizes = TextSizes(**peers.TEXT), VaeSizes(**peers.VAE)
    with torch.device("meta"):
        networks = build_networks(REAL_2B)
        vae, text = build_vae(vae_sizes), build_text(text_sizes)
    own, codec, reader, converted = (folder / name for name in PARTS)
    for place in (own, codec, reader, converted):
        place.mkdir(parents=True, exist_ok=True)
    configs = ((own, REAL_2B.config()), (codec, vae_sizes.config()), (reader, text_sizes.config()))
    for place, config in configs:
        (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    networks.dit.save_config(converted)
    write_tokenizer(reader)
    torch.save(torch.randn(1, 64, 15000), own / "silence_latent.pt")
    weights = peers.Weights(torch.bfloat16)
    second = "diffusion_pytorch_model.safetensors"
    write_weights(own / "model.safetensors", official_state(networks), weights.like)
    write_weights(codec / second, vae.state_dict(), weights.like)
    write_weights(reader / "model.safetensors", text.state_dict(), weights.like)
    write_weights(converted / second, networks.dit.state_dict(), weights.like)
    whole.write_text("{}", encoding="utf-8")


def write_weights(
    path: Path, shapes: Mapping[str, Tensor], make: Callable[[str, Tensor], Tensor]
) -> None:
    """A safetensors file in bf16, a tensor at a time: no more than one is ever in memory."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, value in shapes.items():
        start, end = end, end + 2 * value.numel()
        entry = {"dtype": "BF16", "shape": list(value.shape), "data_offsets": [start, end]}
        header[name] = entry
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for name, value in shapes.items():
            _put(file, make(name, value))


def _put(file: BinaryIO, tensor: Tensor) -> None:
    file.write(tensor.contiguous().view(-1).view(torch.uint8).numpy())


def bytes_in_use(folder: Path, dtype: torch.dtype) -> int:
    """Bytes of the DiT and its time path in the precision they are computed in."""
    from headroom.weights.load import Checkpoint

    stored = Checkpoint.open(folder / NAME).nbytes("decoder.")
    return stored * dtype.itemsize // torch.bfloat16.itemsize


# --- measuring -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turns:
    """What every turn of one competitor said."""

    figures: tuple[Mapping[str, float], ...]

    def median(self, name: str) -> float:
        return statistics.median(turn.get(name, 0) for turn in self.figures)

    def most(self, name: str) -> int:
        return int(max(turn.get(name, 0) for turn in self.figures))


def one(who: str, folder: Path, dtype: str) -> dict[str, float]:
    """One fresh process from its start to the end of its first step."""
    answer = folder / f"velocity-{who}.pt"
    words = [sys.executable, str(TURN), who, str(folder)]
    command = [*words, repr(time.time()), dtype, str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{who} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(folder: Path, repeats: int, dtype: str) -> dict[str, Turns]:
    """All competitors in turn; the first turn of each warms the cache and is not counted."""
    found: dict[str, list[dict[str, float]]] = {who: [] for who in COMPETITORS}
    for turn in range(repeats + 1):
        for who in COMPETITORS:
            figures = one(who, folder, dtype)
            if turn:
                found[who].append(figures)
    return {who: Turns(tuple(turns)) for who, turns in found.items()}


def difference(folder: Path) -> float:
    """Relative difference of the two velocities: that both did the same step."""
    ours, theirs = (torch.load(folder / f"velocity-{n}.pt") for n in ("ours", "diffusers"))
    return float((ours - theirs).norm() / theirs.norm())


def report(folder: Path, repeats: int, dtype: str) -> dict[str, object]:
    """The whole result, as it goes to the last line."""
    found = measure(folder, repeats, dtype)
    torch_alone, ours, theirs = (found[who] for who in COMPETITORS)
    used = bytes_in_use(folder, getattr(torch, dtype))
    bare = torch_alone.most("rss_peak")
    allowed = int(MARGIN * used) + bare
    return {
        "dtype": dtype,
        "frames": FRAMES,
        "condition_rows": ROWS,
        "repeats": repeats,
        "bytes_in_use": used,
        "interpreter_and_torch_bytes": bare,
        "allowed_resident_bytes": allowed,
        "median_s": {
            who: {name[:-2]: round(turns.median(name), 3) for name in SECONDS}
            for who, turns in found.items()
        },
        "spread_of_total_s": {
            who: [min(_totals(turns)), max(_totals(turns))] for who, turns in found.items()
        },
        "resident_bytes": {
            who: {
                **{k: found[who].most(f"rss_{k}") for k in ("peak", "own", "file")},
                **{f"after_{k}": found[who].most(f"rss_after_{k}") for k in ("import", "load")},
            }
            for who in ("ours", "diffusers")
        },
        "ratio": {
            "total_diffusers_over_ours": _ratio(theirs, ours, "total_s"),
            "import_diffusers_over_ours": _ratio(theirs, ours, "import_s"),
            "import_ours_over_torch": _ratio(ours, torch_alone, "import_s"),
            "peak_over_allowed": round(ours.most("rss_peak") / allowed, 4),
            "peak_less_interpreter_over_bytes_in_use": round(
                (ours.most("rss_peak") - bare) / used, 4
            ),
            "peak_of_diffusers_over_allowed": round(theirs.most("rss_peak") / allowed, 4),
        },
        "disk_bytes": {who: turns.most("disk_bytes") for who, turns in found.items()},
        "relative_difference": float(f"{difference(folder):.2g}"),
    }


def _totals(turns: Turns) -> Iterable[float]:
    return [round(turn["total_s"], 3) for turn in turns.figures]


def _ratio(above: Turns, below: Turns, name: str) -> float:
    return round(above.median(name) / below.median(name), 3)


def show(result: Mapping[str, object]) -> None:
    """The card for people."""
    seconds, resident, ratio = (result[k] for k in ("median_s", "resident_bytes", "ratio"))
    print(f"\nprocess start to the end of the first step, {result['dtype']}, medians in seconds")
    print("  " + " " * 10 + "".join(f"{name[:-2]:>9}" for name in SECONDS))
    for who, row in seconds.items():
        print(f"  {who:<10}" + "".join(f"{row[name[:-2]]:9.2f}" for name in SECONDS))
    print("\nresident memory in GB, pages of mapped files included, the most of all turns")
    for who, row in resident.items():
        cells = ", ".join(f"{name} {size / 1e9:.3f}" for name, size in row.items())
        print(f"  {who:<10}{cells}")
    print(f"  parts in use {result['bytes_in_use'] / 1e9:.3f}, interpreter and torch "
          f"{result['interpreter_and_torch_bytes'] / 1e9:.3f}, "
          f"allowed {result['allowed_resident_bytes'] / 1e9:.3f}")  # fmt: skip
    print("\nratios")
    for name, value in ratio.items():
        print(f"  {name:<48}{value:7.3f}")


@contextmanager
def weights(folder: Path | None, keep: bool) -> Iterator[Path]:
    """The folder with everything in it; what was written is deleted behind it."""
    place = folder or Path(tempfile.mkdtemp(prefix="headroom-loading-"))
    try:
        began = time.perf_counter()
        write_tree(place)
        print(f"weights in {place}, written in {time.perf_counter() - began:.0f} s", flush=True)
        yield place
    finally:
        if not keep:
            remove(place)


def remove(folder: Path) -> None:
    """What this program wrote below `folder`, and the folder if nothing else is in it."""
    for name in PARTS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for file in (folder / "whole.json", *(folder / f"velocity-{who}.pt" for who in COMPETITORS)):
        file.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the weights are written (about 10 GB)")
    parser.add_argument("--keep", action="store_true", help="leave the weights there")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    args = parser.parse_args()
    with weights(args.folder, args.keep) as folder:
        result = report(folder, args.repeats, args.dtype)
    show(result)
    common.finish(f"loading_{args.dtype}", result, args.save)


if __name__ == "__main__":
    main()
