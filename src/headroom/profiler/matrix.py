"""Profiler mode benchmark: length × batch × thinking × steps, inside the limits in force here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from headroom.engine.engine import Engine
from headroom.engine.limits import request_limits
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
from headroom.params.describe import value_in_role, written_in_role
from headroom.params.request import Request
from headroom.profiler.breakdown import Breakdown
from headroom.profiler.console import Console
from headroom.profiler.options import THINKING, Options, length_of
from headroom.profiler.song_run import Measured, measure, warm_up

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
        count: int | None = value_in_role(self.request, "count")
        return 1 if count is None else count

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
    engine: Engine, options: Options, console: Console
) -> tuple[tuple[Cell, ...], tuple[Note, ...]]:
    """The configurations: each axis has the requested values, else the defaults; every value is
    clamped, and configurations that become equal are run once. Each clamp is printed once, and
    returned."""
    requests_by_thinking = {thinking: options.request(thinking) for thinking in WITH_AND_WITHOUT}
    cells_by_request: dict[Request, Cell] = {}
    clamped: dict[Note, None] = {}
    steps_field = options.family.steps_field
    axes = _axes(engine, options, options.request(), console)
    for duration, batch, thinking, steps in axes:
        request = requests_by_thinking[thinking]
        values = written_in_role(request, seconds=duration, count=batch)
        if steps_field is not None:
            values[steps_field] = steps
        request = request.model_copy(update=values)
        allowed = request_limits(
            request, engine.model.limits(request), engine.settings, engine.policy
        )
        clamped_request, notes = clamp(request, allowed)
        console.notes(notes)
        clamped |= dict.fromkeys(notes)
        cells_by_request.setdefault(clamped_request, Cell(clamped_request, steps_field))
    return tuple(cells_by_request.values()), tuple(clamped)


def table(rows: Sequence[Row]) -> str:
    """The table of results."""
    lines = [_line(HEAD), "-" * 122]
    lines += [_line(row.words()) for row in rows]
    lines += [f"  {row.cell.words()}: {row.error}" for row in rows if row.error is not None]
    return "\n".join(lines)


def run(engine: Engine, options: Options, console: Console) -> Matrix:
    """Measure every configuration. Ctrl-C keeps what was measured."""
    configurations, notes = cells(engine, options, console)
    rows: list[Row] = []
    stopped = False
    try:
        if options.warmup and configurations:
            warm_up_cell = max(
                configurations, key=lambda cell: (cell.thinking, -configurations.index(cell))
            )
            first = warm_up_cell.request.model_copy(
                update=written_in_role(warm_up_cell.request, count=1) | {"seeds": ()}
            )
            console.say(f"warm-up: {warm_up(engine, first, console):.2f} s")
        total = len(configurations)
        for number, cell in enumerate(configurations, 1):
            row = _row(engine, cell, console)
            rows.append(row)
            seconds = f"{row.parts.wall:.2f} s" if row.parts is not None else row.error
            console.say(f"[{number:>{len(str(total))}}/{total}] {cell.words()}: {seconds}")
    except (Cancelled, KeyboardInterrupt):
        stopped = True
    return Matrix(tuple(rows), len(configurations), notes, stopped)


def _axes(
    engine: Engine, options: Options, request: Request, console: Console
) -> Iterator[tuple[float | None, int, bool, int | None]]:
    set_fields = options.fields
    family, length = options.family, length_of(request)
    has_length = bool(set_fields & options.family.fields_for("seconds"))
    durations = (length,) if has_length else DURATIONS
    count = request.songs if isinstance(request, Seeded) else 1
    batches = (count,) if set_fields & {"seeds", *options.family.fields_for("count")} else BATCHES
    name = family.steps_field
    steps: Sequence[int | None] = STEPS
    if name is None or set_fields & {name, "timesteps"}:
        steps = (None if name is None else getattr(request, name),)
    thinking: Sequence[bool] = (False,)
    if isinstance(request, family.usual_request):
        if isinstance(request, Planned):
            wished = bool(getattr(request, THINKING))
            thinking = (wished,) if THINKING in set_fields else WITH_AND_WITHOUT
    elif length is None or not has_length:
        durations = (length,)  # as long as the source
    if True in thinking and THINKING not in set_fields and not _thinks(engine):
        console.once("note: thinking: no language model is loaded here, so there are no such rows.")
        thinking = (False,)
    return product(durations, batches, thinking, steps)


def _thinks(engine: Engine) -> bool:
    return engine.policy.init_lm and engine.has_language_model


def _row(engine: Engine, cell: Cell, console: Console) -> Row:
    try:
        measured = measure(engine, cell.request, console.stop)
    except tuple(FAILURES) as error:
        status = next(word for kind, word in FAILURES.items() if isinstance(error, kind))
        return Row(cell, status, error=str(error))
    console.notes(measured.result.notes)
    return Row(cell, OK, measured.without_tensors())


def _line(words: Sequence[str]) -> str:
    return "".join(f"{word:<{width}}" for word, width in zip(words, WIDTHS, strict=True)).rstrip()
