"""Asks the service, in this process, as the browser that an event came from would ask it.

The request goes through the whole application, its guard first, with the browser's own cookie and
address: the page may do nothing that its reader may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import httpx2
from gradio import Request as Event
from pydantic import JsonValue
from starlette.types import ASGIApp

Json: TypeAlias = dict[str, JsonValue]
_PASSED_ON = (
    "authorization", "cookie", "forwarded", "host", "origin", "sec-fetch-site", "via",
    "x-api-key", "x-forwarded-for", "x-forwarded-host", "x-headroom-token", "x-real-ip",
)  # fmt: skip


class Refused(Exception):
    """The service refused a request. `form` is its answer: code, message, values."""

    def __init__(self, status: int, form: Json) -> None:
        super().__init__(str(form.get("message", status)))
        self.status, self.form = status, form


@dataclass(frozen=True, slots=True)
class Rest:
    """The routes of the service."""

    app: ASGIApp

    async def ask(
        self,
        event: Event,
        method: str,
        path: str,
        body: Mapping[str, JsonValue] | None = None,
        **query: str | float | None,
    ) -> Json:
        """The answer to a request that the sender of `event` makes. Raises Refused."""
        browser = event.request
        assert browser is not None
        client = browser.client
        peer = (client.host, client.port) if client else ("", 0)
        named = {name: browser.headers[name] for name in _PASSED_ON if name in browser.headers}
        asked = {name: value for name, value in query.items() if value is not None}
        transport = httpx2.ASGITransport(self.app, client=peer, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answer = await http.request(method, path, json=body, params=asked, headers=named)
        told = answer.json() if answer.content else {}
        if answer.status_code >= 400:
            raise Refused(answer.status_code, told)
        return dict(told)
