"""`acestep generate`: makes songs from a request in flags or in a file, and writes them to files.

Errors are reported before anything is loaded: the request, its recordings and the place for the
songs are checked first.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headroom import paths
from headroom.audio.encode import Format
from headroom.cli import replay
from headroom.cli.config_file import ConfigFile
from headroom.cli.config_file import read as read_config_file
from headroom.cli.family import family_in
from headroom.cli.far import add_remote_flag, only_here, opened, under_flag
from headroom.cli.model import check_model, offer_in_use
from headroom.cli.notes import tell_notes
from headroom.cli.orders import Order, order, orders_for, place_of
from headroom.cli.output import (
    Latents,
    Saved,
    check_latents,
    held_latents,
    reports,
    save,
    tell_json,
    tell_report,
    tell_songs,
)
from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.cli.play import Player, find_player
from headroom.cli.progress import has_bars, shown, stoppable
from headroom.engine.names import Names, inputs_of
from headroom.engine.options import EngineOptions
from headroom.errors import (
    Cancelled,
    HeadroomError,
    InvalidFile,
    InvalidOutput,
    InvalidRequest,
    UnreadableFile,
)
from headroom.files import LINES_BYTES, parse_json, read_text
from headroom.models.family import Family, Tasks
from headroom.models.registry import family_named
from headroom.params.describe import Param, union
from headroom.params.flags import add_flags, given, mark_basic
from headroom.params.request import Request, spellings
from headroom.settings import Settings
from headroom.settings import load as load_settings

if TYPE_CHECKING:
    from headroom.engine.result import SongResult

MOST_LINES = 10_000  # of a file of requests
USAGE = "acestep generate [CAPTION] [FLAGS]"


@dataclass(frozen=True, slots=True)
class Told:
    """What is printed: JSON without messages, or messages, or results alone."""

    json: bool
    quiet: bool
    bars: bool


@dataclass(frozen=True, slots=True)
class Files:
    """The requested files: latents and LRC files beside the songs, whether existing files may be
    replaced, and the player for the finished songs."""

    latents: Path | None = None
    lrc: bool = False
    force: bool = False
    player: Player | None = None


def run(words: Sequence[str]) -> int:
    """Run `acestep generate …`; returns the exit code. Raises HeadroomError."""
    settings = load_settings()
    words = spelt(words)
    family = family_in(words)
    parser = _shown(family, words, settings)
    args, rest = parser.parse_known_args(words)
    fields = _fields(args, rest, parser, family)
    if args.config is not None:
        file = _config(args, parser, family)
        parser.set_defaults(**file.flags)
        args, rest = parser.parse_known_args(words)
        fields = file.under(_fields(args, rest, parser, family), args.output)
        settings = settings.model_copy(update={"output_dir": file.folder or settings.output_dir})
    flags = engine_flags(args)
    settings = under_flag(settings, args)
    here = ("save_latents", "lrc", "replay")  # these need tensors that stay where they are made
    only_here(settings, **{name: getattr(args, name) for name in here})
    player = find_player() if args.play else None
    files = Files(check_latents(args.save_latents), args.lrc, args.force, player)
    console = Told(args.json, args.quiet or args.json, not settings.no_progress)
    if args.replay is not None:
        return _replay(args, fields, flags, files, settings, console)
    if args.requests is not None:
        return _several(args, fields, flags, files, settings, console)
    if not fields and family.words is not None:
        allowed = 'words, as in `acestep generate "slow bossa nova"`'
        raise InvalidRequest(family.words, "", allowed)
    example = fields.pop("example", None)
    wished = fields if example is None else _filled(family, fields, str(example))
    orders = orders_for(family, wished, args.output, settings, args.force)
    if len(orders) > 1 and files.latents is not None:
        raise InvalidRequest("save_latents", args.save_latents, "with one request only")
    return _make(tuple((one,) for one in orders), files, flags, settings, console)


# --- arguments --------------------------------------------------------------------------


def whole_parser(family: Family | None = None) -> Parser:
    """All flags of `acestep generate`, for the default family unless one is given."""
    family = family or family_named()
    return _parser(union(family.songs.values()), family.songs, family)


def _filled(family: Family, fields: Mapping[str, object], example: str) -> dict[str, object]:
    if family.examples is None:
        raise InvalidRequest("example", example, f"nothing: {family.name} has no examples")
    return family.examples.filled(fields, example)


def _config(args: argparse.Namespace, parser: Parser, family: Family) -> ConfigFile:
    for name in ("requests", "replay"):
        if getattr(args, name) is not None:
            raise InvalidRequest("config", args.config, f"a configuration without --{name}")
    return read_config_file(paths.expanded(args.config, "config"), parser, family)


def _parser(params: Sequence[Param], tasks: Tasks, family: Family) -> Parser:
    about = "Make a song from words, or from a recording."
    parser = Parser("acestep generate", USAGE, about, allow_abbrev=False)
    bundled = "" if family.examples is None else f"a bundled example ({family.examples.usual} …) or"
    files = parser.add_argument_group("Files")
    files.add_argument("-o", "--output", metavar="FILE", help="the song; its ending decides")
    files.add_argument("--force", action="store_true", help="replace the file that -o names")
    files.add_argument("--play", action="store_true", help="play the songs when they are written")
    files.add_argument("--save-latents", metavar="FILE.safetensors", help="noise and latents too")
    files.add_argument("--lrc", action="store_true", help="when each line is sung, as song.lrc")
    files.add_argument("--replay", metavar="FILE", help="make this song, or sidecar, again")
    files.add_argument(
        "--example", metavar="NAME|FILE.json",
        help=f"what {bundled} a file says, and what other flags say instead",
    )  # fmt: skip
    files.add_argument(
        "--config", metavar="FILE.toml", help="what a file of keys says, where no flag says it"
    )
    files.add_argument(
        "--requests", metavar="FILE.jsonl",
        help="a request a line, made together; -o names a folder",
    )  # fmt: skip
    files.add_argument("--json", action="store_true", help="one JSON object on standard output")
    files.add_argument("-q", "--quiet", action="store_true", help="the songs' names and no more")
    basic = ("output", "force", "play", "lrc", "replay", "example", "config", "json", "quiet")
    mark_basic(*(action for action in files._group_actions if action.dest in basic))
    add_engine_flags(parser)
    add_remote_flag(parser)
    add_flags(parser, params, tasks)
    parser.in_layers()
    return parser


def _fields(
    args: argparse.Namespace, rest: Sequence[str], parser: Parser, family: Family
) -> dict[str, object]:
    """The fields of the request that were given; the positional argument is the caption."""
    unknown = next((word for word in rest if word.startswith("-") and word != "--"), None)
    if unknown is not None:
        raise parser.unknown(unknown)
    fields = given(args, union(family.songs.values()))
    if args.example is not None:
        fields["example"] = args.example
    captions = [word for word in rest if word != "--"]
    if captions:
        field = family.words_of(captions)
        if len(captions) > 1:
            raise InvalidRequest(field, " ".join(captions), "one text: put it into quotes")
        names = spellings(family.usual_request)
        if any(names.get(spelling) == field for spelling in fields):
            raise InvalidRequest(field, captions[0], f"one {field}, not two")
        fields[field] = captions[0]
    for name, value in fields.items():
        if isinstance(value, str) and not value.isascii() and _torn(value):
            raise InvalidRequest(name, value, "text in the terminal's own encoding")
    return fields


def _torn(text: str) -> bool:
    """Whether a text holds bytes that could not be decoded."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _shown(family: Family, words: Sequence[str], settings: Settings) -> Parser:
    """All flags; for the help, only those of the model in use, with its limits."""
    everything = union(family.songs.values())
    offer = None
    if {"-h", "--help", "--help-all"} & {*words}:
        offer = offer_in_use(family, words, settings)
    if offer is None:
        return _parser(everything, family.songs, family)
    shown = tuple(offer.fields[p.name] for p in everything if p.name in offer.fields)
    return _parser(shown, offer.tasks, family)


