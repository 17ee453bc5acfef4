from __future__ import annotations

import pytest
import torch
from torch import nn

from headroom.device.host import HostDevice
from headroom.errors import Cancelled
from headroom.memory.plan import Placement, Plan, Residency, StagePlan
from headroom.runtime.events import (
    AudioReady,
    Loading,
    Progress,
    StageDone,
    StageStarted,
    WithAudio,
)
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run
from headroom.units import MIB

PLAN = Plan(
    (
        Placement("dit", Residency.SWAPPED, "float32", 16),
        Placement("vae", Residency.HOST, "float32", 16),
    ),
    (
        StagePlan("denoise", ("dit",), 2, None, 123, 4.0),
        StagePlan("decode", ("vae",), 1, 64, 456, 0.0),
        StagePlan("finish", (), 1, None, 7, 0.0),
    ),
    1000,
)


class Elsewhere(HostDevice):
    """A host that calls itself another device: tensors on `meta` stand for those on a card."""

    def __init__(self) -> None:
        super().__init__()
        self.torch = torch.device("meta")


class Metered(HostDevice):
    """A host whose process has the size the test says: a real one also shrinks by itself."""

    allocated = 512 * MIB

    def memory_allocated(self) -> int:
        return self.allocated


def start(tell=lambda event: None, stop=lambda: False, device=None) -> tuple[Run, Pool]:
    device = device or HostDevice()
    pool = Pool(device, {"dit": lambda: nn.Linear(2, 2), "vae": lambda: nn.Linear(2, 2)})
    return Run(PLAN, pool, device, tell, stop), pool


def test_a_stage_gives_work_its_parts_and_returns_what_it_makes():
    run, _ = start()
    seen = []

    def work(step, parts):
        seen.extend([step.pieces, step.tile, step.device.type, list(parts)])
        assert torch.is_inference_mode_enabled()
        return "latents"

    assert run.stage("denoise", work) == "latents"
    assert seen == [2, None, "cpu", ["dit"]]
    assert run.stage("decode", lambda step, parts: step.tile) == 64


def test_events_come_in_order_and_the_report_repeats_them():
    told, loading = [], []
    run, _ = start(lambda e: (loading if isinstance(e, Loading) else told).append(e))
    run.stage("denoise", lambda step, parts: [step.progress(i, 2) for i in (1, 2)])
    run.stage("decode", lambda step, parts: None)
    assert loading == [Loading("dit", 16), Loading("vae", 16)]
    kinds = [(type(e).__name__, e.stage) for e in told]
    assert kinds == [
        ("StageStarted", "denoise"),
        ("Progress", "denoise"),
        ("Progress", "denoise"),
        ("StageDone", "denoise"),
        ("StageStarted", "decode"),
        ("StageDone", "decode"),
    ]
    assert told[0] == StageStarted("denoise", 123)
    assert told[1:3] == [Progress("denoise", 1, 2), Progress("denoise", 2, 2)]
    assert run.report == (told[3], told[5])
    assert told[3].planned == 123 and 0 <= told[3].loading <= told[3].seconds


def test_a_part_that_must_come_is_told_before_it_comes_and_one_in_place_is_not():
    told = []
    run, pool = start(lambda e: told.append((e, pool.loaded)))
    for _ in range(2):
        run.stage("denoise", lambda step, parts: None)
    assert [(e, there) for e, there in told if isinstance(e, Loading)] == [
        (Loading("dit", 16), frozenset())
    ]
    assert isinstance(told[0][0], StageStarted) and isinstance(told[1][0], Loading)
    pool.release()
    told.clear()
    run.stage("finish", lambda step, parts: None)
    run.stage("denoise", lambda step, parts: None)
    assert [type(e).__name__ for e, _ in told[2:4]] == ["StageStarted", "Loading"]


def test_samples_are_copied_for_a_listener_who_wants_them_and_for_nobody_else():
    made = torch.arange(8.0).reshape(2, 4)

    def work(step, parts):
        step.audio(1, 0, made[:, :2], 48_000)
        step.audio(1, 2, made[:, 2:2], 48_000)  # nothing is new
        step.audio(1, 2, made[:, 2:], 48_000)

    told = []
    start(told.append)[0].stage("decode", work)
    assert not any(isinstance(e, AudioReady) for e in told)
    start(WithAudio(told.append))[0].stage("decode", work)
    heard = [e for e in told if isinstance(e, AudioReady)]
    assert [(e.song, e.start, e.audio.rate) for e in heard] == [(1, 0, 48_000), (1, 2, 48_000)]
    before = made.clone()
    made.zero_()  # what was told is the listener's own
    assert torch.equal(torch.cat([e.audio.samples for e in heard], dim=1), before)


def test_what_a_stage_used_is_measured_above_what_was_there_before():
    device = Metered()
    run, _ = start(device=device)

    def work(step, parts):
        device.allocated += 64 * MIB

    run.stage("denoise", work)
    run.stage("decode", lambda step, parts: None)
    assert [done.measured for done in run.report] == [64 * MIB, 64 * MIB]


def test_parts_are_where_the_plan_wants_them_while_the_stage_works():
    run, pool = start(device=Elsewhere())
    during = run.stage("denoise", lambda step, parts: (step.device.type, pool.on_device))
    assert during == ("meta", {"dit"}) and pool.on_device == frozenset()
    on_host = run.stage("decode", lambda step, parts: (step.device.type, pool.on_device))
    assert on_host == ("cpu", frozenset())
    assert run.stage("finish", lambda step, parts: step.device.type) == "meta"


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_on_the_device_and_no_half_state(error):
    told = []
    run, pool = start(told.append, device=Elsewhere())
    run.stage("finish", lambda step, parts: run.keep("noise", torch.ones(1, 2)))

    def work(step, parts):
        run.keep("noise", torch.zeros(1, 2))
        run.keep("latents", torch.ones(1, 2))
        raise error

    with pytest.raises(error):
        run.stage("denoise", work)
    assert pool.on_device == frozenset()
    assert [d.stage for d in run.report] == ["finish"]
    assert [e.stage for e in told if isinstance(e, StageDone)] == ["finish"]
    assert list(run.kept) == ["noise"] and run.kept["noise"].tolist() == [[1, 1]]
    assert run.stage("denoise", lambda step, parts: 5) == 5  # and it can be called again


def test_a_stop_is_noticed_before_a_stage_and_at_every_unit_of_work():
    asked = iter([False, False, True])
    run, pool = start(stop=lambda: next(asked, True), device=Elsewhere())
    done = []

    def work(step, parts):
        for i in range(5):
            step.progress(i, 5)
            done.append(i)

    with pytest.raises(Cancelled, match="stopped in stage 'denoise'"):
        run.stage("denoise", work)
    assert done == [0] and pool.on_device == frozenset() and run.report == ()
    with pytest.raises(Cancelled, match="decode"):
        run.stage("decode", lambda step, parts: done.append("decode"))
    assert done == [0] and pool.loaded == {"dit"}


def test_what_is_kept_is_a_copy_on_the_host():
    run, _ = start()
    latents = torch.ones(1, 3)
    run.keep("latents", latents)
    latents.zero_()
    assert run.kept["latents"].tolist() == [[1, 1, 1]]


def test_stages_do_not_nest_and_must_be_planned():
    run, _ = start()
    with pytest.raises(RuntimeError, match="'decode' begins inside stage 'denoise'"):
        run.stage("denoise", lambda step, parts: run.stage("decode", lambda s, p: None))
    with pytest.raises(KeyError, match="encode"):
        run.stage("encode", lambda step, parts: None)
