"""What fewer bits do to logits, on drawn weights: int8 and fp8 weights, activations as they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from headroom.memory.precision import PRECISIONS
from headroom.models.acestep.cost.lm_cost import PRECISIONS_OF_LM
from headroom.nn.causal import CausalLM
from headroom.nn.qwen3 import LayerSizes
from headroom.runtime.quantize import quantize
from support.tiny_lm import draw_weights, random_ids

WORDS = 1000
TOKENS = 50
SIZES = LayerSizes(width=256, hidden=768, heads=4, kv_heads=2, head_dim=64, eps=1e-6, theta=1e6)
# The largest and the typical error in standard deviations of the logits, and the cosine of the row
# that is furthest off. Steps of a row's largest weight / 127 are off by 0.7 % a product in the
# mean, and some 16 of them add up; half as many steps would be twice as far off.
BOUNDS = {"int8": (0.2, 0.035, 0.9988), "fp8": (0.75, 0.13, 0.985)}


def network(seed: int) -> CausalLM:
    made = CausalLM(SIZES, 2, WORDS).requires_grad_(False).eval()
    draw_weights(made, seed)
    return made


def logits(model: CausalLM, seed: int) -> Tensor:
    hidden = model(torch.tensor(random_ids(TOKENS, seed, WORDS)), [TOKENS])
    return model.logits(hidden, slice(0, WORDS)).double()


def hold(found: Tensor, exact: Tensor, precision: str) -> None:
    most, usual, cosine = BOUNDS[precision]
    off, spread = found - exact, exact.std()
    assert 0 < off.abs().max() <= most * spread
    assert off.std() <= usual * spread
    assert torch.cosine_similarity(found, exact, dim=-1).min() >= cosine


def test_these_are_the_precisions_of_a_language_model() -> None:
    assert set(BOUNDS) == set(PRECISIONS_OF_LM) <= PRECISIONS.keys()


@pytest.mark.parametrize("precision", PRECISIONS_OF_LM)
@pytest.mark.parametrize("seed", range(5))
@torch.inference_mode()
def test_weights_in_fewer_bits_move_logits_no_further_than_their_steps(
    precision: str, seed: int
) -> None:
    model = network(seed)
    exact = logits(model, seed)
    quantize(model, precision)
    hold(logits(model, seed), exact, precision)


@pytest.mark.parametrize("precision", PRECISIONS_OF_LM)
@torch.inference_mode()
def test_an_activation_that_towers_over_all_others_does_no_harm(precision: str) -> None:
    """As the first token of a turn has it in one channel. Weights
    have a step a row, and activations none."""
    model = network(7)
    first = random_ids(TOKENS, 7, WORDS)[0]
    model.embed_tokens.weight[first, 100] = 2e4
    others = torch.arange(WORDS) != first  # the head is the table: its own word is all about it
    exact = logits(model, 7)[1:, others]
    quantize(model, precision)
    hold(logits(model, 7)[1:, others], exact, precision)
