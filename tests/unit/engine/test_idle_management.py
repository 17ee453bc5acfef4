"""Memory that nobody uses goes back, whoever left it there; what is said of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
import torch

from headroom.engine.engine import Engine
from headroom.memory.plan import Residency
from headroom.runtime.entry import State
from headroom.runtime.events import Event, Progress
from support.interrupts import STUCK
from support.pool_model import placed
from support.woven import ASKED, ROOM, woven

MANAGED = {**ROOM, "HEADROOM_GPU_MANAGEMENT": "true", "HEADROOM_GPU_IDLE_TIMEOUT": "0.05"}


def by_hand(engine: Engine) -> None:
    """Leased, and never given back."""
    with engine.device.inside(), torch.inference_mode():
        engine._pool.lease([placed("a", Residency.RESIDENT)])


def by_a_crash(engine: Engine) -> None:
    """The work fails, and so does what should clean up after it."""

    def broken(*arguments: object) -> None:
        raise MemoryError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(MemoryError):

        def listen(event: Event) -> None:
            if isinstance(event, Progress):
                patch.setattr(type(engine._pool), "end", broken)
                patch.setattr(type(engine._pool), "recover", broken)
                patch.setattr(type(engine._pool), "offload", broken)
                raise MemoryError

        engine.generate(ASKED, listen)
    assert any(part.leases for part in engine.status())


def by_prefetch(engine: Engine) -> None:
    engine.prefetch(ASKED)


@pytest.mark.parametrize("left", [by_hand, by_a_crash, by_prefetch])
def test_a_part_that_was_left_behind_leaves_after_the_timeout(
    left: Callable[[Engine], None],
) -> None:
    with woven(Residency.RESIDENT, MANAGED) as engine:
        left(engine)
        until = time.monotonic() + STUCK
        while any(part.device_bytes or part.leases for part in engine.status()):
            assert time.monotonic() < until, engine.status()
            time.sleep(0.01)
        assert all(part.state in (State.HOST, State.ABSENT) for part in engine.status())
        assert engine.generate(ASKED).audios


def test_a_timeout_without_management_is_answered() -> None:
    engine = woven(Residency.RESIDENT, {**ROOM, "HEADROOM_GPU_IDLE_TIMEOUT": "60"})
    (note,) = [n for n in engine.generate(ASKED).notes if n.field == "gpu_idle_timeout"]
    assert note.asked == 60 and note.used is None
    assert "--enable-gpu-management" in note.why
    for env in (ROOM, MANAGED):
        with woven(Residency.RESIDENT, env) as other:
            assert all(n.field != "gpu_idle_timeout" for n in other.policy.notes)


def test_the_status_is_plain_values_and_the_old_names_do_what_they_say() -> None:
    with woven(Residency.RESIDENT) as engine:
        engine.generate(ASKED)
        status = engine.get_gpu_status()
        assert json.loads(json.dumps(status)) == status
        parts = {part["name"]: part for part in status["parts"]}  # type: ignore[attr-defined]
        assert parts["a"]["state"] == "on the device" and parts["a"]["device_bytes"] > 0
        assert status["allocated_bytes"] > 0 and status["management"] is False  # type: ignore[operator]
        after = engine.offload_gpu()
        assert {part["state"] for part in after["parts"]} == {"in host memory"}  # type: ignore[attr-defined]
        gone = engine.release_gpu()
        assert {part["state"] for part in gone["parts"]} == {"not loaded"}  # type: ignore[attr-defined]
        assert gone["allocated_bytes"] == engine._pool.floor
