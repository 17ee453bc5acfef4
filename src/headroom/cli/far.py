"""`--remote`: the commands that ask something of an engine, asked of a service elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from headroom.engine.options import EngineOptions
from headroom.errors import InvalidRequest
from headroom.models.registry import family_named
from headroom.params.clamp import Note
from headroom.params.flags import mark_basic
from headroom.params.request import Request
from headroom.settings import Settings, settings_of
from headroom.settings.remote import Remote

if TYPE_CHECKING:
    from headroom.client import Client
    from headroom.engine.result import Output, Result, SongResult
    from headroom.runtime.events import Stop, Tell

_THERE = ("family", "model")  # options that a service takes with each request
_ELSEWHERE = "without a service elsewhere (--remote, HEADROOM_REMOTE)"


class Works(Protocol):
    """What the commands ask of an engine, here or elsewhere."""

    @property
    def notes(self) -> tuple[Note, ...]: ...

    def perform(self, request: Request, on_event: Tell, cancel: Stop) -> Result[Output]: ...

    def generate_batch(
        self, requests: Sequence[Request], on_event: Tell, cancel: Stop
    ) -> tuple[SongResult, ...]: ...

    def timed(self, result: SongResult, on_event: Tell, cancel: Stop) -> SongResult: ...


def add_remote_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--remote`, as its setting declares it."""
    setting = settings_of(Remote)["remote"]
    group = parser.add_argument_group(setting.group)
    words = f"{setting.help} (left open: {setting.left_open})"
    mark_basic(group.add_argument("--remote", metavar=setting.metavar, help=words))


def under_flag(settings: Settings, args: argparse.Namespace) -> Settings:
    """The settings with the service that the command line names; an empty name means here.

    Raises InvalidRequest.
    """
    word: str | None = args.remote
    if word is None:
        return settings
    takes = settings_of(Remote)["remote"].takes
    try:
        return settings.model_copy(update={"remote": takes.read(word) if word else None})
    except ValueError:
        raise InvalidRequest("remote", word, takes.allowed) from None


def only_here(settings: Settings, **flags: object) -> None:
    """Raise InvalidRequest for a flag that a service elsewhere cannot follow."""
    for name, value in flags.items():
        if settings.remote is not None and value not in (None, False):
            raise InvalidRequest(name, value, _ELSEWHERE)


def client_of(flags: EngineOptions, settings: Settings) -> Client | None:
    """A client of the service that the settings name; None: the work is done here.

    Raises InvalidRequest for options of an engine that the service has its own of.
    """
    if settings.remote is None:
        return None
    only_here(settings, **{n: v for n, v in flags.given.items() if n not in _THERE})
    from headroom.client import Client

    return Client(family=flags.family, model=flags.model, settings=settings)


@contextmanager
def opened(flags: EngineOptions, settings: Settings) -> Iterator[Works]:
    """An engine here, whose model is checked first, or a service elsewhere.

    Raises HeadroomError.
    """
    client = client_of(flags, settings)
    if client is not None:
        with client:
            yield client
        return
    from headroom.cli.model import check_model, open_engine

    check_model(flags.model, flags.checkpoint_dir, settings, family_named(flags.family))
    yield open_engine(flags, settings)
