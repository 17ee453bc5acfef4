"""Send HTTP requests to model sources through huggingface_hub's session.

The session has the proxies, certificates and offline switch of huggingface_hub. This module adds
what it lacks: the token is sent only to the host it is meant for, never to one that a redirect
leads to; no redirect goes from https to http or to a file; and a response is read up to a limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx2
from huggingface_hub import get_session
from huggingface_hub.errors import OfflineModeIsEnabled

from headroom.errors import DownloadFailed
from headroom.files import parse_json
from headroom.units import MIB

_LATER = (408, 425, 429, 500, 502, 503, 504)  # worth retrying
_REDIRECTS = 10
_LISTING_BYTES = 4 * MIB
_LISTING_SECONDS = 60.0


class Broken(Exception):
    """The connection broke, or the server asks for a retry after `wait` seconds."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait: `first` before the second try (doubled each time up to `most`), up to
    `most_requested` if the server asks for a wait, `sign` for a source's first response, `byte` for
    a file's next byte."""

    first: float = 1.0
    most: float = 30.0
    most_requested: float = 300.0
    sign: float = 10.0
    byte: float = 30.0


@dataclass(frozen=True, slots=True)
class Client:
    """Makes requests, with or without a token. The token appears in no repr and no message."""

    token: str | None = field(default=None, repr=False)
    patience: Patience = Patience()

    @contextmanager
    def get(self, url: str, headers: dict[str, str] | None = None) -> Iterator[httpx2.Response]:
        """An open response with status 200, 206 or 416.

        Raises Broken if a retry is worthwhile, also while the response is read, and DownloadFailed
        if it is not.
        """
        try:
            response = self._follow(url, headers or {})
            try:
                if response.status_code in _LATER:
                    why = f"HTTP {response.status_code}"
                    raise Broken(why, _retry_after(response.headers.get("Retry-After", "")))
                if response.status_code not in (200, 206, 416):
                    raise DownloadFailed(f"{url}: {_refusal(response.status_code)}.")
                yield response
            finally:
                response.close()
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, OfflineModeIsEnabled) as error:
            raise DownloadFailed(f"{url}: {error}.") from error
        except httpx2.HTTPError as error:
            raise Broken(str(error) or type(error).__name__) from error

    def json(self, url: str) -> tuple[object, str | None]:
        """A JSON response and the address of the next page, requested at most twice."""
        for failures in range(2):
            try:
                with self.get(url) as response:
                    following = response.links.get("next", {}).get("url")
                    return parse_json(_bounded(url, response)), following
            except ValueError as error:
                raise DownloadFailed(f"{url}: answered with something that is no JSON.") from error
            except Broken as error:
                if failures:
                    raise DownloadFailed(f"{url}: {error}.") from error
                self.pause(failures, error)
        raise AssertionError("the second attempt returns or raises")

    def pause(self, failures: int, broken: Broken) -> None:
        """Wait before the next try: longer each time, or as long as the server asked."""
        if broken.wait > self.patience.most_requested:
            raise DownloadFailed(f"{broken}, and the server asks to wait {broken.wait:.0f} s.")
        time.sleep(max(min(self.patience.first * 2**failures, self.patience.most), broken.wait))

    def _follow(self, url: str, headers: dict[str, str]) -> httpx2.Response:
        session = _session()
        # Identity: the bytes of a compressed response would differ from those counted.
        sent = {"User-Agent": "headroom", "Accept-Encoding": "identity", **headers}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        timeout = httpx2.Timeout(self.patience.byte, connect=self.patience.sign)
        at = httpx2.URL(url)
        for _ in range(_REDIRECTS):
            request = session.build_request("GET", at, headers=sent, timeout=timeout)
            response = session.send(request, stream=True, follow_redirects=False)
            if not response.has_redirect_location:
                return response
            response.close()
            target = at.join(response.headers["Location"])
            if target.scheme not in (at.scheme, "https") or not target.host:
                raise DownloadFailed(f"{url}: redirected from {at.scheme} to {str(target)!r}.")
            if origin(target) != origin(at):
                sent.pop("Authorization", None)
            at = target
        raise DownloadFailed(f"{url}: redirected more than {_REDIRECTS} times.")


def origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port, to which a token is bound."""
    return url.scheme, url.host, url.port


def _session() -> httpx2.Client:
    try:
        return get_session()
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        why = "the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY)"
        raise DownloadFailed(f"{why} cannot be used: {error}") from error


def _bounded(url: str, response: httpx2.Response) -> bytes:
    until = time.monotonic() + _LISTING_SECONDS
    data = bytearray()
    for piece in response.iter_raw():
        data += piece
        if len(data) > _LISTING_BYTES:
            raise DownloadFailed(f"{url}: the listing is larger than {_LISTING_BYTES} bytes.")
        if time.monotonic() > until:
            raise DownloadFailed(f"{url}: the listing takes longer than {_LISTING_SECONDS:.0f} s.")
    return bytes(data)


def _retry_after(text: str) -> float:
    """Seconds requested by a Retry-After header, which holds a number or a date."""
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


def _refusal(code: int) -> str:
    words = {
        401: "HTTP 401, there is no such model, or it wants a valid token",
        403: "HTTP 403, the token has no right to this",
        404: "HTTP 404, there is no such file or model",
    }
    return words.get(code, f"HTTP {code}")
