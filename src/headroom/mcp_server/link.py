"""Speaks to the service for the tools of an agent: over HTTP, or within one process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
from pydantic import JsonValue

from headroom.engine.wire import Json

SECONDS = 60.0  # that one answer of the service may take


class Refused(Exception):
    """What the service or a tool refuses: a sentence for the agent."""


@dataclass(frozen=True, slots=True)
class Link:
    """A way to the service. `address`: its URL, if the agent can reach it."""

    http: httpx2.AsyncClient = field(repr=False)
    address: str | None = None

    async def ask(
        self, method: str, path: str, body: Json | None = None, **params: str | int | float | None
    ) -> Json:
        """The answer to a request, which is an object. Raises Refused."""
        known = {name: value for name, value in params.items() if value is not None}
        response = await self._sent(method, path, json=body, params=known)
        return cast("Json", response.json()) if response.content else {}

    async def send(self, data: bytes, name: str) -> Json:
        """Upload a file. Raises Refused."""
        response = await self._sent("POST", "/v1/files", content=data, params={"name": name})
        return cast("Json", response.json())

    async def fetch(self, path: str, first: int = 0, last: int | None = None) -> tuple[bytes, str]:
        """Bytes `first` to `last` of a file, both included, and its media type. Raises Refused."""
        headers = {"Range": f"bytes={first}-{'' if last is None else last}"}
        response = await self._sent("GET", path, headers=headers)
        return response.content, response.headers.get("content-type", "")

    async def _sent(self, method: str, path: str, **more: Any) -> httpx2.Response:
        try:
            response = await self.http.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise Refused(f"the service cannot be reached: {type(error).__name__}.") from error
        if response.is_error:
            raise Refused(_sentence(response))
        return response


@asynccontextmanager
async def opened(
    transport: httpx2.AsyncBaseTransport | None,
    url: str,
    headers: Mapping[str, str],
    address: str | None = None,
) -> AsyncIterator[Link]:
    """A link to the service at `url`; `transport` None: over the network."""
    async with httpx2.AsyncClient(
        transport=transport, base_url=url, headers=dict(headers), timeout=SECONDS
    ) as http:
        yield Link(http, address)


def _sentence(response: httpx2.Response) -> str:
    try:
        told: JsonValue = response.json()
    except ValueError:
        told = None
    message = told.get("message") if isinstance(told, dict) else None
    return str(message or f"the service answered with the status {response.status_code}.")
