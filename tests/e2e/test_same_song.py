"""The same song under every plan: on the simulated device, with the bundled model, to the byte.

Weights stay, come and go, or pass through; leave when idle and come back; memory runs out on the
way. The simulated device computes with the host's kernels, so any difference is a plan's fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from headroom.engine.engine import Engine
from headroom.engine.result import Result
from headroom.errors import OutOfMemory
from headroom.memory.plan import Cut, Residency, Wish, Wishes
from headroom.models.acestep.requests.songs import Text2Music
from headroom.runtime.events import Event, Replanned, StageStarted
from headroom.settings import load

ASKED = Text2Music(caption="slow", lyrics="la\n" * 4, duration=10, seed=3, inference_steps=2)
SHORT = load({"ACESTEP_MAX_DURATION": "5"})
TILE = Cut("decode", 1, 256)
WAYS = {
    "resident": Wishes(Residency.RESIDENT, (TILE,)),
    "swapped": Wishes(Residency.SWAPPED, (TILE,)),
    "streamed": Wishes(Residency.STREAMED, (TILE,)),
    "mixed": Wishes(
        cuts=(TILE,),
        components=(Wish("dit", (Residency.STREAMED,)), Wish("vae decoder", (Residency.SWAPPED,))),
    ),
}


def engine(wishes: Wishes) -> Engine:
    return Engine("simulated", "float32", wishes=wishes, quantization="none", settings=SHORT)


def digest(result: Result) -> str:
    return hashlib.sha256(result.audio.samples.contiguous().numpy().tobytes()).hexdigest()


@pytest.fixture(scope="module")
def reference() -> Iterator[str]:
    made = engine(WAYS["resident"])
    yield digest(made.generate(ASKED))
    made.close()


@pytest.mark.parametrize("name", WAYS)
def test_every_plan_makes_the_same_song_and_gives_everything_back(
    name: str, reference: str
) -> None:
    """And no stage takes more than was planned."""
    made = engine(WAYS[name])
    first = made.generate(ASKED)
    assert digest(first) == reference
    dit = first.plan.placement("dit").residency
    assert dit is (Residency.STREAMED if name == "mixed" else WAYS[name].residency)
    made._pool.check_integrity()
    made.offload()
    assert made.device.memory_allocated() == made._pool.floor
    assert digest(made.generate(ASKED)) == reference  # restored
    made.close()
    assert made.device.memory_allocated() == made._pool.floor
    for stage in first.report.stages:
        assert stage.measured_bytes <= stage.planned_bytes, stage.stage


def test_the_host_gives_what_the_device_gives(reference: str) -> None:
    cpu = Engine("cpu", "float32", wishes=Wishes(cuts=(TILE,)), settings=SHORT)
    close = cpu.generate(ASKED).audio.samples
    made = engine(WAYS["swapped"])
    there = made.generate(ASKED).audio.samples
    made.close()
    # Other kernels for windows and minimal filters, so not to the byte.
    assert float((close - there).norm() / close.norm()) < 1e-3


@pytest.fixture(scope="module")
def counted() -> Iterator[tuple[Engine, int]]:
    """An engine whose parts come and go, and how many allocations a song of it makes."""
    made = engine(WAYS["swapped"])
    made.generate(ASKED)
    before = made.device.allocations  # type: ignore[attr-defined]
    made.generate(ASKED)
    yield made, made.device.allocations - before  # type: ignore[attr-defined]
    made.close()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_memory_that_runs_out_once_costs_nothing_but_time(
    share: float, reference: str, counted: tuple[Engine, int]
) -> None:
    made, count = counted
    device = made.device
    made.offload()
    heard: list[Event] = []
    device.fail_at = device.allocations + max(1, int(share * count))  # type: ignore[attr-defined]
    again = made.generate(ASKED, heard.append)
    replanned = [event for event in heard if isinstance(event, Replanned)]
    assert len(replanned) == 1 and replanned[0].same_output
    started = [event.stage for event in heard if isinstance(event, StageStarted)]
    assert started.count(replanned[0].stage) == 2
    assert all(started.count(s) == 1 for s in set(started) - {replanned[0].stage})
    assert digest(again) == reference
    made.offload()
    assert device.memory_allocated() == made._pool.floor


def test_a_card_that_is_too_small_is_refused_before_anything_runs() -> None:
    from headroom.errors import DoesNotFit

    tiny = Engine("simulated", "float32", settings=load({"HEADROOM_MAX_VRAM": "0.6"}))
    with pytest.raises(DoesNotFit, match="What would help"):
        tiny.generate(ASKED.model_copy(update={"duration": 600.0}))
    assert tiny.device.memory_allocated() == 0


def test_converted_weights_sound_alike_and_take_less() -> None:
    exact = engine(WAYS["swapped"])
    first = exact.generate(ASKED).kept["latents"]
    made = Engine(
        "simulated", "float32", settings=SHORT, quantization="int8",
        policy="adaptive", wishes=replace(WAYS["swapped"], precision="int8"),
    )  # fmt: skip
    result = made.generate(ASKED)
    second = result.kept["latents"]
    cosine = torch.cosine_similarity(first.flatten(), second.flatten(), dim=0)
    assert result.plan.placement("dit").precision == "int8"
    assert 0.99 < float(cosine) and not torch.equal(first, second)
    assert result.plan.placement("dit").bytes < exact.plan(ASKED).placement("dit").bytes
    for stage in result.report.stages:
        assert stage.measured_bytes <= stage.planned_bytes, stage.stage
    exact.close()
    made.close()


@pytest.mark.ci
def test_a_failure_that_no_plan_helps_is_said_and_leaves_the_card_as_it_was() -> None:
    made = engine(WAYS["resident"])
    made.generate(ASKED)
    device = made.device
    before = made._pool.on_device

    def hear(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "denoise":
            device.set_cap(1)  # somebody else took everything

    with pytest.raises(OutOfMemory, match="'denoise' ran out of memory"):
        made.generate(ASKED, hear)
    assert before and made._pool.on_device == frozenset()
    assert device.memory_allocated() == made._pool.floor
    device.set_cap(None)
    assert made.generate(ASKED).audio.samples.isfinite().all()
    made.close()
