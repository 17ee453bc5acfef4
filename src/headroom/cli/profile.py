"""`acestep profile`, formerly `profile_inference.py`: measures where time and memory go.

Invalid options are reported before anything is loaded or run.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from headroom import paths
from headroom.audio.files import probe_audio
from headroom.cli.family import family_in
from headroom.cli.model import check_model, opening
from headroom.cli.orders import check_sources
from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.cli.progress import shown, stoppable
from headroom.engine.opening import Opening
from headroom.engine.options import EngineOptions
from headroom.errors import Cancelled, InvalidRequest
from headroom.models.family import Family
from headroom.models.registry import family_named
from headroom.params.describe import Param, union
from headroom.params.flags import add_flags, given, mark_basic, text_of
from headroom.params.words import seconds_of
from headroom.profiler.options import (
    MODES,
    QUERY,
    SEED,
    TIER_SECONDS,
    TIERS,
    Mode,
    Options,
    field_of,
)
from headroom.runtime.events import never
from headroom.settings import OF_TIER, Settings, settings_of
from headroom.settings import load as load_settings
from headroom.weights.catalog import checkpoint_dirs

USAGE = "acestep profile [--mode MODE] [FLAGS] | acestep profile compare A.json B.json"
COMPARE = "compare"
_SAID = "<|audio_code_N|> one after another, or numbers with commas"
_OWN = ("audio_codes",)  # fields with a separate flag here

_SAMPLING = frozenset(
    {"lm_temperature", "lm_top_k", "lm_top_p", "seed", "use_constrained_decoding"}
)
_SHEET = frozenset({"bpm", "keyscale", "timesignature", "duration", "vocal_language"})
# Fields of a request that have an effect in a mode; profile and benchmark take all of them.
FIELDS: dict[Mode, frozenset[str]] = {
    "understand": _SAMPLING | {"source_audio"},
    "create_sample": _SAMPLING | {"instrumental", "vocal_language"},
    "format_sample": _SAMPLING | _SHEET | {"caption", "lyrics"},
    "tier-test": frozenset({"caption", "lyrics", "inference_steps", "duration", "thinking"}),
}
# Further fields that the help and the guides show.
SHOWN = (
    "batch_size", "guidance_scale", "thinking", "use_cot_metas", "use_cot_caption",
    "use_cot_language", "use_constrained_decoding", "lm_cfg_scale", "reference_audio",
)  # fmt: skip
# Flags of the engine that the short help omits.
_RARE = ("family", "dtype", "compile", "init_lm", "enable_gpu_management", "gpu_idle_timeout",
         "threads", "policy")  # fmt: skip
_TEXTS: tuple[Mode, ...] = ("understand", "create_sample", "format_sample")
_MATRIX: tuple[Mode, ...] = ("profile", "benchmark")
# Flags of the engine that the tier decides in a tier test.
_OPTIONS = settings_of(EngineOptions)
_OF_TIER = tuple(_OPTIONS[name].dest for name in OF_TIER)
# Other flags, and the modes they have an effect in; flags not listed have one in all modes.
FLAGS: dict[str, tuple[Mode, ...]] = {
    "no_warmup": (*_MATRIX, *_TEXTS),
    "detailed": ("profile",),
    "llm_debug": ("profile", *_TEXTS),
    "plot": ("profile",),
    "example": ("profile", "benchmark", "tier-test", "understand", "format_sample"),
    "sample_query": ("create_sample",),
    "audio_codes": ("profile", "benchmark", "understand"),
    "tiers": ("tier-test",),
    "tier_with_lm": ("tier-test",),
    "tier_skip_compile": ("tier-test",),
    "tier_boundary": ("tier-test",),
    "tier_batch_boundary": ("tier-test",),
    "tier_duration": ("tier-test",),
}


EXAMPLE = "" if (_examples := family_named().examples) is None else _examples.usual
_EXAMPLE = "default: as the example says"
# Defaults that differ from those of other commands, or stand for a rule, as --help shows them.
DEFAULTS = {
    **{one.dest: f"default: {one.usual}" for one in _OPTIONS.values()},
    "mode": f"default: {MODES[0]}",
    "example": f"default: {EXAMPLE}",
    "sample_query": f"default: {QUERY!r}",
    "audio_codes": "default: those of a song that is planned first",
    **dict.fromkeys(
        ("caption", "lyrics", "vocal_language", "bpm", "keyscale", "timesignature", "duration"),
        _EXAMPLE,
    ),
    "batch_size": "default: as the example says, else 1",
    "inference_steps": "default: as the example says, else as the model variant has it",
    "seed": f"default: as the example says, else {SEED}",
    "guidance_scale": "default: 7.0 where the variant is guided; turbo variants are not",
    **dict.fromkeys(("use_cot_metas", "use_cot_caption", "use_cot_language"), "default: off"),
}


def run(words: Sequence[str]) -> int:
    """Run `acestep profile …`; the exit code: 1 if not everything could be made.

    Raises HeadroomError.
    """
    if words and words[0] == COMPARE:
        return _compared(words[1:])
    settings = load_settings()
    options = parsed(words, settings)
    from headroom.profiler.console import Console
    from headroom.profiler.main import run as measure

    # Ctrl-C ends the processes of a tier test directly.
    ends = nullcontext(never) if options.mode == "tier-test" else stoppable()
    with ends as stop, shown(False, not settings.no_progress) as tell:
        outcome = measure(options, Console(tell, stop))
    if outcome.stopped:
        raise Cancelled("stopped; what was measured by then was kept")
    return 0 if outcome.ok else 1


def _compared(words: Sequence[str]) -> int:
    """Run `acestep profile compare A.json B.json`."""
    from headroom.profiler.compare import compared, read

    parser = Parser(f"acestep profile {COMPARE}", allow_abbrev=False)
    parser.add_argument("files", nargs=2, metavar="FILE.json", help="of --benchmark-output")
    first, second = (read(paths.expanded(word, "file")) for word in parser.parse_args(words).files)
    sys.stdout.write(compared(first, second).lstrip("\n") + "\n")
    return 0


def parsed(words: Sequence[str], settings: Settings) -> Options:
    """The options from the flags. Raises InvalidRequest for contradictions and invalid values."""
    words = spelt(words)
    family = family_in(words)
    params = _params(family)
    parser = whole_parser(family)
    args, rest = parser.parse_known_args(words)
    if rest:
        raise parser.unknown(rest[0])
    mode = _mode(args.mode, family)
    flags = engine_flags(args)
    said = given(args, params)
    source = _recording(said, family) if mode == "understand" else None
    codes = _codes(args.audio_codes, family)
    if codes is not None and mode in _MATRIX:
        said["audio_codes"] = codes
    said, notes = _acting(said, mode, args, family)
    tier_seconds = args.tier_duration if mode != "tier-test" else _tier_seconds(args, said, family)
    options = Options(
        opening=_opening(flags, settings, mode, family),
        mode=mode,
        said=said,
        warmup=not args.no_warmup,
        detailed=args.detailed,
        llm_debug=args.llm_debug,
        output=_path("benchmark_output", args.benchmark_output),
        plot=_path("plot", args.plot),
        force=args.force,
        audio_codes=codes,
        source=source,
        query=QUERY if args.sample_query is None else args.sample_query,
        tiers=TIERS if args.tiers is None else tuple(_size(word) for word in args.tiers),
        tier_with_lm=args.tier_with_lm or (mode == "tier-test" and _thinks(said, family)),
        tier_skip_compile=args.tier_skip_compile,
        tier_boundary=args.tier_boundary,
        tier_batch_boundary=args.tier_batch_boundary,
        tier_duration=_seconds(tier_seconds),
        notes=notes,
        example=args.example or _usual_example(family),
    )
    if mode == "understand" and codes is not None and source is not None:
        raise InvalidRequest("audio_codes", codes, "codes or a recording, not both")
    # Raises for an invalid request, and for an example that does not exist.
    check_sources(family, options.request())
    return options


def _usual_example(family: Family) -> str | None:
    return None if family.examples is None else family.examples.usual


# --- the parser ------------------------------------------------------------------------------


def whole_parser(family: Family | None = None) -> Parser:
    """All flags of `acestep profile`, for the default family unless one is given."""
    family = family or family_named()
    return _explained(_parser(_params(family), family), family)


def _params(family: Family) -> tuple[Param, ...]:
    return tuple(p for p in union(family.songs.values()) if p.name not in _OWN)


def _parser(params: Sequence[Param], family: Family | None = None) -> Parser:
    family = family or family_named()
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
    group.add_argument("--force", action="store_true", help="replace the files that are named")
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
    add_engine_flags(parser, older_shown=True)
    mark_basic(*(action for action in parser._actions if action.dest not in _RARE))
    add_flags(parser, params, family.songs)
    shown = frozenset(SHOWN).union(*FIELDS.values())
    mark_basic(*(action for action in parser._actions if action.dest in shown))
    parser.in_layers()
    return parser


def _explained(parser: Parser, family: Family) -> Parser:
    """The parser with the defaults of this command in its help."""
    defaults = DEFAULTS | _usual_models(family)
    for action in parser._actions:
        if action.dest in defaults and action.help not in (None, argparse.SUPPRESS):
            action.help = f"{_without_default(action.help or '')} ({defaults[action.dest]})"
    return parser


def _usual_models(family: Family) -> dict[str, str]:
    """The models that are used if none is named."""
    if family.folders is None:
        return {}
    catalogue = family.folders.catalogue
    usual = {"model": (catalogue.usual, "the best that is"),
             "lm_model": (catalogue.usual_lm, "as the policy says")}  # fmt: skip
    here = "where it is installed, else"
    return {flag: f"default: {name} {here} {then}" for flag, (name, then) in usual.items() if name}


def _without_default(text: str) -> str:
    """A flag's help without its default, which differs in this command."""
    return re.sub(r"\s*\((?:default|left open): [^()]*(?:\([^()]*\)[^()]*)*\)", "", text)


