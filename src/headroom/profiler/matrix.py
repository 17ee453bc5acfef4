"""Profiler mode benchmark: length × batch × thinking × steps, inside the limits in force here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from headroom.engine.engine import Engine
from headroom.engine.limits import limits
from headroom.errors import (
    Cancelled,
    DoesNotFit,
    HeadroomError,
    LanguageModelFailed,
    OutOfMemory,
    RenderFailed,
)
from headroom.models.base import Planned, Seeded
from headroom.models.registry import family_named
from headroom.params.clamp import Note, clamp
from headroom.params.request import Request
from headroom.profiler.breakdown import Breakdown
from headroom.profiler.face import Face
from headroom.profiler.options import LENGTH, THINKING, Options, length_of
from headroom.profiler.single import Measured, measure, warm_up

DURATIONS = (30.0, 60.0, 120.0, 240.0)  # seconds
BATCHES = (1, 2, 4)
WITH_AND_WITHOUT = (False, True)
STEPS = (8, 16)
AS_SOURCE = "source"  # the length of the recording
OK = "OK"
FAILURES: dict[type[HeadroomError], str] = {
    DoesNotFit: "NO FIT",
    OutOfMemory: "OOM",
    RenderFailed: "FAILED",
    LanguageModelFailed: "FAILED",
}
WIDTHS = (11, 8, 8, 8, 11, 11, 11, 11, 7)
HEAD = ("Duration", "Batch", "Think", "Steps", "Wall(s)", "LM(s)", "DiT(s)", "VAE(s)", "Status")


@dataclass(frozen=True, slots=True)
class Cell:
    """A configuration, inside the limits. `steps_field`: the request's field for the steps, which
    depends on the family; that of the default family unless given."""

    request: Request
    steps_field: str | None = field(default_factory=lambda: family_named().steps_field)

    @property
    def thinking(self) -> bool:
        """Whether a language model plans the song."""
        return isinstance(self.request, Planned) and bool(getattr(self.request, THINKING, False))

    def words(self) -> str:
        """The configuration on one line."""
        think = ", thinking" if self.thinking else ""
        return f"{self.length} s, batch {self.batch}, {self.steps} steps{think}"

    @property
    def steps(self) -> object:
        """Requested denoising steps; None: the model decides."""
        return None if self.steps_field is None else getattr(self.request, self.steps_field)

    @property
    def batch(self) -> int:
        """Songs at once."""
        return self.request.batch_size if isinstance(self.request, Seeded) else 1

    @property
    def length(self) -> str:
        """The length in seconds, as text for people."""
        seconds = length_of(self.request)
        return AS_SOURCE if seconds is None else f"{seconds:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of a configuration: its measurements, or why there are none."""

    cell: Cell
    status: str
    measured: Measured | None = None
    error: str | None = None

    @property
    def parts(self) -> Breakdown | None:
        """The breakdown of its seconds."""
        return None if self.measured is None else self.measured.parts()

    def words(self) -> tuple[str, ...]:
        """Its line of the table."""
        cell, parts = self.cell, self.parts
        times = ["—"] * 4
        if parts is not None:
            times = [f"{t:.2f}" for t in (parts.wall, parts.lm, parts.dit, parts.vae)]
        return (
            cell.length, str(cell.batch), str(cell.thinking),
            str(cell.steps), *times, self.status,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows in order, out of `asked` configurations; notes on what differs from the request."""

    rows: tuple[Row, ...]
    asked: int
    notes: tuple[Note, ...]
    stopped: bool = False

    @property
    def ok(self) -> bool:
        """Whether all of them were made."""
        return not self.stopped and all(row.status == OK for row in self.rows)


def cells(
    engine: Engine, options: Options, face: Face
) -> tuple[tuple[Cell, ...], tuple[Note, ...]]:
    """The configurations: each axis has the requested values, else the defaults; every value is
    clamped, and configurations that become equal are run once. Each clamp is printed once, and
    returned."""
    asked = {thinking: options.request(thinking) for thinking in WITH_AND_WITHOUT}
    found: dict[Request, Cell] = {}
    clamped: dict[Note, None] = {}
    steps_field = options.family.steps_field
    axes = _axes(engine, options, options.request(), face)
    for duration, batch, thinking, steps in axes:
        values = {LENGTH: duration, "batch_size": batch}
        if steps_field is not None:
            values[steps_field] = steps
        request = asked[thinking].model_copy(update=values)
        allowed = limits(request, engine.model.limits(request), engine.settings, engine.terms)
        inside, notes = clamp(request, allowed)
        face.notes(notes)
        clamped |= dict.fromkeys(notes)
        found.setdefault(inside, Cell(inside, steps_field))
    return tuple(found.values()), tuple(clamped)


def table(rows: Sequence[Row]) -> str:
    """The table of results."""
    lines = [_line(HEAD), "-" * 122]
    lines += [_line(row.words()) for row in rows]
    lines += [f"  {row.cell.words()}: {row.error}" for row in rows if row.error is not None]
    return "\n".join(lines)


def run(engine: Engine, options: Options, face: Face) -> Matrix:
    """Measure every configuration. Ctrl-C keeps what was measured."""
    every, notes = cells(engine, options, face)
    rows: list[Row] = []
    stopped = False
    try:
        if options.warmup and every:
            hottest = max(every, key=lambda cell: (cell.thinking, -every.index(cell)))
            first = hottest.request.model_copy(update={"batch_size": 1, "seeds": ()})
            face.say(f"warm-up: {warm_up(engine, first, face):.2f} s")
        for number, cell in enumerate(every, 1):
            row = _row(engine, cell, face)
            rows.append(row)
            seconds = f"{row.parts.wall:.2f} s" if row.parts is not None else row.error
            face.say(f"[{number:>{len(str(len(every)))}}/{len(every)}] {cell.words()}: {seconds}")
    except (Cancelled, KeyboardInterrupt):
        stopped = True
    return Matrix(tuple(rows), len(every), notes, stopped)


def _axes(
    engine: Engine, options: Options, asked: Request, face: Face
) -> Iterator[tuple[float | None, int, bool, int | None]]:
    said = options.fields
    family, length = options.family, length_of(asked)
    durations = (length,) if LENGTH in said else DURATIONS
    count = asked.songs if isinstance(asked, Seeded) else 1
    batches = (count,) if said & {"batch_size", "seeds"} else BATCHES
    name = family.steps_field
    steps: Sequence[int | None] = STEPS
    if name is None or said & {name, "timesteps"}:
        steps = (None if name is None else getattr(asked, name),)
    thinking: Sequence[bool] = (False,)
    if isinstance(asked, family.usual_request):
        if isinstance(asked, Planned):
            wished = bool(getattr(asked, THINKING))
            thinking = (wished,) if THINKING in said else WITH_AND_WITHOUT
    elif length is None or LENGTH not in said:
        durations = (length,)  # as long as the source
    if True in thinking and THINKING not in said and not _thinks(engine):
        face.once("note: thinking: no language model is loaded here, so there are no such rows.")
        thinking = (False,)
    return product(durations, batches, thinking, steps)


def _thinks(engine: Engine) -> bool:
    return engine.terms.init_lm and engine.has_language_model


def _row(engine: Engine, cell: Cell, face: Face) -> Row:
    try:
        found = measure(engine, cell.request, face.stop)
    except tuple(FAILURES) as error:
        status = next(word for kind, word in FAILURES.items() if isinstance(error, kind))
        return Row(cell, status, error=str(error))
    face.notes(found.result.notes)
    return Row(cell, OK, found.without_tensors())


def _line(words: Sequence[str]) -> str:
    return "".join(f"{word:<{width}}" for word, width in zip(words, WIDTHS, strict=True)).rstrip()
