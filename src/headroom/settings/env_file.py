"""Reads `.env` with python-dotenv, and decides whether it may name places and hosts.

A folder's `.env` is shared with other programs, whose lines may be anything. Lines that are not
ours are ignored, and no message made here ever contains a value from the file.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import StringIO
from itertools import islice
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from headroom.errors import InvalidFile, one_line
from headroom.files import ENV_BYTES, open_regular
from headroom.settings.declaration import PREFIX
from headroom.units import gib

ENVIRONMENT, FILE = "environment", ".env"
_FAMILIES = ("ACESTEP_", "MAX_", "GPU_IDLE_")  # beginnings of the older names
_OURS = 0.0
_MOST_NAMES, _LONGEST_NAME = 200, 80  # compared names: bounds the time
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OUR_LINE = re.compile(rf"\s*(?:export\s+)?({PREFIX}[A-Z0-9_]+)")
# The parser's time grows with the square of the length of a run of blanks.
_BLANKS = re.compile(r"[^\S\r\n]{64,}")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The content of a file.

    values   every NAME=value in it; bytes that are not UTF-8 become surrogates in a value
    trusted  whether it may name places outside its folder, hosts and tokens
    remarks  sentences about lines that look like ours but cannot be read
    """

    values: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = True
    remarks: tuple[str, ...] = ()


def misspelt(names: Iterable[str], place: str, names_known: Sequence[str]) -> Iterator[str]:
    """A sentence for each name that is meant for us but is no setting, with the nearest of `every`.

    A name that begins with HEADROOM_ is ours everywhere, and in a `.env` so is one that begins with
    ACESTEP_. Other names belong to other programs, unless they differ by a letter or two from ours.
    """
    others = (n for n in sorted(names) if n not in names_known and _NAME.fullmatch(n))
    rated = ((n, _likeness(n, place)) for n in others if len(n) <= _LONGEST_NAME)
    for name, likeness in islice((one for one in rated if one[1] <= 1), _MOST_NAMES):
        near = get_close_matches(name.upper(), names_known, n=1, cutoff=max(likeness, 0.6))
        if near or likeness == _OURS:
            hint = f", did you mean {near[0]}?" if near else ""
            yield f"{name} ({place}) is no setting{hint}"


def _likeness(name: str, place: str) -> float:
    """The similarity a name needs to count as ours: from 0 (always) to 1; 2: never."""
    outside = place == ENVIRONMENT  # which all programs share
    if name.upper().startswith(PREFIX if outside else (PREFIX, "ACESTEP_")):
        return _OURS
    if name.startswith(_FAMILIES):
        return 0.8
    # PYTORCH_ALLOC_CONF, torch's own variable, has a similarity of 0.88 to one of ours.
    return 2 if outside else 0.92


def read_env(path: Path) -> EnvFile:
    """Read the file at `path`. Raises InvalidFile if it cannot be opened or is too large."""
    with open_regular(path) as file:
        owner = os.fstat(file.fileno()).st_uid
        try:
            raw = file.read(ENV_BYTES + 1)
        except OSError as error:
            raise InvalidFile(path, f"cannot be read ({error.strerror or error})") from error
    if len(raw) > ENV_BYTES:
        raise InvalidFile(path, f"is larger than {gib(ENV_BYTES)}, the most that is read")
    values: dict[str, str] = {}
    remarks = []
    for binding in parse_stream(StringIO(_BLANKS.sub(" ", _decoded(raw)))):
        if binding.key is not None and binding.value is not None and not binding.error:
            if _NAME.fullmatch(binding.key):
                values[binding.key] = binding.value
        elif ours := _OUR_LINE.match(binding.original.string):
            name = one_line(ours[1], _LONGEST_NAME)
            remarks.append(f"{path.name} line {_line(binding)}: {name} is not NAME=value")
    return EnvFile(values, _is_own(path, owner), tuple(remarks))


def _line(binding: Binding) -> int:
    """The line number where a binding's text begins; a binding includes blank lines before it."""
    text: str = binding.original.string
    blank = text[: len(text) - len(text.lstrip())]
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", blank))


def _decoded(raw: bytes) -> str:
    """The text, in the encoding of its byte order mark, else UTF-8. Invalid bytes do not raise."""
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    wide = encoding in ("utf-16", "utf-32")
    return raw.decode(encoding, errors="replace" if wide else "surrogateescape")


def _is_own(path: Path, owner: int) -> bool:
    """Whether the file, and the link that leads to it, belong to the user who runs this.

    Windows records owners differently, and files made by an administrator belong to a group: there
    every file is trusted, like the programs in the folder.
    """
    if not hasattr(os, "geteuid"):
        return True
    try:
        return {owner, os.lstat(path).st_uid} == {os.geteuid()}
    except OSError:
        return False
