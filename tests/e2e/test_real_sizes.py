"""The released sizes, whole requests, under the caps of small cards: tensors without values."""

from __future__ import annotations

import pytest

from headroom.device.simulated import SimulatedDevice
from headroom.hardware.machine import CONTEXT, card
from headroom.memory.limits import Choices, Policy, terms
from headroom.memory.planner import plan
from headroom.models.acestep.blueprint import Blueprint
from headroom.models.acestep.compose import compose
from headroom.models.acestep.requests import Text2Music
from headroom.models.base import Setup
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run
from headroom.units import GIB


@pytest.mark.parametrize(
    ("size", "name", "seconds", "policy"),
    [
        (4, "acestep-v15-turbo", 600, "adaptive"),
        (4, "acestep-v15-turbo", 360, "published"),
        (6, "acestep-v15-xl-turbo", 240, "adaptive"),
        (24, "acestep-v15-turbo", 60, "published"),
    ],
)
def test_a_request_keeps_within_its_card(
    size: int, name: str, seconds: int, policy: Policy
) -> None:
    machine = card(size)
    device = SimulatedDevice(size * GIB, fake=True)
    device.set_cap(size * GIB - CONTEXT)  # what a driver takes is not there for tensors
    model = Blueprint(name, Setup(device, machine))
    asked = Text2Music(caption="x", lyrics="la la\n" * 60, duration=seconds, inference_steps=2)
    songs = compose(asked, model.variant, (1,)).songs
    needs = model.footprint(songs)
    made = plan(needs, machine, terms(machine, policy, Choices()).wishes(needs))
    pool = Pool(device, model.loaders())
    for again in (False, True):
        run = Run(made, pool, device)
        (audio,) = model.render(songs, run)
        assert audio.samples.shape == (2, seconds * 48_000)
        for stage in run.report:
            planned = made.stage(stage.stage).peak
            # The first time what stays is not all there yet.
            assert stage.measured == planned if again else stage.measured <= planned, stage.stage
    assert not any(stage.host for stage in made.stages)
    if policy == "adaptive":
        assert made.placement("dit").precision == "bfloat16"
    pool.release()
    assert device.memory_allocated() == 0
