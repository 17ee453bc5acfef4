"""The decode kernels run by Triton's interpreter on the host, beside the same in float64.

A process of its own, since Triton decides when it is imported: prints one JSON object of relative
distances by case. What only a card can show (compilation, early launches, what is asked for ahead)
is left to `scripts/gpu_check`.
"""

from __future__ import annotations

import json
import os
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor
from torch.nn import functional as F

from headroom.lm.cache import Cache
from headroom.lm.cost import SPLIT
from headroom.lm.fused import BLOCK, Fused
from headroom.nn import decode_kernels
from headroom.nn.causal import CachePosition, CausalLM
from headroom.nn.qwen3 import LayerSizes
from headroom.nn.rope import Rope
from headroom.runtime.prepare import bring
from headroom.runtime.quantize import quantize

PLAIN = {"EARLY": False}


def distance(ours: Tensor, exact: Tensor) -> float:
    """‖ours − exact‖ / ‖exact‖."""
    return float((ours.double() - exact.double()).norm() / exact.double().norm())


def product(rows: int, width: int, outputs: int, form: str, few: bool, draw: Any) -> float:
    """One product: x · Wᵀ, with what goes before and behind it."""
    normed, gated, added = "normed" in form, "gated" in form, "added" in form
    x = torch.randn(rows, width, generator=draw)
    norm = torch.rand(width, generator=draw) + 0.5
    high = outputs * (2 if gated else 1)
    weight = torch.randn(high, width, generator=draw) * width**-0.5
    scale = None
    if "int8" in form:
        scale = torch.rand(high, generator=draw) * 0.01 + 0.001
        weight = torch.randint(-127, 128, (high, width), generator=draw).to(torch.int8)
    y = torch.randn(rows, outputs, generator=draw)
    exact = x.double()
    if normed:
        size = exact.square().mean(-1, keepdim=True).add(1e-6).rsqrt()
        exact = exact * size * norm.double()
    stored = weight.double() if scale is None else weight.double() * scale.double()[:, None]
    exact = exact @ stored.T
    if gated:
        first, second = exact.chunk(2, -1)
        exact = F.silu(first) * second
    if added:
        exact = exact + y.double()
    fixed = {
        "WIDTH": width, "OUTPUTS": outputs, "NORMED": normed, "GATED": gated, "ADDED": added,
        "SCALED": scale is not None, "BLOCK_N": 16, "BLOCK_K": 32, **PLAIN,
    }  # fmt: skip
    gain, grid = norm if normed else None, (outputs // 16,)
    if few:
        padded = 1 << (rows - 1).bit_length()
        decode_kernels.product_few[grid](
            x, gain, weight, scale, y, 1e-6, **fixed, ROWS=rows, PADDED=padded
        )
    else:
        decode_kernels.product_kernel[grid](
            x, gain, weight, scale, y, rows, 1e-6, **fixed, ROWS=16, STAGES=2
        )
    return distance(y, exact)


def step(lengths: list[int], precision: str, layers: int, draw: Any) -> float:
    """A step of a small model: our kernels beside `CausalLM.step`, caches compared too.

    The interpreter takes 10 ms a program, so widths are the least that the shapes can cut.
    """
    sizes = LayerSizes(32, 64, 4, 2, 16, 1e-6, 1e6)
    model = CausalLM(sizes, layers, 40).requires_grad_(False)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=draw)
        parameter.copy_(noise * 0.1 + 1 if parameter.dim() == 1 else noise * 0.125)
    if precision != "float32":
        quantize(model, precision)
    bring(model, torch.device("cpu"))
    rows, at = len(lengths), torch.tensor(lengths)
    caches = [Cache(model, rows, max(lengths) + 2, torch.device("cpu")) for _ in range(2)]
    caches[0].memory.normal_(generator=draw)
    caches[1].memory.copy_(caches[0].memory)
    rope = model.rope(caches[0].capacity, torch.device("cpu"))
    ids = torch.randint(0, 40, (rows,), generator=draw)
    seen = torch.arange(caches[0].capacity) <= at.unsqueeze(1)
    mask = torch.zeros(rows, 1, 1, caches[0].capacity)
    mask.masked_fill_(~seen[:, None, None], float("-inf"))
    place = CachePosition(torch.arange(rows), at, Rope(rope.cos[at], rope.sin[at]), (mask,))
    exact = model.step(ids, caches[0].past, place)
    kernels = Fused(model, caches[1], rope)
    ours = kernels.step(ids, at)
    again = kernels.step(ids, at)  # counters are as they were before
    gap = distance(caches[1].memory, caches[0].memory)
    return max(distance(ours, exact), distance(again, exact), gap)


def main() -> None:
    # No card: what a card is asked for, and options that only its compiler knows, are left out.
    torch.cuda.get_device_capability = lambda device=None: (8, 0)  # type: ignore[assignment]
    draw = torch.Generator().manual_seed(5)
    found: dict[str, float] = {}
    with torch.inference_mode():
        for form in ("", "normed", "normed gated", "added", "normed gated int8", "added int8"):
            for rows in (1, 2, 3, 4):
                found[f"few, {form}, {rows}"] = product(rows, 96, 32, form, True, draw)
            for rows in (2, 16):
                found[f"many, {form}, {rows}"] = product(rows, 64, 32, form, False, draw)
        ends = [0, BLOCK - 1, BLOCK, SPLIT - 1, SPLIT, SPLIT + 1, 2 * SPLIT + 9]
        for precision, layers in (("float32", 2), ("int8", 1)):
            found[f"step, {precision}, 2 rows"] = step([300, 33], precision, layers, draw)
            found[f"step, {precision}, 7 rows"] = step(ends, precision, layers, draw)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
