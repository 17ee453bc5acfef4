#!/usr/bin/env python3
"""Models that share a card: each is loaded when it is first used, and leaves when it is idle.

    from gpu_manager import get_gpu_manager

    manager = get_gpu_manager(idle_timeout=300)
    with manager.using("tts", load_tts) as model:  # leaves the card at the end of the block
        model(...)

A model is any `torch.nn.Module`, and `load_tts` a function that makes it in host memory, where it
stays between uses. All of this is `headroom.runtime.pool`, in which engines keep their parts too.
`acestep serve --enable-gpu-management` does the same for the models of the service.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

if find_spec("headroom") is None:  # a checkout that was never installed
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

import torch
from torch import nn

from headroom.device import AUTO
from headroom.hardware.probe import open_probed
from headroom.memory.plan import Placement, Residency
from headroom.runtime.card import Card
from headroom.runtime.entry import State
from headroom.runtime.idle import IdleWatch
from headroom.runtime.pool import Pool
from headroom.settings import load
from headroom.units import MIB

LOCATIONS = {
    State.DEVICE: "gpu",
    State.PASSING: "gpu",
    State.HOST: "cpu",
    State.ABSENT: "unloaded",
}


class GPUResourceManager:
    """Models on a card, by name. Thread-safe.

    idle_timeout  seconds without use after which a model leaves the card, while the monitor runs
    device        a word such as cuda:1 or simulated; by default as the settings say, of a group
                  of cards the first
    """

    def __init__(self, idle_timeout: float = 600.0, device: str = AUTO) -> None:
        self.idle_timeout = idle_timeout
        self.device = open_probed(load(), device)[0]
        self._card = Card.of(self.device)
        self._pools: dict[str, Pool] = {}
        self._watches: dict[str, IdleWatch] | None = None  # None: the monitor does not run
        self._lock = threading.Lock()  # of both, never held while a model moves

    @contextmanager
    def using(self, name: str, load_func: Callable[[], nn.Module]) -> Iterator[nn.Module]:
        """A block in which the model is on the card and stays there; at its end it leaves.

        Blocks of several threads may overlap: the model leaves at the end of the last one. Raises
        what `load_func` raises, and torch.OutOfMemoryError.
        """
        pool, placement, owner = self._pool(name, load_func), _placed(name), object()
        with self.device.inside(), torch.inference_mode():
            model = _leased(pool, placement, owner)
            try:
                yield model
            finally:
                pool.give_back([placement], owner)
                pool.offload(name)

    def get_model(self, name: str, load_func: Callable[[], nn.Module]) -> nn.Module:
        """The model, on the card. It leaves by `force_offload`, or when it is idle: that many
        seconds after the last call of this method, whether its caller is done with it or not."""
        pool, placement, owner = self._pool(name, load_func), _placed(name), object()
        with self.device.inside(), torch.no_grad():
            model = _leased(pool, placement, owner)
            pool.give_back([placement], owner)
        return model

    def force_offload(self, name: str | None = None) -> None:
        """Move a model, or all of them, to host memory; one in use moves at the end of its use.

        Raises KeyError for a name that was never used.
        """
        for pool in self._named(name):
            pool.offload()

    def force_release(self, name: str | None = None) -> None:
        """Drop a model, or all of them, also from host memory. Raises KeyError as above."""
        for pool in self._named(name):
            pool.release()

    def start_monitor(self) -> None:
        """From now on, models that are idle leave. May be called again."""
        with self._lock:
            if self._watches is None:
                watched = self._pools.items()
                self._watches = {n: IdleWatch(pool, self.idle_timeout) for n, pool in watched}

    def stop_monitor(self) -> None:
        """Let models stay, however long they are idle. May be called again."""
        with self._lock:
            watches, self._watches = self._watches or {}, None
        for watch in watches.values():
            watch.close()

    def update_timeout(self, seconds: float) -> None:
        """Let models leave after so many seconds without use."""
        with self._lock:
            self.idle_timeout = seconds
            for watch in (self._watches or {}).values():
                watch.change(seconds)

    def get_status(self) -> dict[str, object]:
        """Where each model is (gpu, cpu or unloaded) and for how long nobody has used it, the MiB
        on the card, and the timeout in seconds. Never waits for a model that moves."""
        parts = [part for pool in self._named(None) for part in pool.status()]
        models = {
            part.name: {
                "location": LOCATIONS[part.state],
                "idle_seconds": None if part.idle_seconds is None else int(part.idle_seconds),
            }
            for part in parts
        }
        return {
            "models": models,
            "gpu_memory_mb": self.device.memory_allocated() / MIB,
            "idle_timeout": self.idle_timeout,
        }

    def _pool(self, name: str, load_func: Callable[[], nn.Module]) -> Pool:
        with self._lock:
            if name not in self._pools:
                self._pools[name] = Pool(self._card, {name: load_func})
                if self._watches is not None:
                    self._watches[name] = IdleWatch(self._pools[name], self.idle_timeout)
            return self._pools[name]

    def _named(self, name: str | None) -> list[Pool]:
        with self._lock:
            return list(self._pools.values()) if name is None else [self._pools[name]]


def _placed(name: str) -> Placement:
    return Placement(name, Residency.RESIDENT, "as loaded", 0)


def _leased(pool: Pool, placement: Placement, owner: object) -> nn.Module:
    """The model, on the card; idle ones of others leave if it does not fit beside them."""
    try:
        parts = pool.lease([placement], owner)
    except torch.OutOfMemoryError:
        pool.make_room([placement.component], 0)
        parts = pool.lease([placement], owner)
    return parts.of(placement.component, nn.Module)


_only: list[GPUResourceManager] = []
_making = threading.Lock()


def get_gpu_manager(idle_timeout: float | None = None) -> GPUResourceManager:
    """The one manager of this process, whose monitor runs; `idle_timeout` changes its timeout."""
    with _making:
        if not _only:
            _only.append(GPUResourceManager(load().gpu_idle_timeout))
            _only[0].start_monitor()
        if idle_timeout is not None:
            _only[0].update_timeout(idle_timeout)
        return _only[0]
