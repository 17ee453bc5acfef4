"""`acestep compile`: fills the cache of compiled code, and measures whether compiling pays here.

It makes the same song in separate processes, in turn eager and compiled, and times whole processes,
so the cost of loading compiled code is included. The result is stored, and decides whether later
runs compile (`headroom.runtime.compile_choice`).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from headroom.cli.model import check_model, open_engine
from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.errors import InvalidRequest
from headroom.models.family import Family
from headroom.models.registry import family_named
from headroom.params.describe import describe, in_role
from headroom.params.words import seconds_of
from headroom.settings import load

USAGE = "acestep compile [--duration S] [--rounds N] [FLAGS]"
SECONDS = 30.0  # of the song: if it pays for a short one, it pays more for a longer one
ROUNDS = 3
MOST_ROUNDS = 99
_HELP = ("-h", "--help")


def parser() -> Parser:
    """All flags of `acestep compile`."""
    parser = _own_parser()
    add_engine_flags(parser)
    return parser


def _own_parser() -> Parser:
    """The flags of this command alone."""
    parser = Parser("acestep compile", USAGE, "Compile what runs often, and see if it pays here.")
    parser.allow_abbrev = False
    parser.add_argument("--duration", default=f"{SECONDS:g}", help="of the song, s")
    parser.add_argument("--rounds", default=str(ROUNDS), help="songs with and without")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


def run(words: Sequence[str]) -> int:
    """Run `acestep compile …`; returns the exit code. Raises HeadroomError."""
    words = spelt(words)
    options, others = _own_parser().parse_known_args([word for word in words if word not in _HELP])
    args = parser().parse_args(words)
    flags = engine_flags(args)
    if flags.compile is not None:
        raise InvalidRequest("compile", flags.compile, "no --compile here: both are tried")
    clock = seconds_of(options.duration)
    length = options.duration if clock is None else f"{clock:g}"
    family = family_named(flags.family)
    param = in_role(family.usual_request, "seconds")
    if param is None or param.limit is None:
        raise InvalidRequest("family", family.name, "a family whose songs have a length")
    duration = _number("duration", length, param.limit.minimum, param.limit.maximum)
    rounds = round(_number("rounds", options.rounds, 1, MOST_ROUNDS))
    settings = load()
    check_model(flags.model, flags.checkpoint_dir, settings, family)
    engine = open_engine(flags, settings)

    from headroom.runtime import compile_choice
    from headroom.runtime.compiled import compiler

    if compiler(engine.device.torch) is None:
        sys.stderr.write(f"no compiler for {engine.device.torch.type} was found.\n")
        return 1
    name = compile_choice.key(engine.device, engine.model.name, engine.model.numerics().dtype)
    sys.stderr.write("compiling (the first time takes a minute or more) …\n")
    times: dict[bool, list[float]] = {False: [], True: []}
    song = [*others, *song_words(family, duration)]
    with TemporaryDirectory() as folder:
        code, _ = _song(song, True, Path(folder))
        for number in range(rounds):
            for compiled in (False, True):
                code, seconds = (code, 0.0) if code else _song(
                    song, compiled, Path(folder)
                )  # fmt: skip
                if code:
                    return code
                times[compiled].append(seconds)
            sys.stderr.write(f"round {number + 1} of {rounds}: {_said(times)}\n")
    pair = compile_choice.Pair(
        statistics.median(times[False]), statistics.median(times[True]), duration
    )
    compile_choice.remember(settings.cache_dir, name, pair)
    if options.json:
        sys.stdout.write(json.dumps({**asdict(pair), "pays": pair.pays, "for": name}) + "\n")
    else:
        kept = "later runs compile" if pair.pays else "later runs do not compile"
        sys.stdout.write(f"a song of {duration:g} s: {_said(times)}; {kept}.\n")
    return 0


def song_words(family: Family, duration: float) -> list[str]:
    """The arguments of `acestep generate` for a song of the family."""
    kind = family.usual_request
    params = {param.name: param for param in describe(kind)}
    length = in_role(kind, "seconds")
    words = [] if family.words is None else [f"--{params[family.words].flag}", "a song"]
    return words if length is None else [*words, f"--{length.flag}", f"{duration:g}"]


def _song(words: Sequence[str], compiled: bool, folder: Path) -> tuple[int, float]:
    """Make a song in a separate process → its exit code, and its total seconds."""
    how = "--compile" if compiled else "--no-compile"
    command = [
        sys.executable, "-m", "headroom", "generate", *words, how,
        "--seed", "0", "--output", str(folder / f"{time.monotonic_ns()}.wav"), "--quiet",
    ]  # fmt: skip
    began = time.perf_counter()
    code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    return code, time.perf_counter() - began


def _said(times: dict[bool, list[float]]) -> str:
    eager, compiled = (statistics.median(times[kind]) for kind in (False, True))
    return f"{compiled:.1f} s compiled, {eager:.1f} s without"


def _number(field: str, text: str, low: float, high: float) -> float:
    """Parse a number. Raises InvalidRequest."""
    try:
        value = float(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise InvalidRequest(field, text, f"a number from {low:g} to {high:g}")
    return value
