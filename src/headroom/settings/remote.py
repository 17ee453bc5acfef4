"""Declares the settings of a service elsewhere, which works in place of this machine."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from headroom.settings.declaration import Declared, Setting, Takes

GROUP = "Service elsewhere"


def _url(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError(text)
    if parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise ValueError(text)
    return text.strip().rstrip("/")


def _key(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(text)
    return text


URL = Takes("a URL as in http://cellar:8001", _url)
KEY = Takes("printable ASCII characters without spaces", _key)


class Remote(Declared):
    """Where the work is done, if not here."""

    remote: Annotated[
        str | None,
        Setting(
            GROUP,
            "service that does the work, as in http://cellar:8001; its key is in "
            "HEADROOM_REMOTE_KEY",
            left_open="this machine works",
            takes=URL,
            elsewhere=True,
            metavar="URL",
        ),
    ] = None
    remote_key: Annotated[
        str | None,
        Setting(
            GROUP,
            "key that opens the service of HEADROOM_REMOTE",
            left_open="none",
            takes=KEY,
            secret=True,
            elsewhere=True,
        ),
    ] = Field(default=None, repr=False)
