"""The declaration of a setting: its variable, flag, checks and texts follow from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from headroom import paths
from headroom.errors import InvalidRequest
from headroom.params.knob import Knob, metadata

AUTO = "auto"
PREFIX = "HEADROOM_"
MOST = 1e9  # of any number: more than any real GiB, seconds or songs, and exact in a float
MOST_THREADS = 1024  # of the host; torch starts as many as requested, until the system fails
MOST_PRIORITY = 100
DEVICES = (AUTO, "cuda", "mps", "xpu", "cpu", "simulated")
GROUPED = ("cuda", "xpu", "simulated")  # kinds of which one engine may use several cards
MOST_CARDS = 8  # of one engine


@dataclass(frozen=True, slots=True)
class Takes:
    """The values a setting takes, as a text and as a Python value.

    allowed  in words
    read     makes the value of a text; raises ValueError
    kinds    of a Python value; `words`: the only ones, if it is a word
    direct   `allowed` for a Python value, if that differs from a text
    """

    allowed: str
    read: Callable[[str], object] = str
    kinds: tuple[type, ...] = (str,)
    words: tuple[str, ...] = ()
    direct: str = ""

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest for a Python value that is not one of these."""
        number = float in self.kinds or int in self.kinds
        right = isinstance(value, self.kinds) and not (number and isinstance(value, bool))
        if right and self.words:
            right = value in self.words
        elif right and number:
            try:
                self.read(str(value))
            except ValueError:
                right = False
        if not right:
            raise InvalidRequest(name, value, self.direct or self.allowed)


@dataclass(frozen=True, slots=True)
class Setting(Knob):
    """A knob of the engine or of a program around it.

    takes     the values it takes
    name      its environment variable, by default HEADROOM_ and the field's name; `flag_only`: none
    replaces  older variables
    secret    never shown
    elsewhere names a place or a host, or gives access to one: the `.env` of another user cannot
              set it
    metavar   of its flag's value; empty for a switch, which has a `--no-` form; None: no flag
    bare      the value of its flag where that stands alone; empty where the flag needs a value
    field     filled in by `settings_of`, as is `default`
    """

    takes: Takes = Takes("text")
    name: str = ""
    flag_only: bool = False
    replaces: tuple[str, ...] = ()
    secret: bool = False
    elsewhere: bool = False
    metavar: str | None = None
    bare: str = ""
    field: str = ""
    default: object = None

    @property
    def sentence(self) -> str:
        """The help text as a sentence."""
        return f"{self.help[0].upper()}{self.help[1:]}."

    @property
    def usual(self) -> str:
        """What holds where it is left open, in words."""
        shown = f"{self.default:g}" if isinstance(self.default, float) else str(self.default)
        return self.left_open or shown.lower()

    @property
    def dest(self) -> str:
        """The name of its flag's value in a parser's namespace."""
        return (self.flag or self.field).replace("-", "_")

    def check(self, value: object) -> None:
        """Raise InvalidRequest for a Python value that it does not take; None leaves it open."""
        if value is not None or self.default == AUTO:
            self.takes.check(self.field, value)

    def leaves_open(self, value: object) -> bool:
        """Whether a value leaves the choice to whatever else decides it."""
        word = AUTO in self.takes.words or self.default == AUTO
        return value is None or (word and value == AUTO)