# --- making and writing songs ---------------------------------------------------------------


def _several(
    args: argparse.Namespace,
    fields: Mapping[str, object],
    flags: EngineOptions,
    files: Files,
    settings: Settings,
    console: Told,
) -> int:
    """Make every line of a file as one request, all of them in as few passes as possible."""
    if "example" in fields:
        raise InvalidRequest("example", fields["example"], "with one request only")
    for name, value in fields.items():
        raise InvalidRequest(name, value, "to stand in the file that --requests names")
    if args.save_latents is not None:
        raise InvalidRequest("save_latents", args.save_latents, "with one request only")
    if args.force:
        raise InvalidRequest("force", True, "with a file that -o names, not with --requests")
    family = family_named(flags.family)
    requests = read_requests(Path(args.requests), family)
    folder = settings.output_dir if args.output is None else paths.expanded(args.output, "output")
    places = settings.model_copy(update={"output_dir": folder})
    orders = tuple(
        order(family, one, place_of(one, None, places, False), settings) for one in requests
    )
    return _make((orders,), files, flags, settings, console)


def read_requests(path: Path, family: Family | None = None) -> tuple[Request, ...]:
    """The requests of a file with one JSON object per line, of the default family unless given.

    Raises InvalidRequest that names the line.
    """
    family = family or family_named()
    try:
        # Not `splitlines`: JSON text may contain U+2028 and others unescaped.
        lines = re.split(r"\r\n|\n|\r", read_text(path, LINES_BYTES))
    except InvalidFile as error:
        allowed = "a file of JSON objects, one a line"
        raise UnreadableFile("requests", str(path), error.why, allowed) from error
    if len(lines) > MOST_LINES:
        allowed = f"a file of at most {MOST_LINES} lines (it has {len(lines)})"
        raise InvalidRequest("requests", str(path), allowed)
    requests = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            requests.append(_request(line, f"{path.name} line {number}", family))
    if not requests:
        raise InvalidRequest("requests", str(path), "a file with at least one request in it")
    return tuple(requests)


