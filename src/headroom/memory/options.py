"""Every way one stage can be done on a card, as (bytes, seconds), and the best of them.

Stages do not overlap in time, so each is looked at alone: what it needs depends on the others only
by the bytes they leave resident. What is kept of the many ways is the frontier: those that no other
beats in both bytes and seconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from headroom.hardware.machine import Machine
from headroom.memory.footprint import Component, Form, Stage, Way
from headroom.memory.plan import SLOTS, Residency, Wishes, meets
from headroom.memory.precision import PRECISIONS

Modes: TypeAlias = tuple[tuple[Residency, int], ...]  # of each used component: how, blocks kept
Key: TypeAlias = tuple[float, int, int, int]  # seconds; then what is simpler
DIGITS = 9  # of seconds, beyond which two plans are equally fast

# How much longer a product of many rows takes on a host in a precision that is not its own: the
# most that was seen in `benchmarks/int8_product.py`, for processors differ.
HOST_SLOWDOWN: Mapping[str, float] = {"int8": 1.4, "fp8": 3.4, "w8a8": 1.0, "int4": 4.0}
UNKNOWN_HOST = 20.0  # times as slow as the device, where nobody measured the host


@dataclass(frozen=True, slots=True)
class Option:
    """One way to do a stage, its components placed.

    bytes   on the device: of its components that are not resident, and the workspace
    key     seconds, then transfers, pieces and the place among the ways: less is preferred
    copied  bytes of weights that go to the device
    """

    bytes: int
    key: Key
    modes: Modes
    way: Way
    copied: int

    @property
    def seconds(self) -> float:
        """Expected."""
        return self.key[0]


@dataclass(frozen=True, slots=True)
class Frontier:
    """Options in order of their bytes, each faster than all that need less."""

    options: tuple[Option, ...]
    sizes: tuple[int, ...]

    def within(self, room: int) -> Option | None:
        """The best that needs no more than `room` bytes."""
        index = bisect_right(self.sizes, room)
        return self.options[index - 1] if index else None

    @property
    def least(self) -> int | None:
        """The fewest bytes of any; None: it cannot be done."""
        return self.sizes[0] if self.sizes else None


def frontier(options: Iterable[Option]) -> Frontier:
    """The options that are worth having."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda o: (o.bytes, o.key)):
        if not kept or option.key < kept[-1].key:
            kept.append(option)
    return Frontier(tuple(kept), tuple(o.bytes for o in kept))


def ways_of(stage: Stage, precisions: Sequence[str], wishes: Wishes) -> list[tuple[int, Way]]:
    """The ways that go with these precisions and with what was wished, with their places."""
    found = [
        (index, way)
        for index, way in enumerate(stage.ways)
        if way.precision is None or way.precision in precisions
    ]
    cut = wishes.cut(stage.name)
    for wanted in (
        (lambda way: meets(way, cut)) if cut is not None else None,
        (lambda way: way.pieces == 1) if wishes.whole else None,
    ):
        if wanted is not None:
            found = [pair for pair in found if wanted(pair[1])] or found
    return found


def device_options(
    stage: Stage,
    parts: Sequence[tuple[Form, tuple[tuple[Residency, int], ...]]],
    ways: Sequence[tuple[int, Way]],
    machine: Machine,
) -> Iterator[Option]:
    """Every way on the device, for every combination of the modes that each part may be in."""
    forms = [form for form, _ in parts]
    for modes in product(*(allowed for _, allowed in parts)):
        held = before = passing = moves = 0
        for form, (how, kept) in zip(forms, modes, strict=True):
            if how is Residency.RESIDENT:
                continue
            moves += 1 + (how is Residency.STREAMED)
            if how is Residency.SWAPPED:
                held, before = held + form.bytes, before + form.bytes
            else:
                through = sum(form.blocks[kept:])
                held += form.window(kept, SLOTS)
                before += form.bytes - through
                passing += through
        for index, way in ways:
            streamed = passing * stage.passes * way.pieces
            seconds = _seconds(stage, forms, way, machine, before, streamed)
            key = (round(seconds, DIGITS), moves, way.pieces, index)
            yield Option(held + way.workspace, key, modes, way, before + streamed)


def _seconds(
    stage: Stage, forms: Sequence[Form], way: Way, machine: Machine, before: int, streamed: int
) -> float:
    compute = _compute(stage, forms, way, machine)
    if machine.copy_rate is None:
        return compute
    return before / machine.copy_rate + max(compute, streamed / machine.copy_rate)


def _compute(stage: Stage, forms: Sequence[Form], way: Way, machine: Machine) -> float:
    flops = stage.flops * (1 + way.more)
    products = flops / machine.matrix_rate if machine.matrix_rate else 0.0
    if not machine.memory_rate:
        return products
    passes = stage.passes * way.pieces
    read = sum(form.bytes for form in forms) * passes
    written = sum(
        form.bytes * (PRECISIONS[form.precision].traffic() - 1) * passes
        for form in forms
        if form.precision in PRECISIONS
    )
    return max(products, read / machine.memory_rate) + written / machine.memory_rate


def host_option(
    stage: Stage, forms: Sequence[Form], ways: Sequence[tuple[int, Way]], machine: Machine
) -> Option:
    """The whole stage on the host, which has room for the preferred way."""
    index, way = ways[0]
    slow = max((HOST_SLOWDOWN.get(form.precision, 1.0) for form in forms), default=1.0)
    if machine.host_rate:
        seconds = stage.flops * (1 + way.more) * slow / machine.host_rate
    else:
        seconds = UNKNOWN_HOST * _compute(stage, forms, way, machine)
    modes = ((Residency.HOST, 0),) * len(forms)
    return Option(0, (round(seconds, DIGITS), 1, way.pieces, index), modes, way, 0)


def modes_of(
    component: Component, form: Form, allowed: Sequence[Residency], shared: bool
) -> tuple[tuple[Residency, int], ...]:
    """How a component may be on the device, resident apart.

    One that several stages use keeps no blocks of its own choosing, so that all agree.
    """
    found = [(Residency.SWAPPED, 0)] if Residency.SWAPPED in allowed else []
    if Residency.STREAMED in allowed and component.streams and form.blocks:
        most = 1 if shared else len(form.blocks) - SLOTS + 1
        found += [(Residency.STREAMED, kept) for kept in range(max(1, most))]
    elif Residency.STREAMED in allowed and Residency.SWAPPED not in allowed:
        found.append((Residency.SWAPPED, 0))  # nothing of it can pass through
    return tuple(found)
