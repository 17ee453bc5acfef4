"""How the products of a decoding step are best cut on this card (`SHAPES` of `lm/fused.py`).

Every way of cutting a product is recorded over so many different matrices that no cache holds them,
and its replay is timed beside torch's product and beside the bytes over a measured copy. Kernels
are compiled beforehand by several processes.

    python benchmarks/lm_kernels.py [--size 1.7B] [--rows 2 16] [--save]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import common
import torch
from torch import Tensor
from torch.nn import functional as F

from headroom.device import Device, open_device
from headroom.lm.fused import FEW_ROWS, TILE, Shape, faults, width_at_once
from headroom.models.acestep.released import LMS, released_lm

COLD = 200 << 20  # bytes of matrices that are gone through in turn
MANY = [
    Shape(n, k, stages, warps)
    for n, k, stages, warps in itertools.product((16, 32, 64), (128, 256), (3, 5), (4, 8))
    if n * k * stages <= 64 * 256 * 3
]
FEW = [  # as many columns at once as a warp, or half of one, reads; see `product_few`
    Shape(n, k * warps, 1, warps)
    for warps, k, n in itertools.product((2, 4, 8, 16), (8, 16), (16, 32, 64))
    if n * k // 256 in (1, 2, 4) and k * warps >= 64
]


@dataclass(frozen=True, slots=True)
class Product:
    """One of a layer's four."""

    kind: str
    width: int
    outputs: int


def shapes(rows: int) -> list[Shape]:
    """Ways to cut a product of so many rows."""
    return FEW if rows <= FEW_ROWS else MANY


def products(size: str) -> list[Product]:
    s = released_lm(size).sizes
    return [
        Product("joined", s.width, (s.heads + 2 * s.kv_heads) * s.head_dim),
        Product("out", s.heads * s.head_dim, s.width),
        Product("gated", s.width, s.hidden),
        Product("down", s.hidden, s.width),
    ]


def work(product: Product, rows: int, stored: str, count: int) -> Callable[[Shape], None]:
    """Launches over `count` matrices."""
    from headroom.nn import decode_kernels

    where, gated = torch.device("cuda"), product.kind == "gated"
    bf16 = torch.bfloat16
    high = product.outputs * (2 if gated else 1)
    x = torch.randn(rows, product.width, device=where, dtype=bf16)
    y = torch.randn(rows, product.outputs, device=where, dtype=bf16)
    norm = torch.ones(product.width, device=where, dtype=bf16)
    scale = torch.ones(high, device=where, dtype=bf16) / 100 if stored != "bfloat16" else None
    matrices: list[Tensor] = []
    for _ in range(count):
        matrix = torch.randn(high, product.width, device=where)
        matrices.append((matrix * 40).to(torch.int8) if scale is not None else matrix.to(bf16))

    added = product.kind in ("out", "down")
    gain, fixed = None if added else norm, {
        "WIDTH": product.width, "OUTPUTS": product.outputs, "NORMED": not added, "GATED": gated,
        "ADDED": added, "SCALED": scale is not None, "EARLY": False, "LINES": 0,
    }  # fmt: skip
    padded = 1 << (rows - 1).bit_length()

    def go(shape: Shape) -> None:
        at_once = width_at_once(product.width, shape.block_k)
        cut = {"BLOCK_N": shape.block_n, "BLOCK_K": at_once, "num_warps": shape.warps}
        grid = (product.outputs // shape.block_n,)
        for matrix in matrices:
            if rows <= FEW_ROWS:
                decode_kernels.product_few[grid](
                    x,
                    gain,
                    matrix,
                    scale,
                    y,
                    1e-6,
                    matrix,
                    0,
                    **fixed,
                    ROWS=rows,
                    PADDED=padded,
                    **cut,
                )
            else:
                decode_kernels.product[grid](
                    x, gain, matrix, scale, y, rows, 1e-6, matrix, 0, **fixed, **cut,
                    ROWS=max(TILE, padded), STAGES=shape.stages,
                )  # fmt: skip

    def plain() -> None:
        for matrix in matrices:
            F.linear(x, matrix)

    go.plain = plain  # type: ignore[attr-defined]
    go.bytes = sum(m.nbytes for m in matrices)  # type: ignore[attr-defined]
    return go


def compile_some(size: str, rows: int, stored: str, some: list[Shape]) -> None:
    """Run each once, so that its kernel lies in Triton's cache."""
    for product in products(size):
        go = work(product, rows, stored, 1)
        for shape in some:
            try:
                go(shape)
            except faults() as error:  # a cut that does not fit is no result
                print(f"{product.kind} {shape}: {type(error).__name__}", flush=True)


def microseconds(device: Device, call: Callable[[], None], count: int) -> float:
    graph = device.capture(call)
    graph.replay()
    found = []
    for _ in range(7):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        found.append(begin.elapsed_time(end) * 1e3 / count)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=tuple(LMS), default="1.7B")
    parser.add_argument("--rows", type=int, nargs="+", default=[2])
    parser.add_argument("--stored", nargs="+", default=["bfloat16", "int8"])
    parser.add_argument("--processes", type=int, default=12)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    device = open_device("cuda")
    rate = common.ceiling(torch.bfloat16, device.torch).copy_gb_s * 1e9
    spawn = multiprocessing.get_context("spawn")
    for rows, stored in itertools.product(args.rows, args.stored):
        parts = [
            spawn.Process(
                target=compile_some,
                args=(args.size, rows, stored, shapes(rows)[i :: args.processes]),
            )
            for i in range(args.processes)
        ]
        for part in parts:
            part.start()
        for part in parts:
            part.join()
    found = []
    for rows, stored, product in itertools.product(args.rows, args.stored, products(args.size)):
        each = product.width * product.outputs * (2 if product.kind == "gated" else 1)
        each *= 2 if stored == "bfloat16" else 1
        count = max(4, COLD // each)
        go = work(product, rows, stored, count)
        took: dict[str, float] = {}
        for shape in shapes(rows):
            try:
                took[str(shape)] = microseconds(device, partial(go, shape), count)
            except faults() as error:
                took[f"{shape} {type(error).__name__}"] = float("inf")
        order = sorted(took, key=lambda name: took[name])
        row = {
            **asdict(product), "rows": rows, "stored": stored, "mb": round(each / 1e6, 1),
            "floor_us": round(each / rate * 1e6, 2),
            "best_us": {name: round(took[name], 2) for name in order[:4]},
        }  # fmt: skip
        if stored == "bfloat16":
            row["torch_us"] = round(microseconds(device, go.plain, count), 2)
        print(row, flush=True)
        found.append(row)
    common.finish(f"lm_kernels_{args.size}", {"figures": found}, args.save)


if __name__ == "__main__":
    main()
