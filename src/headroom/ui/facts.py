"""What the scripts of the page must know of a family: its requests, and the formats of songs."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from headroom.audio.formats import FORMATS, KINDS, container, has_media
from headroom.models.family import Family
from headroom.params.describe import Param, describe, groups, in_role
from headroom.params.request import Request


def facts(family: Family) -> dict[str, JsonValue]:
    """Each request by its task, what describes a song, and the formats to fetch songs in with the
    endings of their files."""
    formats = [one for one in FORMATS if has_media() or not KINDS[one].media]
    return {
        "family": family.name,
        "usual": family.usual,
        "words": list(_words(family.requests[family.usual])),
        "formats": {one: container(one) for one in formats},
        "requests": {task: _request(kind) for task, kind in family.requests.items()},
    }


def _words(usual: type[Request]) -> list[str]:
    """The fields of the first heading, which say what a song is; how long it is does not."""
    seconds = in_role(usual, "seconds")
    first = next(iter(groups(describe(usual)).values()))
    return [one.name for one in first if one != seconds and one.kind is not Path]


def _request(kind: type[Request]) -> dict[str, JsonValue]:
    return {
        "makes": kind.makes,
        "language_model": kind.uses_language_model,
        "fields": {param.name: _field(param) for param in describe(kind)},
    }


def _field(param: Param) -> dict[str, JsonValue]:
    """Whether it is a file, whether it has several values, and its choices."""
    return {
        "file": param.kind is Path,
        "many": param.many,
        "choices": list(param.choices),
    }
