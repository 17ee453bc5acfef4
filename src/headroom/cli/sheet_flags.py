"""Flags of `compose`, `understand` and `score`, and the checks of their values before any work.

The flags are fields of a request, with the same names, limits and choices as in `generate`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headroom import paths
from headroom.audio.files import probe
from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.engine.options import EngineOptions
from headroom.engine.seeds import DRAWN_BITS
from headroom.errors import InvalidRequest, UnreadableFile
from headroom.models.base import SheetWish
from headroom.models.registry import family_named
from headroom.params.clamp import change
from headroom.params.describe import Param, union
from headroom.params.flags import add_flags, given, mark_basic, text_of
from headroom.params.read import validate
from headroom.params.request import Request, spellings

SAMPLING = (
    "lm_temperature", "lm_top_k", "lm_top_p", "lm_repetition_penalty", "use_constrained_decoding",
    "seed",
)  # fmt: skip
# Fields of a request that are also in a song sheet -> their names there.
GIVEN: Mapping[str, str] = {
    "bpm": "bpm",
    "keyscale": "keyscale",
    "timesignature": "timesignature",
    "duration": "duration",
    "vocal_language": "language",
}
SOURCE, CODES = "source_audio", "audio_codes"
_LANGUAGE_MODEL = "Language model"
_SOURCES = (SOURCE, CODES)
_READ = "a recording, or audio codes"


@dataclass(frozen=True, slots=True)
class Asked:
    """The content of a command line.

    heard  the recording whose codes are the wish's text
    idle   fields that were given but have no effect in this command
    """

    wish: SheetWish
    flags: EngineOptions
    heard: Path | None
    json: bool
    quiet: bool
    idle: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One of the three commands.

    fields     of a request that it shows
    left_open  what decides the fields that are not given
    calm       whether the default temperature is the family's low one, as for understanding
    hidden     fields that are accepted but not shown
    idle       whether nothing is sampled here, so that sampling flags lead to a note
    """

    name: str
    usage: str
    about: str
    fields: tuple[str, ...]
    left_open: str = ""
    calm: bool = False
    hidden: tuple[str, ...] = ("lm_seed",)
    idle: bool = False


COMPOSE = Command(
    "acestep compose",
    'acestep compose "a line of text" [FLAGS]',
    "A song sheet out of a line of text.",
    ("caption", "lyrics", "instrumental", *GIVEN, *SAMPLING),
    "the language model decides",
)
UNDERSTAND = Command(
    "acestep understand",
    "acestep understand FILE-OR-CODES [FLAGS]",
    "What a recording or audio codes mean.",
    (*_SOURCES, *SAMPLING),
    calm=True,
)
SCORE = Command(
    "acestep score",
    "acestep score FILE-OR-CODES --caption TEXT [FLAGS]",
    "How well a recording or audio codes fit words.",
    (*_SOURCES, "caption", "lyrics", *GIVEN),
    "it is not scored",
    hidden=(*SAMPLING, "lm_seed"),
    idle=True,
)


def parser(command: Command) -> Parser:
    """The flags of a command."""
    made = Parser(command.name, command.usage, command.about, allow_abbrev=False)
    group = made.add_argument_group("Output of the command")
    group.add_argument("--json", action="store_true", help="one JSON object on standard output")
    group.add_argument("-q", "--quiet", action="store_true", help="the answer alone")
    add_flags(made, params(command))
    mark_basic(*made._actions)
    add_flags(made, params(command, command.hidden), shown=False)
    add_engine_flags(made)
    made.in_layers()
    return made


def params(command: Command, names: Sequence[str] | None = None) -> tuple[Param, ...]:
    """The command's fields (or the named ones), described by their effect in it."""
    found = {param.name: param for param in union(family_named().requests.values())}
    return tuple(_here(found[n], command) for n in (command.fields if names is None else names))


def asked(command: Command, words: Sequence[str]) -> Asked:
    """The content of a command line, read by `parser`.

    Raises InvalidRequest, InvalidSource and UnreadableFile.
    """
    made = parser(command)
    args, rest = made.parse_known_args(spelt(words))
    unknown = next((word for word in rest if word.startswith("-") and word != "--"), None)
    if unknown is not None:
        raise made.unknown(unknown)
    texts = " ".join(word for word in rest if word != "--")
    said = _by_field(given(args, (*params(command), *params(command, command.hidden))))
    heard, text = None, ""
    if SOURCE in command.fields:
        heard, text = _source(texts, said)
    elif texts and "caption" in said:
        raise InvalidRequest("caption", texts, "one caption, not two")
    elif texts:
        said["caption"] = texts
    # Its fields by their names in song sheets.
    request: Any = validate(family_named().usual_request, said)
    told = request.model_fields_set
    _check_limits(request, told, command)
    if command is COMPOSE:
        text = request.caption
        if not text.strip():
            raise InvalidRequest("caption", text, "something to make a song of")
    values = {
        ours: getattr(request, name) for name, ours in GIVEN.items() if _is_told(request, name)
    }
    if command is SCORE:
        values |= {"caption": request.caption} if request.caption.strip() else {}
        if not values and not request.lyrics.strip():
            raise InvalidRequest(
                "caption", "", "a caption, lyrics or other values to score against"
            )
    acts = {COMPOSE.name: "format" if "lyrics" in told else "inspire"}
    wish = SheetWish(
        acts.get(command.name, command.name.rpartition(" ")[2]),
        text,
        lyrics=request.lyrics,
        instrumental=request.instrumental,
        given=values,
        **_sampling(request, told),
    )
    idle = tuple(n for n in command.hidden if n in told) if command.idle else ()
    return Asked(wish, engine_flags(args), heard, args.json, args.quiet or args.json, idle)


