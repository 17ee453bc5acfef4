"""The service as ACE-Step starts it: `python -m uvicorn acestep.api_server:app`, and `acestep-api`.

Importing this module has no effect. When the server starts, `app` starts the engine processes and
opens the database; when the server ends, it ends them.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from headroom.engine.options import NO_OPTIONS
from headroom.errors import HeadroomError
from headroom.log import log, show
from headroom.settings import load

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from headroom.service.config import ServiceConfig
    from headroom.service.supervisor import Supervisor


class App:
    """The web application, with the engine processes from the start of its lifespan to the end.

    It does not know the address at which the server listens, so whoever calls needs a key, except
    from this machine.
    """

    def __init__(self) -> None:
        self._inner: ASGIApp | None = None
        self._supervisor: Supervisor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._inner is None:
            raise RuntimeError("the server has to run the application's lifespan")
        else:
            await self._inner(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hear() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await run_sync(self._close)
            return message

        try:
            await run_sync(self._open)
        except HeadroomError as error:  # servers take an exception for "needs no lifespan"
            await run_sync(self._close)
            await send({"type": "lifespan.startup.failed", "message": f"error: {error}"})
            return
        assert self._inner is not None
        try:
            await self._inner(scope, hear, send)
        finally:
            await run_sync(self._close)

    def _open(self) -> None:
        from headroom.cli.mcp import mounted
        from headroom.service.app import create_app
        from headroom.service.first_key import first_key
        from headroom.service.supervisor import Supervisor

        show("INFO")
        config = unknown_address()
        self._supervisor = Supervisor(config, NO_OPTIONS, web=False)
        if (secret := first_key(config)) is not None:
            log.warning("key for this service, shown this once: %s", secret)
        self._inner = create_app(mounted(config))
        self._supervisor.start()

    def _close(self) -> None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.close()


def unknown_address() -> ServiceConfig:
    """The configuration of a service whose address only the server knows that runs it."""
    from headroom.service.config import from_settings

    return replace(from_settings(load()), host=None, port=None)


app = App()


def main(argv: list[str] | None = None) -> int:
    """Run `acestep-api`, which is `acestep serve`; the exit code."""
    from headroom.cli.main import main as run

    said = sys.argv[1:] if argv is None else argv
    return run(["serve", *said])


if __name__ == "__main__":
    sys.exit(main())