def _request(line: str, where: str, family: Family) -> Request:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise InvalidRequest(where, line, f"a JSON object ({error})") from error
    if not isinstance(value, dict):
        raise InvalidRequest(where, line, 'a JSON object, as in {"caption": "…"}')
    try:
        return family.song(value)
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}, {error.field}", error.value, error.allowed) from error


def _make(
    groups: Sequence[Sequence[Order]],
    files: Files,
    flags: EngineOptions,
    settings: Settings,
    console: Told,
) -> int:
    """Make the songs of each group in one pass, and write them before the next group."""
    shown_notes: set[str] = set()
    saved: list[Saved] = []
    spare = (settings.output_dir,)
    with ExitStack() as held, _always_told(saved, console, shown_notes), stoppable() as stop:
        names = [[held.enter_context(one.names(files.lrc)) for one in group] for group in groups]
        inputs = inputs_of(groups[0][0].request)
        latents = held.enter_context(held_latents(files.latents, inputs, files.force))
        engine = held.enter_context(opened(flags, settings))
        if not console.quiet:
            tell_notes(engine.notes, shown_notes)
        for group, places in zip(groups, names, strict=True):
            with shown(console.quiet, console.bars) as tell:
                requests = [one.as_stored() if settings.remote else one.request for one in group]
                results = engine.generate_batch(requests, tell, stop)
                if files.lrc:
                    results = tuple(engine.timed(result, tell, stop) for result in results)
            if stop():
                raise Cancelled("stopped before the songs were written")
            songs = [one.as_asked(result) for one, result in zip(group, results, strict=True)]
            formats = [one.place.format for one in group]
            _save_all(list(zip(songs, places, formats, strict=True)), latents, spare, saved)
    return _told(saved, console, shown_notes, files.player)


def _save_all(
    songs: Sequence[tuple[SongResult, Names, Format]],
    latents: Latents | None,
    spare: Sequence[Path],
    saved: list[Saved],
) -> None:
    """Write every result, even after one that cannot be written. Raises InvalidOutput."""
    failed: list[InvalidOutput] = []
    for result, names, format in songs:
        try:
            saved.append(save(result, names, format, latents, spare))
        except InvalidOutput as error:
            failed.append(error)
    if failed:
        raise failed[0]


def _replay(
    args: argparse.Namespace,
    fields: Mapping[str, object],
    flags: EngineOptions,
    files: Files,
    settings: Settings,
    console: Told,
) -> int:
    replay.check_alone(fields, flags, args.requests)
    path = paths.expanded(args.replay, "replay")
    song = replay.find(path, args.output, settings.output_dir, args.force)
    shown_notes: set[str] = set()
    saved: list[Saved] = []
    with ExitStack() as held, stoppable() as stop:
        destination = song.place.wanted(f"{song.name} again", song.provenance.seed, files.lrc)
        names = held.enter_context(Names(destination))
        names.hold(1)
        latents = held.enter_context(held_latents(files.latents, {"replay": (path,)}, files.force))
        made_by = family_named(song.provenance.family)
        check_model(song.provenance.model, flags.checkpoint_dir, settings, made_by)
        with shown(console.quiet, console.bars) as tell:
            result = replay.again(song, flags, tell, stop, files.lrc)
        songs = [(result, names, song.place.format)]
        _save_all(songs, latents, (settings.output_dir,), saved)
    return _told(saved, console, shown_notes, files.player)


@contextmanager
def _always_told(saved: Sequence[Saved], console: Told, shown_notes: set[str]) -> Iterator[None]:
    """Report what was written, even if an error or Ctrl-C ends the rest."""
    try:
        yield
    except (HeadroomError, KeyboardInterrupt):
        if saved:
            _told(saved, console, shown_notes)
        raise


def _told(
    saved: Sequence[Saved], console: Told, shown_notes: set[str], player: Player | None = None
) -> int:
    if console.json:
        tell_json(saved)
    else:
        for one in saved:
            notes = () if console.quiet else one.result.notes
            tell_notes(
                (*notes, *(one.notes if one.rescued or not console.quiet else ())), shown_notes
            )
        if not console.quiet:
            tell_report(reports(saved), stages=has_bars(console.bars))
        tell_songs(saved)
    if player is not None:
        sys.stdout.flush()
        player.play([path for one in saved for path in one.paths])
    return 0
