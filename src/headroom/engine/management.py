"""Memory management of an engine: where each part is, and how to give its memory back."""

from __future__ import annotations

from dataclasses import asdict
from types import TracebackType
from typing import Self

from headroom.device import Device
from headroom.engine.desk import Desk
from headroom.params.clamp import Note
from headroom.runtime.pool import PartStatus, Pool
from headroom.settings import DEFAULT, Settings


class Managed:
    """The methods of an engine that manage its memory. They may be called at any time, from any
    thread, and after a call that was interrupted."""

    settings: Settings
    device: Device
    _desk: Desk

    def __enter__(self) -> Self:
        """The engine, which is closed at the end of the block. Raises EngineClosed."""
        self._desk.check()
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
        return self._desk.pool

    def status(self) -> tuple[PartStatus, ...]:
        """Every part of the model: its place, its size and its users. Never blocks."""
        return self._pool.status()

    def offload(self, part: str | None = None) -> None:
        """Move a part, or all of them, off the device; a part in use leaves when its work ends."""
        self._pool.offload(part)

    def release(self, part: str | None = None) -> None:
        """Drop a part, or all of them, from the device and from host memory."""
        self._pool.release(part)

    def close(self) -> None:
        """Release everything, and stop watching for idle parts; songs are refused from then on.

        May be called again. A call in progress is finished, and its memory is given back then.
        """
        self._desk.close()

    def get_gpu_status(self) -> dict[str, object]:
        """`status` as plain values for JSON, with the device memory in bytes; times in seconds."""
        return {
            "device": self.device.name,
            "allocated_bytes": self.device.memory_allocated(),
            "free_bytes": self.device.free_memory(),
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
    why = (
        "memory is not managed: --enable-gpu-management or HEADROOM_GPU_MANAGEMENT=true turns it on"
    )
    return (Note("gpu_idle_timeout", settings.gpu_idle_timeout, None, why),)
