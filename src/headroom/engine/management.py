"""What an engine is asked about its memory: what is where, and that it be given back."""

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
    """The part of an engine that people manage its memory by. All of it may be called at any time,
    from any thread, and after a call that was interrupted."""

    settings: Settings
    device: Device
    _desk: Desk

    def __enter__(self) -> Self:
        """The engine, to be closed at the end of the block. Raises EngineClosed."""
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
        """Every part of the model: where it is, what it takes, who uses it. Waits for nobody."""
        return self._pool.status()

    def offload(self, part: str | None = None) -> None:
        """Take a part, or all of them, off the device; what is at work leaves when it is done."""
        self._pool.offload(part)

    def release(self, part: str | None = None) -> None:
        """Drop a part, or all of them, on the device and in host memory."""
        self._pool.release(part)

    def close(self) -> None:
        """Release everything, and end the watch over idle parts; songs are refused from then on.

        May be called again. A call that is at work is finished, and its memory given back then.
        """
        self._desk.close()

    def get_gpu_status(self) -> dict[str, object]:
        """`status` as plain values, which JSON takes, with the device's bytes; seconds."""
        return {
            "device": self.device.name,
            "allocated_bytes": self.device.memory_allocated(),
            "free_bytes": self.device.free_memory(),
            "management": self.settings.gpu_management,
            "idle_timeout": self.settings.gpu_idle_timeout,
            "parts": [{**asdict(part), "state": part.state.value} for part in self.status()],
        }

    def offload_gpu(self) -> dict[str, object]:
        """`offload` of all parts; the status after it."""
        self.offload()
        return self.get_gpu_status()

    def release_gpu(self) -> dict[str, object]:
        """`release` of all parts; the status after it."""
        self.release()
        return self.get_gpu_status()


def unused_timeout(settings: Settings) -> tuple[Note, ...]:
    """What to say of an idle timeout that somebody gave while nothing is managed."""
    if settings.gpu_management or settings.source("gpu_idle_timeout") == DEFAULT:
        return ()
    why = (
        "memory is not managed: --enable-gpu-management or HEADROOM_GPU_MANAGEMENT=true turns it on"
    )
    return (Note("gpu_idle_timeout", settings.gpu_idle_timeout, None, why),)
