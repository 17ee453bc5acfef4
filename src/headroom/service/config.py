"""What a web process and an engine process are started with, as one frozen value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from headroom.hardware.machine import Machine
from headroom.models.registry import USUAL
from headroom.settings import Settings
from headroom.units import GIB, MIB

if TYPE_CHECKING:
    from fastapi import FastAPI

_DAY = 24 * 3600.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is served beside the API, as one application with it.

    path    below which it is; `login`: the path of its form for a key, which is open to everybody
    policy  the content security policy of what is below these paths
    add     adds its routes to the application, for the settings and the family of models; a
            function of a module, as another process imports it
    """

    path: str
    login: str
    policy: str
    add: Callable[[FastAPI, Settings, str], None]

    def holds(self, path: str) -> bool:
        """Whether a path is the page's."""
        return path in ("/", self.path, self.login) or path.startswith(self.path + "/")


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """The configuration of the service. Made by `from_settings`.

    host, port    where to listen; None: the program does not know, as under bare uvicorn
    database      path or URL of the database; `storage`: folder or URL of the files
    staging       folder for files on their way into a bucket
    key           a key that everybody needs, those on this machine too; None: those of the database
                  open the service, and whoever is on this machine needs none
    trusts_here   whether that is so: behind a proxy nobody can tell who is on this machine
    hosts         names by which the service may be addressed, beside those of this machine; empty:
                  any, for clients with a key
    origins       of pages whose scripts may call the service
    waiting       jobs that may wait
    upload_bytes, body_bytes  largest upload, and largest body of any other request
    body_seconds  within which the body of a request has to arrive, uploads apart;
                  `upload_seconds`: of an upload; `idle_seconds`: between two pieces of either
    inline_bytes  of all recordings that stand in the body of one request
    wait_seconds  that a client waits for a song sheet which it asked for in one request
    free_bytes    of the disk, below which nothing is accepted
    keep_seconds  after which jobs that have ended are deleted; `quota_bytes` of all files. None:
                  no such rule
    mounts        paths of other applications beside the API, and what makes them, as module:name
    family        of models that requests are for if they name none
    page          the page that is served beside the API, if any; `page_port`: a second port, under
                  which people look for it. Both ports answer both
    settings      in force
    """

    settings: Settings
    host: str | None
    port: int | None
    database: str | Path = field(repr=False)
    storage: str | Path
    staging: Path
    waiting: int
    upload_bytes: int
    body_bytes: int
    free_bytes: int
    key: str | None = field(default=None, repr=False)
    trusts_here: bool = True
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    inline_bytes: int = 32 * MIB
    body_seconds: float = 30.0
    upload_seconds: float = 3600.0
    idle_seconds: float = 30.0
    wait_seconds: float = 600.0
    keep_seconds: float | None = None
    quota_bytes: int | None = None
    mounts: tuple[tuple[str, str], ...] = ()
    family: str = USUAL
    page: Page | None = None
    page_port: int | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """Where to listen."""
        return tuple(dict.fromkeys(one for one in (self.port, self.page_port) if one is not None))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.host in LOOPBACK


KnownMachine = Callable[[], Machine | None]
"""The machine that an engine process works on, if one is known."""


def from_settings(settings: Settings, family: str = USUAL) -> ServiceConfig:
    """The configuration that these settings describe. Nothing is opened or created."""
    keep, quota = settings.service_keep_days, settings.service_quota
    return ServiceConfig(
        settings=settings,
        host=settings.service_host,
        port=settings.service_port,
        database=settings.service_database or settings.data_dir / "jobs.db",
        storage=settings.service_storage or settings.data_dir / "files",
        staging=settings.data_dir / "staging",
        key=settings.service_key,
        hosts=_parts(settings.service_hosts),
        origins=_parts(settings.service_origins),
        waiting=settings.service_waiting,
        upload_bytes=int(settings.service_upload_limit * MIB),
        body_bytes=int(settings.service_body_limit * MIB),
        free_bytes=int(settings.service_free_space * GIB),
        keep_seconds=None if keep is None else keep * _DAY,
        quota_bytes=None if quota is None else int(quota * GIB),
        family=family,
    )


def _parts(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(text.split(","))
