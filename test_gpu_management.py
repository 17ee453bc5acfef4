#!/usr/bin/env python3
"""Whether memory management does what it says: on this machine's card, else on a simulated one.

    python test_gpu_management.py

Each check asserts; the exit code is 1 if one fails. pytest runs the same functions.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from gpu_manager import GPUResourceManager, get_gpu_manager
from torch import nn

from headroom.device import present
from headroom.units import MIB

WIDTH = 2048
MODEL_MIB = WIDTH * WIDTH * 4 / MIB  # of float32
QUICK = 5.0  # seconds that a restore may take; it has no file to read
LATE = 60.0  # seconds that a machine under load may be late
CARD = "simulated" if present() == ("cpu",) else "auto"


@contextmanager
def managed(idle_timeout: float = 600.0) -> Iterator[GPUResourceManager]:
    manager = GPUResourceManager(idle_timeout, CARD)
    try:
        yield manager
    finally:
        manager.stop_monitor()
        manager.force_release()


class Loader:
    """Makes a model, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> nn.Module:
        self.calls += 1
        generator = torch.Generator().manual_seed(0)
        model = nn.Linear(WIDTH, WIDTH, bias=False).requires_grad_(False)
        model.weight.copy_(torch.randn(WIDTH, WIDTH, generator=generator))
        return model


def location(manager: GPUResourceManager, name: str = "model") -> str:
    models = cast("dict[str, dict[str, Any]]", manager.get_status()["models"])
    return str(models[name]["location"])


def on_card(manager: GPUResourceManager) -> float:
    """MiB of the card in use."""
    return cast("float", manager.get_status()["gpu_memory_mb"])


def result(manager: GPUResourceManager, model: nn.Module) -> torch.Tensor:
    with manager.device.inside(), torch.inference_mode():
        made = model(torch.ones(1, WIDTH).to(manager.device.torch)).cpu()
    return cast("torch.Tensor", made)


def test_nothing_is_loaded_before_the_first_use() -> None:
    with managed() as manager:
        before, load = on_card(manager), Loader()
        assert manager.get_status()["models"] == {}
        model = manager.get_model("model", load)
        assert load.calls == 1 and location(manager) == "gpu"
        assert on_card(manager) - before >= MODEL_MIB
        assert manager.get_model("model", load) is model and load.calls == 1


def test_a_model_leaves_after_use_and_after_a_failure() -> None:
    with managed() as manager:
        before, load = on_card(manager), Loader()
        with manager.using("model", load) as model:
            assert location(manager) == "gpu"
            assert model.weight.device.type == manager.device.torch.type
        assert location(manager) == "cpu" and on_card(manager) == before
        try:
            with manager.using("model", load):
                raise ValueError
        except ValueError:
            pass
        assert location(manager) == "cpu" and on_card(manager) == before and load.calls == 1


def test_it_stays_while_somebody_else_uses_it() -> None:
    with managed() as manager:
        load, inside, done = Loader(), threading.Event(), threading.Event()

        def other() -> None:
            with manager.using("model", load):
                inside.set()
                assert done.wait(LATE)

        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(LATE)
        with manager.using("model", load):
            pass
        manager.force_offload()
        assert location(manager) == "gpu"
        done.set()
        thread.join(LATE)
        assert location(manager) == "cpu" and load.calls == 1


def test_a_restore_reads_nothing_gives_the_same_and_is_quick() -> None:
    with managed() as manager:
        load = Loader()
        first = result(manager, manager.get_model("model", load))
        manager.force_offload("model")
        began = time.monotonic()
        model = manager.get_model("model", load)
        assert time.monotonic() - began < QUICK
        assert load.calls == 1 and torch.equal(result(manager, model), first)


def test_an_idle_model_leaves_by_itself() -> None:
    with managed(0.2) as manager:
        before = on_card(manager)
        manager.start_monitor()
        manager.get_model("model", Loader())
        until = time.monotonic() + LATE
        while location(manager) != "cpu":
            assert time.monotonic() < until
            time.sleep(0.05)
        assert on_card(manager) == before
        manager.update_timeout(600.0)
        manager.get_model("model", Loader())
        time.sleep(0.5)
        assert location(manager) == "gpu" and manager.get_status()["idle_timeout"] == 600.0


def test_offload_and_release_by_hand() -> None:
    with managed() as manager:
        before, load = on_card(manager), Loader()
        for name in ("one", "two"):
            manager.get_model(name, load)
        manager.force_offload("one")
        assert (location(manager, "one"), location(manager, "two")) == ("cpu", "gpu")
        manager.force_offload()
        assert location(manager, "two") == "cpu" and on_card(manager) == before
        manager.force_release("one")
        assert (location(manager, "one"), location(manager, "two")) == ("unloaded", "cpu")
        manager.get_model("one", load)
        assert load.calls == 3
        manager.force_release()
        assert location(manager, "one") == location(manager, "two") == "unloaded"
        assert on_card(manager) == before


def test_the_status_says_where_each_model_is_and_never_waits_for_one() -> None:
    with managed() as manager:
        loading, go_on = threading.Event(), threading.Event()

        def slow() -> nn.Module:
            loading.set()
            assert go_on.wait(LATE)
            return Loader()()

        thread = threading.Thread(target=manager.get_model, args=("model", slow))
        thread.start()
        assert loading.wait(LATE)
        assert location(manager) == "unloaded"
        go_on.set()
        thread.join(LATE)
        status = manager.get_status()
        assert status["models"] == {"model": {"location": "gpu", "idle_seconds": 0}}
        assert set(status) == {"models", "gpu_memory_mb", "idle_timeout"}


def test_there_is_one_manager_a_process() -> None:
    first = get_gpu_manager(idle_timeout=60)
    assert get_gpu_manager() is first and first.idle_timeout == 60
    assert get_gpu_manager(90) is first and first.idle_timeout == 90
    first.stop_monitor()


def main() -> int:
    checks: list[tuple[str, Callable[[], None]]] = [
        (name, check) for name, check in globals().items() if name.startswith("test_")
    ]
    print(f"on {GPUResourceManager(device=CARD).device.name}")
    failed = 0
    for name, check in checks:
        words = name.removeprefix("test_").replace("_", " ")
        try:
            check()
        except AssertionError as error:
            failed += 1
            line = error.__traceback__.tb_next.tb_lineno if error.__traceback__ else 0  # type: ignore[union-attr]
            print(f"FAILED  {words} (line {line})")
        else:
            print(f"passed  {words}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
