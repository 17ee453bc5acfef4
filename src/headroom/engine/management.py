"""Memory management of an engine: where each part is, and how to give its memory back."""

from __future__ import annotations

from dataclasses import asdict
from types import TracebackType
from typing import Self

from headroom.device import Device
from headroom.engine.executor import Executor
from headroom.errors import InvalidRequest
from headroom.params.clamp import Note
from headroom.reasons import reason
from headroom.runtime.card import Card
from headroom.runtime.pool import PartStatus, Pool
from headroom.settings import DEFAULT, Settings

ENABLED = "🚀 GPU 管理已启用: memory is given back after each request"  # logs are searched for it


class Managed:
    """The methods of an engine that manage its memory. They may be called at any time, from any
    thread, and after a call that was interrupted."""

    settings: Settings
    device: Device
    _executor: Executor

    def __enter__(self) -> Self:
        """The engine, which is closed at the end of the block. Raises EngineClosed."""
        self._executor.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _pool(self) -> Pool:
        return self._executor.pool

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards that it works on, in the order in which they were named."""
        return self._executor.cards

    @property
    def has_parts(self) -> bool:
        """Whether the model was opened already: `status` would open it. Never blocks."""
        return self._executor.has_pool

    def status(self) -> tuple[PartStatus, ...]:
        """Every part of the model: its place, its size and its users. Never blocks."""
        return self._executor.pools.status()

    def offload(self, part: str | None = None) -> None:
        """Move a part, or all of them, off the device; a part in use leaves when its work ends."""
        self._executor.pools.offload(part)

    def release(self, part: str | None = None) -> None:
        """Drop a part, or all of them, from the device and from host memory."""
        self._executor.pools.release(part)

    def set_idle_timeout(self, seconds: float) -> None:
        """Let idle parts leave the device after so many seconds, under management.

        Raises InvalidRequest for a number that is none, or where memory is not managed.
        """
        if not self.settings.gpu_management:
            allowed = "with an engine that manages memory (gpu_management)"
            raise InvalidRequest("gpu_idle_timeout", seconds, allowed)
        self._executor.set_idle_timeout(seconds)
        self.settings = self._executor.settings

    def close(self) -> None:
        """Release everything, and stop watching for idle parts; songs are refused from then on.

        May be called again. A call in progress is finished, and its memory is given back then.
        """
        self._executor.close()

    def get_gpu_status(self) -> dict[str, object]:
        """`status` as plain values for JSON, with the device memory in bytes, and the processes
        that share the card; times in seconds. Of a group of cards, `cards` tells of each, and the
        other values are those of the first."""
        each = [
            {
                "device": card.device.name,
                "allocated_bytes": card.device.memory_allocated(),
                "free_bytes": card.device.free_memory(),
                "processes": [asdict(one) for one in card.processes()],
            }
            for card in self.cards
        ]
        return {
            **each[0],
            "cards": each,
            "management": self.settings.gpu_management,
            "idle_timeout": self.settings.gpu_idle_timeout,
            "parts": [{**asdict(part), "state": part.state.value} for part in self.status()],
        }

    def offload_gpu(self) -> dict[str, object]:
        """`offload` all parts; returns the status afterwards."""
        self.offload()
        return self.get_gpu_status()

    def release_gpu(self) -> dict[str, object]:
        """`release` all parts; returns the status afterwards."""
        self.release()
        return self.get_gpu_status()


def unused_timeout(settings: Settings) -> tuple[Note, ...]:
    """The warning for an idle timeout that was set although memory is not managed."""
    if settings.gpu_management or settings.source("gpu_idle_timeout") == DEFAULT:
        return ()
    why = reason("memory_not_managed")
    return (Note("gpu_idle_timeout", settings.gpu_idle_timeout, None, why),)
