"""How well what attention heads look at follows the words that are sung, from 0 to 1.

Source: ACE-Step 1.5, lyric scorer. The mean over heads, stretched to 0 … 1, is walked through as
`alignment.warp` does it; of the tokens that are sung counts how many are looked at, how many lie
after the one before them, and what the path collects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headroom.models.acestep.timestamps.alignment import Floats, warp

LOOKED_AT = 0.1  # of the highest value, from where on a token counts as looked at
HEARD = 0.01  # what of it decides where a token lies
SLACK = 9.0  # frames that a token may lie before the one before it


class Mean:
    """What several heads look at on average, one head after another. On the host."""

    def __init__(self) -> None:
        self._heads, self._sum = 0, torch.zeros(())

    def add(self, probabilities: Tensor) -> None:
        """Those of one head, [frames, tokens]."""
        self._heads += 1
        self._sum = self._sum + probabilities.t()

    def energy(self) -> Floats:
        """[tokens, frames], from 0 to 1; zeros where all are alike."""
        mean: Floats = (self._sum.double() / self._heads).numpy()
        spread = mean.max() - mean.min()
        return (mean - mean.min()) / spread if spread > 1e-9 else np.zeros_like(mean)


def lyric_score(energy: Floats, texts: Sequence[str]) -> float:
    """From 0 to 1; `energy` [tokens, frames] as `Mean` has it, `texts`: what each token says."""
    sung = energy[_sung(texts)]
    coverage = float((sung.max(axis=1) > LOOKED_AT).mean()) if len(sung) else 1.0
    found = coverage**2 * _in_order(sung) ** 2 * _collected(energy)
    return min(max(found, 0.0), 1.0)


def _sung(texts: Sequence[str]) -> list[bool]:
    """Which tokens lie outside tags in square brackets."""
    found, inside = [], False
    for text in texts:
        inside = inside or "[" in text
        found.append(not inside and "]" not in text)
        inside = inside and "]" not in text
    return found


def _in_order(sung: Floats) -> float:
    """The share of tokens that lie after the one before them, with some slack."""
    weights = np.where(sung > HEARD, sung, 0.0)
    total = weights.sum(axis=1)
    at = (weights * np.arange(sung.shape[1])).sum(axis=1)
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
