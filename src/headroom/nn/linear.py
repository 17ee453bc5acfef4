"""A linear layer whose weight may be stored in fewer bits, with plain tensors and torch's kernels.

    int8   [out, in] int8, one scale per row
    fp8    [out, in] float8_e4m3fn, one scale per row
    w8a8   as int8, and the activations are rounded to int8 too, with one scale per row
    int4   [out, in / 2] uint8, two values per byte, one scale for every 128 values of a row

Scales have the dtype of the activations, and were rounded to it before the weights were quantised.
If no kernel takes the stored weights directly, the matrix is expanded to the activations' dtype for
the duration of the product: that is the memory the product takes besides its result. So is a matrix
in bfloat16, to float32, where the processor has no products in bfloat16 and the rows are many.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.device.host import cpu_features

INT4_OFFSET = 8  # a stored 0 … 15 stands for −8 … 7
FEW_ROWS = 4  # up to this many, a CPU kernel that reads int8 directly beats expanding the matrix
DYNAMIC_ROWS = 17  # fewest rows that torch's product of two int8 matrices accepts on a card


class Linear(nn.Module):
    """y = x · Wᵀ, no bias. Keys: weight; and scale, once the weight is converted.

    `dynamic`: the activations are rounded as well (w8a8).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs), requires_grad=False)
        self.scale: nn.Parameter | None
        self.register_parameter("scale", None)
        self.dynamic = False
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.scale, self.dynamic)


def product(x: Tensor, weight: Tensor, scale: Tensor | None, dynamic: bool = False) -> Tensor:
    """x [N, in] · weightᵀ → [N, out], whatever the weight is stored in."""
    if scale is None:
        if x.dtype == weight.dtype == torch.bfloat16 and x.shape[0] > FEW_ROWS and _emulated(x):
            return F.linear(x.float(), weight.float()).to(x.dtype)
        return F.linear(x, weight)
    if weight.dtype == torch.uint8:
        return F.linear(x, unpacked(weight, scale))
    if dynamic:
        return _both_rounded(x, weight, scale)
    if x.device.type == "cpu" and weight.dtype == torch.int8 and x.dtype == torch.bfloat16:
        if x.shape[0] <= FEW_ROWS:
            y: Tensor = torch._weight_int8pack_mm(x.contiguous(), weight, scale)
            return y
    if x.dtype == torch.float16:  # sums of unscaled products would overflow
        return F.linear(x, weight.to(x.dtype).mul_(scale.unsqueeze(1)))
    return F.linear(x, weight.to(x.dtype)).mul_(scale)


def _emulated(x: Tensor) -> bool:
    """Whether this processor computes products in bfloat16 slower than in float32: with AVX2 alone
    64 rows took 2.7 times as long. Few rows are faster in bfloat16 everywhere."""
    return x.device.type == "cpu" and not _multiplies_bfloat16()


@cache
def _multiplies_bfloat16() -> bool:
    return "bfloat16" in cpu_features()


def _both_rounded(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    steps = x.abs().amax(-1, keepdim=True).float().clamp_(min=1e-12).div_(127)
    rounded = (x / steps).round_().to(torch.int8)
    missing = max(0, DYNAMIC_ROWS - x.shape[0])
    if missing:  # so that a row gives the same result alone and in a batch
        rounded = F.pad(rounded, (0, 0, 0, missing))
    sums = torch._int_mm(rounded, weight.t())[: x.shape[0]].float()
    whole: Tensor = sums.mul_(steps).mul_(scale).to(x.dtype)
    return whole


def unpacked(weight: Tensor, scale: Tensor) -> Tensor:
    """int4 [out, in / 2] and scales [out, groups] → [out, in] in the scales' dtype."""
    low, high = (weight & 15), (weight >> 4)
    values = torch.stack((low, high), -1).flatten(1).to(scale.dtype).sub_(INT4_OFFSET)
    grouped = values.unflatten(1, (scale.shape[1], -1))
    whole: Tensor = grouped.mul_(scale.unsqueeze(-1)).flatten(1)
    return whole
