"""The song sheet as the planner language model writes it: metadata as YAML, and lyrics. No torch.

Source: what ACE-Step 1.5's `acestep/llm_inference.py` writes. Keys are in alphabetical order,
because the training text was dumped with sorted keys; genres are read, but never written before the
codes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace

import yaml

from headroom.errors import written
from headroom.models.acestep.language.sheet_text import field_of, said_in
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.text.language_names import language_of
from headroom.models.acestep.text.plain_text import shown
from headroom.models.acestep.text.vocabulary import key_of
from headroom.params.describe import Param, describe
from headroom.params.request import means_open
from headroom.params.words import seconds_of

THINKS = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)
_HEADING = re.compile(r"\A\s*(?:# Languages?\n.*?\n+)?# Lyrics?[ \t]*\n", re.DOTALL)


def field(name: str) -> Param:
    """The request parameter for a field of a song sheet, or for its lyrics."""
    return next(param for param in describe(Text2Music) if param.name == name)


def _bounds(name: str) -> tuple[int, int]:
    limit = field(name).limit
    assert limit is not None
    return int(limit.minimum), int(limit.maximum)


SIGNATURES = field("timesignature").choices
NUMBERS = ("bpm", "duration")
_NUMBER = re.compile(
    r"(?:about|around|circa|ca\.?|approx\.?|~)?\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)"
    r"\s*(?:bpm|beats per minute|beats a minute)?",
    re.IGNORECASE,
)
BPM, SECONDS = (_bounds(name) for name in NUMBERS)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is known of a song; None: not known. Durations are whole seconds."""

    bpm: int | None = None
    caption: str | None = None
    duration: int | None = None
    genres: str | None = None
    keyscale: str | None = None
    language: str | None = None
    timesignature: str | None = None

    def values(self) -> dict[str, str | int]:
        """The known fields as YAML values: a time signature becomes a number, and so does any other
        text of digits alone, as in the text the model was trained on.
        """
        found: dict[str, str | int] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                number = str(value).isdecimal() and len(str(value)) <= _DIGITS
                found[field.name] = int(value) if number else value
        return found

    def text(self) -> str:
        """The sheet as it stands before the first code; empty if nothing is known."""
        known = replace(self, genres=None).values()
        return dumped(known) if known else ""

    def over(self, other: Sheet) -> Sheet:
        """This sheet, with its unknown fields taken from the other."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(other, **{name: value for name, value in mine.items() if value is not None})

    def only(self, names: Collection[str]) -> Sheet:
        """This sheet with only the named fields."""
        return replace(self, **{f.name: None for f in fields(self) if f.name not in names})


def whole_seconds(most: float) -> int:
    """The greatest duration a sheet may state if `most` seconds are allowed: 1 to 600."""
    return max(1, int(min(most, SECONDS[1])))


def inside(given: Sheet, most: int) -> Sheet:
    """The given values, with the length at most `most` seconds. If that is less than the shortest
    song a language model was trained on, there is no choice left, and the length is given as well.
    """
    if given.duration is None:
        return given if most >= SECONDS[0] else replace(given, duration=most)
    return replace(given, duration=min(given.duration, most))


FIELDS = tuple(field.name for field in fields(Sheet))
_REQUESTED = {"language": "vocal_language"}  # fields with another name in requests
_DIGITS = 4000  # Python does not convert longer ones to numbers


def dumped(values: Mapping[str, str | int], folded: bool = True) -> str:
    """A mapping formatted as in the training text: sorted, folded at 80 columns, quoted where
    needed.
    """
    width = None if folded else math.inf
    text: str = yaml.safe_dump(dict(values), sort_keys=True, allow_unicode=True, width=width)
    return text.strip()


def read(text: str) -> Sheet:
    """The metadata a model wrote: between its thinking marks, else before the first code.

    Invalid values are left out. `text` may hold text as escaped by `plain_text.as_text`.
    """
    inside = THINKS.search(text)
    body = (inside[1] if inside else text.partition("<|audio_code_")[0]).strip("\n")
    return _sheet(said_in(body))


def lyrics_of(text: str) -> str:
    """The lyrics after the metadata, without headings and the end-of-turn mark."""
    rest = text.partition("</think>")[2].replace("<|im_end|>", "")
    return shown(_HEADING.sub("", rest).strip())


def said(values: Mapping[str, object]) -> dict[str, object]:
    """The given values by the names of a sheet, without those that leave the choice to the model
    (`auto`, a length of -1).
    """
    named = {field_of(name) or name: value for name, value in values.items()}
    params = {name: field(_REQUESTED.get(name, name)) for name in FIELDS if name != "genres"}
    return {
        name: value
        for name, value in named.items()
        if written(value).strip() not in ("", "N/A", "unknown")
        and not (name in params and means_open(params[name], value))
    }


def normalised(values: Mapping[str, object]) -> tuple[Sheet, tuple[str, ...]]:
    """The given values in the model's vocabulary, and the names of those that are invalid.

    `Am` becomes `A minor`, `4/4` becomes `4`, and `tempo` becomes `bpm`; a tempo or length out of
    range becomes the nearest one in range.
    """
    known = {name: value for name, value in said(values).items() if value is not None}
    texts = {name: written(value).strip() for name, value in known.items()}
    found = _sheet(texts, clamp=True)
    bad = tuple(n for n in texts if n not in FIELDS or getattr(found, n) is None)
    return found, bad


def number_in(name: str, value: object) -> float:
    """A tempo or a length as people write it: `120 BPM`, `~98`, `1:30`; NaN for anything else."""
    text = str(value).strip()
    seconds = seconds_of(text) if name == "duration" else None
    found = _NUMBER.fullmatch(text)
    if seconds is not None:
        return seconds
    return float(found[1]) if found is not None else math.nan


def _sheet(said: Mapping[str, str], clamp: bool = False) -> Sheet:
    return Sheet(
        bpm=_number("bpm", said.get("bpm"), BPM, clamp),
        caption=_text(said.get("caption")),
        duration=_number("duration", said.get("duration"), SECONDS, clamp),
        genres=_text(said.get("genres")),
        keyscale=key_of(said["keyscale"]) if "keyscale" in said else None,
        language=_language(said.get("language")),
        timesignature=_signature(said["timesignature"]) if "timesignature" in said else None,
    )


def _text(value: str | None) -> str | None:
    return " ".join(value.split()) or None if value else None


def _number(name: str, value: str | None, bounds: tuple[int, int], clamp: bool) -> int | None:
    try:
        number = round(number_in(name, value))
    except (ValueError, OverflowError):  # not a number, or infinite
        return None
    low, high = bounds
    if clamp:
        return min(max(number, low), high) if number > 0 else None
    return number if low <= number <= high else None


def _language(value: str | None) -> str | None:
    return language_of(value or "")


def _signature(value: str) -> str | None:
    beats = value.strip().partition("/")[0].strip()
    return beats if beats in SIGNATURES else None
