"""Repeated blocks that are gone through in order, and the one place where that can be watched.

A network says `for block in self.layers.through()` and computes with each block as it comes. Who
moves weights may set `passage`, and so have each block ready when its turn comes and have it back
afterwards; the network does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from torch import nn

Passage: TypeAlias = Callable[[Sequence[nn.Module]], Iterator[nn.Module]]
"""Yields the blocks in order; each may be computed with until the next is asked for."""


class Blocks(nn.ModuleList):
    """A list of like modules. Keys as those of `nn.ModuleList`."""

    passage: Passage | None = None

    def through(self) -> Iterator[nn.Module]:
        """Every block once, in order."""
        blocks = tuple(self)
        return iter(blocks) if self.passage is None else self.passage(blocks)
