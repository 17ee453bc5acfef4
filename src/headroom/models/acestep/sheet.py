"""The song sheet as the planner language model writes it: metadata as YAML, and lyrics. No torch.

Source: what ACE-Step 1.5's `acestep/llm_inference.py` writes. Keys stand in alphabetical order,
because the text it was trained on was dumped with sorted keys; genres are read, and never written
for the codes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace

import yaml

from headroom.models.acestep.requests import Text2Music
from headroom.models.acestep.vocabulary import LANGUAGES, key_of
from headroom.params.describe import Param, describe

THINKS = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)
_HEADING = re.compile(r"\A\s*(?:# Languages?\n.*?\n+)?# Lyrics?[ \t]*\n", re.DOTALL)


def field(name: str) -> Param:
    """A field of a song sheet, or its lyrics, as requests have it."""
    return next(param for param in describe(Text2Music) if param.name == name)


def _bounds(name: str) -> tuple[int, int]:
    limit = field(name).limit
    assert limit is not None
    return int(limit.minimum), int(limit.maximum)


SIGNATURES = field("timesignature").choices
NUMBERS = ("bpm", "duration")
BPM, SECONDS = (_bounds(name) for name in NUMBERS)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is known of a song; None is not known. Durations are whole seconds."""

    bpm: int | None = None
    caption: str | None = None
    duration: int | None = None
    genres: str | None = None
    keyscale: str | None = None
    language: str | None = None
    timesignature: str | None = None

    def values(self) -> dict[str, str | int]:
        """What is known, as YAML has it: a time signature is a number."""
        found: dict[str, str | int] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                number = field.name == "timesignature" and str(value).isdecimal()
                found[field.name] = int(value) if number else value
        return found

    def text(self) -> str:
        """As it stands before the first code; empty where nothing is known."""
        known = replace(self, genres=None).values()
        return dumped(known) if known else ""

    def over(self, other: Sheet) -> Sheet:
        """This, and where it says nothing the other."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(other, **{name: value for name, value in mine.items() if value is not None})

    def only(self, names: Collection[str]) -> Sheet:
        """Of this what is named."""
        return replace(self, **{f.name: None for f in fields(self) if f.name not in names})


FIELDS = tuple(field.name for field in fields(Sheet))


def dumped(values: Mapping[str, str | int], folded: bool = True) -> str:
    """A mapping as the training text has it: sorted, folded at 80 columns, quoted where needed."""
    width = None if folded else math.inf
    text: str = yaml.safe_dump(dict(values), sort_keys=True, allow_unicode=True, width=width)
    return text.strip()


def read(text: str) -> Sheet:
    """The metadata of what a model wrote: inside its thoughts, else before the first code.

    YAML first, so that quotes are undone; else line by line. What is no value of a field is left
    out.
    """
    inside = THINKS.search(text)
    body = (inside[1] if inside else text.partition("<|audio_code_")[0]).strip()
    return _sheet(_yaml(body) or _lines(body))


def lyrics_of(text: str) -> str:
    """The words to sing behind the metadata, without headings and the end of the turn."""
    rest = text.partition("</think>")[2].replace("<|im_end|>", "")
    return _HEADING.sub("", rest).strip()


def normalised(values: Mapping[str, object]) -> tuple[Sheet, tuple[str, ...]]:
    """Values somebody gave, as the model knows them, and the names of those that are none.

    `Am` is `A minor`, `4/4` is `4`; a tempo or length out of range is the nearest one in it.
    """
    said = {name: str(value).strip() for name, value in values.items() if value is not None}
    said = {name: value for name, value in said.items() if value and value != "N/A"}
    found = _sheet(said, clamp=True)
    bad = tuple(n for n in said if n not in FIELDS or getattr(found, n) is None)
    return found, bad


def _yaml(body: str) -> dict[str, str]:
    try:
        value = yaml.load(body, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {str(k).lower(): v for k, v in value.items() if isinstance(v, str)}


def _lines(body: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in body.split("\n"):
        if line.strip().startswith("<"):
            continue
        if line[:1] in (" ", "\t"):
            if name:
                found[name] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            found[name] = value.strip()
    return {name: _unquoted(value) for name, value in found.items()}


def _unquoted(value: str) -> str:
    """What stands in YAML's quotes; what is not quoted well is as it stands."""
    if value[:1] not in ("'", '"'):
        return value
    try:
        told = yaml.load(value, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return value
    return told if isinstance(told, str) else value


def _sheet(said: Mapping[str, str], clamp: bool = False) -> Sheet:
    return Sheet(
        bpm=_number(said.get("bpm"), BPM, clamp),
        caption=_text(said.get("caption")),
        duration=_number(said.get("duration"), SECONDS, clamp),
        genres=_text(said.get("genres")),
        keyscale=key_of(said["keyscale"]) if "keyscale" in said else None,
        language=_language(said.get("language")),
        timesignature=_signature(said["timesignature"]) if "timesignature" in said else None,
    )


def _text(value: str | None) -> str | None:
    return " ".join(value.split()) or None if value else None


def _number(value: str | None, bounds: tuple[int, int], clamp: bool) -> int | None:
    try:
        number = round(float(value or ""))
    except (ValueError, OverflowError):
        return None
    low, high = bounds
    if clamp:
        return min(max(number, low), high) if number > 0 else None
    return number if low <= number <= high else None


def _language(value: str | None) -> str | None:
    code = (value or "").strip().lower()
    return code if code in LANGUAGES else None


def _signature(value: str) -> str | None:
    beats = value.strip().partition("/")[0]
    return beats if beats in SIGNATURES else None
