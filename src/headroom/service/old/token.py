"""Finds the key in the first bytes of a body: the field `ai_token`, in JSON or in a form."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from headroom.files import parse_json
from headroom.service.uploads import Form

FIELD = "ai_token"
MOST = 1 << 16  # bytes of a body that are searched
_MEMBER = re.compile(rb'"ai_token"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)


def token_in(kind: str, start: bytes, whole: bool) -> str | None:
    """The key in the body that begins with `start`; None: there is none within it. `whole`: it is
    all of the body."""
    start = start[:MOST]
    type, options = parse_options_header(kind)
    if type == b"multipart/form-data":
        return _in_form(start, options.get(b"boundary", b""))
    if start.lstrip()[:1] in (b"{", b"["):
        return _in_json(start)
    pairs = start.split(b"&") if whole else start.split(b"&")[:-1]
    text = b"&".join(pair for pair in pairs if pair.startswith(FIELD.encode()))
    found = dict(parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True))
    return found.get(FIELD) or None


def _in_json(start: bytes) -> str | None:
    """An object may be cut off: its member is found all the same. Within texts there is no such
    member, as their quotation marks are escaped."""
    found = _MEMBER.search(start)
    if found is None:
        return None
    try:
        return str(parse_json(found[1])) or None
    except ValueError:
        return None


def _in_form(start: bytes, boundary: bytes) -> str | None:
    """What follows the last whole field is not looked at."""
    form = Form(lambda field, name: lambda data: None, MOST)
    try:
        form.parser(boundary).write(start)
    except FormParserError:
        return None  # the route says what is wrong with it
    named = [value for name, value in form.fields if name == FIELD]
    return named[-1].decode("utf-8", "replace") or None if named else None
