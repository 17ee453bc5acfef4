"""The downloads of an engine process: what they have to bring, and how far each has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from filelock import FileLock, Timeout
from pydantic import JsonValue

from headroom.errors import Cancelled, InvalidRequest
from headroom.models.registry import family_named
from headroom.runtime.events import Stop
from headroom.settings import Settings
from headroom.weights.catalog import checkpoint_dirs
from headroom.weights.fetch import Transfer, download
from headroom.weights.order import company, named
from headroom.weights.sources import sources
from headroom.weights.transfer import unwritable

_LOCK = ".headroom-downloads"  # held by the one process of a machine that downloads
_LOOK_SECONDS = 0.5  # between two tries to get it
_STOPPED = "the download was stopped; what has come is kept, and the next one continues it"


@dataclass(frozen=True, slots=True)
class Fetching:
    """Downloads that run, by the ids of their errands. Each runs in a thread of its caller."""

    settings: Settings
    _running: dict[str, dict[str, JsonValue]] = field(default_factory=dict)

    def fetch(self, id: str, given: Mapping[str, Any], stop: Stop) -> None:
        """Bring `models` of `family` with those that they need, as far as they are not here.

        What another process of this machine brings meanwhile is waited for. Raises InvalidRequest,
        DownloadFailed, InvalidOutput, Cancelled.
        """
        self._running[id] = _seen(id, given["models"], None)
        try:
            self._fetch(id, given, stop)
        finally:
            del self._running[id]

    def view(self) -> list[dict[str, JsonValue]]:
        """What each is to bring, the model and the file that it transfers, and the bytes that are
        there and in all; before it has begun: None, and 0."""
        return list(self._running.values())

    def _fetch(self, id: str, given: Mapping[str, Any], stop: Stop) -> None:
        folders = family_named(given["family"]).folders
        if folders is None:
            raise InvalidRequest("family", given["family"], "a family that has model folders")
        catalogue, dirs = folders.catalogue, checkpoint_dirs(self.settings)
        wanted = named(catalogue, given["models"], "models")
        into = dirs[0]
        try:
            into.mkdir(parents=True, exist_ok=True)
            lock = _taken(FileLock(into / _LOCK), stop)
        except OSError as error:
            raise unwritable(into, error) from error
        with lock:
            items = catalogue.installed(dirs)
            wanted += company(catalogue, wanted, items)
            there = {item.name for item in items if item.whole and not item.bundled}
            missing = [name for name in wanted if name not in there]
            if not missing:
                return
            places = sources(self.settings.download_source, self.settings.hf_token)

            def show(at: Transfer) -> None:
                if stop():
                    raise Cancelled(_STOPPED)
                self._running[id] = _seen(id, given["models"], at)

            download([catalogue.to_download(name) for name in missing], into, places, show=show)


def _seen(id: str, models: Sequence[str], at: Transfer | None) -> dict[str, JsonValue]:
    return {
        "errand": id,
        "models": list(models),
        "model": at.model if at else None,
        "file": at.file if at else None,
        "done": at.done if at else 0,
        "total": at.total if at else 0,
    }


def _taken(lock: FileLock, stop: Stop) -> Any:
    """The lock, when this process has it. Raises Cancelled."""
    while not stop():
        try:
            return lock.acquire(timeout=_LOOK_SECONDS)
        except Timeout:
            continue
    raise Cancelled(_STOPPED)
