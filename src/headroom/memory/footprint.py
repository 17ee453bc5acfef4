"""What a model says it needs: bytes of its parts, bytes of room for each stage of its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Component:
    """A network: the bytes of its repeated blocks, and of all the rest, in `precision`."""

    name: str
    blocks: tuple[int, ...]
    rest: int
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.rest < 0 or any(block < 0 for block in self.blocks):
            raise ValueError(f"component {self.name!r} has negative bytes")

    @property
    def bytes(self) -> int:
        """All of it."""
        return sum(self.blocks) + self.rest

    def window(self) -> int:
        """Bytes on the device while streamed: the rest, the block at work, the one on its way."""
        return self.rest + min(2 * max(self.blocks, default=0), sum(self.blocks))


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the work: the components it uses, how often, and the room it needs beside them.

    workspace  bytes, one entry for each way to cut the work, the preferred one first, none larger
               than the one before. Without `tiles` entry n−1 is the work in n equal pieces.
    tiles      for work that goes tile by tile: the tile of each entry, in the model's own unit
    passes     how often each component is gone through
    seconds    of computing, in the preferred cut, where the model can say
    result     bytes of its result that stay on the device until the run ends
    """

    name: str
    uses: tuple[str, ...]
    workspace: tuple[int, ...]
    passes: int = 1
    seconds: float = 0.0
    tiles: tuple[int, ...] = ()
    result: int = 0

    def __post_init__(self) -> None:
        if not self.workspace or min(self.workspace) < 0 or self.result < 0:
            raise ValueError(f"stage {self.name!r} needs a workspace of at least one entry, >= 0")
        if any(later > earlier for earlier, later in pairwise(self.workspace)):
            raise ValueError(f"stage {self.name!r}: a finer cut needs more room: {self.workspace}")
        if self.tiles and len(self.tiles) != len(self.workspace):
            raise ValueError(f"stage {self.name!r}: {len(self.tiles)} tiles")
        if self.passes < 1 or self.seconds < 0:
            raise ValueError(f"stage {self.name!r}: {self.passes} passes, {self.seconds} s")


@dataclass(frozen=True, slots=True)
class Footprint:
    """All that one render needs: its components, and its stages in order."""

    components: tuple[Component, ...]
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        known = _once("component", [c.name for c in self.components])
        _once("stage", [s.name for s in self.stages])
        for stage in self.stages:
            if missing := set(stage.uses) - known:
                raise ValueError(f"stage {stage.name!r} uses unknown {sorted(missing)}")

    def used_by(self, stage: Stage) -> tuple[Component, ...]:
        """The components a stage uses."""
        return tuple(c for c in self.components if c.name in stage.uses)


def _once(what: str, names: Sequence[str]) -> set[str]:
    found = set(names)
    if len(found) != len(names):
        raise ValueError(f"a {what} is named twice in {list(names)}")
    return found
