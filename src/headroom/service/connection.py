"""HTTP connections on which a request has to begin in time and with headers of a usual size.

uvicorn by itself waits without end for the rest of a header, and takes headers of any length.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS = 10.0  # in which the headers of a request have to be there
HEAD_BYTES = 1 << 16  # that they may have


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A connection of uvicorn, which is closed if no request comes of it."""

    _late: asyncio.TimerHandle | None = None
    _head = 0  # bytes of a request that is to come

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        if self._late is None and not self._is_served():
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)
        cycle: Any = self.cycle
        if cycle is None or not cycle.more_body:
            self._head += len(data)
        super().data_received(data)
        if self._is_served():
            self._forget()
        elif self._head > HEAD_BYTES:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _is_served(self) -> bool:
        """Whether there is a request that is being answered."""
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _forget(self) -> None:
        self._head = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None
