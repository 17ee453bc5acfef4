"""Convert a part's matrices to fewer bits, in place, one matrix at a time.

Only the linear layers inside repeated blocks are converted: they hold nearly all of the weights.
Everything else (embeddings, input and output projections, norms, modulation) is left unchanged.
Quantization is symmetric, scaled by the largest value of a row (of a group in int4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headroom.memory.precision import CONVERTED, PRECISIONS, group_of
from headroom.nn.blocks import Blocks
from headroom.nn.linear import INT4_OFFSET, Linear

_FP8_MOST = 448.0  # the largest number of float8_e4m3fn


def converted(precision: str) -> str | None:
    """The precision if weights have to be converted to it; None if it is the released one."""
    return precision if precision in CONVERTED else None


def quantize(part: object, precision: str) -> None:
    """Convert every linear layer of the part's blocks; layers already converted are left alone.

    Raises ValueError if a layer is in another precision, or if the precision is unknown.
    """
    if precision not in CONVERTED:
        raise ValueError(f"{precision!r} is not one of {CONVERTED}")
    if not isinstance(part, nn.Module):
        return
    lists = [module for module in part.modules() if isinstance(module, Blocks)]
    linears = [m for blocks in lists for m in blocks.modules() if isinstance(m, Linear)]
    for before in map(precision_of, linears):
        if before not in (None, precision):
            raise ValueError(f"a matrix in {before} cannot become {precision}: load it anew")
    for linear in linears:
        if precision_of(linear) is None:
            convert(linear, precision)


def precision_of(linear: Linear) -> str | None:
    """The precision a layer's weight is stored in; None: as released."""
    if linear.scale is None:
        return None
    if linear.weight.dtype == torch.uint8:
        return "int4"
    if linear.weight.dtype == torch.float8_e4m3fn:
        return "fp8"
    return "w8a8" if linear.dynamic else "int8"


def convert(linear: Linear, precision: str) -> None:
    """Convert one linear layer."""
    weight = linear.weight.detach()
    if precision == "int4":
        stored, scale = _int4(weight)
    elif precision == "fp8":
        scale = _scale(weight, _FP8_MOST)
        stored = (weight.float() / scale.float().unsqueeze(1)).to(torch.float8_e4m3fn)
    else:
        scale = _scale(weight, 127)
        steps = weight.float() / scale.float().unsqueeze(1)
        stored = steps.round_().clamp_(-127, 127).to(torch.int8)
    linear.weight = nn.Parameter(stored, requires_grad=False)
    linear.scale = nn.Parameter(scale, requires_grad=False)
    linear.dynamic = precision == "w8a8"


def _scale(weight: Tensor, most: float) -> Tensor:
    """One scale per row, in the weight's dtype, so that storing it loses nothing."""
    largest = weight.abs().amax(-1).float() / most
    return largest.clamp_(min=torch.finfo(weight.dtype).smallest_normal).to(weight.dtype)


def _int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    group = group_of(weight.shape[1], PRECISIONS["int4"].group or weight.shape[1])
    grouped = weight.unflatten(1, (-1, group))
    least = torch.finfo(weight.dtype).smallest_normal
    scale = (grouped.abs().amax(-1).float() / 7).clamp_(min=least).to(weight.dtype)
    steps = (grouped.float() / scale.float().unsqueeze(-1)).round_().clamp_(-7, 7)
    values = steps.add_(INT4_OFFSET).to(torch.uint8).flatten(1)
    return values[:, 0::2] | (values[:, 1::2] << 4), scale
