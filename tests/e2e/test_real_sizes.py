"""The released sizes, whole requests, under the caps of small cards: tensors without values."""

from __future__ import annotations

import pytest
import torch

from headroom.device.simulated import SimulatedDevice
from headroom.errors import Cancelled
from headroom.hardware.machine import CONTEXT, card
from headroom.lm.sample import Sampling
from headroom.memory.footprint import WRITE
from headroom.memory.plan import Residency
from headroom.memory.planner import plan
from headroom.memory.policy import PolicyName, resolve_policy
from headroom.models.acestep.blueprint import Blueprint, language_model
from headroom.models.acestep.cost.lm_cost import CODEBOOK, FRAME, TEXT_WORDS, lm_footprint, thinking
from headroom.models.acestep.language.lm_planning import write_codes
from headroom.models.acestep.networks.component_names import LANGUAGE_MODEL
from headroom.models.acestep.networks.released import released_lm
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.tiers import TIERS
from headroom.models.base import Setup
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run
from headroom.settings import Options
from headroom.units import GIB


@pytest.mark.ci
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
    size: int, name: str, seconds: int, policy: PolicyName
) -> None:
    machine = card(size)
    device = SimulatedDevice(size * GIB, fake=True)
    device.set_cap(size * GIB - CONTEXT)  # what a driver takes is not there for tensors
    model = Blueprint(name, Setup(device, machine))
    asked = Text2Music(caption="x", lyrics="la la\n" * 60, duration=seconds, inference_steps=2)
    songs = compose(asked, model.variant, (1,)).songs
    needs = model.footprint(songs)
    made = plan(needs, machine, resolve_policy(machine, policy, Options(), TIERS).wishes(needs))
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


@pytest.mark.ci
def test_eight_gigabytes_hold_the_largest_language_model_and_then_the_song() -> None:
    """4B in int8 with the cache of 600 guided seconds; a few of its codes are written."""
    size, machine = 8, card(8)
    device = SimulatedDevice(size * GIB, fake=True)
    device.set_cap(size * GIB - CONTEXT)
    model = Blueprint("acestep-v15-turbo", Setup(device, machine))
    asked = Text2Music(caption="x" * 60, lyrics="la la\n" * 60, duration=600, inference_steps=2)
    songs = compose(asked, model.variant, (1,)).songs
    work = thinking(asked.caption, songs[0].lyrics, 600, 1, guided=True, metadata=False)
    needs = lm_footprint(work, released_lm("4B"), "bfloat16").then(model.footprint(songs))
    made = plan(needs, machine, resolve_policy(machine, "adaptive", Options(), TIERS).wishes(needs))
    lm = made.placement(LANGUAGE_MODEL)
    assert lm.precision == "int8" and not any(stage.host for stage in made.stages)
    loaders = {**model.loaders(), LANGUAGE_MODEL: lambda: language_model("4B", "bfloat16")}
    pool = Pool(device, loaders)
    run = Run(made, pool, device)
    prompt, words = range(work.prompts[0]), slice(TEXT_WORDS, TEXT_WORDS + CODEBOOK)
    told: list[int] = []

    def enough() -> bool:
        told.append(device.max_memory_allocated())
        return len(told) > 3

    codes = Run(made, pool, device, stop=enough)
    with pytest.raises(Cancelled):
        write_codes(
            [prompt], range(FRAME), torch.zeros(1, work.codes), words, 2.0,
            Sampling(0.85, 0, 0.9, 1.0), codes,
        )  # fmt: skip
    stays = [p for p in made.placements if p.residency is Residency.RESIDENT]
    others = sum(p.bytes for p in stays if p.component != LANGUAGE_MODEL)
    assert told[-1] == made.stage(WRITE).peak - others  # nothing else has come to the card yet
    model.render(songs, run)
    for stage in run.report:
        assert stage.measured <= made.stage(stage.stage).peak, stage.stage
    pool.release()
    assert device.memory_allocated() == 0
