"""What rendering needs besides the networks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from headroom.models.acestep.networks.config import AceStepConfig
from headroom.models.acestep.text.prompts import PromptTokenizer


@dataclass(frozen=True, slots=True)
class Assets:
    """What rendering needs besides the networks, on the host."""

    config: AceStepConfig
    silence: Tensor  # [1, n, 64], fp32
    tokenizer: PromptTokenizer
