"""`acestep compose` and `acestep understand`: the language model alone; a song sheet is printed."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypeVar

from headroom import paths
from headroom.cli.model import check_model, open_engine
from headroom.cli.output import tell_notes
from headroom.cli.parser import EngineFlags, Parser, add_engine_flags, engine_flags, spelt
from headroom.cli.progress import shown, stoppable
from headroom.errors import InvalidRequest, UnreadableFile
from headroom.models.base import Score, SheetWish, SongSheet
from headroom.params.flags import text_of
from headroom.runtime.events import Stop, Tell
from headroom.settings import Settings
from headroom.settings import load as load_settings

if TYPE_CHECKING:
    from headroom.engine.engine import Engine

R = TypeVar("R")
N = TypeVar("N", int, float)
COMPOSE = 'acestep compose "a line of text" [FLAGS]'
SCORE = "acestep score FILE-OR-CODES --caption TEXT [FLAGS]"
UNDERSTAND = "acestep understand FILE-OR-CODES [FLAGS]"
GIVEN = ("bpm", "keyscale", "timesignature", "duration", "language")
NO_LYRICS = "(no lyrics)"


def compose(words: Sequence[str]) -> int:
    """`acestep compose …`: a song out of a line; with --lyrics, both said better."""
    parser = _parser("acestep compose", COMPOSE, "A song sheet out of a line of text.")
    group = parser.add_argument_group("Song")
    group.add_argument("--lyrics", metavar="TEXT|@FILE", help="put these and the text in form")
    group.add_argument("--instrumental", action="store_true", help="no voice")
    for name in GIVEN:
        group.add_argument(f"--{name}", metavar="VALUE", help=f"{name} that it must have")
    args, rest = parser.parse_known_args(spelt(words))
    text = _text(rest, "caption")
    lyrics = None if args.lyrics is None else text_of("lyrics", args.lyrics)
    given = {name: getattr(args, name) for name in GIVEN if getattr(args, name) is not None}
    act = "inspire" if lyrics is None else "format"
    wish = SheetWish(act, text, instrumental=args.instrumental, given=given)
    wish = wish if lyrics is None else replace(wish, lyrics=lyrics)
    return _told(wish, args)


def understand(words: Sequence[str]) -> int:
    """`acestep understand …`: what a recording, or audio codes, are."""
    parser = _parser("acestep understand", UNDERSTAND, "What a recording or audio codes mean.")
    args, rest = parser.parse_known_args(spelt(words))
    text = _text(rest, "source")
    wish = SheetWish("understand", text)
    return _told(wish, args, hears="<|audio_code_" not in text and not _are_numbers(text))


def score(words: Sequence[str]) -> int:
    """`acestep score …`: how well a recording, or codes, fit what they should be."""
    parser = _parser("acestep score", SCORE, "How well a recording or audio codes fit words.")
    group = parser.add_argument_group("Song")
    group.add_argument("--caption", metavar="TEXT", help="what it should sound like")
    group.add_argument("--lyrics", metavar="TEXT|@FILE", help="what should be sung")
    for name in GIVEN:
        group.add_argument(f"--{name}", metavar="VALUE", help=f"{name} that it should have")
    args, rest = parser.parse_known_args(spelt(words))
    text = _text(rest, "source")
    names = ("caption", *GIVEN)
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    wish = SheetWish("score", text, given=given)
    sung = None if args.lyrics is None else text_of("lyrics", args.lyrics)
    wish = wish if sung is None else replace(wish, lyrics=sung)
    hears = "<|audio_code_" not in text and not _are_numbers(text)

    def work(engine: Engine, asked: SheetWish, tell: Tell, stop: Stop) -> Score:
        return engine.score(asked, tell, stop)

    quiet = args.quiet or args.json
    found = _worked(wish, engine_flags(args), load_settings(), hears, quiet, work)
    if args.json:
        sys.stdout.write(json.dumps(asdict(found), indent=1) + "\n")
        return 0
    lines = [f"{name:<14} {value:.3f}" for name, value in found.parts.items()]
    sys.stdout.write("\n".join([*lines, f"{'reward':<14} {found.reward:.3f}"]) + "\n")
    return 0


def _parser(program: str, usage: str, about: str) -> Parser:
    parser = Parser(program, usage, about, allow_abbrev=False)
    group = parser.add_argument_group("Language model")
    group.add_argument("--temperature", metavar="T", help="how freely it writes; 0: the likeliest")
    group.add_argument("--top-k", metavar="N", help="draw from so many likeliest; 0: from all")
    group.add_argument("--top-p", metavar="P", help="draw from the likeliest that hold this share")
    group.add_argument("--repetition-penalty", metavar="X", help="1: what was said may be again")
    group.add_argument(
        "--constrained-decoding", action=argparse.BooleanOptionalAction, default=True,
        help="keep what it writes to the form of a song sheet",
    )  # fmt: skip
    group.add_argument("--seed", metavar="N", help="the same seed writes the same")
    group.add_argument("--json", action="store_true", help="one JSON object on standard output")
    group.add_argument("--quiet", action="store_true", help="the sheet alone")
    add_engine_flags(parser)
    return parser


def _told(wish: SheetWish, args: argparse.Namespace, hears: bool = False) -> int:
    settings = load_settings()
    flags = engine_flags(args)
    seed = _number("seed", args.seed, int, 0, (1 << 64) - 1)
    wish = replace(
        wish,
        temperature=_number("temperature", args.temperature, float, 0, 2),
        top_k=_number("top_k", args.top_k, int, 0, 1 << 20),
        top_p=_number("top_p", args.top_p, float, 0, 1),
        penalty=_number("repetition_penalty", args.repetition_penalty, float, 1, 2),
        constrained=args.constrained_decoding,
        seed=secrets.randbits(32) if seed is None else seed,
    )
    sheet = _sheet(wish, flags, settings, hears, args.quiet or args.json)
    if args.json:
        notes = [{**asdict(note), "sentence": note.sentence()} for note in sheet.notes]
        song = {name: value for name, value in asdict(sheet).items() if name != "notes"}
        whole = {"song": song, "seed": wish.seed, "notes": notes}
        sys.stdout.write(json.dumps(whole, indent=1, ensure_ascii=False, default=str) + "\n")
        return 0
    tell_notes(sheet.notes, set())
    sys.stdout.write(_words(sheet))
    return 0


def _sheet(
    wish: SheetWish, flags: EngineFlags, settings: Settings, hears: bool, quiet: bool
) -> SongSheet:
    def work(engine: Engine, asked: SheetWish, tell: Tell, stop: Stop) -> SongSheet:
        return engine.write(asked, tell, stop)

    return _worked(wish, flags, settings, hears, quiet, work)


def _worked(
    wish: SheetWish,
    flags: EngineFlags,
    settings: Settings,
    hears: bool,
    quiet: bool,
    work: Callable[[Engine, SheetWish, Tell, Stop], R],
) -> R:
    """Open an engine, hear the recording where one is named, and do it."""
    recording = paths.expanded(wish.text, "source") if hears else None
    if recording is not None and not paths.is_file(recording):
        why = "is a folder" if paths.is_dir(recording) else "is not there"
        raise UnreadableFile("source", wish.text, why, "a recording, or audio codes")
    check_model(flags.model, flags.checkpoint_dir, settings)
    with stoppable() as stop, shown(quiet, not settings.no_progress) as tell:
        engine = open_engine(flags, settings)
        if not quiet:
            tell_notes(engine.model.notes, set())
        if recording is not None:
            wish = replace(wish, text=engine.hear(recording, tell, stop))
        return work(engine, wish, tell, stop)


def _words(sheet: SongSheet) -> str:
    named = ("bpm", "keyscale", "timesignature", "language", "duration", "genres")
    lines = [f"caption        {sheet.caption}"]
    for name in named:
        value = getattr(sheet, name)
        lines.append(f"{name:<14} {'–' if value is None else value}")
    return "\n".join([*lines, "", sheet.lyrics or NO_LYRICS]) + "\n"


def _text(rest: Sequence[str], field: str) -> str:
    unknown = next((word for word in rest if word.startswith("-")), None)
    if unknown is not None:
        raise InvalidRequest(unknown, unknown, "the flags that --help lists")
    if not rest:
        raise InvalidRequest(field, "", "something to read")
    return " ".join(rest)


def _are_numbers(text: str) -> bool:
    words = text.replace(",", " ").split()
    return bool(words) and all(word.isdecimal() for word in words)


def _number(
    field: str, text: str | None, read: Callable[[str], N], least: float, most: float
) -> N | None:
    """What was written, within its bounds; None where nothing was. Raises InvalidRequest."""
    try:
        value = None if text is None else read(text)
    except ValueError as error:
        raise InvalidRequest(field, text, f"a number from {least:g} to {most:g}") from error
    if value is not None and not least <= value <= most:
        raise InvalidRequest(field, text, f"a number from {least:g} to {most:g}")
    return value
