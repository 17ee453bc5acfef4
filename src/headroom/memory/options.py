"""Enumerate the ways one stage can be done on a card, as (bytes, cost), and keep the best ones.

Stages do not overlap in time, so each is considered alone: what it needs depends on the others only
through the bytes they leave resident. Of the many ways, the frontier is kept: those that no other
way beats in both bytes and cost.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import NamedTuple, TypeAlias

from headroom.hardware.machine import Machine
from headroom.memory.footprint import Component, Form, Stage, Way
from headroom.memory.plan import SLOTS, Residency, Wishes, meets
from headroom.memory.precision import PRECISIONS

# How much longer a matrix product of many rows takes on a host in a converted precision: the
# largest ratio seen in `benchmarks/int8_product.py`, since processors differ.
HOST_SLOWDOWN: Mapping[str, float] = {"int8": 1.4, "fp8": 3.4, "w8a8": 1.0, "int4": 4.0}
UNKNOWN_HOST = 20.0  # times as slow as the device, assumed for a host that was not measured
HOST_START = 0.05  # s, assumed: a stage on the host wakes threads and has to be waited for

# A cost is one integer, so that sums of costs are exact and compare like tuples: first nanoseconds,
# then simplicity: fewer converted components, fewer streamed ones, fewer that move at all, fewer
# pieces, an earlier way. Each of these has 20 bits.
_BITS = 20
EARLIER, PIECE, MOVE, STREAM, CONVERSION, NANOSECOND = (1 << _BITS * i for i in range(6))
PAIRS = 64  # largest number of mode combinations of a stage's components that are all tried

Mode: TypeAlias = tuple[Form, Residency, int]  # a component's form, its residency, blocks kept


class Part(NamedTuple):
    """One component of a stage, in one mode.

    held     bytes on the device, without residents
    before   bytes copied before the work begins
    passing  bytes streamed through the device in each pass over the weights
    cost     the simplicity part of the cost
    """

    mode: Mode
    held: int
    before: int
    passing: int
    cost: int


class Timed(NamedTuple):
    """A way of a stage, its index among all ways, and nanoseconds of work on the device."""

    place: int
    way: Way
    compute: float


class Placing(NamedTuple):
    """All components of a stage, placed: the sums of its parts."""

    modes: tuple[Mode, ...]
    held: int
    before: int
    passing: int
    cost: int


class Option(NamedTuple):
    """A stage, placed and cut: `bytes` on the device without residents, bytes `copied` to it."""

    bytes: int
    cost: int
    modes: tuple[Mode, ...]
    way: Way
    copied: int

    @property
    def seconds(self) -> float:
        """Expected duration."""
        return (self.cost // NANOSECOND) / 1e9

    @property
    def on_host(self) -> bool:
        """Whether the stage runs on the host."""
        return bool(self.modes) and self.modes[0][1] is Residency.HOST


@dataclass(frozen=True, slots=True)
class Frontier:
    """Bytes in ascending order, and the costs, which fall as bytes rise."""

    sizes: tuple[int, ...]
    costs: tuple[int, ...]
    options: tuple[Option, ...] = ()  # left out if only the costs are needed

    def cost(self, room: int) -> int | None:
        """Cost of the best option that needs at most `room` bytes; None: there is none."""
        index = bisect_right(self.sizes, room)
        return self.costs[index - 1] if index else None

    def within(self, room: int) -> Option:
        """The best option that needs at most `room` bytes; there must be one."""
        return self.options[bisect_right(self.sizes, room) - 1]


def envelope(points: Iterable[tuple[int, int]]) -> Frontier:
    """The frontier of points (bytes, cost), without options."""
    sizes: list[int] = []
    costs: list[int] = []
    for size, cost in sorted(points):
        if not costs or cost < costs[-1]:
            sizes.append(size)
            costs.append(cost)
    return Frontier(tuple(sizes), tuple(costs))


def ways_of(
    stage: Stage, components: Sequence[Component], forms: Sequence[Form], wishes: Wishes
) -> list[tuple[int, Way]]:
    """The ways for components in these forms that meet the wishes, with their indices.

    Only ways for the forms' precisions count: those of converted components if there are any, else
    those of convertible ones. A wish that no way meets is ignored.
    """
    kinds = [f for c, f in zip(components, forms, strict=True) if c.others] or list(forms)
    names = {f.precision for f in kinds if not _is_exact(f)} or {f.precision for f in kinds}
    candidates = [
        (index, way)
        for index, way in enumerate(stage.ways)
        if way.precision is None or way.precision in names
    ]
    cut = wishes.cut(stage.name)
    if cut is not None:
        candidates = [pair for pair in candidates if meets(pair[1], cut)] or candidates
    if wishes.whole:
        candidates = [pair for pair in candidates if pair[1].pieces == 1] or candidates
    kept: list[tuple[int, Way]] = []
    for pair in candidates:
        if not any(_beats(before, pair[1]) for _, before in kept):
            kept.append(pair)
    return kept


def _beats(a: Way, b: Way) -> bool:
    """Whether way `a` is no worse in any respect than `b`, which comes after it."""
    return a.workspace <= b.workspace and a.pieces <= b.pieces and a.more <= b.more


def resident(form: Form) -> Part:
    """The mode of a component that stays on the device: a stage neither copies nor counts it."""
    return Part((form, Residency.RESIDENT, 0), 0, 0, 0, 0)


def parts_of(
    component: Component, form: Form, allowed: Sequence[Residency], counted: bool
) -> tuple[Part, ...]:
    """The modes a component may have in a stage if it does not stay on the device.

    counted  whether the stage counts the simplicity part of their cost
    """
    parts: list[Part] = []
    size, streams = form.bytes, component.streams and bool(form.blocks)

    def cost(how: Residency) -> int:
        return mode_cost((form, how, 0)) if counted else 0

    if Residency.SWAPPED in allowed or (Residency.STREAMED in allowed and not streams):
        swapped = form, Residency.SWAPPED, 0
        parts.append(Part(swapped, size, size, 0, cost(Residency.SWAPPED)))
    if Residency.STREAMED in allowed and streams:
        passing, each = sum(form.blocks), cost(Residency.STREAMED)
        for kept, block in enumerate(form.blocks):
            mode, held = (form, Residency.STREAMED, kept), form.window(kept, SLOTS)
            parts.append(Part(mode, held, size - passing, passing, each))
            passing -= block
    if Residency.HOST in allowed:
        parts.append(Part((form, Residency.HOST, 0), 0, 0, 0, cost(Residency.HOST)))
    return tuple(parts)


def mode_cost(mode: Mode) -> int:
    """The simplicity cost of this mode, compared with an unchanged, resident component."""
    form, how, _ = mode
    cost = 0 if _is_exact(form) else CONVERSION
    if how is not Residency.RESIDENT:
        cost += STREAM if how is Residency.STREAMED else MOVE
    return cost


def placings(
    components: Sequence[Sequence[Part]],
) -> Iterator[tuple[tuple[Form, ...], list[Placing]]]:
    """For each combination of forms, the placings on the device, the most streamed bytes first.

    Of several components with many blocks, at most one keeps only some of its blocks on the device;
    those before it keep all, those after it none. This way any budget can be filled to within a
    block.
    """
    by_form: list[dict[str, list[Part]]] = []
    for parts in components:
        forms: dict[str, list[Part]] = {}
        for part in parts:
            if part.mode[1] is not Residency.HOST:
                forms.setdefault(part.mode[0].precision, []).append(part)
        by_form.append(forms)
    for choices in product(*(forms.values() for forms in by_form)):
        if len(choices) == 1:
            placings = [Placing((part.mode,), *part[1:]) for part in choices[0]]
        else:
            many = prod(len(one) for one in choices) > PAIRS
            placings = [_placed(c) for c in (_one_keeps(choices) if many else product(*choices))]
        placings.sort(key=_falling)
        yield tuple(one[0].mode[0] for one in choices), placings


def _placed(chosen: Sequence[Part]) -> Placing:
    held = before = passing = cost = 0
    for part in chosen:
        held += part.held
        before += part.before
        passing += part.passing
        cost += part.cost
    return Placing(tuple([part.mode for part in chosen]), held, before, passing, cost)


def _one_keeps(choices: Sequence[list[Part]]) -> Iterator[tuple[Part, ...]]:
    plain = [[p for p in one if not p.mode[2]] for one in choices]
    yield from product(*plain)
    for index, one in enumerate(choices):
        keeping = [p for p in one if p.mode[2]]
        whole = [_where(parts, Residency.SWAPPED) for parts in plain[:index]]
        none = [_where(parts, Residency.STREAMED) for parts in plain[index + 1 :]]
        yield from product(*whole, keeping, *none)


def _where(parts: list[Part], how: Residency) -> list[Part]:
    return [part for part in parts if part.mode[1] is how] or parts


def _falling(placing: Placing) -> int:
    return -placing.passing


def device_options(
    stage: Stage,
    groups: Iterable[tuple[Sequence[Placing], Sequence[Timed]]],
    machine: Machine,
    room: int,
) -> list[Option]:
    """The options worth keeping among all ways on the device that need at most `room` bytes.

    groups  placings in the same forms, the most streamed bytes first, with the ways for these
    """
    to_device = 1e9 / machine.copy_rate if machine.copy_rate else 0.0  # ns per byte
    points: list[tuple[int, int, int, int, int]] = []
    placings: list[Placing] = []
    for placed, ways in groups:
        first = len(placings)
        placings += placed
        for place, way, compute in ways:
            each = to_device * stage.passes * way.pieces
            simple = way.pieces * PIECE + place * EARLIER
            left, hidden = room - way.workspace, room + 1
            for number, (_, held, before, passing, cost) in enumerate(placed, first):
                if held > left:
                    continue
                streaming = passing * each
                if streaming <= compute:
                    # Streaming less and copying more first pays only if it needs fewer bytes.
                    if held >= hidden and to_device:
                        continue
                    hidden, streaming = held, compute
                nanoseconds = int(before * to_device + streaming + 0.5)
                points.append(
                    (held + way.workspace, nanoseconds, cost + simple, number, place)
                )  # fmt: skip
    points.sort()
    options: list[Option] = []
    best = (-1, -1)
    for size, nanoseconds, simple, number, place in points:
        if options and (nanoseconds, simple) >= best:
            continue
        best = nanoseconds, simple
        placing, way = placings[number], stage.ways[place]
        copied = placing.before + placing.passing * stage.passes * way.pieces
        cost = nanoseconds * NANOSECOND + simple
        options.append(Option(size, cost, placing.modes, way, copied))
    return options


def host_option(
    stage: Stage, parts: Sequence[Part], ways: Sequence[tuple[int, Way]], machine: Machine
) -> Option:
    """The whole stage on a card's host, which has room for the preferred way."""
    index, way = ways[0]
    modes = tuple(part.mode for part in parts)
    seconds = HOST_START + host_seconds(stage, [mode[0] for mode in modes], way, machine)
    simple = sum(part.cost for part in parts) + way.pieces * PIECE + index * EARLIER
    return Option(0, round(seconds * 1e9) * NANOSECOND + simple, modes, way, 0)


