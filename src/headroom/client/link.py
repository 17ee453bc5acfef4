"""The connection to a service: requests, answers and errors, and another try where it was away."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import JsonValue

from headroom.engine.wire import Json, error_from
from headroom.errors import HeadroomError, ServiceFailed
from headroom.files import parse_json

T = TypeVar("T")
Params = Mapping[str, str | int | float | None]
TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
"""Seconds without a byte; a stream of events has a comment every 15."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
_LONGEST_PAUSE = 5.0
_AWAY = (502, 504)  # of a proxy whose server does not answer
_OF_SERVER = ("database_failed", "storage_failed")  # codes of what may pass
_PIECE = 1 << 18


class Away(Exception):
    """The service did not answer, or is not able to at the moment; `why` in words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Link:
    """Requests to the service at `url`. `patience`: seconds for which a service that has answered
    before may be away, as while it is restarted. Threads may share a link."""

    def __init__(
        self,
        url: str,
        http: httpx2.Client,
        patience: float,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url, self.http = url, http
        self._patience, self._pause = patience, pause
        self._has_answered = False

    def ask(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        json: JsonValue = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The JSON object that a path answers with. The request may arrive more than once, if the
        connection breaks. Raises HeadroomError."""
        return self.tried(lambda: self._asked(method, path, params, headers, json=json))

    def upload(self, path: str, params: Params, file: Path) -> Json:
        """Send a file; the JSON object that `path` answers with. Raises HeadroomError, OSError."""

        def once() -> Json:
            with file.open("rb") as content:
                size = {"Content-Length": str(os.fstat(content.fileno()).st_size)}
                return self._asked("POST", path, params, size, content=content)

        return self.tried(once)

    def _asked(
        self,
        method: str,
        path: str,
        params: Params | None,
        headers: Mapping[str, str] | None,
        **body: Any,
    ) -> Json:
        with self._watched():
            response = self.http.request(
                method, path, params=_known(params), headers=headers, **body
            )
        self.check(response)
        answer = _object(response)
        if answer is None:
            raise self.failed("answers in a form that this program does not know")
        return answer

    @contextmanager
    def streamed(
        self, path: str, params: Params | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx2.Response]:
        """The answer to a request while its body arrives. Raises Away, HeadroomError."""
        with (
            self._watched(),
            self.http.stream("GET", path, params=_known(params), headers=headers) as response,
        ):
            if response.status_code >= 400:
                response.read()
            self.check(response)
            yield response

    def download(self, path: str, params: Params | None, to: Path) -> None:
        """Write the bytes that a path answers with to a file; a connection that breaks is resumed.

        Raises HeadroomError, OSError.
        """
        tag = ""

        def once() -> None:
            nonlocal tag
            have = to.stat().st_size if tag else 0
            resume = {"Range": f"bytes={have}-", "If-Range": tag} if have else {}
            with self.streamed(path, params, resume) as response:
                tag = response.headers.get("etag", "")
                with to.open("ab" if response.status_code == 206 else "wb") as file:
                    for piece in response.iter_bytes(_PIECE):
                        file.write(piece)

        self.tried(once)
        with to.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if tag != f'"{digest}"':
            raise self.failed(f"sent {path} damaged")

    def tried(self, work: Callable[[], T]) -> T:
        """The outcome of `work`, tried again while a service that has answered is away. Raises what
        it raises, and ServiceFailed in place of Away."""
        until = time.monotonic() + (self._patience if self._has_answered else 0.0)
        for pause in chain(_PAUSES, repeat(_LONGEST_PAUSE)):
            try:
                return work()
            except Away as away:
                if time.monotonic() + pause > until:
                    raise self.failed(away.why) from away
            self._pause(pause)
        raise AssertionError  # the pauses do not end

    def check(self, response: httpx2.Response) -> None:
        """Raise the error in an answer, if it is one: Away, HeadroomError."""
        status = response.status_code
        if status < 300:
            self._has_answered = True
            return
        body = _object(response) or {}
        code, message = body.get("code"), body.get("message")
        if not (isinstance(code, str) and isinstance(message, str) and "values" in body):
            if status in _AWAY or status == 503:
                raise Away(f"does not answer at the moment (status {status})")
            raise self.failed(f"answers with status {status}: is it a service of headroom?")
        if code in _OF_SERVER:
            raise Away(f"cannot work at the moment: {message.rstrip('.')}")
        if status == 401:
            raise self.failed("does not know this key" if self.has_key else "wants a key")
        if code in ("unknown_path", "wrong_method"):
            path = response.request.url.path
            raise self.failed(f"has no {path}: it is older than this program")
        raise error_from(body)

    @property
    def has_key(self) -> bool:
        """Whether a key is presented."""
        return "authorization" in self.http.headers

    def failed(self, why: str) -> ServiceFailed:
        """The error for a service that does not do as it should."""
        return ServiceFailed(self.url, why)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Turn errors of the connection into Away."""
        try:
            yield
        except (httpx2.TransportError, httpx2.StreamError) as error:
            text = str(error) or type(error).__name__
            raise Away(f"cannot be reached ({text}); `acestep serve` starts it") from error


def _object(response: httpx2.Response) -> Json | None:
    """The JSON object in an answer; None: it holds none."""
    try:
        body = parse_json(response.content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _known(params: Params | None) -> dict[str, str | int | float]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def opened(url: str, key: str | None, patience: float) -> Link:
    """The link to a service. Nothing is sent yet."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    http = httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT)
    return Link(url, http, patience)


def reread(error: HeadroomError, named: Mapping[str, str]) -> HeadroomError:
    """The error with the names of this machine in place of the service's ids for its files."""
    if not named:
        return error

    def put(value: object) -> object:
        if isinstance(value, str):
            for id, name in named.items():
                value = value.replace(id, name)
        return value

    error.args = tuple(map(put, error.args))
    vars(error).update({name: put(value) for name, value in vars(error).items()})
    return error
