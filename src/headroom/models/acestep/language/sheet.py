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
from headroom.models.acestep.language.sheet_text import field_of, fields_in
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.text.language_names import language_of
from headroom.models.acestep.text.plain_text import unescaped
from headroom.models.acestep.text.vocabulary import parse_key
from headroom.params.clamp import Note, change
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
        values: dict[str, str | int] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                number = str(value).isdecimal() and len(str(value)) <= _DIGITS
                values[field.name] = int(value) if number else value
        return values

    def text(self) -> str:
        """The sheet as it stands before the first code; empty if nothing is known."""
        values = replace(self, genres=None).values()
        return dumped(values) if values else ""

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


def inside(sheet: Sheet, most: int) -> Sheet:
    """`sheet` with a length of at most `most` seconds. If that is less than the shortest song a
    language model was trained on, there is no choice left, and the length is given as well.
    """
    if sheet.duration is None:
        return sheet if most >= SECONDS[0] else replace(sheet, duration=most)
    return replace(sheet, duration=min(sheet.duration, most))


FIELDS = tuple(field.name for field in fields(Sheet))
_REQUESTED = {"language": "vocal_language"}  # fields with another name in requests
_FIELD_NAMES = {**_REQUESTED, "caption": "sheet_caption"}  # the same in requests for a song sheet
_DIGITS = 4000  # Python does not convert longer ones to numbers


def dumped(values: Mapping[str, str | int], folded: bool = True) -> str:
    """A mapping formatted as in the training text: sorted, folded at 80 columns, quoted where
    needed.
    """
    width = None if folded else math.inf
    text: str = yaml.safe_dump(dict(values), sort_keys=True, allow_unicode=True, width=width)
    return text.strip()


def read_sheet(text: str) -> Sheet:
    """The metadata a model wrote: between its thinking marks, else before the first code.

    Invalid values are left out. `text` may hold text as escaped by `plain_text.as_text`.
    """
    inside = THINKS.search(text)
    body = (inside[1] if inside else text.partition("<|audio_code_")[0]).strip("\n")
    return _sheet(fields_in(body))


def lyrics_of(text: str) -> str:
    """The lyrics after the metadata, without headings and the end-of-turn mark."""
    rest = text.partition("</think>")[2].replace("<|im_end|>", "")
    return unescaped(_HEADING.sub("", rest).strip())


def by_field(values: Mapping[str, object]) -> dict[str, object]:
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


def sheet_fields(values: Mapping[str, object]) -> tuple[dict[str, object], tuple[Note, ...]]:
    """Metadata as other programs give them, as fields of a request for a song sheet: `Am` becomes
    `A minor`, `4/4` becomes `4`, `tempo` becomes `bpm`. Invalid ones are left out, with a note.
    """
    current = by_field(values)
    sheet, bad = normalised(current)
    notes = [Note(name, current[name], None, reason("value_unknown")) for name in bad]
    fields: dict[str, object] = {}
    values = dict[str, object](sheet.values())
    for name, value in values.items():
        if name in NUMBERS:
            value = number_in(name, current[name])
            note = change(field(name), value)
            if note is not None:  # told with the value as it was written
                value = note.used
                notes.append(replace(note, asked=current[name], used=int(float(str(value)))))
        fields[_FIELD_NAMES.get(name, name)] = value
    return fields, tuple(notes)


def normalised(values: Mapping[str, object]) -> tuple[Sheet, tuple[str, ...]]:
    """The given values in the model's vocabulary, and the names of those that are invalid.

    `Am` becomes `A minor`, `4/4` becomes `4`, and `tempo` becomes `bpm`; a tempo or length out of
    range becomes the nearest one in range.
    """
    present = {name: value for name, value in by_field(values).items() if value is not None}
    texts = {name: written(value).strip() for name, value in present.items()}
    result = _sheet(texts, clamp=True)
    bad = tuple(n for n in texts if n not in FIELDS or getattr(result, n) is None)
    return result, bad


def number_in(name: str, value: object) -> float:
    """A tempo or a length as people write it: `120 BPM`, `~98`, `1:30`; NaN for anything else."""
    text = str(value).strip()
    seconds = seconds_of(text) if name == "duration" else None
    match = _NUMBER.fullmatch(text)
    if seconds is not None:
        return seconds
    return float(match[1]) if match is not None else math.nan


def _sheet(texts: Mapping[str, str], clamp: bool = False) -> Sheet:
    return Sheet(
        bpm=_number("bpm", texts.get("bpm"), BPM, clamp),
        caption=_text(texts.get("caption")),
        duration=_number("duration", texts.get("duration"), SECONDS, clamp),
        genres=_text(texts.get("genres")),
        keyscale=parse_key(texts["keyscale"]) if "keyscale" in texts else None,
        language=_language(texts.get("language")),
        timesignature=_signature(texts["timesignature"]) if "timesignature" in texts else None,
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
