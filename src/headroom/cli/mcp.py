"""`acestep mcp`: tools for agents, over standard input and output."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.errors import InvalidRequest
from headroom.settings import load

if TYPE_CHECKING:
    from headroom.engine.options import EngineOptions
    from headroom.mcp_server.server import Opened
    from headroom.service.config import ServiceConfig

PATH = "/mcp"  # of the web application of `acestep serve`
_PACKAGE = "mcp"  # which the extra of this name brings
_ABOUT = (
    "Tools for agents (the Model Context Protocol) over standard input and output: songs, edits, "
    "song sheets, plans. The jobs are those of `acestep serve`, on the same database; a card that "
    f"no process works on gets one. `acestep serve` has the same tools over HTTP at {PATH}."
)


def parser() -> Parser:
    """The flags of `acestep mcp`."""
    made = Parser("acestep mcp", description=_ABOUT, allow_abbrev=False)
    group = made.add_argument_group("Service")
    group.add_argument(
        "--url",
        metavar="URL",
        help="the service to speak to, with the key of HEADROOM_SERVICE_KEY; nothing runs here",
    )
    add_engine_flags(made)
    return made


def run(words: Sequence[str]) -> int:
    """Run `acestep mcp …` until the input ends; the exit code. Raises HeadroomError."""
    args = parser().parse_args(spelt(words))
    if find_spec(_PACKAGE) is None:
        raise InvalidRequest("command", "mcp", "pip install 'headroom-audio[mcp]' first")
    import anyio

    from headroom.mcp_server.server import serve_stdio, server_of
    from headroom.mcp_server.within import far

    options = engine_flags(args)
    settings = load().under(options)
    if args.url is not None:
        if not args.url.startswith(("http://", "https://")):
            raise InvalidRequest("url", args.url, "a URL, as in https://example.org:8001")
        opened = far(args.url, settings.service_key)
        anyio.run(serve_stdio, server_of(opened), nullcontext())
        return 0
    from headroom.service.config import from_settings

    opened, work = _here(from_settings(settings, options.family), options)
    anyio.run(serve_stdio, server_of(opened), work)
    return 0


def mounted(config: ServiceConfig) -> ServiceConfig:
    """The configuration of a service that has the tools for agents, where they are installed."""
    if find_spec(_PACKAGE) is None:
        return config
    return replace(config, mounts=((PATH, "headroom.mcp_server.within:Mounted"),))


def _here(
    config: ServiceConfig, options: EngineOptions
) -> tuple[Opened, AbstractAsyncContextManager[None]]:
    """The way to a web application of this process, and its work: with engine processes."""
    from anyio.to_thread import run_sync

    from headroom.mcp_server.within import here
    from headroom.service.app import create_app
    from headroom.service.supervisor import Supervisor

    app = create_app(config)

    @asynccontextmanager
    async def work() -> AsyncIterator[None]:
        supervisor = await run_sync(Supervisor, config, options, False)
        try:
            supervisor.start()
            async with app.router.lifespan_context(app):
                yield
        finally:
            await run_sync(supervisor.close)

    return here(app, config.key), work()
