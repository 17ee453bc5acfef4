"""The cache of keys and values: one allocation, sized to the request."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from headroom.lm.cost import capacity
from headroom.nn.causal import CachedLM, Past


class Cache:
    """Room for `rows` sequences of up to `tokens` tokens of a model, on a device.

    lengths  tokens each row holds
    """

    def __init__(self, model: CachedLM, rows: int, tokens: int, device: torch.device) -> None:
        self.capacity = capacity(tokens)
        sizes = model.sizes
        # Zeros: unwritten positions are multiplied by a zero weight, so they must be finite.
        self.memory = torch.zeros(
            2, len(model.layers), rows, sizes.kv_heads, self.capacity, sizes.head_dim,
            dtype=model.norm.weight.dtype, device=device,
        )  # fmt: skip
        self.past = tuple(Past(k, v) for k, v in zip(self.memory[0], self.memory[1], strict=True))
        self.lengths = [0] * rows

    @property
    def rows(self) -> int:
        """How many sequences fit."""
        return len(self.lengths)

    @property
    def bytes(self) -> int:
        """What it takes."""
        return int(self.memory.nbytes)

    def share(self, row: int, others: Iterable[int]) -> None:
        """Copy one row to other rows."""
        used = self.lengths[row]
        for other in others:
            self.memory[:, :, other, :, :used] = self.memory[:, :, row, :, :used]
            self.lengths[other] = used

    def take(self, other: Cache, row: int, into: int, used: int) -> None:
        """Copy the first `used` tokens of a row from another cache of the same model."""
        self.memory[:, :, into, :, :used] = other.memory[:, :, row, :, :used]
        self.lengths[into] = used
