"""Describe what a model needs: the bytes of its parts, and the ways each stage can be done.

Bytes are those of live tensors, as exact as the model's formulas; what allocators and libraries
take on top belongs to the machine (`Machine.libraries`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

# Stage names shared by all families that have the stage. Settings choose DECODE's tile and device.
THINK, WRITE, DENOISE, DECODE = "think", "write codes", "denoise", "decode"


@dataclass(frozen=True, slots=True)
class Form:
    """A component in one precision.

    blocks     bytes of its repeated blocks, in the order they run
    rest       bytes of everything else, needed during the whole stage
    precision  a name from `headroom.memory.precision`
    """

    precision: str
    blocks: tuple[int, ...]
    rest: int

    def __post_init__(self) -> None:
        if self.rest < 0 or any(block < 0 for block in self.blocks):
            raise ValueError(f"a form in {self.precision} has negative bytes")

    @property
    def bytes(self) -> int:
        """Bytes of all its weights."""
        return sum(self.blocks) + self.rest

    def window(self, kept: int, slots: int) -> int:
        """Bytes on the device while streamed: the rest, the first `kept` blocks, and the ring of
        slots for the other blocks."""
        streamed = self.blocks[kept:]
        return (
            self.rest
            + sum(self.blocks[:kept])
            + min(slots, len(streamed)) * max(streamed, default=0)
        )


@dataclass(frozen=True, slots=True)
class Component:
    """A network: the bytes of its repeated blocks, and of everything else, in `precision`.

    others  the same in precisions it can be converted to
    core    whether it is the network that does most of the work, which a published tier may keep
            on the card while everything else comes and goes
    streams whether its blocks may be streamed through the device one after another
    """

    name: str
    blocks: tuple[int, ...]
    rest: int
    precision: str = "float32"
    others: tuple[Form, ...] = ()
    core: bool = False
    streams: bool = True

    def __post_init__(self) -> None:
        if self.rest < 0 or any(block < 0 for block in self.blocks):
            raise ValueError(f"component {self.name!r} has negative bytes")
        _once(f"precision of {self.name!r}", [form.precision for form in self.forms])

    @property
    def bytes(self) -> int:
        """Bytes of all its weights, in its own precision."""
        return sum(self.blocks) + self.rest

    @property
    def forms(self) -> tuple[Form, ...]:
        """All its forms, its own precision first."""
        return (Form(self.precision, self.blocks, self.rest), *self.others)

    def form(self, precision: str) -> Form:
        """The form in one precision. Raises KeyError that lists the available ones."""
        for form in self.forms:
            if form.precision == precision:
                return form
        have = [form.precision for form in self.forms]
        raise KeyError(f"component {self.name!r} is not there in {precision!r}, but in {have}")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do a stage.

    workspace  peak bytes on the device apart from the weights
    pieces     number of pieces the work is cut into, one after another (1: whole)
    tile       the size of a tile in the model's own unit, for work that goes tile by tile
    leaves     whether results leave the device as they are made, instead of at the end
    more       extra work relative to the preferred way, as a share (halos, short batches)
    precision  of the stage's convertible components, if the workspace depends on it; None: any
    """

    workspace: int
    pieces: int = 1
    tile: int | None = None
    leaves: bool = False
    more: float = 0.0
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.workspace < 0 or self.pieces < 1 or self.more < 0:
            raise ValueError(f"no way to do a stage: {self}")


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the work: the components it uses, how often, and the ways it can be done.

    ways     the preferred one first
    passes   how often the weights of each component are read in full
    flops    floating-point operations of all passes, done the preferred way
    result   bytes of its result that stay on the device
    until    the last stage that reads the result; None: kept to the end of the run
    host     bytes of host memory it takes, without weights
    """

    name: str
    uses: tuple[str, ...]
    ways: tuple[Way, ...]
    passes: int = 1
    flops: float = 0.0
    result: int = 0
    until: str | None = None
    host: int = 0

    def __post_init__(self) -> None:
        if not self.ways:
            raise ValueError(f"stage {self.name!r} cannot be done in any way")
        if self.passes < 1 or self.flops < 0 or self.result < 0 or self.host < 0:
            raise ValueError(f"stage {self.name!r}: {self.passes} passes, {self.flops} operations")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Everything one act (composing, rendering) needs: its components, and its stages in order.

    borders  of several acts, one after another: the index of the first stage of each but the first.
             What one act hands to the next is in host memory
    """

    components: tuple[Component, ...]
    stages: tuple[Stage, ...]
    borders: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        components = _once("component", [c.name for c in self.components])
        names = [s.name for s in self.stages]
        _once("stage", names)
        for index, stage in enumerate(self.stages):
            if missing := set(stage.uses) - components:
                raise ValueError(f"stage {stage.name!r} uses unknown {sorted(missing)}")
            end = next((border for border in self.borders if border > index), len(names))
            if stage.until is not None and stage.until not in names[index:end]:
                raise ValueError(f"stage {stage.name!r} keeps its result until {stage.until!r}")

    def then(self, other: Footprint) -> Footprint:
        """This act followed by another, as one; components with the same name are shared."""
        names = {c.name for c in self.components}
        more = tuple(c for c in other.components if c.name not in names)
        count = len(self.stages)
        borders = (*self.borders, count, *(count + border for border in other.borders))
        return Footprint((*self.components, *more), (*self.stages, *other.stages), borders)

    def used_by(self, stage: Stage) -> tuple[Component, ...]:
        """The components a stage uses."""
        return tuple(c for c in self.components if c.name in stage.uses)

    def held_during(self, index: int) -> int:
        """Bytes of earlier stages' results that are on the device during stage `index`."""
        names = [s.name for s in self.stages]
        return sum(
            earlier.result
            for earlier in self.stages[:index]
            if earlier.until is None or names.index(earlier.until) >= index
        )

    def remaining(self, done: Sequence[str]) -> Footprint:
        """The footprint without finished stages; the first remaining one holds their results."""
        left = tuple(s for s in self.stages if s.name not in done)
        if len(left) == len(self.stages) or not left:
            return Footprint(self.components, left)
        index = self.stages.index(left[0])
        held = self.held_during(index)
        ways = tuple(replace(way, workspace=way.workspace + held) for way in left[0].ways)
        gone = len(self.stages) - len(left)
        borders = tuple(border - gone for border in self.borders if border > gone)
        return Footprint(self.components, (replace(left[0], ways=ways), *left[1:]), borders)

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Stages that have to be done on one card, by index: those of an act, and of acts that
        share a component."""
        groups: list[set[int]] = []
        ends = (*self.borders, len(self.stages))
        for start, end in zip((0, *self.borders), ends, strict=True):
            one = set(range(start, end))
            used = {name for i in one for name in self.stages[i].uses}
            for other in [g for g in groups if used & {n for i in g for n in self.stages[i].uses}]:
                groups.remove(other)
                one |= other
            groups.append(one)
        return tuple(tuple(sorted(group)) for group in groups)

    def only(self, stages: Sequence[int]) -> Footprint:
        """The footprint of these stages alone, by index, with the components that they use.

        Those that no stage uses go with the first.
        """
        kept = tuple(self.stages[index] for index in stages)
        other = {name for stage in self.stages if stage not in kept for name in stage.uses}
        used = {name for stage in kept for name in stage.uses}
        mine = tuple(
            c for c in self.components if c.name in used or (0 in stages and c.name not in other)
        )
        return Footprint(mine, kept)


def _once(what: str, names: Sequence[str]) -> set[str]:
    unique = set(names)
    if len(unique) != len(names):
        raise ValueError(f"a {what} is named twice in {list(names)}")
    return unique
