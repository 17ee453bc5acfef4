"""Checks of texts before they are stored: JSON in a form every database takes, names, ids."""

from __future__ import annotations

import json
import secrets
from hashlib import sha256

from headroom.errors import InvalidRequest, one_line
from headroom.files import parse_json
from headroom.terminal import visible

_ID_BYTES = 15  # 120 random bits, 20 characters
MOST_NAME = 200  # characters


def new_id() -> str:
    """An id that nobody can guess and that reveals nothing."""
    return secrets.token_urlsafe(_ID_BYTES)


def stored_json(field: str, text: str) -> str:
    """The same JSON in ASCII, which has no NUL and no lone surrogate. Raises InvalidRequest."""
    return _written(field, text, sort=False)


def digest(field: str, text: str) -> str:
    """The same for JSON that differs only in spaces, escapes or the order of its keys."""
    return sha256(_written(field, text, sort=True).encode()).hexdigest()


def name(field: str, text: str) -> str:
    """A name or a key that a caller chose. Raises InvalidRequest."""
    if not 0 < len(text) <= MOST_NAME or not text.isprintable():
        raise InvalidRequest(field, text, f"1 to {MOST_NAME} printable characters")
    return text


def line(text: str) -> str:
    """A text that people see and whoever sent it chose: one line, cut to MOST_NAME characters.
    Characters that a database cannot hold or a terminal obeys are escaped."""
    return one_line(text, MOST_NAME)


def block(text: str) -> str:
    """A text of several lines, which whoever sent it chose, with the same characters escaped."""
    return visible(text)


def _written(field: str, text: str, sort: bool) -> str:
    try:
        return json.dumps(parse_json(text), allow_nan=False, sort_keys=sort, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(field, text, f"JSON ({error})") from error
