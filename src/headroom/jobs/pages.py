"""Cursors of lists that are sorted by a value: the place behind which the next page begins."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from math import isfinite
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from headroom.errors import InvalidRequest
from headroom.files import parse_json

_MOST = 1 << 53  # of a number in a cursor: more than any database counts here
_LENGTH = 4000


@dataclass(frozen=True, slots=True)
class Place:
    """The last row of a page: what the list was sorted by, its value there, and the row's number,
    which decides between equal values."""

    sort: str
    value: str | float
    number: int


def written(place: Place) -> str:
    """A place as a cursor, which is opaque to callers."""
    text = json.dumps([place.sort, place.value, place.number])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str, sort: str) -> Place:
    """The place that a cursor names. Raises InvalidRequest for one of a list that is sorted by
    something else, and for what is no cursor."""
    wrong = InvalidRequest("cursor", cursor[:100], "the cursor that a page came with")
    if len(cursor) > _LENGTH or not cursor.isascii():
        raise wrong
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        given = parse_json(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise wrong from None
    match given:
        case [kind, value, int(number)] if kind == sort and _is_number(number):
            if isinstance(value, str) and sort == "name" and _is_text(value):
                return Place(sort, value, number)
            if isinstance(value, int | float) and sort != "name" and _is_number(value):
                return Place(sort, value, number)
    raise wrong


def behind(
    place: Place, key: ColumnElement[Any], number: ColumnElement[int], rising: bool
) -> ColumnElement[bool]:
    """The condition that a row comes behind a place in a list sorted by key and number."""
    if rising:
        further, later = key > place.value, number > place.number
    else:
        further, later = key < place.value, number < place.number
    return or_(further, and_(key == place.value, later))


def _is_number(value: int | float) -> bool:
    return not isinstance(value, bool) and isfinite(value) and abs(value) < _MOST


def _is_text(value: str) -> bool:
    return "\0" not in value and not any(0xD800 <= ord(one) < 0xE000 for one in value)
