"""Parsing of values as users write them: words in any case, numbers with units, clock times."""

from __future__ import annotations

import re
import unicodedata

from headroom.params.describe import Param

OPEN = ("", "auto", "automatic", "default", "none", "null", "nil", "n/a", "undefined")
"""Words by which programs say that nobody chose a value."""

_NUMBER = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d*)?|\.\d{1,30})(?:e[+-]?\d{1,3})?", re.IGNORECASE)
_CLOCK = re.compile(r"([+-]?)(?:(\d{1,3}):)?(\d{1,4}):(\d{1,2}(?:\.\d{1,9})?)")
_PARTS = re.compile(
    r"([+-]?)(?:(\d{1,3})\s*h(?:ours?)?)?\s*(?:(\d{1,4}(?:\.\d{1,9})?)\s*m(?:in(?:ute)?s?)?)?"
    r"\s*(?:(\d{1,6}(?:\.\d{1,9})?)\s*s(?:ec(?:ond)?s?)?)?",
    re.IGNORECASE,
)


WHOLE = "text of whole letters, without lone surrogates"


def folded(word: str) -> str:
    """A word in folded case, with one underscore for each run of spaces, hyphens and underscores,
    and without spaces around a slash."""
    plain = unicodedata.normalize("NFKC", word).strip().casefold()
    return re.sub(r"[\s_-]+", "_", re.sub(r"\s*/\s*", "/", plain))


def is_open_word(value: object) -> bool:
    """Whether a value is one of the words that mean "decide for me"."""
    return isinstance(value, str) and value.strip().casefold() in OPEN


def seconds_of(text: str) -> float | None:
    """The seconds in `1:30`, `1:02:03`, `1m30s`, `2 min`, `90 s`; None for any other text."""
    clock = _CLOCK.fullmatch(text.strip())
    if clock is not None:
        sign, hours, minutes, seconds = clock.groups()
        if float(seconds) >= 60 or (hours and int(minutes) >= 60):
            return None
        total = int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
        return -total if sign == "-" else total
    parts = _PARTS.fullmatch(text.strip())
    if parts is None or not any(parts.groups()[1:]):
        return None
    sign, hours, minutes, seconds = parts.groups()
    total = int(hours or 0) * 3600 + float(minutes or 0) * 60 + float(seconds or 0)
    return -total if sign == "-" else total


def number_text(param: Param, value: object) -> object:
    """The number in a value that has a unit or is a clock time; any other value unchanged."""
    if not isinstance(value, str) or param.kind not in (int, float) or param.many:
        return value
    text = value.strip()
    if param.knob.unit == "s":
        seconds = seconds_of(text)
        if seconds is not None:
            return seconds
    found = _NUMBER.match(text)
    if found is not None and text[found.end() :].strip().casefold() in param.knob.units:
        return found[0]
    return value


def whole(text: str) -> str | None:
    """The text, with surrogate pairs combined; None if it has a lone surrogate, which no tokenizer
    and no file accepts."""
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None
