"""Runs a profiler mode: opens an engine, measures, and prints the findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from headroom.engine.engine import Engine
from headroom.engine.limits import asks, request_limits
from headroom.errors import Cancelled, InvalidOutput
from headroom.models.base import Seeded
from headroom.params.clamp import clamp
from headroom.params.describe import task_of, written_in_role
from headroom.params.request import Request
from headroom.profiler import functions, matrix, plot, record, report, song_run, text_run
from headroom.profiler.console import Console
from headroom.profiler.functions import Row
from headroom.profiler.options import SHEET, THINKING, Mode, Options, length_of
from headroom.profiler.output_files import OUTPUT, PLOT, place
from headroom.profiler.record import Record
from headroom.units import clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """The findings of a mode. `ok`: everything was made; `stopped`: the user ended it, and these
    are the findings up to then."""

    record: Record
    ok: bool = True
    stopped: bool = False
    measured: song_run.Measured | None = None


def run(options: Options, console: Console) -> Outcome:
    """Profile, print, and write the requested files.

    Raises HeadroomError. The destinations are checked before anything runs, and each file is
    written completely or not at all.
    """
    _check_plot(options.plot)
    for note in options.notes:
        console.once(f"note: {note}.")
    names = []
    with ExitStack() as places:
        output = drawn = None
        if options.output is not None:
            output, name = places.enter_context(place(options.output, OUTPUT, options.force))
            names.append(name)
        if options.plot is not None:
            drawn, name = places.enter_context(place(options.plot, PLOT, options.force))
            names.append(name)
        outcome = MODES[options.mode](options, console)
        if output is not None:
            text = json.dumps(outcome.record, ensure_ascii=False, indent=1, allow_nan=False)
            output.write_text(text + "\n", encoding="utf-8")
        if drawn is not None and outcome.measured is not None:
            plot.draw(outcome.measured, drawn)
    for name in names:
        console.say(f"written: {name}")
    return outcome


# --- modes -----------------------------------------------------------------------------------


def _profile(options: Options, console: Console) -> Outcome:
    request = options.request()
    engine = _opened(options, console)
    _unused(options, request, console)
    console.out(_head(options, engine, request))
    if options.warmup:
        console.say(f"warm-up: {clock(song_run.warm_up(engine, request, console))}")
    measured = song_run.measure(engine, request, console.stop)
    console.say(f"measured: {clock(measured.wall)}")
    console.notes(measured.result.notes)
    guidance: float | None = None
    tables: dict[str, tuple[Row, ...]] = {}
    stopped = False
    try:
        guidance = song_run.guidance_apart(engine, measured, options.warmup, console.stop)
        if options.detailed:
            tables = _detailed(engine, request, console)
    except (Cancelled, KeyboardInterrupt):
        stopped = True
    components = measured.parts(guidance)
    console.out(report.breakdown_table(components))
    console.out(report.stage_table(measured.spans, measured.planned_seconds, measured.wall))
    if options.llm_debug:
        console.out(report.token_table(measured.spans))
    for name, rows in tables.items():
        console.out(functions.table(HEADINGS[name], rows))
    console.out(report.insights(components, measured.audio_seconds))
    console.out(_made(measured))
    console.out(report.overhead_line(measured.overhead, measured.wall))
    profile_record = record.of_profile(options, engine, measured, guidance, tables, not stopped)
    return Outcome(profile_record, stopped=stopped, measured=measured)


def _benchmark(options: Options, console: Console) -> Outcome:
    engine = _opened(options, console)
    console.out(_head(options, engine, options.request()))
    result = matrix.run(engine, options, console)
    console.out(report.title("BENCHMARK RESULTS"))
    console.out(matrix.table(result.rows))
    return Outcome(record.of_benchmark(options, engine, result), result.ok, result.stopped)


def _text(options: Options, console: Console) -> Outcome:
    engine = _opened(options, console)
    console.out(_head(options, engine, None))
    text = text_run.run(engine, options, console)
    console.out(report.breakdown_table(text.parts, dit=False))
    if text.hearing is not None:
        console.out(f"  Audio to codes, before that: {text.hearing:.2f} s.")
    if options.llm_debug:
        console.out(report.token_table(text.spans))
    console.out(text_run.result_table(text))
    console.out(report.overhead_line(text.overhead, text.wall))
    return Outcome(record.of_text(options, engine, text))


def _tiers(options: Options, console: Console) -> Outcome:
    from headroom.profiler.tiers import run

    test = run.run(options, console)
    return Outcome(record.of_tiers(options, test.json()), test.ok, test.interrupted)


MODES: dict[Mode, Callable[[Options, Console], Outcome]] = {
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


def _detailed(engine: Engine, request: Request, console: Console) -> dict[str, tuple[Row, ...]]:
    """Functions and operators, each measured in a run of its own."""
    seconds = functions.SECONDS
    short = request
    length = length_of(request)
    if length is not None and length > seconds:
        short = request.model_copy(update=written_in_role(request, seconds=seconds))
    rows = {"functions": functions.functions(lambda: engine.generate(request, cancel=console.stop))}
    console.say("functions: counted")
    operators = functions.operators(
        lambda: engine.generate(short, cancel=console.stop), engine.device
    )
    console.say("operators: counted")
    return rows | {"operators": operators}


# --- texts -----------------------------------------------------------------------------------


def _opened(options: Options, console: Console) -> Engine:
    engine = options.opening.open()
    console.notes(engine.notes)
    return engine


def _head(options: Options, engine: Engine, request: Request | None) -> str:
    """The heading: what is measured, and on which machine."""
    policy, numerics = engine.policy, engine.model.numerics()
    tier = "no tier" if policy.tier is None else policy.tier.label
    rows = [
        ("Mode", options.mode + ("" if options.warmup else ", without a warm-up")),
        ("Device", engine.machine.describe()),
        ("Policy", f"{policy.name}, {tier}"),
        ("DiT", f"{engine.model.name}, {numerics.dtype}{_also(policy.quantization)}"),
        ("LM", _lm(engine, request)),
    ]
    if policy.offload or policy.offload_dit:
        rows.append(("Offload", "CPU + DiT" if policy.offload_dit else "CPU"))
    if request is not None and options.mode != "benchmark":
        rows += _of_request(engine, request)
    return "\n".join(f"  {name:<10}{words}" for name, words in rows)


def _of_request(engine: Engine, request: Request) -> list[tuple[str, str]]:
    """The request, and the policy in force here."""
    allowed = request_limits(request, engine.model.limits(request), engine.settings, engine.policy)
    clamped, _ = clamp(request, allowed)
    length, used_length = _length(request), _length(clamped)
    batch, used_batch = _songs(request), _songs(clamped)
    rows = [
        ("Request", task_of(request)),
        ("Length", length if used_length == length else f"{length} asked, {used_length} in force"),
        ("Batch", batch if used_batch == batch else f"{batch} asked, {used_batch} in force"),
    ]
    thinking = "off"
    if asks(request) is not None:
        thinking = ", ".join(name for name in (THINKING, *SHEET) if getattr(request, name, False))
        thinking += "" if _language(engine, request) is None else " asked, off"
    return [*rows, ("Thinking", thinking)]


def _length(request: Request) -> str:
    seconds = length_of(request)
    return "as long as the source" if seconds is None else f"{seconds:g} s"


def _songs(request: Request) -> str:
    return str(request.songs) if isinstance(request, Seeded) else "1"


def _language(engine: Engine, request: Request | None) -> str | None:
    """Why no language model is used, or None where one is."""
    if request is not None and asks(request) is None:
        return "nobody asked for one"
    if not engine.policy.init_lm:
        return engine.policy.lm_off or "none is loaded"
    return None if engine.has_language_model else "none is installed"


def _lm(engine: Engine, request: Request | None) -> str:
    """The language model in use, or why none is."""
    why = _language(engine, request)
    if why is not None:
        return f"not used ({why})"
    return f"used: {', '.join(record.languages(engine))}, by {engine.policy.lm_loop}"


def _also(quantization: str | None) -> str:
    return f", {quantization}" if quantization not in (None, "none") else ""


def _made(measured: song_run.Measured) -> str:
    songs = measured.songs
    silent = f", {measured.silent} of them silent" if measured.silent else ""
    noun = "song" if songs == 1 else "songs"
    return f"  Made: {songs} {noun}, {measured.audio_seconds:.1f} s in all{silent}."


def _unused(options: Options, request: Request, console: Console) -> None:
    """Name the options that were set for a language model although none is used."""
    if asks(request) is not None:
        return
    named = sorted(name for name in options.opening.options.given if name.startswith("lm_"))
    named += sorted(options.fields & set(options.family.language_fields))
    if named:
        why = "nothing is left for a language model to do (--thinking has it write audio codes)"
        console.once(f"note: {', '.join(named)}: not used: {why}.")


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
