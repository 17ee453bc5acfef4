"""Iterate over a network's repeated blocks in order, with a hook for streaming their weights.

A network runs `for block in self.layers.through()` and computes with each block in turn. Code that
moves weights may set `passage` to make each block ready before its turn and to take it back
afterwards; the network is not aware of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from torch import nn

Passage: TypeAlias = Callable[[Sequence[nn.Module]], Iterator[nn.Module]]
"""Yields the blocks in order; each may be computed with until the next is asked for."""


class Blocks(nn.ModuleList):
    """A list of modules of the same kind. Keys: those of `nn.ModuleList`."""

    passage: Passage | None = None

    def through(self) -> Iterator[nn.Module]:
        """Every block once, in order."""
        blocks = tuple(self)
        return iter(blocks) if self.passage is None else self.passage(blocks)
