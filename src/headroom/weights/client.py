"""Requests to a source of models. Standard library only, so the proxies of the environment and of
the system are honoured as they are. A token goes to the host it is meant for, and to no host that
one redirects to; nothing leaves https for http.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import IO, cast
from urllib.parse import urlsplit

from headroom.errors import DownloadFailed

_LATER = (408, 425, 429, 500, 502, 503, 504)  # worth asking again
_AUTHORIZATION = "Authorization"


class Broken(Exception):
    """The line broke or the server asks to come again; `wait` is what it asked for, in seconds."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: before the second try (then doubled), at most, for the first
    sign of a source, and for the next byte of a file."""

    first: float = 1.0
    most: float = 30.0
    sign: float = 10.0
    byte: float = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An open answer; `start` is the byte of the file it begins with."""

    response: http.client.HTTPResponse
    status: int
    headers: Message
    start: int

    def read(self, most: int) -> bytes:
        """The next piece, empty at the end; Broken where the line breaks."""
        try:
            return self.response.read(most)
        except (OSError, http.client.HTTPException) as error:
            raise Broken(_reason(error)) from error

    def close(self) -> None:
        self.response.close()


@dataclass(frozen=True, slots=True)
class Client:
    """Makes requests, with a token or without. The token is in no repr and no message."""

    token: str | None = field(default=None, repr=False)
    patience: Patience = Patience()

    def get(self, url: str, start: int = 0, timeout: float | None = None) -> Answer:
        """The file from byte `start`, or from 0 where the server knows no ranges.

        Broken where it is worth trying again, DownloadFailed where it is not; 416 (nothing at
        that byte) is an empty answer with that status.
        """
        # Identity: a compressed answer would have other bytes than the ones that are counted.
        headers = {"User-Agent": "headroom", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        request = urllib.request.Request(url, headers=headers)
        if self.token:
            request.add_unredirected_header(_AUTHORIZATION, f"Bearer {self.token}")
        try:
            response = _opener().open(request, timeout=timeout or self.patience.byte)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in _LATER:
                    raise Broken(f"HTTP {error.code}", _retry_after(error.headers)) from error
                if error.code != 416:
                    raise DownloadFailed(f"{url}: {_refusal(error.code)}.") from error
                answer = cast(http.client.HTTPResponse, error)
                return Answer(answer, 416, error.headers, start)
        except (OSError, http.client.HTTPException) as error:
            raise Broken(_reason(error)) from error
        begins = start if response.status == 206 and _begins(response.headers, start) else 0
        return Answer(response, response.status, response.headers, begins)

    def json(self, url: str) -> tuple[object, Message]:
        """A JSON answer and its headers, asked for twice at most; DownloadFailed without one."""
        for attempt in range(2):
            try:
                answer = self.get(url, timeout=self.patience.sign)
                try:
                    return json.loads(_whole(answer)), answer.headers
                finally:
                    answer.close()
            except ValueError as error:
                raise DownloadFailed(f"{url}: answered with something that is no JSON.") from error
            except Broken as error:
                if attempt:
                    raise DownloadFailed(f"{url}: {error}.") from error
                self.pause(attempt, error.wait)
        raise AssertionError("the second attempt returns or raises")

    def pause(self, failures: int, asked: float = 0.0) -> None:
        """Wait before the next try, longer each time, or as long as the server asked for."""
        time.sleep(min(max(self.patience.first * 2**failures, asked), self.patience.most))


class _Redirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise urllib.error.URLError(f"redirected from https to {new.scheme or 'nothing'}")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get(_AUTHORIZATION)
        if request is not None and token and old[:2] == new[:2]:
            request.add_unredirected_header(_AUTHORIZATION, token)
        return request


@cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(
        _Redirect(), urllib.request.HTTPSHandler(context=_certificates())
    )


def _certificates() -> ssl.SSLContext:
    """Trust what the system trusts. Some Pythons (macOS) come without certificates of their own;
    truststore, which huggingface_hub brings, then asks the system."""
    if find_spec("truststore"):
        context: ssl.SSLContext = import_module("truststore").SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return context
    return ssl.create_default_context()


def _whole(answer: Answer) -> bytes:
    pieces = []
    while piece := answer.read(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _begins(headers: Message, start: int) -> bool:
    return str(headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _retry_after(headers: Message) -> float:
    text = str(headers.get("Retry-After", ""))
    return float(text) if text.isdecimal() else 0.0


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(reason).__name__


def _refusal(code: int) -> str:
    words = {
        401: "HTTP 401, there is no such model, or it wants a valid token",
        403: "HTTP 403, the token has no right to this",
        404: "HTTP 404, there is no such file or model",
    }
    return words.get(code, f"HTTP {code}")
