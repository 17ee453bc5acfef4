"""Heads to frames: every step beside a plain statement of it, and planted paths found again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from headroom.models.acestep.timestamps.alignment import Consensus, median, probabilities, warp

Floats = npt.NDArray[np.float64]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- what a head looks at -----------------------------------------------------------------


@pytest.mark.parametrize("head", range(6))
def test_a_head_gives_each_key_its_share_of_all(head: int) -> None:
    q, k = drawn(30, 6, 8), drawn(17, 2, 8, seed=1)
    found = probabilities(q, k, head, slice(2, 9))
    logits = q[:, head].double() @ k[:, head // 3].double().T / 8**0.5  # three heads share a key
    shares = logits.exp() / logits.exp().sum(1, keepdim=True)
    assert found.shape == (30, 7) and found.dtype == torch.float32
    assert (found - shares[:, 2:9]).abs().max() < 16 * torch.finfo(torch.float32).eps
    assert (found.sum(1) < 1).all()  # the other keys have the rest


# --- what heads say together --------------------------------------------------------------


def plain_scores(heads: list[Floats]) -> Floats:
    """The same as one reads it, in double precision. Heads are [frames, tokens]."""

    def softmax(x: Floats, axis: int) -> Floats:
        raised = np.exp(x)
        return raised / raised.sum(axis, keepdims=True)

    every = []
    for head in heads:
        p = head.T
        x = softmax(p, 1) * softmax(p, 0)
        x = np.maximum(x - 2 * np.median(x, axis=1, keepdims=True), 0)
        x = np.maximum(x - 2 * np.median(x, axis=0, keepdims=True), 0)
        every.append(x**2)
    stack = np.stack(every)
    return ((stack - stack.mean()) / stack.std()).mean(0)


@pytest.mark.parametrize("shape", [(40, 7), (41, 8), (9, 30), (12, 5), (500, 61)])
def test_scores_are_what_the_steps_say(shape: tuple[int, int]) -> None:
    heads = [(6 * drawn(*shape, seed=n)).softmax(-1) for n in range(3)]
    together = Consensus()
    for head in heads:
        together.add(head)
    found = together.scores()
    assert found is not None and found.shape == shape[::-1]
    expected = plain_scores([head.double().numpy() for head in heads])
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


def test_heads_that_look_everywhere_say_nothing() -> None:
    together = Consensus()
    together.add(torch.full((50, 9), 1 / 9))
    together.add((drawn(50, 9) / 10).softmax(-1))
    assert together.scores() is None


@given(st.integers(1, 9), st.data())
@settings(max_examples=60, deadline=None)
def test_a_median_lies_between_the_middle_two(width: int, data: st.DataObject) -> None:
    values = st.lists(st.integers(0, 3), min_size=width, max_size=width)
    rows = np.array(data.draw(st.lists(values, min_size=1, max_size=5)), dtype=np.float32)
    assert np.array_equal(median(torch.from_numpy(rows)).numpy(), np.median(rows, axis=1))


# --- warping -------------------------------------------------------------------------------


def cheapest(cost: Floats) -> float:
    """The cost of the cheapest path, cell by cell."""
    best = np.full(cost.shape, np.inf)
    for i, j in np.ndindex(*cost.shape):
        before = [best[a, b] for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 <= b]
        best[i, j] = cost[i, j] + (min(before) if before else 0)
    return float(best[-1, -1])


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 10_000), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_path_is_cheaper(tokens: int, frames: int, seed: int, whole: bool) -> None:
    """Also where many cost the same: whole numbers tie all the time."""
    cost = np.random.default_rng(seed).normal(size=(tokens, frames))
    cost = np.round(cost) if whole else cost
    first, last = warp(cost)
    assert first[0] == 0 and last[-1] == frames - 1
    assert all(first[i] - last[i - 1] in (0, 1) for i in range(1, tokens))
    assert (last >= first).all()
    paid = sum(cost[i, a : b + 1].sum() for i, (a, b) in enumerate(zip(first, last, strict=True)))
    assert paid == pytest.approx(cheapest(cost))


def test_tokens_that_nothing_tells_apart_stand_before_the_next_that_something_does() -> None:
    scores = np.zeros((6, 40))
    scores[0, 3] = scores[4, 30] = 9.0  # a token each; three between them that nothing says
    first, last = warp(1 - scores)
    assert first[0] == 0 and first[4] == 30
    assert list(first[1:4]) == [27, 28, 29] and last[0] == 26


def test_of_two_ways_around_a_corner_the_token_is_held_longer() -> None:
    first, last = warp(np.array([[0.0, -1.0], [-1.0, 0.0]]))
    assert (list(first), list(last)) == ([0, 0], [0, 1])


@pytest.mark.parametrize("slope", [1, 4, 12])
def test_a_planted_diagonal_is_found(slope: int) -> None:
    tokens = 25
    p = 0.01 * torch.rand(tokens * slope, tokens, generator=torch.Generator().manual_seed(3))
    for frame in range(tokens * slope):
        p[frame, frame // slope] = 0.9
    together = Consensus()
    together.add(p)
    together.add((drawn(tokens * slope, tokens) / 10).softmax(-1))  # one that says nothing
    scores = together.scores()
    assert scores is not None
    first, last = warp(-scores)
    assert list(first) == [slope * i for i in range(tokens)]
    assert list(last) == [slope * (i + 1) - 1 for i in range(tokens)]


def test_what_everything_looks_at_does_not_lead_astray() -> None:
    """One token attended to in every frame, and one frame that looks at every token."""
    p = torch.full((60, 10), 0.01)
    for frame in range(60):
        p[frame, frame // 6] = 0.6
    p[:, 4] += 0.6
    p[17, :] += 0.6
    together = Consensus()
    together.add(p)
    scores = together.scores()
    assert scores is not None
    first, _ = warp(-scores)
    assert all(abs(int(first[i]) - 6 * i) <= 1 for i in range(10) if i not in (4, 5)), first
