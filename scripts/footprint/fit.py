"""From traces to formulas: every allocation's live bytes as a sum of measures, and of those sums
the few that are ever the largest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NEAR = 0.7  # of a work's peak: allocations below that are never the largest
Rows = tuple[tuple[int, ...], ...]


class NotLinear(ValueError):
    """An allocation whose bytes are no sum of the measures with whole coefficients."""


def aligned(traces: Sequence[Sequence[int]], steps: Sequence[int]) -> list[list[int]]:
    """Traces of loops of 2 and of 3 steps as if all had 2: one step of the longer is taken out.

    All steps allocate alike, so it may be taken out anywhere inside the loop.
    """
    lengths = {
        n: {len(t) for t, s in zip(traces, steps, strict=True) if s == n} for n in set(steps)
    }
    if any(len(found) != 1 for found in lengths.values()):
        raise NotLinear(f"traces of one kind of work differ in length: {lengths}")
    if set(steps) != {2, 3}:
        return [list(t) for t in traces]
    short, long = (min(lengths[n]) for n in (2, 3))
    body = long - short
    cut = short - body // 2
    return [
        list(t) if n == 2 else [*t[:cut], *t[cut + body :]]
        for t, n in zip(traces, steps, strict=True)
    ]


def solve(measures: Sequence[Sequence[int]], traces: Sequence[Sequence[int]]) -> Rows:
    """The coefficients of every allocation, each distinct one once. Raises NotLinear."""
    a = np.array(measures, dtype=np.float64)
    used = [i for i in range(a.shape[1]) if a[:, i].any()]
    if np.linalg.matrix_rank(a[:, used]) < len(used):
        raise ValueError(f"these measures do not tell the coefficients apart: {measures}")
    y = np.array(traces, dtype=np.float64)
    x, *_ = np.linalg.lstsq(a[:, used], y, rcond=None)
    whole = np.zeros((a.shape[1], y.shape[1]))
    whole[used] = np.rint(x)
    wrong = np.abs(a @ whole - y).max(axis=0)
    # What is far below the peak in every work need not be a sum of these measures.
    near = (y > NEAR * y.max(axis=1, keepdims=True)).any(axis=0)
    bad = np.flatnonzero(wrong * near)
    if bad.size:
        worst = bad[np.argmax(y[:, bad].max(axis=0))]
        raise NotLinear(
            f"{bad.size} of {y.shape[1]} allocations, such as number {worst} with {y[:, worst]}"
        )
    good = whole[:, wrong == 0]
    return tuple(sorted({tuple(int(c) for c in column) for column in good.T}))


def largest(rows: Rows, samples: Sequence[Sequence[int]]) -> Rows:
    """The rows that are the largest somewhere among the samples."""
    values = np.array(samples, dtype=np.float64) @ np.array(rows, dtype=np.float64).T
    return tuple(rows[i] for i in sorted(set(values.argmax(axis=1))))