class Declared(BaseModel):
    """A frozen value whose fields are declared by settings, which check it however it is made.

    A field that is given as None, or as `auto`, counts as not given: it has its default, and is no
    member of `model_fields_set`. Raises InvalidRequest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _checked(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        declared = settings_of(cls)
        for name, value in data.items():
            if name not in cls.model_fields:
                raise InvalidRequest(name, value, "one of " + ", ".join(cls.model_fields))
            if name in declared:
                declared[name].check(value)
        return {
            n: v for n, v in data.items() if n not in declared or not declared[n].leaves_open(v)
        }

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values, checked like new ones. Raises InvalidRequest."""
        return type(self).model_validate({**self.given, **(update or {})})

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were given, and their values."""
        return {name: getattr(self, name) for name in self.model_fields_set}


@cache
def settings_of(model: type[BaseModel]) -> Mapping[str, Setting]:
    """The declared fields of a model, in their order."""
    settings = {}
    for name, field in model.model_fields.items():
        note = metadata(field.metadata, Setting)
        if note is not None:
            variable = "" if note.flag_only else note.name or PREFIX + name.upper()
            settings[name] = replace(note, field=name, default=field.default, name=variable)
    return MappingProxyType(settings)


def path(text: str) -> Path:
    if "\0" in text:
        raise ValueError(text)
    return paths.expanded(text, "path")


def amount(text: str) -> float:
    value = float(text)
    if not 0 < value <= MOST:
        raise ValueError(text)
    return value


def count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MOST:
        raise ValueError(text)
    return value


def priority(text: str) -> int:
    if re.fullmatch(r"-?[0-9]{1,3}", text) is None or abs(int(text)) > MOST_PRIORITY:
        raise ValueError(text)
    return int(text)


def switch(text: str) -> bool:
    word = text.lower()
    if word not in ("1", "true", "yes", "y", "on", "0", "false", "no", "n", "off"):
        raise ValueError(text)
    return word in ("1", "true", "yes", "y", "on")


def maybe(text: str) -> bool | None:
    """Read `auto`, or a switch."""
    return None if text.lower() == AUTO else switch(text)


def device(text: str) -> str:
    """Read the word of a device, or those of several cards with commas between them."""
    words = [_device(word.strip()) for word in text.split(",")]
    kinds = {word.partition(":")[0] for word in words}
    if len(words) > 1 and (len(kinds) > 1 or not kinds.issubset(GROUPED)):
        raise ValueError(text)
    # Without a name, each simulated card is another.
    named = [card_named(word) for word in words if word != "simulated"]
    if len(words) > MOST_CARDS or len(set(named)) < len(named):
        raise ValueError(text)
    return ",".join(words)


def card_named(word: str) -> str:
    """The card that a word names, in one spelling: a kind without an index is its first card."""
    indexed = f"{word}:0" if word in ("cuda", "xpu") else word
    return re.sub("^(cuda|xpu):0*(?=[0-9])", r"\1:", indexed)


def groups(text: str) -> str:
    """Read the words of several devices or groups of cards, with spaces between them. No card is in
    two of them."""
    found = [device(one) for one in text.split()]
    cards = [card_named(word) for one in found for word in set(one.split(","))]
    if not found or AUTO in cards or len(set(cards)) < len(cards):
        raise ValueError(text)
    return " ".join(found)


def _device(text: str) -> str:
    kind, colon, index = text.lower().partition(":")
    indexes = {"cuda": "[0-9]{1,3}", "xpu": "[0-9]{1,3}", "simulated": "[a-z0-9][a-z0-9_-]{0,39}"}
    indexed = re.fullmatch(indexes.get(kind, "(?!)"), index) is not None
    if kind not in DEVICES or (colon and not indexed):
        raise ValueError(text)
    return text.lower()


def threads(text: str) -> int:
    # No more digits than Python can parse, nor than the largest number has.
    if not text.isdecimal() or len(text) > len(str(MOST_THREADS)):
        raise ValueError(text)
    if not 1 <= int(text) <= MOST_THREADS:
        raise ValueError(text)
    return int(text)


def words(*allowed: str) -> Takes:
    """One of these words, in any case."""

    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(text)
        return text.lower()

    return Takes("one of " + ", ".join(allowed), read, words=allowed)


SWITCH = Takes("true or false", switch, (bool,))
MAYBE = Takes("auto, or true or false", maybe, (bool,), direct="True, False or None")
FOLDER = Takes("the path of a folder", path, (str, Path))
COUNT = Takes("a whole number, at least 1", count, (int,))
GIBIBYTES = Takes("a number of GiB above 0", amount, (int, float))
SECONDS = Takes("a number of seconds above 0", amount, (int, float))
_SEVERAL = f"or up to {MOST_CARDS} different cards of one kind, as cuda:0,cuda:1"
DEVICE = Takes(
    f"one of {', '.join(DEVICES)}, {_SEVERAL}", device, direct=f"a word, as in cuda:1, {_SEVERAL}"
)
GROUPS = Takes("devices, or groups of cards, no card twice, as in: cuda:0,cuda:1 cuda:2", groups)
NAME = Takes("the name of a model folder")
PRIORITY = Takes(f"a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}", priority, (int,))
THREADS = Takes(f"a whole number, at least 1 and at most {MOST_THREADS}", threads, (int,))
