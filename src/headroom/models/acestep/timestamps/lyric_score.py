"""How well attention follows the sung words, from 0 to 1.

Source: ACE-Step 1.5, lyric scorer. The mean over heads, scaled to 0 … 1, is aligned by
`alignment.warp`; the score combines how many of the sung tokens are attended to, how many come
after their predecessor, and the mean along the path.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headroom.models.acestep.timestamps.alignment import Floats, warp

LOOKED_AT = 0.1  # share of the maximum above which a token counts as attended to
HEARD = 0.01  # share of the maximum above which a value counts for a token's position
SLACK = 9.0  # frames by which a token may precede its predecessor


class Mean:
    """The mean attention map of several heads, added one at a time. On the host."""

    def __init__(self) -> None:
        self._heads, self._sum = 0, torch.zeros(())

    def add(self, probabilities: Tensor) -> None:
        """Add the map of one head, [frames, tokens]."""
        self._heads += 1
        self._sum = self._sum + probabilities.t()

    def energy(self) -> Floats:
        """[tokens, frames], from 0 to 1; all zeros if all values are equal."""
        mean: Floats = (self._sum.double() / self._heads).numpy()
        spread = mean.max() - mean.min()
        return (mean - mean.min()) / spread if spread > 1e-9 else np.zeros_like(mean)


def lyric_score(energy: Floats, texts: Sequence[str]) -> float:
    """The score, from 0 to 1. `energy` [tokens, frames] comes from `Mean`, `texts` are the tokens'
    texts.
    """
    rows = energy[_sung(texts)]
    coverage = float((rows.max(axis=1) > LOOKED_AT).mean()) if len(rows) else 1.0
    score = coverage**2 * _in_order(rows) ** 2 * _collected(energy)
    return min(max(score, 0.0), 1.0)


def _sung(texts: Sequence[str]) -> list[bool]:
    """Which tokens lie outside tags in square brackets."""
    flags, inside = [], False
    for text in texts:
        inside = inside or "[" in text
        flags.append(not inside and "]" not in text)
        inside = inside and "]" not in text
    return flags


def _in_order(rows: Floats) -> float:
    """The share of tokens that come after their predecessor, with some slack."""
    weights = np.where(rows > HEARD, rows, 0.0)
    total = weights.sum(axis=1)
    at = (weights * np.arange(rows.shape[1])).sum(axis=1)
    centres = at[total > 1e-9] / total[total > 1e-9]
    if len(centres) < 2:
        return 1.0
    return float((centres[1:] >= centres[:-1] - SLACK).mean())


def _collected(energy: Floats) -> float:
    """The mean along the best path through all tokens and frames."""
    first, last = warp(-np.square(energy))
    rows = zip(energy, first, last, strict=True)
    along = np.concatenate([row[start : stop + 1] for row, start, stop in rows])
    return float(along.mean())