def _opening(flags: EngineOptions, settings: Settings, mode: Mode, family: Family) -> Opening:
    """How to open engines. A tier test leaves the language model to the tier."""
    check_model(flags.model, flags.checkpoint_dir, settings, family)
    made = opening(flags, settings)
    usual = None if family.folders is None else family.folders.catalogue.usual_lm
    if family.folders is None or usual is None:
        return made
    if mode != "tier-test" and flags.lm_model is None and settings.lm_model is None:
        dirs = checkpoint_dirs(settings, flags.checkpoint_dir)
        here = family.folders.catalogue.installed(dirs)
        if any(item.name == usual and item.ready for item in here):
            return replace(made, options=flags.model_copy(update={"lm_model": usual}))
    return made


# --- invalid options -------------------------------------------------------------------------


def _mode(word: str, family: Family) -> Mode:
    plain = word.lower().replace("-", "_")
    found = next((mode for mode in MODES if mode.replace("-", "_") == plain), None)
    if found is None:
        raise InvalidRequest("mode", word, "one of " + ", ".join(MODES))
    if found not in _MATRIX and not (family.rehearses if found == "tier-test" else family.codes):
        allowed = f"{' or '.join(_MATRIX)}: {family.name} has no language model and no tiers"
        raise InvalidRequest("mode", word, allowed)
    return found


