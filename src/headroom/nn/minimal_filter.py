"""Seven-tap convolutions with 10 products for 4 outputs instead of 28 (Toom–Cook, Winograd).

A filter of 7 taps over 10 inputs is evaluated at the points 0, ±1, ±2, ±½, ±¾, ∞, where it is a
product, and interpolated to 4 outputs. Over channels each point is one matrix product, so 0.36 of
the arithmetic remains, plus additions per channel.

It is not exact: with N(0, 1) inputs and unit gain the error in fp32 is 5e-6 (rms) per convolution,
against 2e-7 for the direct one and 2e-3 for bf16. It pays in fp32 on a CPU; in 16 bits it is too
inaccurate.

Sources: Winograd, Arithmetic Complexity of Computations (1980); Lavin and Gray (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, prod, sqrt

import torch
from torch import Tensor, nn

from headroom.nn.minimal_filter_sizes import OUTPUTS, POINTS, TAPS

PAIRS = (1.0, 2.0, 0.5, 0.75)  # p and −p; the order of points: 0, p, −p, …, ∞


Matrix = tuple[tuple[float, ...], ...]


def _product(roots: list[float]) -> list[float]:
    """Coefficients of Π (x − root), constant term first."""
    coefficients = [1.0]
    for root in roots:
        shifted, scaled = [0.0, *coefficients], [-root * c for c in coefficients] + [0.0]
        coefficients = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


def _transforms() -> tuple[Matrix, Matrix, Matrix]:
    """Output [4, 10], filter [10, 7] and input [10, 10]: Y = output · (filter·w ⊙ input·x).

    The filter is evaluated at the points, the input with the polynomials that are 1 at one point
    and 0 at the others. Their rows are scaled against each other to equal norms.
    """
    finite = [0.0, *(sign * p for p in PAIRS for sign in (1, -1))]
    filters, samples = [], []
    for point in finite:
        others = [q for q in finite if q != point]
        at_point = prod(point - q for q in others)
        filters.append([point**k for k in range(TAPS)])
        samples.append([c / at_point for c in _product(others)] + [0.0])
    filters.append([0.0] * (TAPS - 1) + [1.0])
    samples.append(_product(finite))
    for filter_row, sample_row in zip(filters, samples, strict=True):
        scale = sqrt(hypot(*filter_row) / hypot(*sample_row))
        filter_row[:] = [c / scale for c in filter_row]
        sample_row[:] = [c * scale for c in sample_row]
    output = [[p**k for p in finite] + [float(k == OUTPUTS - 1)] for k in range(OUTPUTS)]
    return _frozen(output), _frozen(filters), _frozen(samples)


def _frozen(rows: list[list[float]]) -> Matrix:
    return tuple(tuple(row) for row in rows)


OUTPUT, FILTER, SAMPLES = _transforms()


class MinimalConv(nn.Module):
    """Replaces a convolution of 7 taps, stride 1, padding 3 · dilation, C → C channels.

    weight [10, C, C] (input to output), bias [C]; x [B, C, 1, T] → the same shape, channels-last.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, dilation: int) -> MinimalConv:
        """The layer made from the taps [C, C, 1, 7]."""
        taps = torch.tensor(FILTER, dtype=torch.float64)
        points = torch.empty(POINTS, weight.shape[1], weight.shape[0], dtype=weight.dtype)
        for point, row in zip(points, taps, strict=True):  # one at a time: fp64 is large
            point.copy_((weight[:, :, 0].double() @ row).T)
        return cls(points, bias, dilation)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, length = x.shape
        groups = -(-length // (OUTPUTS * self.dilation))
        reach = TAPS // 2 * self.dilation
        full = (OUTPUTS * groups + TAPS - 1) * self.dilation
        rows = x.permute(0, 2, 3, 1).reshape(batch, length, channels)
        rows = padded(rows, reach, full - reach - length)
        samples = _windows(rows, groups, self.dilation * channels)
        compiled = torch.compiler.is_compiling()
        spread = (_spread_by_terms if compiled else _spread)(samples)
        del rows, samples  # each is as large as x or larger: freed as early as possible
        products = torch.bmm(spread.view(POINTS, -1, channels), self.weight)
        del spread
        products = products.view(POINTS, batch, groups, -1)
        y = (_gather_by_terms if compiled else _gather)(products)
        y = y.reshape(batch, 1, -1, channels)[:, :, :length] + self.bias
        return y.permute(0, 3, 1, 2)


def padded(rows: Tensor, before: int, after: int) -> Tensor:
    """Put zeros around rows [B, T, C]; unlike `F.pad`, this compiles to plain copies."""
    batch, _, channels = rows.shape
    start, end = (rows.new_zeros(batch, count, channels) for count in (before, after))
    return torch.cat((start, rows, end), dim=1)


def _windows(rows: Tensor, groups: int, width: int) -> list[Tensor]:
    """The i-th sample of every group, for i < 10: [B, groups, dilation · C] each.

    With `as_strided` the compiler stores `rows` once instead of recomputing them in each window.
    """
    shape = (rows.shape[0], groups, width)
    strides = (rows.stride(0), OUTPUTS * width, 1)
    return [rows.as_strided(shape, strides, i * width) for i in range(POINTS)]


def _spread(samples: list[Tensor]) -> Tensor:
    """Transform samples to points as one product; [10, B, groups, dilation · C]."""
    x = torch.stack(samples)
    matrix = torch.tensor(SAMPLES, dtype=x.dtype, device=x.device)
    return (matrix @ x.view(POINTS, -1)).view(x.shape)


def _gather(products: Tensor) -> Tensor:
    """Transform points to outputs as one product; [B, groups, 4, dilation · C]."""
    matrix = torch.tensor(OUTPUT, dtype=products.dtype, device=products.device)
    y = (matrix @ products.view(POINTS, -1)).view(OUTPUTS, *products.shape[1:])
    return y.permute(1, 2, 0, 3)


def _spread_by_terms(samples: list[Tensor]) -> Tensor:
    """Like `_spread`, as sums of terms to be fused; p and −p share their even and odd halves."""
    points = [_weighted(samples, SAMPLES[0])]
    for row in SAMPLES[1 : POINTS - 1 : 2]:
        even, odd = _weighted(samples[0::2], row[0::2]), _weighted(samples[1::2], row[1::2])
        points += [even + odd, even - odd]
    return torch.stack([*points, _weighted(samples, SAMPLES[-1])])


def _gather_by_terms(products: Tensor) -> Tensor:
    first, *pairs, last = products
    sums = [a + b for a, b in zip(pairs[0::2], pairs[1::2], strict=True)]
    differences = [a - b for a, b in zip(pairs[0::2], pairs[1::2], strict=True)]
    outputs = [
        _weighted([*(differences if k % 2 else sums), first, last], (*row[1:-1:2], row[0], row[-1]))
        for k, row in enumerate(OUTPUT)
    ]
    return torch.stack(outputs, 2)


def _weighted(terms: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ weight · term over the weights that are not 0."""
    used = [term * weight for term, weight in zip(terms, weights, strict=True) if weight]
    total = used[0]
    for term in used[1:]:
        total = total + term
    return total
