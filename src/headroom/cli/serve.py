"""`acestep serve`: the service, on the cards of this machine or on a cluster, until Ctrl-C.

With `--ui` it serves the page too, which `cli/ui.py` serves alone.
"""

from __future__ import annotations

import signal
import socket
import sys
from argparse import Namespace, _ArgumentGroup
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Event
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from headroom.cli.mcp import mounted
from headroom.cli.parser import Parser, add_engine_flags, engine_flags, spelt
from headroom.engine.options import EngineOptions
from headroom.errors import InvalidRequest
from headroom.settings import Settings, load, settings_of

if TYPE_CHECKING:
    from headroom.service.config import Page, ServiceConfig

Flags: TypeAlias = Mapping[str, tuple[str, str]]
"""Flags, and what their values are called, by the settings that they replace."""
FLAGS: Flags = MappingProxyType(
    {
        "service_host": ("host", "ADDRESS"),
        "service_port": ("port", "NUMBER"),
        "service_database": ("database", "FILE|URL"),
        "service_storage": ("storage", "FOLDER|URL"),
        "service_cards": ("cards", "'CARD,CARD CARD'"),
        "service_cluster": ("cluster", "auto|ADDRESS"),
        "service_engines": ("engines", "N|MIN-MAX"),
    }
)
_WORKING = "headroom serves {url} until Ctrl-C.\n"
_SHARED = "under {url} too, for three days, with the key.\n"
_NOT_SHARED = "an address on the internet cannot be had now.\n"
_KEY = "key for this service, shown this once: {secret}\n"


def parser() -> Parser:
    """The flags of `acestep serve`."""
    about = "Serve jobs over HTTP: a web process, and an engine process for each card."
    made = Parser("acestep serve", description=about, allow_abbrev=False)
    group = made.add_argument_group("Service")
    add_settings(group, FLAGS)
    group.add_argument("--ui", action="store_true", help="serve the page too, on HEADROOM_UI_PORT")
    add_engine_flags(made)
    return made


def run(words: Sequence[str]) -> int:
    """Run `acestep serve …`; the exit code. Raises HeadroomError."""
    from headroom.service.config import from_settings  # with what the extra `api` brings

    args = parser().parse_args(spelt(words))
    options = engine_flags(args)
    settings = with_flags(load().under(options), FLAGS, args)
    check_cards(settings, options)
    config = from_settings(settings, options.family)
    if args.ui:
        config = replace(config, page=page(), page_port=settings.ui_port)
    return serve(config, options)


def check_cards(settings: Settings, options: EngineOptions) -> None:
    """Raise InvalidRequest where two flags name the cards."""
    if settings.service_cards is not None and "device" in options.given:
        raise InvalidRequest("device", options.device, "left out where --cards names the cards")


def page() -> Page:
    """The page as the service serves it. Raises InvalidRequest where its extra is missing."""
    from importlib.util import find_spec

    from headroom.service.config import Page

    if find_spec("gradio") is None:
        raise InvalidRequest("ui", None, "with the extra: pip install 'headroom-audio[ui]'")
    from headroom.ui import mount

    return Page(mount.PATH, mount.LOGIN, mount.POLICY, mount.add)


def serve(config: ServiceConfig, options: EngineOptions, share: bool = False) -> int:
    """Serve until Ctrl-C; the exit code. `share`: under an address on the internet too, which takes
    a key that everybody needs. Raises HeadroomError."""
    from headroom.service.cluster.run import Cluster, of_cluster
    from headroom.service.first_key import first_key
    from headroom.service.supervisor import Supervisor

    if share and config.key is None:
        raise InvalidRequest("share", "on", "with a key (--api-key), which everybody then needs")
    config = mounted(config)
    clustered = config.settings.service_cluster is not None
    if clustered:
        config = of_cluster(config)
    else:
        for port in config.ports:
            _check_port(str(config.host), port)
    stop = Event()
    _set_at_the_end(stop)
    with Cluster(config, options) if clustered else Supervisor(config, options):
        _set_at_the_end(stop)  # Ray has put handlers of its own in place
        secret = first_key(config)
        if secret is not None:
            sys.stdout.write(_KEY.format(secret=secret))
        host = f"[{config.host}]" if ":" in str(config.host) else config.host
        urls = " and ".join(f"http://{host}:{port}" for port in config.ports)
        sys.stdout.write(_WORKING.format(url=urls))
        if share:
            sys.stdout.write(_shared(config))
        sys.stdout.flush()
        while not stop.wait(1.0):  # Windows notices Ctrl-C only between waits
            pass
    return 0


def _set_at_the_end(stop: Event) -> None:
    """Set `stop` when Ctrl-C is pressed, or SIGTERM comes."""
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda number, frame: stop.set())


def _shared(config: ServiceConfig) -> str:
    from headroom.ui.share import public_address  # with what the extra `ui` brings

    found = public_address("127.0.0.1", config.ports[-1])
    return _SHARED.format(url=found) if found else _NOT_SHARED


def add_settings(group: _ArgumentGroup, flags: Flags) -> None:
    """Add flags that replace the values of settings."""
    declared = settings_of(Settings)
    for name, (flag, metavar) in flags.items():
        group.add_argument(f"--{flag}", metavar=metavar, help=declared[name].help)


def with_flags(settings: Settings, flags: Flags, args: Namespace) -> Settings:
    """The settings with the values of these flags. Raises InvalidRequest."""
    declared = settings_of(Settings)
    update: dict[str, object] = {}
    for name, (flag, _) in flags.items():
        text = getattr(args, flag.replace("-", "_"), None)
        if not text:
            continue
        takes = declared[name].takes
        try:
            update[name] = takes.read(text)
        except ValueError as error:
            raise InvalidRequest(flag, text, takes.allowed) from error
    return settings.model_copy(update=update) if update else settings


def _check_port(host: str, port: int) -> None:
    """Raise InvalidRequest for an address at which this program cannot listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":  # where it would allow a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            allowed = f"a free port of {host} ({error.strerror or error})"
            raise InvalidRequest("port", port, allowed) from error
