"""Tokens from logits: against a scalar sampler written apart, and against the odds themselves."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from headroom.lm.cost import cache_bytes, capacity
from headroom.lm.sample import NONE, Sampling, draw_tokens, guided, penalised

PLAIN = Sampling(1.0, 0, 1.0, 1.0)


def scalar(logits: list[float], uniform: float, sampling: Sampling) -> int:
    """The token, by the words of the rule, one number at a time."""
    if sampling.temperature == 0:
        return max(range(len(logits)), key=lambda i: (logits[i], -i))
    scaled = [x / sampling.temperature for x in logits]
    falling = sorted(range(len(scaled)), key=lambda i: -scaled[i])
    if sampling.top_k:
        falling = falling[: sampling.top_k]
    weights = {i: math.exp(scaled[i] - max(scaled)) for i in falling}
    whole = sum(weights.values())
    kept, total = [], 0.0
    for i in falling:
        if total >= sampling.top_p:
            break
        kept.append(i)
        total += weights[i] / whole
    kept.sort()
    mark, reached = uniform * sum(weights[i] for i in kept), 0.0
    for i in kept:
        reached += weights[i]
        if reached > mark:
            return i
    return kept[-1]


@pytest.mark.parametrize(
    "sampling",
    [
        PLAIN,
        Sampling(0.0, 0, 1.0, 1.0),
        Sampling(0.7, 0, 0.9, 1.0),
        Sampling(1.3, 5, 1.0, 1.0),
        Sampling(0.85, 20, 0.5, 1.0),
        Sampling(0.85, 1, 0.9, 1.0),
        Sampling(0.85, 0, 1e-6, 1.0),
    ],
)
def test_a_token_is_the_one_the_rule_says(sampling: Sampling) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(400, 60, generator=generator, dtype=torch.float64) * 3
    uniforms = torch.rand(400, generator=generator, dtype=torch.float64)
    found = draw_tokens(logits, uniforms, sampling).tolist()
    cases = zip(logits.tolist(), uniforms.tolist(), strict=True)
    assert found == [scalar(row, uniform, sampling) for row, uniform in cases]


def sorted_out(logits: list[float], sampling: Sampling) -> set[int]:
    """The tokens that may come, by sorting: what is as likely as the last of them comes too."""
    scaled = [x / sampling.temperature for x in logits]
    falling = sorted(scaled, reverse=True)
    if sampling.top_k:
        falling = falling[: sampling.top_k]
        scaled = [x if x >= falling[-1] else -math.inf for x in scaled]
        falling = sorted((x for x in scaled if x > -math.inf), reverse=True)
    whole, total, least = sum(math.exp(x - falling[0]) for x in falling), 0.0, falling[0]
    for x in falling:
        if total >= sampling.top_p:
            break
        total, least = total + math.exp(x - falling[0]) / whole, x
    return {i for i, x in enumerate(scaled) if x >= least}


@pytest.mark.parametrize("seed", range(60))
def test_no_token_comes_that_is_sorted_out_and_every_other_does(seed: int) -> None:
    """Also where many are equally likely, as they are in bfloat16."""
    rng = random.Random(seed)
    sampling = Sampling(
        rng.uniform(0.5, 1.5), rng.choice((0, 1, 3, 7, 100)),
        rng.choice((1e-6, 0.31, 0.5, 0.77, 0.9, 1.0)), 1.0,
    )  # fmt: skip
    size = rng.randint(1, 20)
    step = rng.choice((1e-6, 0.5))  # the second makes many ties
    row = [round(rng.gauss(0, 1) / step) * step for _ in range(size)]
    uniforms = torch.arange(4000, dtype=torch.float64) / 4000
    logits = torch.tensor([row], dtype=torch.float64).expand(len(uniforms), -1)
    assert set(draw_tokens(logits, uniforms, sampling).tolist()) == sorted_out(row, sampling)


@pytest.mark.parametrize("seed", range(8))
def test_a_row_is_drawn_from_as_if_it_were_alone(seed: int) -> None:
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    sampling = Sampling(
        rng.choice((0.0, 0.7, 1.3)), rng.choice((0, 40)), rng.choice((0.6, 0.9, 1.0)), 1.0
    )
    logits = torch.randn(9, 500, generator=generator) * 3
    uniforms = torch.rand(9, generator=generator)
    together = draw_tokens(logits, uniforms, sampling)
    alone = [draw_tokens(logits[i : i + 1], uniforms[i : i + 1], sampling) for i in range(9)]
    assert torch.equal(together, torch.cat(alone))
    order = torch.randperm(9, generator=generator)
    assert torch.equal(draw_tokens(logits[order], uniforms[order], sampling), together[order])


@pytest.mark.parametrize("seed", range(4))
def test_cold_is_the_likeliest_whatever_else_is_said(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(50, 300, generator=generator)
    uniforms = torch.rand(50, generator=generator)
    for sampling in (Sampling(0.0, 0, 1.0, 1.0), Sampling(0.0, 7, 0.3, 1.0)):
        assert torch.equal(draw_tokens(logits, uniforms, sampling), logits.argmax(-1))
    assert torch.equal(
        draw_tokens(logits, uniforms, Sampling(1e-4, 0, 1.0, 1.0)), logits.argmax(-1)
    )


def test_tokens_come_as_often_as_their_odds_say() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(20_000, -1)
    uniforms = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(draw_tokens(logits, uniforms, PLAIN), minlength=4) / 20_000
    torch.testing.assert_close(counts, logits[0].softmax(-1), atol=0.015, rtol=0)


def test_the_ends_of_the_uniforms_give_tokens_that_can_be() -> None:
    logits = torch.full((2, 64_000), -1e4)
    logits[:, [7, 63_000]] = 1.0
    ends = torch.tensor([0.0, 1 - 2**-24])
    assert draw_tokens(logits, ends, PLAIN).tolist() == [7, 63_000]
    assert draw_tokens(logits, ends, replace(PLAIN, top_p=0.9)).tolist() == [7, 63_000]


def test_a_penalty_makes_what_was_drawn_less_likely() -> None:
    logits = torch.tensor([[2.0, -2.0, 1.0]])
    drawn = torch.tensor([[True, True, False]])
    assert penalised(logits, drawn, 2.0).tolist() == [[1.0, -4.0, 1.0]]


def test_guidance_goes_away_from_the_other_prompt() -> None:
    logits = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    assert guided(logits, 2.0).tolist() == [[2.0, 1.0]]
    assert guided(logits, 1.0).tolist() == [[1.0, 2.0]]


def test_a_cache_takes_what_the_released_models_take() -> None:
    # Bytes a token in bf16, layers x 2 x key heads x width of a head x 2 bytes.
    assert cache_bytes(28, 8, 128, 1, 4096, 2) == 4096 * 114_688
    assert cache_bytes(36, 8, 128, 2, 4096, 2) == 2 * 4096 * 147_456
    assert capacity(1) == 256 and capacity(257) == 512


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=["nan", "inf", "all hidden"])
@pytest.mark.parametrize(
    "sampling",
    [PLAIN, Sampling(0.0, 0, 1.0, 1.0), Sampling(0.85, 0, 0.9, 1.0), Sampling(1.0, 5, 0.9, 1.0)],
)
def test_where_logits_are_no_numbers_nothing_is_drawn(sampling: Sampling, bad: float) -> None:
    generator = torch.Generator().manual_seed(2)
    logits, uniforms = torch.randn(3, 40, generator=generator), torch.rand(3, generator=generator)
    plain = draw_tokens(logits, uniforms, sampling)
    spoilt = logits.clone()
    spoilt[1, slice(None) if bad == -math.inf else slice(7, 8)] = bad
    found = draw_tokens(spoilt, uniforms, sampling)
    assert found[1] == NONE and (found[[0, 2]] == plain[[0, 2]]).all() and NONE not in plain
