"""Runs a profiler mode: opens an engine, measures, and prints the findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from headroom.engine.engine import Engine
from headroom.engine.limits import asks, limits
from headroom.errors import Cancelled, InvalidOutput
from headroom.models.base import Seeded
from headroom.params.clamp import clamp
from headroom.params.describe import task_of
from headroom.params.request import Request
from headroom.profiler import functions, matrix, plot, record, report, single, texts
from headroom.profiler.face import Face
from headroom.profiler.functions import Row
from headroom.profiler.options import LENGTH, SHEET, THINKING, Mode, Options, length_of
from headroom.profiler.outputs import OUTPUT, PLOT, place
from headroom.profiler.record import Record
from headroom.units import clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """The findings of a mode. `ok`: everything was made; `stopped`: the user ended it, and these
    are the findings up to then."""

    record: Record
    ok: bool = True
    stopped: bool = False
    measured: single.Measured | None = None


def run(options: Options, face: Face) -> Outcome:
    """Profile, print, and write the requested files.

    Raises HeadroomError. The destinations are checked before anything runs, and each file is
    written completely or not at all.
    """
    _check_plot(options.plot)
    for note in options.notes:
        face.once(f"note: {note}.")
    names = []
    with ExitStack() as places:
        output = drawn = None
        if options.output is not None:
            output, name = places.enter_context(place(options.output, OUTPUT, options.force))
            names.append(name)
        if options.plot is not None:
            drawn, name = places.enter_context(place(options.plot, PLOT, options.force))
            names.append(name)
        outcome = MODES[options.mode](options, face)
        if output is not None:
            text = json.dumps(outcome.record, ensure_ascii=False, indent=1, allow_nan=False)
            output.write_text(text + "\n", encoding="utf-8")
        if drawn is not None and outcome.measured is not None:
            plot.draw(outcome.measured, drawn)
    for name in names:
        face.say(f"written: {name}")
    return outcome


# --- modes -----------------------------------------------------------------------------------


def _profile(options: Options, face: Face) -> Outcome:
    request = options.request()
    engine = _opened(options, face)
    _unused(options, request, face)
    face.out(_head(options, engine, request))
    if options.warmup:
        face.say(f"warm-up: {clock(single.warm_up(engine, request, face))}")
    found = single.measure(engine, request, face.stop)
    face.say(f"measured: {clock(found.wall)}")
    face.notes(found.result.notes)
    guidance: float | None = None
    tables: dict[str, tuple[Row, ...]] = {}
    stopped = False
    try:
        guidance = single.guidance_apart(engine, found, options.warmup, face.stop)
        if options.detailed:
            tables = _detailed(engine, request, face)
    except (Cancelled, KeyboardInterrupt):
        stopped = True
    parts = found.parts(guidance)
    face.out(report.breakdown_table(parts))
    face.out(report.stage_table(found.spans, found.planned_seconds, found.wall))
    if options.llm_debug:
        face.out(report.token_table(found.spans))
    for name, rows in tables.items():
        face.out(functions.table(HEADINGS[name], rows))
    face.out(report.insights(parts, found.audio_seconds))
    face.out(_made(found))
    face.out(report.overhead_line(found.overhead, found.wall))
    said = record.of_profile(options, engine, found, guidance, tables, not stopped)
    return Outcome(said, stopped=stopped, measured=found)


def _benchmark(options: Options, face: Face) -> Outcome:
    engine = _opened(options, face)
    face.out(_head(options, engine, options.request()))
    found = matrix.run(engine, options, face)
    face.out(report.title("BENCHMARK RESULTS"))
    face.out(matrix.table(found.rows))
    return Outcome(record.of_benchmark(options, engine, found), found.ok, found.stopped)


def _text(options: Options, face: Face) -> Outcome:
    engine = _opened(options, face)
    face.out(_head(options, engine, None))
    found = texts.run(engine, options, face)
    face.out(report.breakdown_table(found.parts, dit=False))
    if found.hearing is not None:
        face.out(f"  Audio to codes, before that: {found.hearing:.2f} s.")
    if options.llm_debug:
        face.out(report.token_table(found.spans))
    face.out(texts.result_table(found))
    face.out(report.overhead_line(found.overhead, found.wall))
    return Outcome(record.of_text(options, engine, found))


def _tiers(options: Options, face: Face) -> Outcome:
    from headroom.profiler.tiers import run

    found = run.run(options, face)
    return Outcome(record.of_tiers(options, found.json()), found.ok, found.interrupted)


MODES: dict[Mode, Callable[[Options, Face], Outcome]] = {
    "profile": _profile,
    "benchmark": _benchmark,
    "tier-test": _tiers,
    "understand": _text,
    "create_sample": _text,
    "format_sample": _text,
}
HEADINGS = {
    "functions": "FUNCTIONS (cProfile, of another run, by their own time)",
    "operators": f"OPERATORS (torch, of another run of at most {functions.SECONDS:g} s of music)",
}


def _detailed(engine: Engine, request: Request, face: Face) -> dict[str, tuple[Row, ...]]:
    """Functions and operators, each measured in a run of its own."""
    seconds = functions.SECONDS
    short = request
    length = length_of(request)
    if length is not None and length > seconds:
        short = request.model_copy(update={LENGTH: seconds})
    found = {"functions": functions.functions(lambda: engine.generate(request, cancel=face.stop))}
    face.say("functions: counted")
    work = functions.operators(lambda: engine.generate(short, cancel=face.stop), engine.device)
    face.say("operators: counted")
    return found | {"operators": work}


# --- texts -----------------------------------------------------------------------------------


def _opened(options: Options, face: Face) -> Engine:
    engine = options.opening.open()
    face.notes(engine.notes)
    return engine


def _head(options: Options, engine: Engine, request: Request | None) -> str:
    """The heading: what is measured, and on which machine."""
    terms, numerics = engine.terms, engine.model.numerics()
    tier = "no tier" if terms.tier is None else terms.tier.label
    rows = [
        ("Mode", options.mode + ("" if options.warmup else ", without a warm-up")),
        ("Device", engine.machine.describe()),
        ("Policy", f"{terms.policy}, {tier}"),
        ("DiT", f"{engine.model.name}, {numerics.dtype}{_also(terms.quantization)}"),
        ("LM", _lm(engine, request)),
    ]
    if terms.offload or terms.offload_dit:
        rows.append(("Offload", "CPU + DiT" if terms.offload_dit else "CPU"))
    if request is not None and options.mode != "benchmark":
        rows += _of_request(engine, request)
    return "\n".join(f"  {name:<10}{words}" for name, words in rows)


def _of_request(engine: Engine, request: Request) -> list[tuple[str, str]]:
    """The request, and the terms in force here."""
    allowed = limits(request, engine.model.limits(request), engine.settings, engine.terms)
    inside, _ = clamp(request, allowed)
    length, used = _length(request), _length(inside)
    batch, made = _songs(request), _songs(inside)
    rows = [
        ("Request", task_of(request)),
        ("Length", length if used == length else f"{length} asked, {used} in force"),
        ("Batch", batch if made == batch else f"{batch} asked, {made} in force"),
    ]
    told = "off"
    if asks(request) is not None:
        told = ", ".join(name for name in (THINKING, *SHEET) if getattr(request, name, False))
        told += "" if _language(engine, request) is None else " asked, off"
    return [*rows, ("Thinking", told)]


def _length(request: Request) -> str:
    seconds = length_of(request)
    return "as long as the source" if seconds is None else f"{seconds:g} s"


def _songs(request: Request) -> str:
    return str(request.songs) if isinstance(request, Seeded) else "1"


def _language(engine: Engine, request: Request | None) -> str | None:
    """Why no language model is used, or None where one is."""
    if request is not None and asks(request) is None:
        return "nobody asked for one"
    if not engine.terms.init_lm:
        return engine.terms.lm_off or "none is loaded"
    return None if engine.has_language_model else "none is installed"


def _lm(engine: Engine, request: Request | None) -> str:
    """The language model in use, or why none is."""
    why = _language(engine, request)
    if why is not None:
        return f"not used ({why})"
    return f"used: {', '.join(record.languages(engine))}, by {engine.terms.lm_backend}"


def _also(quantization: str | None) -> str:
    return f", {quantization}" if quantization not in (None, "none") else ""


def _made(found: single.Measured) -> str:
    songs = found.songs
    silent = f", {found.silent} of them silent" if found.silent else ""
    words = "song" if songs == 1 else "songs"
    return f"  Made: {songs} {words}, {found.audio_seconds:.1f} s in all{silent}."


def _unused(options: Options, request: Request, face: Face) -> None:
    """Name the options that were set for a language model although none is used."""
    if asks(request) is not None:
        return
    choices = options.opening.options.choices
    set_here = {"lm_model": choices.lm, "lm_backend": choices.lm_backend}
    named = [name for name, value in set_here.items() if value is not None]
    named += sorted(options.fields & set(options.family.language_fields))
    if named:
        why = "nothing is left for a language model to do (--thinking has it write audio codes)"
        face.once(f"note: {', '.join(named)}: not used: {why}.")


def _check_plot(path: Path | None) -> None:
    """Raise InvalidOutput if no picture can be drawn."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        why = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise InvalidOutput(PLOT, path, why, "a name that ends in .png")
    if find_spec("matplotlib") is None:
        allowed = "pictures where matplotlib is: pip install 'headroom-audio[plot]'"
        raise InvalidOutput(PLOT, path, "cannot be drawn: matplotlib is not installed", allowed)
