"""The declaration of a setting, and the readers that turn its text into a value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headroom import paths

MOST = 1e9  # of any number: more than any real GiB, seconds or songs, and exact in a float
DEVICES = ("auto", "cuda", "mps", "xpu", "cpu", "simulated")
SOURCES = ("auto", "huggingface", "modelscope")


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable: its name, the names it replaces, its meaning and how it is read.

    `read` makes the value and raises ValueError for a text that is not `allowed`; `usual` is the
    default in words. A `secret` is never shown. A setting that is `elsewhere` names a place or a
    host, or gives access to one: the `.env` of another user cannot set it.
    """

    name: str
    replaces: tuple[str, ...]
    help: str
    allowed: str
    usual: str
    read: Callable[[str], object]
    secret: bool = False
    elsewhere: bool = False


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


def switch(text: str) -> bool:
    word = text.lower()
    if word not in ("1", "true", "yes", "y", "on", "0", "false", "no", "n", "off"):
        raise ValueError(text)
    return word in ("1", "true", "yes", "y", "on")


def source(text: str) -> str:
    if text.lower() not in SOURCES:
        raise ValueError(text)
    return text.lower()


def device(text: str) -> str:
    kind, colon, index = text.lower().partition(":")
    indexed = kind in ("cuda", "xpu") and re.fullmatch(r"[0-9]{1,3}", index) is not None
    if kind not in DEVICES or (colon and not indexed):
        raise ValueError(text)
    return text.lower()


def word(*allowed: str) -> Callable[[str], str]:
    """A reader that accepts one of these words."""

    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(text)
        return text.lower()

    return read


def maybe(text: str) -> bool | None:
    """Read `auto`, or a switch."""
    return None if text.lower() == "auto" else switch(text)
