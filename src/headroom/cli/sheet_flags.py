"""The commands whose answer is no song: their flags, and the request that a command line makes.

The flags are the fields of the requests, with the same names, limits and choices as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headroom import paths
from headroom.audio.files import probe_audio
from headroom.cli.family import family_in
from headroom.cli.far import add_remote_flag, under_flag
from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.engine.options import EngineOptions
from headroom.errors import InvalidRequest, UnreadableFile
from headroom.models.family import Family
from headroom.models.registry import family_named
from headroom.params.describe import Param, union
from headroom.params.flags import add_flags, given, mark_basic, text_of
from headroom.params.read import validate
from headroom.params.request import Request, spellings
from headroom.settings import Settings, load

SOURCE, CODES = "source_audio", "audio_codes"
_READ = "a recording, or audio codes"


@dataclass(frozen=True, slots=True)
class Asked:
    """The content of a command line."""

    request: Request
    flags: EngineOptions
    json: bool
    quiet: bool
    settings: Settings


@dataclass(frozen=True, slots=True)
class Command:
    """One of the commands.

    tasks  of the requests it makes: the first, or the first one that has all given fields
    words  the field of the words without a flag; SOURCE: the name of a recording, or codes
    needs  what the words must be, where the field may not be empty
    """

    name: str
    usage: str
    about: str
    tasks: tuple[str, ...]
    words: str = SOURCE
    needs: str = ""

    def requests(self, family: Family) -> tuple[type[Request], ...]:
        """The requests it makes. Raises InvalidRequest if the family has none of them."""
        kinds = tuple(family.requests[task] for task in self.tasks if task in family.requests)
        if not kinds:
            makes = f"a family for `{self.name}`; {family.name} has nothing of the kind"
            raise InvalidRequest("family", family.name, makes)
        return kinds


COMPOSE = Command(
    "acestep compose",
    'acestep compose "a line of text" [FLAGS]',
    "A song sheet out of a line of text.",
    ("create_sample", "format_sample"),
    words="caption",
    needs="something to make a song of",
)
UNDERSTAND = Command(
    "acestep understand",
    "acestep understand FILE-OR-CODES [FLAGS]",
    "What a recording or audio codes mean.",
    ("understand",),
)
SCORE = Command(
    "acestep score",
    "acestep score FILE-OR-CODES --caption TEXT [FLAGS]",
    "How well a recording or audio codes fit words.",
    ("score",),
)
ENCODE = Command(
    "acestep encode",
    "acestep encode FILE [FLAGS]",
    "The audio codes of a recording.",
    ("encode_audio",),
)
ALIGN = Command(
    "acestep align",
    "acestep align FILE --lyrics TEXT [FLAGS]",
    "When each line of the lyrics is sung in a recording, in the LRC format.",
    ("align_lyrics",),
)


def parser(command: Command, family: Family | None = None) -> Parser:
    """The flags of a command."""
    parser = Parser(command.name, command.usage, command.about, allow_abbrev=False)
    group = parser.add_argument_group("Output of the command")
    group.add_argument("--json", action="store_true", help="one JSON object on standard output")
    group.add_argument("-q", "--quiet", action="store_true", help="the answer alone")
    add_flags(parser, params(command, family))
    mark_basic(*parser._actions)
    add_flags(parser, unread(command, family), shown=False)
    add_engine_flags(parser)
    add_remote_flag(parser)
    parser.in_layers()
    return parser


def params(command: Command, family: Family | None = None) -> tuple[Param, ...]:
    """The fields that a command takes."""
    return union(command.requests(family or family_named()))


def unread(command: Command, family: Family | None = None) -> tuple[Param, ...]:
    """Fields of other requests that are accepted and have no effect, which a warning says."""
    family = family or family_named()
    kinds, accepted = command.requests(family), {param.name for param in params(command, family)}
    named = {name for kind in kinds for name in kind.unread}
    fields = union(family.requests.values())
    return tuple(p for p in fields if p.name in named and p.name not in accepted)


def asked(command: Command, words: Sequence[str]) -> Asked:
    """The content of a command line, read by `parser`.

    Raises InvalidRequest, InvalidSource and UnreadableFile.
    """
    words = spelt(words)
    family = family_in(words)
    command_parser = parser(command, family)
    args, rest = command_parser.parse_known_args(words)
    unknown = next((word for word in rest if word.startswith("-") and word != "--"), None)
    if unknown is not None:
        raise command_parser.unknown(unknown)
    text = " ".join(word for word in rest if word != "--")
    fields = given(args, (*params(command, family), *unread(command, family)))
    kinds = command.requests(family)
    if command.words == SOURCE:
        fields = _with_source(family, kinds[0], text, fields)
    else:
        fields = _with_words(command, kinds[0], text, fields)
    request = validate(_kind_for(kinds, fields), fields)
    if command.needs and not str(getattr(request, command.words)).strip():
        raise InvalidRequest(command.words, text, command.needs)
    settings = under_flag(load(), args)
    return Asked(request, engine_flags(args), args.json, args.quiet or args.json, settings)


def _kind_for(kinds: Sequence[type[Request]], fields: Mapping[str, object]) -> type[Request]:
    """The first request that has all of these fields; else the first one, which refuses them."""
    return next((kind for kind in kinds if fields.keys() <= _names(kind)), kinds[0])


def _names(kind: type[Request]) -> set[str]:
    return {*spellings(kind), *kind.unread}


def _with_words(
    command: Command, kind: type[Request], text: str, fields: Mapping[str, object]
) -> dict[str, object]:
    field = command.words
    if not text:
        return dict(fields)
    if any(spellings(kind).get(name) == field for name in fields):
        raise InvalidRequest(field, text, f"one {field}, not two")
    return {**fields, field: text}


def _with_source(
    family: Family, kind: type[Request], text: str, fields: Mapping[str, object]
) -> dict[str, object]:
    """The fields, with the recording or the codes that the words or a flag name, checked."""
    names = spellings(kind)
    takes_codes = CODES in kind.model_fields
    read = _READ if takes_codes else "a recording"
    sources = [(names[n], str(v)) for n, v in fields.items() if names.get(n) in (SOURCE, CODES)]
    if text:
        is_codes = takes_codes and (text.startswith("@") or bool(_codes_in(family, text)))
        sources.append((CODES if is_codes else SOURCE, text))
    if not sources:
        raise InvalidRequest("source", "", read)
    if len(sources) > 1:
        raise InvalidRequest("source", sources[1][1], f"{read}, and one of them")
    ((field, value),) = sources
    rest = {n: v for n, v in fields.items() if names.get(n) not in (SOURCE, CODES)}
    if field == CODES:
        return {**rest, CODES: text_of(CODES, value)}
    path = paths.expanded(value, "source")
    if not paths.is_file(path):
        why = "is a folder" if paths.is_dir(path) else "is not there"
        raise UnreadableFile("source", value, why, read)
    probe_audio(path, "source")
    return {**rest, SOURCE: path}


def _codes_in(family: Family, text: str) -> list[int]:
    return [] if family.codes is None else family.codes.read(text)
