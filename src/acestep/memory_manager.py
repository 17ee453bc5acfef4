"""Compatible `acestep.memory_manager` of the 4 GB mode, based on the tiers and settings.

Importing has no effect. The planner's modules decide what the machine's memory allows; the check
of host memory only warns, and refuses a call only if it could not even begin.
"""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import ParamSpec, TypeVar, cast, overload

import psutil

from acestep.clamped_call import clamp_call
from acestep.gpu_config import current_machine, current_policy
from headroom.engine.limits import caps_of
from headroom.log import log
from headroom.models.acestep.requests.songs import Text2Music
from headroom.params.describe import in_role
from headroom.params.knob import Limit, Role
from headroom.settings import load
from headroom.units import GIB

P = ParamSpec("P")
R = TypeVar("R")
MIN_FREE_GB = 1.0  # of host memory, or a share of it, below which there is a warning
MIN_FREE_SHARE = 0.05


@dataclass
class MemoryConfig:
    """The settings from the environment and `.env`. Sizes in GB, lengths in seconds.

    `max_duration_seconds` and `max_batch_size` apply to default requests: with a language model if
    one is loaded. `without_lm` holds both for requests that use none.
    """

    max_memory_gb: float
    min_free_ram_gb: float
    max_duration_seconds: float
    max_batch_size: int
    offload_to_cpu: bool
    offload_dit_to_cpu: bool
    enable_lm: bool
    without_lm: tuple[float, int]
    aggressive_gc: bool = True
    clear_cuda_cache: bool = True
    pre_check_memory: bool = True

    @classmethod
    def read(cls) -> MemoryConfig:
        """Read it from the settings and the machine, by the engine's rules."""
        settings = load()
        machine = current_machine(settings)
        policy = current_policy(machine, settings)
        caps = caps_of(settings)
        with_lm, without_lm = (policy.limits(lm, *caps) for lm in (policy.init_lm, False))
        total = psutil.virtual_memory().total / GIB
        return cls(
            max_memory_gb=machine.limit / GIB,
            min_free_ram_gb=max(MIN_FREE_GB, MIN_FREE_SHARE * total),
            max_duration_seconds=_maximum(with_lm, "seconds"),
            max_batch_size=int(_maximum(with_lm, "count")),
            offload_to_cpu=bool(policy.offload),
            offload_dit_to_cpu=bool(policy.offload_dit),
            enable_lm=policy.init_lm,
            without_lm=(_maximum(without_lm, "seconds"), int(_maximum(without_lm, "count"))),
        )

    def most(self, use_lm: bool | None) -> tuple[float, int]:
        """Longest song and most songs of a request that uses a language model or does not; None:
        the default here."""
        if use_lm is False:
            return self.without_lm
        return self.max_duration_seconds, self.max_batch_size


def _maximum(tighter: Mapping[Role, Limit], role: Role) -> float:
    """The limit in force for a field, never above the request's own."""
    param = in_role(Text2Music, role)
    assert param is not None and param.limit is not None
    limit = param.limit
    return limit.tightened(tighter[role]).maximum if role in tighter else limit.maximum


