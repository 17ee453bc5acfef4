"""The process that answers over HTTP; the supervisor starts it. It imports no torch."""

from __future__ import annotations

import gc
import socket
import sys
from threading import Event, Thread

import uvicorn

from headroom.log import log, show
from headroom.service.app import create_app
from headroom.service.config import ServiceConfig
from headroom.service.connection import Connection
from headroom.service.lifeline import attached


def main() -> int:
    """Serve until the parent ends; the exit code."""
    show("INFO")
    stop = Event()
    config = attached(stop)
    assert isinstance(config, ServiceConfig)
    assert config.host is not None
    app = create_app(config, closing=stop)
    # The page is 300,000 objects that stay: looking through them stops every answer for 0.2 s.
    gc.collect()
    gc.freeze()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=Connection,
            proxy_headers=False,
            server_header=False,
            log_level="warning",
            timeout_graceful_shutdown=5,
        )
    )

    def wait() -> None:
        stop.wait()
        server.should_exit = True

    Thread(target=wait, name="end of the server", daemon=True).start()
    try:
        sockets = [listening(config.host, port) for port in config.ports]
    except OSError as error:
        log.error("%s port %s: %s", config.host, config.ports, error.strerror or error)
        return 1
    server.run(sockets)
    return 0 if server.started else 1


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError, for an address that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":  # where it would allow a port that is in use
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.listen(2048)
    made.setblocking(False)
    return made


if __name__ == "__main__":
    sys.exit(main())
