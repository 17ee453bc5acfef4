"""How well what attention heads look at follows the words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headroom.models.acestep.timestamps.lyric_score import Mean, lyric_score

TEXTS = ("[Ver", "se]", "la", "lo", "le")


def diagonal(
    tokens: int = 5, frames: int = 50
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Every token looked at in its own frames, in order."""
    return np.repeat(np.eye(tokens), frames // tokens, axis=1)


def test_words_in_order_score_one() -> None:
    assert lyric_score(diagonal(), TEXTS) == pytest.approx(1.0)


def test_tokens_that_nobody_looks_at_count_squared() -> None:
    energy = diagonal()
    energy[4] *= 0.05  # below what counts
    # Two of three sung tokens; of the path, four fifths are 1 and the rest 0.05.
    assert lyric_score(energy, TEXTS) == pytest.approx((2 / 3) ** 2 * 0.81)
    assert lyric_score(energy, ("a", "b", "c", "d", "[x]")) == pytest.approx(0.81)


def test_words_out_of_order_score_less() -> None:
    order = [0, 1, 4, 3, 2]
    energy = diagonal()[order]
    sung = lyric_score(energy, TEXTS)
    assert sung == 0.0  # each lies ten frames before the one before it: more than the slack
    near = diagonal(5, 40)[order]
    assert 0 < lyric_score(near, TEXTS) < 1  # eight frames: within it


def test_the_mean_is_stretched_and_even_attention_is_zero() -> None:
    mean = Mean()
    mean.add(torch.tensor([[0.2, 0.0], [0.0, 0.4]]))
    mean.add(torch.tensor([[0.2, 0.0], [0.0, 0.0]]))
    assert mean.energy() == pytest.approx(np.array([[1.0, 0.0], [0.0, 1.0]]))
    even = Mean()
    even.add(torch.full((4, 3), 0.25))
    assert not even.energy().any() and even.energy().shape == (3, 4)
    assert lyric_score(even.energy(), ("a", "b", "c")) == 0.0


def test_without_words_only_the_path_counts() -> None:
    assert lyric_score(diagonal(2, 10), ("[intro", "]")) == pytest.approx(1.0)