class MemoryManager:
    """Limits, their checks, and the release of memory. Thread-safe."""

    def __init__(self) -> None:
        self.config = MemoryConfig.read()
        self.generation_count = 0
        self._lock = threading.RLock()

    def get_current_memory_usage(self) -> dict[str, float]:
        """The memory in use on host and card, in GB."""
        memory, process = psutil.virtual_memory(), psutil.Process().memory_info()
        usage = {
            "ram_total": memory.total / GIB,
            "ram_used": memory.used / GIB,
            "ram_available": memory.available / GIB,
            "ram_free": memory.free / GIB,
            "process_memory": process.rss / GIB,
            "gpu_total": 0.0,
            "gpu_used": 0.0,
            "gpu_available": 0.0,
        }
        from headroom.device import open_device

        device = open_device()
        if device.kind != "cpu":
            usage["gpu_total"] = device.total_memory() / GIB
            usage["gpu_used"] = device.memory_allocated() / GIB
            usage["gpu_available"] = device.free_memory() / GIB
        return usage

    def can_generate(self, estimated_memory_gb: float = 2.0) -> tuple[bool, str]:
        """Whether host memory allows a request that takes this much of it, and a sentence."""
        free = psutil.virtual_memory().available / GIB
        if free < estimated_memory_gb:
            return False, f"{free:.1f} GB of host memory are free, {estimated_memory_gb:g} needed"
        if free - estimated_memory_gb < self.config.min_free_ram_gb:
            return True, f"host memory is short: {free:.1f} GB are free"
        return True, ""

    def check_memory_available(self, estimated_memory_gb: float = 0.5) -> tuple[bool, str]:
        """The same, under its other name."""
        return self.can_generate(estimated_memory_gb)

    def validate_generation_params(
        self, duration: float, batch_size: int, use_lm: bool | None = None
    ) -> tuple[float, int, str]:
        """Length and songs within the limits, and a warning if they were not. `use_lm` says
        whether the request uses a language model; None: the default here."""
        warnings = []
        seconds, songs = self.config.most(use_lm)
        if duration > seconds:
            warnings.append(f"duration {duration:g} s is cut to {seconds:g} s")
            duration = seconds
        if batch_size > songs:
            warnings.append(f"batch size {batch_size} is cut to {songs}")
            batch_size = songs
        return duration, batch_size, " | ".join(warnings)

    def get_generation_constraints(self) -> dict[str, object]:
        """The limits for a request made now."""
        free = psutil.virtual_memory().available / GIB
        levels = ((6, "critical"), (8, "low"), (10, "normal"))
        return {
            "max_duration_seconds": self.config.max_duration_seconds,
            "max_batch_size": self.config.max_batch_size,
            "lm_enabled": self.config.enable_lm,
            "offload_to_cpu": self.config.offload_to_cpu,
            "offload_dit_to_cpu": self.config.offload_dit_to_cpu,
            "memory_limit_gb": self.config.max_memory_gb,
            "available_memory_gb": free,
            "memory_tier": next((name for most, name in levels if free < most), "optimal"),
            "min_free_ram_gb": self.config.min_free_ram_gb,
        }

    def get_status(self) -> dict[str, object]:
        """The whole status, as plain values for JSON."""
        usage, healthy = self.get_current_memory_usage(), self.can_generate(0.0)
        config = asdict(self.config)
        return {
            "config": {
                "max_memory_gb": config["max_memory_gb"],
                "min_free_ram_gb": config["min_free_ram_gb"],
                "offload_enabled": config["offload_to_cpu"],
                "lm_enabled": config["enable_lm"],
                "aggressive_gc": config["aggressive_gc"],
            },
            "current_usage": usage,
            "constraints": self.get_generation_constraints(),
            "healthy": healthy[0] and not healthy[1],
            "status": healthy[1] or "ok",
            "generation_count": self.generation_count,
        }

    def force_memory_cleanup(self) -> None:
        """Collect garbage, free the card's cached memory, and wait for it."""
        from headroom.device import open_device

        with self._lock:
            gc.collect()
            device = open_device()
            device.release()
            device.synchronize()

    @contextmanager
    def generation_context(self, estimated_memory_gb: float = 2.0) -> Iterator[None]:
        """A block that generates: checks memory before, cleans up after. Raises MemoryError."""
        allowed, why = self.can_generate(estimated_memory_gb)
        if not allowed:
            raise MemoryError(why)
        if why:
            log.warning("%s", why)
        try:
            yield
        finally:
            with self._lock:
                self.generation_count += 1
            if self.config.aggressive_gc:
                self.force_memory_cleanup()


_creation_lock = threading.Lock()
_manager: list[MemoryManager] = []


def get_memory_manager() -> MemoryManager:
    """The one manager of this process, created on first use."""
    with _creation_lock:
        if not _manager:
            _manager.append(MemoryManager())
        return _manager[0]


@overload
def memory_limit_decorator(required_gb: Callable[P, R]) -> Callable[P, R]: ...
@overload
def memory_limit_decorator(
    required_gb: float = ...,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def memory_limit_decorator(
    required_gb: float | Callable[P, R] = 1.0,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator for a function that generates; used with or without an argument.

    The function's arguments are first clamped to the limits, with a warning: lengths and numbers
    of songs under any of their names, also in objects that have them, which are copied.
    """
    if callable(required_gb):
        return _limited(required_gb, 1.0)
    needed = required_gb
    return lambda function: _limited(function, needed)


def _limited(function: Callable[P, R], needed: float) -> Callable[P, R]:
    @functools.wraps(function)
    def call(*args: P.args, **named: P.kwargs) -> R:
        manager = get_memory_manager()
        clamped = clamp_call(function, args, named, manager.validate_generation_params)
        for warning in clamped.warnings:
            log.warning("%s", warning)
        with manager.generation_context(needed):
            return cast("Callable[..., R]", function)(*clamped.args, **clamped.named)

    return call


def apply_memory_limits() -> dict[str, object]:
    """The limits in force; the caps themselves are set where a device is opened."""
    return get_memory_manager().get_generation_constraints()


def check_startup_memory() -> bool:
    """Whether host memory is plentiful; logs a warning if it is not."""
    allowed, why = get_memory_manager().can_generate(0.0)
    if why:
        log.warning("%s", why)
    return allowed and not why
