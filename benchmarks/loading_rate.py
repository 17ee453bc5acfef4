"""The rate at which weights are read and converted, beside a plain loop that does only that.

A safetensors file of random bfloat16 matrices is written once and stays in the cache of the
operating system; then its tensors are made float32 in turn by the loader, by reading each tensor
whole and converting it (as the loader did before), and by the floor: the same bytes read in pieces
and converted into one buffer that is used again, so that no new memory is touched.

    python benchmarks/loading_rate.py [--gib 1] [--rounds 5] [--save]
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import common
import torch
from loading import write_weights
from torch import Tensor, nn

from headroom.weights.load import PIECE, Checkpoint, load_weights

SHAPES = ((6144, 2048), (2048, 6144), (2048, 2048))  # of the 2B DiT
NAME = "model.safetensors"


def shapes(size: int) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors on meta that take `size` bytes in bfloat16."""
    number = taken = 0
    while taken < size:
        shape = SHAPES[number % len(SHAPES)]
        yield f"w{number}", torch.empty(shape, device="meta")
        number, taken = number + 1, taken + 2 * shape[0] * shape[1]


def empty(state: dict[str, Tensor]) -> nn.Module:
    """A module on meta with these parameters."""
    module = nn.Module()
    for name, value in state.items():
        module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return module


def ours(folder: Path, state: dict[str, Tensor]) -> nn.Module:
    """As the product loads a part."""
    module = empty(state)
    load_weights(module, Checkpoint.open(folder), dtype=torch.float32)
    return module


def whole(folder: Path) -> list[Tensor]:
    """Each tensor read into one buffer, then converted."""
    checkpoint = Checkpoint.open(folder)
    stored = checkpoint.stored.values()
    room = torch.empty(max(one.nbytes for one in stored), dtype=torch.uint8)
    made = []
    for one in stored:
        raw = room[: one.nbytes]
        with (folder / one.file).open("rb") as file:
            file.seek(one.start)
            file.readinto(raw.numpy().data)
        made.append(raw.view(one.dtype).view(one.shape).to(torch.float32))
    return made


def floor(folder: Path) -> None:
    """Read and converted in pieces, into one buffer."""
    raw = torch.empty(PIECE, dtype=torch.uint8)
    made = torch.empty(PIECE // 2)
    with (folder / NAME).open("rb", buffering=0) as file:
        while count := file.readinto(raw.numpy().data):
            made[: count // 2].copy_(raw[: count // 2 * 2].view(torch.bfloat16))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    block = torch.randn(SHAPES[0][0] * SHAPES[0][1]).to(torch.bfloat16)
    with tempfile.TemporaryDirectory() as place:
        folder, state = Path(place), dict(shapes(int(args.gib * 2**30)))
        write_weights(folder / NAME, state, lambda _, like: block[: like.numel()].view(like.shape))
        size = (folder / NAME).stat().st_size / 2**30
        kept: list[object] = []

        def counted(work):
            def once() -> None:
                kept[:] = [work()]

            return once

        cases = {
            "ours": counted(lambda: ours(folder, state)),
            "whole tensors": counted(lambda: whole(folder)),
            "floor": counted(lambda: floor(folder)),
        }
        for work in cases.values():
            work()
            kept.clear()
            gc.collect()
        took = common.alternate(cases, args.rounds)
    each = {name: round(timing.median / size, 3) for name, timing in took.items()}
    result = {
        "gib": round(size, 2),
        "seconds_a_gib": each,
        "least_seconds_a_gib": {n: round(t.least / size, 3) for n, t in took.items()},
        "ours_over_floor": round(each["ours"] / each["floor"], 2),
        "whole_tensors_over_ours": round(each["whole tensors"] / each["ours"], 2),
    }
    for name, seconds in each.items():
        print(f"  {name:<14}{seconds:7.3f} s a GiB")
    common.finish("loading_rate", result, args.save)


if __name__ == "__main__":
    main()