def _here(param: Param, command: Command) -> Param:
    """A field of a request, described by its effect in a command."""
    knob = param.knob
    if param.name in (*SAMPLING, "lm_seed"):
        knob = replace(knob, group=_LANGUAGE_MODEL)
    if param.name == "seed":
        knob = replace(knob, help="The same seed writes the same.")
    elif param.name == "lyrics" and command is COMPOSE:
        knob = replace(knob, help="Put these and the text into the form of a song sheet.")
    elif param.name in _SOURCES:
        param = replace(param, required=False, default="")
    elif param.name in GIVEN:
        knob = replace(knob, left_open=command.left_open, stand_in=None)
        param = replace(param, optional=True, default=None)
    if param.name == "lm_temperature" and command.calm:
        param = replace(param, default=family_named().calm)
    return replace(param, knob=knob)


def _by_field(said: Mapping[str, object]) -> dict[str, object]:
    """The given values by field name. Raises InvalidRequest for two values of one field."""
    names = {
        old: name
        for model in family_named().requests.values()
        for old, name in spellings(model).items()
    }
    found: dict[str, object] = {}
    for spelling, value in said.items():
        name = names[spelling]
        if name in found and found[name] != value:
            raise InvalidRequest(name, value, "one value for it, not two spellings that differ")
        found[name] = value
    return found


def _source(texts: str, said: dict[str, object]) -> tuple[Path | None, str]:
    """The recording to hear, or codes; removed from the given values."""
    named = [(name, str(said.pop(name))) for name in _SOURCES if name in said]
    if texts:
        is_codes = texts.startswith("@") or bool(_read(texts))
        named.append((CODES if is_codes else SOURCE, texts))
    if not named:
        raise InvalidRequest("source", "", _READ)
    if len(named) > 1:
        raise InvalidRequest("source", named[1][1], f"{_READ}, and one of them")
    ((kind, text),) = named
    if kind == CODES:
        return None, _codes(text_of(CODES, text))
    path = paths.expanded(text, "source")
    if not paths.is_file(path):
        why = "is a folder" if paths.is_dir(path) else "is not there"
        raise UnreadableFile("source", text, why, _READ)
    probe(path, "source")
    return path, text


def _codes(text: str) -> str:
    found = _read(text)
    if not found:
        allowed = "<|audio_code_N|> one after another, or numbers with commas"
        raise InvalidRequest("codes", text[:60], allowed)
    known = family_named().codes
    if known is not None and max(found) >= known.count:
        raise InvalidRequest("codes", max(found), f"codes from 0 to {known.count - 1}")
    return text


def _read(text: str) -> list[int]:
    """The codes of a text."""
    known = family_named().codes
    return [] if known is None else known.read(text)


def _check_limits(request: Request, told: set[str], command: Command) -> None:
    """Raise InvalidRequest for a number beyond its limits if it is not clamped later: sampling
    options, and everything that is scored."""
    for param in params(command):
        strict = command is SCORE or param.name in SAMPLING
        if strict and param.name in told:
            value = getattr(request, param.name)
            if change(param, value) is not None:
                raise InvalidRequest(param.name, value, param.allowed())


def _is_told(request: Request, name: str) -> bool:
    """Whether a value was given that does not leave the choice open."""
    open_ = (None, type(request).model_fields[name].default)
    return name in request.model_fields_set and getattr(request, name) not in open_


def _sampling(request: Any, told: set[str]) -> dict[str, Any]:
    """The sampling options by their names in a wish; those not given are left to the model."""
    names = {"temperature": "lm_temperature", "top_k": "lm_top_k", "top_p": "lm_top_p",
             "penalty": "lm_repetition_penalty"}  # fmt: skip
    found: dict[str, Any] = {ours: getattr(request, n) for ours, n in names.items() if n in told}
    seed = request.lm_seed if request.seed is None else request.seed
    found["seed"] = secrets.randbits(DRAWN_BITS) if seed is None else seed
    return {**found, "constrained": request.use_constrained_decoding}
