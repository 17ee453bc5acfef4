"""From logits to tokens: temperature, top-k, top-p, repetition penalty, and one uniform a token.

Tokens are sampled by inverting the cumulative distribution in vocabulary order, so a change in the
last bits of a probability changes a token only where the uniform lies on a border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from headroom.nn.causal import HIDDEN

NONE = -1  # returned where nothing can be sampled


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are sampled.

    temperature  0: the most likely token
    top_k        only from the k most likely; 0: from all
    top_p        only from the smallest set with that probability; 1: from all
    penalty      on tokens sampled before (Keskar et al., "CTRL", 2019); 1: none
    """

    temperature: float
    top_k: int
    top_p: float
    penalty: float


def guided(logits: Tensor, scale: float) -> Tensor:
    """Logits [2·S, n], conditional ones first, then unconditional ones → [S, n] in fp32.

    U + s · (C − U): classifier-free guidance (Ho and Salimans, 2022).
    """
    conditional, unconditional = logits.float().chunk(2)
    return torch.lerp(unconditional, conditional, scale)


def penalised(logits: Tensor, drawn: Tensor, penalty: float) -> Tensor:
    """Logits [S, n] with tokens sampled before, marked in [S, n], made less likely."""
    lower = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(drawn, lower, logits)


def draw_tokens(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """Token numbers [S] for fp32 logits [S, n] and uniforms [S] in [0, 1); NONE where the logits
    are NaN, which is detected without waiting for the device."""
    if sampling.temperature == 0:
        most, tokens = logits.max(-1)
        return tokens.masked_fill_((most.abs() < math.inf).logical_not_(), NONE)
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, HIDDEN)
    odds = logits.softmax(-1)
    if sampling.top_p < 1:
        odds = _nucleus(odds, sampling.top_p)
    sums = odds.cumsum(-1)
    total = sums[:, -1:]
    below = torch.nextafter(total, torch.zeros_like(total))  # so that some sum lies above
    thresholds = torch.minimum(uniforms.unsqueeze(1) * total, below)
    tokens = torch.searchsorted(sums, thresholds, right=True)
    del below, thresholds  # so that what follows needs no more memory
    return tokens.masked_fill_((total > 0).logical_not_(), NONE).squeeze(1)


def _nucleus(odds: Tensor, share: float) -> Tensor:
    """The smallest set of most likely tokens with that probability (Holtzman et al., 2019)."""
    falling = odds.sort(-1, descending=True).values
    before = falling.cumsum(-1) - falling
    least = falling.masked_fill(before >= share, 2.0).amin(-1, keepdim=True)
    return odds.masked_fill(odds < least, 0.0)