def host_seconds(stage: Stage, forms: Sequence[Form], way: Way, machine: Machine) -> float:
    """Seconds of a stage on the host: the longer of computing and reading the weights."""
    if not machine.host_rate:
        return UNKNOWN_HOST * compute_seconds(stage, forms, way, machine)
    slow = max((HOST_SLOWDOWN.get(form.precision, 1.0) for form in forms), default=1.0)
    products = stage.flops * (1 + way.more) * slow / machine.host_rate
    if not machine.host_memory_rate:
        return products
    read = sum(form.bytes for form in forms) * stage.passes * way.pieces
    return max(products, read / machine.host_memory_rate)


def compute_seconds(stage: Stage, forms: Sequence[Form], way: Way, machine: Machine) -> float:
    """Seconds of a stage on the device: the longer of computing and reading, plus writing out."""
    flops = stage.flops * (1 + way.more)
    products = flops / machine.matrix_rate if machine.matrix_rate else 0.0
    if not machine.memory_rate:
        return products
    read = written = 0.0
    for form in forms:
        read += form.bytes
        if form.precision in PRECISIONS:
            written += form.bytes * (PRECISIONS[form.precision].traffic() - 1)
    passes = stage.passes * way.pieces / machine.memory_rate
    return max(products, read * passes) + written * passes


def _is_exact(form: Form) -> bool:
    precision = PRECISIONS.get(form.precision)
    return precision is None or precision.exact
