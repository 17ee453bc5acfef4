"""Sessions of browsers: a cookie in place of a key, and a token that every change has to bring.

Nothing is stored. The cookie names a key and an end, and is signed with the hash of the key's
secret: any web process knows it, it opens nothing once the key is revoked, and it is not the key.
"""

from __future__ import annotations

import hmac
import re
import time
from dataclasses import dataclass
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie

from headroom.jobs.keys import Keys
from headroom.service.answers import Refusal
from headroom.service.callers import OF_SETTINGS, Caller, Headers
from headroom.service.config import ServiceConfig

COOKIE = "headroom_session"
TOKEN_COOKIE = "headroom_token"  # which the page's script reads, and repeats in the header
TOKEN_HEADER = "x-headroom-token"
LIFE_SECONDS = 30 * 24 * 3600
_FORM = re.compile(r"([\w-]{1,40})\.(\d{1,12})\.([0-9a-f]{64})", re.ASCII)
_READS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Session:
    """What a browser keeps: the value of its cookie, and the token for changes."""

    cookie: str
    token: str


def begin(key: str, keys: Keys, config: ServiceConfig) -> Session | None:
    """A session for the key with this id; None if it opens nothing. Raises DatabaseFailed."""
    found = _known(key, keys, config)
    if found is None:
        return None
    until = int(time.time()) + LIFE_SECONDS
    cookie = f"{key}.{until}.{_sign(found[1], f'session {key} {until}')}"
    return Session(cookie, _sign(found[1], f"token {cookie}"))


def caller_in(
    method: str, headers: Headers, keys: Keys, config: ServiceConfig
) -> tuple[Caller, Session] | None:
    """Who sends the cookie of a session; None for none, and for one that opens nothing any more.

    Raises Refusal for a change without the session's token, DatabaseFailed.
    """
    fields = _FORM.fullmatch(_cookie(headers))
    if fields is None:
        return None
    key, until, signed = fields.groups()
    found = _known(key, keys, config) if int(until) > time.time() else None
    if found is None or not hmac.compare_digest(signed, _sign(found[1], f"session {key} {until}")):
        return None
    session = Session(fields[0], _sign(found[1], f"token {fields[0]}"))
    given = headers.get(TOKEN_HEADER) or ""
    if method not in _READS and not hmac.compare_digest(given.encode(), session.token.encode()):
        message = "a change by a browser needs the token of its session."
        raise Refusal(403, "no_token", message, TOKEN_HEADER, "the token of this session")
    return found[0], session


def _known(key: str, keys: Keys, config: ServiceConfig) -> tuple[Caller, str] | None:
    """The caller with the key of this id, and what its sessions are signed with."""
    if key == OF_SETTINGS:
        secret = config.key
        return None if secret is None else (Caller(key), sha256(secret.encode()).hexdigest())
    known = keys.known(key)
    return None if known is None else (Caller(key, known[0].scopes, known[0].waiting), known[1])


def _cookie(headers: Headers) -> str:
    try:
        held = SimpleCookie("; ".join(headers.all("cookie"))).get(COOKIE)
    except CookieError:  # one that somebody else has set
        return ""
    return "" if held is None else held.value


def _sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()
