"""`acestep profile`, and `profile_inference.py` under its old name: where time and memory go.

What is wrong is said before anything is loaded or run.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from headroom import paths
from headroom.audio.files import probe
from headroom.cli.model import check_model, opening
from headroom.cli.models import bundled
from headroom.cli.orders import check_sources
from headroom.cli.parser import EngineFlags, Parser, add_engine_flags, engine_flags, spelt
from headroom.cli.progress import shown, stoppable
from headroom.engine.opening import Opening
from headroom.errors import Cancelled, InvalidRequest
from headroom.models.acestep.codes_text import codes_in
from headroom.models.acestep.requests import TASKS
from headroom.params.describe import Param, union
from headroom.params.flags import add_flags, given, text_of, unknown_flag
from headroom.profiler.options import (
    MODES,
    QUERY,
    TIER_SECONDS,
    TIERS,
    Mode,
    Options,
    field_of,
)
from headroom.runtime.events import never
from headroom.settings import Settings
from headroom.settings import load as load_settings
from headroom.weights.catalog import USUAL_LM, checkpoint_dirs, installed

USAGE = "acestep profile [--mode MODE] [FLAGS] | acestep profile compare A.json B.json"
COMPARE = "compare"
_SAID = "<|audio_code_N|> one after another, or numbers with commas"
_OWN = ("audio_codes",)  # fields that have a flag of their own here

_SAMPLING = frozenset({"lm_temperature", "lm_top_k", "lm_top_p", "seed"})
_SHEET = frozenset({"bpm", "keyscale", "timesignature", "duration", "vocal_language"})
# Fields of a request that act in a mode; profile and benchmark take all of them.
FIELDS: dict[Mode, frozenset[str]] = {
    "understand": _SAMPLING | {"source_audio"},
    "create_sample": _SAMPLING | {"instrumental", "vocal_language"},
    "format_sample": _SAMPLING | _SHEET | {"caption", "lyrics"},
    "tier-test": frozenset({"caption", "lyrics", "inference_steps"}),
}
_TEXTS: tuple[Mode, ...] = ("understand", "create_sample", "format_sample")
_MATRIX: tuple[Mode, ...] = ("profile", "benchmark")
# Flags of the engine whose part a tier plays in a tier test.
_OF_TIER = (
    "policy", "offload", "offload_dit", "quantization", "init_lm", "lm_model", "lm_backend",
    "enable_gpu_management", "gpu_idle_timeout",
)  # fmt: skip
# Other flags, and the modes they act in; those that are not here act in all.
FLAGS: dict[str, tuple[Mode, ...]] = {
    "no_warmup": (*_MATRIX, *_TEXTS),
    "detailed": ("profile",),
    "llm_debug": ("profile", *_TEXTS),
    "plot": ("profile",),
    "example": ("profile", "benchmark", "tier-test", "understand", "format_sample"),
    "sample_query": ("create_sample",),
    "audio_codes": ("understand",),
    "tiers": ("tier-test",),
    "tier_with_lm": ("tier-test",),
    "tier_skip_compile": ("tier-test",),
    "tier_boundary": ("tier-test",),
    "tier_batch_boundary": ("tier-test",),
    "tier_duration": ("tier-test",),
}


def run(words: Sequence[str]) -> int:
    """`acestep profile …`; the exit code: 1 where not everything could be made.

    Raises HeadroomError.
    """
    if words and words[0] == COMPARE:
        return _compared(words[1:])
    settings = load_settings()
    options = parsed(words, settings)
    from headroom.profiler.face import Face
    from headroom.profiler.main import run as measure

    # The processes of a tier test are ended by Ctrl-C itself.
    ends = nullcontext(never) if options.mode == "tier-test" else stoppable()
    with ends as stop, shown(False, not settings.no_progress) as tell:
        outcome = measure(options, Face(tell, stop))
    if outcome.stopped:
        raise Cancelled("stopped; what was measured by then was kept")
    return 0 if outcome.ok else 1


def _compared(words: Sequence[str]) -> int:
    """`acestep profile compare A.json B.json`."""
    from headroom.profiler.compare import compared, read

    parser = Parser(f"acestep profile {COMPARE}", allow_abbrev=False)
    parser.add_argument("files", nargs=2, metavar="FILE.json", help="of --benchmark-output")
    first, second = (read(paths.expanded(word, "file")) for word in parser.parse_args(words).files)
    sys.stdout.write(compared(first, second).lstrip("\n") + "\n")
    return 0


def parsed(words: Sequence[str], settings: Settings) -> Options:
    """What the flags say. Raises InvalidRequest for what contradicts itself or cannot be."""
    params = tuple(p for p in union(TASKS.values()) if p.name not in _OWN)
    args, rest = _parser(params).parse_known_args(spelt(words))
    if rest:
        raise unknown_flag(rest[0], params)
    mode = _mode(args.mode)
    flags = engine_flags(args)
    said = given(args, params)
    source = _recording(said) if mode == "understand" else None
    options = Options(
        opening=_opening(flags, settings, mode),
        mode=mode,
        said=said,
        warmup=not args.no_warmup,
        detailed=args.detailed,
        llm_debug=args.llm_debug,
        output=_path("benchmark_output", args.benchmark_output),
        plot=_path("plot", args.plot),
        audio_codes=_codes(args.audio_codes),
        source=source,
        query=QUERY if args.sample_query is None else args.sample_query,
        tiers=TIERS if args.tiers is None else tuple(_size(word) for word in args.tiers),
        tier_with_lm=args.tier_with_lm,
        tier_skip_compile=args.tier_skip_compile,
        tier_boundary=args.tier_boundary,
        tier_batch_boundary=args.tier_batch_boundary,
        tier_duration=_seconds(args.tier_duration),
    )
    if args.example is not None:
        options = replace(options, example=args.example)
    _check_modes(options, args)
    check_sources(options.request())  # what is wrong with it, and an example that is not there
    return options


# --- the parser ------------------------------------------------------------------------------


def _parser(params: Sequence[Param]) -> Parser:
    about = "Where the time and the memory of a run go."
    parser = Parser("acestep profile", USAGE, about, allow_abbrev=False)
    group = parser.add_argument_group("Profiling")
    group.add_argument("--mode", default=MODES[0], metavar="|".join(MODES), help="what is measured")
    group.add_argument(
        "--no-warmup", action="store_true",
        help="measure the first run, with all that only a first run does",
    )  # fmt: skip
    group.add_argument(
        "--detailed", action="store_true", help="functions (cProfile) and operators (torch) too"
    )
    group.add_argument(
        "--llm-debug", action="store_true", help="the language model's tokens, counted and timed"
    )
    group.add_argument("--benchmark-output", metavar="FILE.json", help="all figures as JSON")
    group.add_argument("--plot", metavar="FILE.png", help="a picture of stages and memory")
    group = parser.add_argument_group("Input")
    group.add_argument("--example", metavar="NAME|FILE.json", help="what to ask for")
    group.add_argument("--sample-query", metavar="TEXT", help="for create_sample: a line of text")
    group.add_argument("--audio-codes", metavar="TEXT|@FILE", help="for understand: what to read")
    group = parser.add_argument_group("Tier test")
    sizes = " ".join(f"{size:g}" for size in TIERS)
    group.add_argument("--tiers", nargs="+", metavar="GB", help=f"cards to simulate ({sizes})")
    group.add_argument(
        "--tier-duration", metavar="S", help=f"of the song that is made ({TIER_SECONDS:g})"
    )
    for flag, words in (
        ("--tier-with-lm", "with the language model, where the tier has one"),
        ("--tier-skip-compile", "compile nothing on tiers that convert no weights"),
        ("--tier-boundary", "also without conversion, and with all on the card"),
        ("--tier-batch-boundary", "batches of 1, 2, 4 and 8, until one does not fit"),
    ):
        group.add_argument(flag, action="store_true", help=words)
    add_engine_flags(parser)
    group = parser.add_argument_group("Machine and model, as they were called")
    group.add_argument("--config-path", dest="model", metavar="NAME", help="--model")
    group.add_argument(
        "--offload-to-cpu", dest="offload", action="store_const", const="on", help="--offload"
    )
    group.add_argument(
        "--offload-dit-to-cpu", dest="offload_dit", action="store_const", const="on",
        help="--offload-dit",
    )  # fmt: skip
    add_flags(parser, params, TASKS)
    return parser


def _opening(flags: EngineFlags, settings: Settings, mode: Mode) -> Opening:
    """How engines are opened. A tier test leaves the language model to the tier."""
    check_model(flags.model, flags.checkpoint_dir, settings)
    made = opening(flags, settings)
    if mode != "tier-test" and flags.choices.lm is None and settings.lm_model is None:
        here = installed(checkpoint_dirs(settings, flags.checkpoint_dir), bundled())
        if any(item.name == USUAL_LM and item.ready for item in here):
            return replace(made, choices=replace(flags.choices, lm=USUAL_LM))
    return made


# --- what cannot be --------------------------------------------------------------------------


def _mode(word: str) -> Mode:
    plain = word.lower().replace("-", "_")
    found = next((mode for mode in MODES if mode.replace("-", "_") == plain), None)
    if found is None:
        raise InvalidRequest("mode", word, "one of " + ", ".join(MODES))
    return found


def _check_modes(options: Options, args: argparse.Namespace) -> None:
    """Raise InvalidRequest for a flag that would do nothing in this mode."""
    mode = options.mode
    for name, modes in FLAGS.items():
        value = getattr(args, name)
        if value not in (None, False) and mode not in modes:
            raise _only(name, value, modes)
    known = FIELDS.get(mode)
    for name in sorted(options.fields if known is not None else ()):
        if known is not None and name not in known:
            modes = (*_MATRIX, *(m for m in FIELDS if name in FIELDS[m]))
            value = next(v for spelt, v in options.said.items() if field_of(spelt) == name)
            raise _only(name, value, modes)
    for name in _OF_TIER if mode == "tier-test" else ():
        if (value := getattr(args, name)) is not None:
            raise InvalidRequest(name, value, "nothing in a tier test: the tier decides")
    if options.audio_codes is not None and options.source is not None:
        raise InvalidRequest("audio_codes", options.audio_codes, "codes or a recording, not both")


def _only(name: str, value: object, modes: Sequence[Mode]) -> InvalidRequest:
    return InvalidRequest(name, value, "only with --mode " + " or ".join(modes))


def _recording(said: dict[str, object]) -> Path | None:
    """The recording to be understood, taken out of what was said. Raises InvalidSource."""
    spelt = next((name for name in said if field_of(name) == "source_audio"), None)
    if spelt is None:
        return None
    path = paths.expanded(str(said.pop(spelt)), "source_audio")
    probe(path, "source_audio")
    return path


def _path(field: str, text: str | None) -> Path | None:
    return None if text is None else paths.expanded(text, field)


def _codes(text: str | None) -> str | None:
    """Audio codes, or those of the file behind an @. Raises InvalidRequest."""
    if text is None:
        return None
    codes = text_of("audio_codes", text)
    if not codes_in(codes):
        raise InvalidRequest("audio_codes", text, _SAID)
    return codes


def _size(word: str) -> float:
    size = _number(word)
    if not 0 < size < 1 << 20:
        raise InvalidRequest("tiers", word, "sizes in GB above 0, as in --tiers 6 8 16")
    return size


def _seconds(word: str | None) -> float:
    seconds = TIER_SECONDS if word is None else _number(word)
    if not seconds > 0 or math.isinf(seconds):
        raise InvalidRequest("tier_duration", word, "a number of seconds above 0")
    return seconds


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan
