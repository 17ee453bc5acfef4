"""Memory that runs out, without a song: what a run does, with a ladder and without one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headroom.device.simulated import SimulatedDevice
from headroom.errors import OutOfMemory
from headroom.memory.plan import Placement, Plan, Residency, StagePlan
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run
from headroom.units import MIB


def test_without_a_ladder_the_failure_is_said_and_nothing_stays_on_the_device() -> None:
    device = SimulatedDevice(64 * MIB)
    pool = Pool(device, {"a": lambda: nn.Linear(8, 8).requires_grad_(False)})
    stages = tuple(StagePlan(n, ("a",), 1, None, 123, 0.0) for n in ("first", "second"))
    plan = Plan((Placement("a", Residency.RESIDENT, "float32", 288),), stages, 64 * MIB)
    run = Run(plan, pool, device)
    run.stage("first", lambda step, parts: None)
    assert device.memory_allocated() > 0  # it stays from stage to stage

    def greedy(step: object, parts: object) -> None:
        torch.empty(65 * MIB, dtype=torch.uint8, device=device.torch)

    with pytest.raises(OutOfMemory) as caught:
        run.stage("second", greedy)
    assert (caught.value.stage, caught.value.planned, caught.value.tried) == ("second", 123, 0)
    assert device.memory_allocated() == 0
    assert [done.stage for done in run.report] == ["first"]
