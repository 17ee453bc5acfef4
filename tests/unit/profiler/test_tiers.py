"""Tier test at the real sizes over fake tensors, in this process; and what planted faults do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from headroom.device.simulated import SimulatedDevice
from headroom.memory.footprint import DENOISE, Way
from headroom.memory.plan import Plan
from headroom.models.acestep import blueprint, family, synthetic
from headroom.models.acestep.catalogue import BUNDLED
from headroom.models.acestep.cost import footprint, workspaces
from headroom.models.acestep.cost.lm_cost import METADATA_TOKENS
from headroom.models.acestep.cost.measures import Measured
from headroom.models.acestep.networks.config import dit_config, text_encoder_config
from headroom.models.acestep.networks.dit import DiT
from headroom.models.acestep.networks.released import released_lm
from headroom.models.acestep.synthetic import BlankLanguage
from headroom.nn.config_fields import read_config
from headroom.nn.oobleck import Decoder
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.profiler.tiers import engine
from headroom.profiler.tiers.case import in_force, rows_of
from headroom.profiler.tiers.engine import Card, TierEngine
from headroom.profiler.tiers.rows import Case, TierRow, Work
from headroom.settings import load
from headroom.units import GIB

CONTEXT = GIB // 2
LYRICS = "[verse]\nOver the water the evening is falling\n[chorus]\nCarry me home\n" * 4
WHOLE = ["condition", "schedule", DENOISE, "decode"]


def fields_of(lyrics: str, steps: int | None = None) -> dict[str, object]:
    said = {"caption": "a slow song", "lyrics": lyrics}
    return said if steps is None else {**said, "inference_steps": steps}


def tried(size: float, *cases: Case, steps: int | None = None) -> list[TierRow]:
    """The rows of a size, gone through JSON as they do between processes."""
    work = Work(size, cases, "acestep-v15-turbo", fields_of(LYRICS, steps), 30.0)
    sent = Work.of(json.loads(json.dumps(work.json())))
    settings = load({"MAX_CUDA_VRAM": f"{size:g}"})
    rows = [TierRow.of(json.loads(json.dumps(asdict(row)))) for row in rows_of(sent, settings)]
    assert sent == work
    return rows


def one(size: float, case: Case | None = None, steps: int | None = None) -> TierRow:
    (row,) = tried(size, case or Case(), steps=steps)
    return row


# --- as it should be ------------------------------------------------------------------------


@pytest.mark.ci
def test_the_smallest_card_without_its_offload_and_without_its_conversion() -> None:
    default, plain, staying = tried(4, Case(), Case("no-quant"), Case("no-offload"))
    assert default.ok and default.faults == () and default.tier == "tier1"
    assert default.offload == "cpu+dit" and default.quantization == "int8"
    assert plain.ok and plain.offload == "cpu+dit" and plain.quantization is None
    assert not plain.promised and plain.measured_peak >= default.measured_peak
    # 5.7 GiB of weights do not stay on a card of 4: the plan says so, and nothing runs.
    assert staying.status == "does not fit" and "the budget is 3.25 GiB" in staying.faults[0]
    assert staying.init_seconds is None and staying.stages == ()
    for row in (default, plain):
        assert [s.stage for s in row.stages] == WHOLE
        assert all(s.exact and s.measured == s.planned > 0 for s in row.stages)
        assert max(s.measured for s in row.stages) == row.measured_peak == row.planned_peak
        assert row.measured_peak + CONTEXT <= 4 * GIB
        assert row.songs == row.pieces == 1 and row.frames == 750
        assert row.simulated and row.notes[0] == "simulated"


@pytest.mark.ci
def test_a_language_model_thinks_and_writes_what_was_planned() -> None:
    row = one(8, Case("default", use_lm=True))
    assert row.ok, row.faults
    assert row.lm == "0.6B" and row.lm_backend == "vllm"
    assert [s.stage for s in row.stages] == ["think", "write codes", "codes", *WHOLE]
    exact = {s.stage for s in row.stages if s.exact}
    assert exact == {"write codes", *WHOLE}
    assert all(s.measured == s.planned for s in row.stages if s.exact)
    assert all(0 < s.measured <= s.planned for s in row.stages)


@pytest.mark.long
def test_a_loop_that_is_gone_through_twice_has_shown_its_worst_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = one(24, steps=4)
    monkeypatch.setattr(synthetic, "TURNS", 1000)
    whole = one(24, steps=4)
    assert short.ok and whole.ok
    assert [s.measured for s in short.stages] == [s.measured for s in whole.stages]


def test_a_sheet_without_values_is_as_long_as_one_may_be() -> None:
    language = BlankLanguage("0.6B", "bfloat16", longest=True)
    thought = language.words.ids("<think>\nbpm: 96\n</think>\n\n")
    assert len(thought) == METADATA_TOKENS
    assert len(language.words.ids("<think>\nbpm: 96\n")) < 40  # what a grammar forces
    assert len(BlankLanguage("0.6B", "bfloat16", longest=False).words.ids("</think>")) == 1


# --- planted faults --------------------------------------------------------------------------


@pytest.mark.long
def test_a_footprint_that_is_a_tenth_too_low_turns_the_row_red(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = workspaces.room

    def low(size: str, precision: str, work: Measured) -> int | None:
        found = right(size, precision, work)
        return None if found is None else found * 9 // 10

    monkeypatch.setattr(workspaces, "room", low)
    row = one(24)
    assert row.status == "failed"
    assert {fault.partition(":")[0] for fault in row.faults} == set(WHOLE)
    assert all("bytes were planned and" in fault for fault in row.faults)


@pytest.mark.long
def test_an_edge_of_a_tier_that_moved_turns_the_row_red(monkeypatch: pytest.MonkeyPatch) -> None:
    tiers = family.FAMILY.tiers
    moved = tuple(replace(t, upto=24.5) if t.name == "tier6b" else t for t in tiers.rows)
    other = replace(family.FAMILY, tiers=replace(tiers, rows=moved))
    monkeypatch.setattr(family, "FAMILY", other)
    row = one(24)
    assert row.status == "failed"
    assert row.faults[0] == "tier6b was detected, and it is unlimited"


@pytest.mark.long
def test_memory_that_runs_out_is_told_though_the_song_is_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = TierEngine.initialise

    def then_fail(self: TierEngine, plan: Plan) -> None:
        right(self, plan)
        assert isinstance(self.device, SimulatedDevice)
        self.device.fail_at = self.device.allocations + 300

    monkeypatch.setattr(TierEngine, "initialise", then_fail)
    row = one(24)
    assert row.status == "failed" and row.songs == 1
    assert row.faults[0].startswith("memory ran out in condition")


@pytest.mark.long
def test_a_batch_that_is_cut_in_two_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    right = footprint._denoise

    def cut(*args: object) -> tuple[Way, ...]:
        return tuple(way for way in right(*args) if way.pieces != 1)  # type: ignore[arg-type]

    monkeypatch.setattr(footprint, "_denoise", cut)
    row = one(24, Case("batch", songs=2), steps=2)
    assert row.status == "failed" and row.songs == 2
    assert row.faults == ("the batch was denoised in 2 pieces",)


@pytest.mark.long
def test_a_batch_that_is_silently_made_smaller_does_not_count_and_ends_its_series(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "BATCHES", (1,))  # what the limit is lifted to
    series = [Case("batch", False, count, "no LM") for count in (1, 2, 4)]
    first, second = tried(24, *series)
    assert first.ok
    assert not second.ok and second.songs == 1
    assert second.faults == ("1 of 2 songs were made",)


@pytest.mark.long
def test_a_part_that_was_not_loaded_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    from headroom.profiler.tiers import case as case_run

    def without(plan: Plan, names: Sequence[str]) -> Plan:
        kept = tuple(p for p in plan.placements if p.component not in names)
        return replace(plan, placements=kept)

    right = case_run._faults

    def forgetful(work: Work, case: Case, tried: case_run._Tried, heard: object) -> list[str]:
        assert tried.plan is not None
        tried.plan = without(tried.plan, ["vae decoder"])
        return right(work, case, tried, heard)  # type: ignore[arg-type]

    monkeypatch.setattr(case_run, "_faults", forgetful)
    assert "the vae decoder was not initialised" in one(24).faults


# --- a card that is there, of the bundled model's sizes ----------------------------------------

NANO = BUNDLED / "acestep-v15-nano"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Card:
    """A card that counts as real: its tensors have values. The released sizes are small here."""
    dit, text = read_config(NANO), read_config(BUNDLED / "Qwen3-Embedding-0.6B")
    lm = replace(released_lm("0.6B"), sizes=text_encoder_config(text).sizes, layers=2)
    for module in (blueprint, synthetic):
        monkeypatch.setattr(module, "released_lm", lambda size: lm)
    monkeypatch.setattr(blueprint, "released_dit", lambda variant: dit_config(dit))
    monkeypatch.setattr(blueprint, "released_text_encoder", lambda: text_encoder_config(text))
    vae = OobleckConfig.read(BUNDLED / "vae")
    monkeypatch.setattr(blueprint, "released_vae", lambda: vae)
    return Card("simulated", "a card", real=True, total=8 * GIB)


def made(card: Card, *cases: Case) -> list[TierRow]:
    # float32: convolutions in bfloat16 take minutes on processors that lack it.
    work = Work(8, cases, "acestep-v15-turbo", fields_of(LYRICS, 2), 10.0, dtype="float32")
    return list(rows_of(work, load({"MAX_CUDA_VRAM": "8"}), card))


@pytest.mark.ci
def test_a_real_card_makes_real_songs_of_drawn_weights(small: Card) -> None:
    single, batch = made(small, Case("default", use_lm=True), Case("batch", True, 2, "with LM"))
    for row, songs in ((single, 1), (batch, 2)):
        assert row.ok, row.faults
        assert row.songs == songs and row.weights == "random" and not row.simulated
        assert row.notes[:2] == ("random weights", "vllm backend")
        assert [s.stage for s in row.stages] == ["think", "write codes", "codes", *WHOLE]
        assert not any(s.exact for s in row.stages)  # libraries take some beside the plan


@pytest.mark.parametrize(
    ("value", "why"), [(math.nan, "RenderFailed: seed 42: "), (0.0, "song 1 is silent")]
)
def test_a_song_that_is_none_turns_the_row_red(
    small: Card, monkeypatch: pytest.MonkeyPatch, value: float, why: str
) -> None:
    right = synthetic._drawn

    def spoilt(load: Callable[[], nn.Module]) -> nn.Module:
        module = right(load)
        if isinstance(module, DiT if math.isnan(value) else Decoder):
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.fill_(value)
        return module

    monkeypatch.setattr(synthetic, "_drawn", spoilt)
    (row,) = made(small, Case())
    assert row.status == "failed"
    assert any(fault.startswith(why) for fault in row.faults), row.faults


@pytest.mark.long
def test_a_single_step_and_a_length_below_the_least_are_no_faults() -> None:
    work = Work(8, (Case(),), "acestep-v15-turbo", fields_of(LYRICS, 1), 3.0)
    (row,) = rows_of(work, load({"MAX_CUDA_VRAM": "8"}))
    assert (row.status, row.faults, row.duration) == ("ok", (), 10)
    exact = {stage.stage: stage.exact for stage in row.stages}
    assert exact == {"condition": True, "schedule": True, "denoise": False, "decode": True}
    (denoise,) = (stage for stage in row.stages if stage.stage == "denoise")
    assert 0.99 * denoise.planned < denoise.measured < denoise.planned


@pytest.mark.parametrize(
    ("size", "asked", "use_lm", "seconds"),
    [
        (4, 700, False, 360),
        (8, 700, True, 480),
        (8, 700, False, 600),
        (20, 500, False, 480),
        (8, 12.34, False, 12.34),
        (8, 12.34, True, 12),
        (8, 0.5, True, 10),
    ],
)
def test_the_length_in_force_is_what_is_asked_inside_the_limits(
    size: float, asked: float, use_lm: bool, seconds: float
) -> None:
    work = Work(size, (Case(),), "acestep-v15-turbo", fields_of(""), asked)
    assert in_force(work, Case("default", use_lm)) == seconds


def test_a_model_that_nobody_released_is_refused_in_its_row() -> None:
    work = Work(8, (Case(),), "acestep-v16", fields_of(""), 10.0)
    (row,) = rows_of(work, load({"MAX_CUDA_VRAM": "8"}))
    assert row.status == "failed" and row.faults[0].startswith("InvalidRequest: model: 'acestep-v1")