def _acting(
    said: Mapping[str, object], mode: Mode, args: argparse.Namespace, family: Family
) -> tuple[dict[str, object], tuple[str, ...]]:
    """The fields with an effect in this mode, and a sentence for every flag without one."""
    notes = [
        _only(name, modes)
        for name, modes in FLAGS.items()
        if getattr(args, name) not in (None, False) and mode not in modes
    ]
    known = FIELDS.get(mode)
    acting = {}
    for spelling, value in said.items():
        name = field_of(spelling, family)
        if known is None or name in known:
            acting[spelling] = value
        else:
            notes.append(_only(name, (*_MATRIX, *(m for m in FIELDS if name in FIELDS[m]))))
    notes += [
        f"{name}: not used: the tier decides in a tier test"
        for name in (_OF_TIER if mode == "tier-test" else ())
        if getattr(args, name) is not None
    ]
    return acting, tuple(notes)


def _only(name: str, modes: Sequence[Mode]) -> str:
    return f"{name}: not used: it acts with --mode {' or '.join(modes)}"


def _thinks(said: Mapping[str, object], family: Family) -> bool:
    """Whether a language model was requested."""
    return any(
        field_of(name, family) == "thinking" and value is True for name, value in said.items()
    )


def _tier_seconds(args: argparse.Namespace, said: dict[str, object], family: Family) -> str | None:
    """The song length of a tier test: its own flag, else the request's, removed from there."""
    fields = family.fields_for("seconds")
    spelling = next((name for name in said if field_of(name, family) in fields), None)
    length = None if spelling is None else str(said.pop(spelling))
    return length if args.tier_duration is None else str(args.tier_duration)


def _recording(said: dict[str, object], family: Family) -> Path | None:
    """The recording to understand, removed from the given values. Raises InvalidSource."""
    spelt = next((name for name in said if field_of(name, family) == "source_audio"), None)
    if spelt is None:
        return None
    path = paths.expanded(str(said.pop(spelt)), "source_audio")
    probe_audio(path, "source_audio")
    return path


def _path(field: str, text: str | None) -> Path | None:
    return None if text is None else paths.expanded(text, field)


def _codes(text: str | None, family: Family) -> str | None:
    """Audio codes, or those of the file named after an @. Raises InvalidRequest."""
    if text is None:
        return None
    codes = text_of("audio_codes", text)
    if family.codes is None or not family.codes.read(codes):
        raise InvalidRequest("audio_codes", text, _SAID)
    return codes


def _size(word: str) -> float:
    size = _number(word)
    if not 0 < size < 1 << 20:
        raise InvalidRequest("tiers", word, "sizes in GB above 0, as in --tiers 6 8 16")
    return size


def _seconds(word: str | None) -> float:
    clock = None if word is None else seconds_of(word)
    seconds = TIER_SECONDS if word is None else _number(word) if clock is None else clock
    if not seconds > 0 or math.isinf(seconds):
        raise InvalidRequest("tier_duration", word, "a number of seconds above 0")
    return seconds


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan
