"""From attention maps to the frames in which each token is sung.

Source: ACE-Step 1.5's `acestep/core/scoring/`. If a token and a frame attend to each other, the
product of two softmaxes is large; twice the medians of row and column are subtracted, which removes
what is attended to always, or by everything. Dynamic time warping (Sakoe and Chiba, "Dynamic
programming algorithm optimization for spoken word recognition", 1978) then finds a path through the
mean over heads: every token in order, every frame in order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]
Frames = npt.NDArray[np.int64]

MEDIANS = 2  # how many medians are subtracted
_DIAGONAL, _STAY, _STEP = range(3)


def probabilities(q: Tensor, k: Tensor, head: int, keys: slice) -> Tensor:
    """The attention that one head gives to some keys, as a share of all keys: q [N, Hq, D], k [L,
    Hkv, D], both normed → [N, n], fp32 on the host."""
    head_keys = k[:, head * k.shape[1] // q.shape[1]].float() * q.shape[-1] ** -0.5
    logits: Tensor = q[:, head].float() @ head_keys.t()
    return logits.softmax(-1)[:, keys].cpu()


class Consensus:
    """The combined map of several heads, added one at a time. On the host."""

    def __init__(self) -> None:
        self._heads = 0
        self._sum = self._total = self._squares = torch.zeros(())

    def add(self, probabilities: Tensor) -> None:
        """Add the map of one head, [frames, tokens]."""
        p = probabilities.t().contiguous()
        x = p.softmax(-1) * p.softmax(-2)
        x = (x - MEDIANS * median(x).unsqueeze(1)).relu_()
        x = (x - MEDIANS * median(x.t().contiguous()).unsqueeze(0)).relu_().square_()
        self._heads += 1
        self._sum = self._sum + x
        self._total = self._total + x.sum(dtype=torch.float64)
        self._squares = self._squares + torch.linalg.vector_norm(x, dtype=torch.float64).square()

    def scores(self) -> Floats | None:
        """[tokens, frames]: the mean over heads, in z-scores over all values; None: nothing stands
        out.
        """
        mean_of_heads = (self._sum.double() / self._heads).numpy()
        count = mean_of_heads.size * self._heads
        mean, square = float(self._total) / count, float(self._squares) / count
        deviation = max(square - mean * mean, 0.0) ** 0.5
        return (mean_of_heads - mean) / deviation if deviation else None


def median(x: Tensor) -> Tensor:
    """The median of each row; halfway between the middle two if their number is even."""
    lower = x.median(-1).values  # the lower of the middle two
    if x.shape[-1] % 2:
        return lower
    above = x > lower.unsqueeze(-1)
    next_one = x.masked_fill(~above, float("inf")).amin(-1)
    tied = above.count_nonzero(-1) < x.shape[-1] // 2
    return (lower + torch.where(tied, lower, next_one)) / 2


def warp(cost: Floats) -> tuple[Frames, Frames]:
    """First and last frame of every token on the cheapest path through `cost` [tokens, frames].

    The path begins at the first token and frame and ends at the last ones; each step goes to the
    next token, the next frame, or both. Ties prefer both, then staying on the token: tokens without
    distinct costs are placed right before the next one that has them.
    """
    tokens, frames = cost.shape
    choices = np.empty((tokens + frames - 1, tokens), dtype=np.int8)
    # best[d % 3][i + 1] is the lowest cost to reach token i and frame d - i; inf: unreachable.
    best = np.full((3, tokens + 1), np.inf)
    for d in range(tokens + frames - 1):
        low, high = max(0, d - frames + 1), min(tokens, d + 1)
        i = np.arange(low, high)
        now, before, earlier = best[d % 3], best[(d - 1) % 3], best[(d - 2) % 3]
        both, step, stay = earlier[low:high], before[low:high], before[low + 1 : high + 1]
        least = np.where(stay <= step, stay, step)
        choice = np.where(stay <= step, _STAY, _STEP)
        choices[d, low:high] = np.where(both <= least, _DIAGONAL, choice)
        least = np.minimum(both, least) if d else np.zeros(1)
        now[:] = np.inf
        now[low + 1 : high + 1] = cost[i, d - i] + least
    first, last = np.empty(tokens, np.int64), np.empty(tokens, np.int64)
    token, frame = tokens - 1, frames - 1
    last[token] = frame
    while token or frame:
        choice = choices[token + frame, token]
        if choice != _STAY:
            first[token] = frame
            token -= 1
            frame -= choice == _DIAGONAL
            last[token] = frame
        else:
            frame -= 1
    first[0] = 0
    return first, last
