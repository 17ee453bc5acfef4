from __future__ import annotations

from dataclasses import replace

import pytest

from headroom.hardware.machine import card
from headroom.memory.footprint import Component, Footprint, Form, Stage, Way
from headroom.memory.plan import Residency
from headroom.memory.planner import plan
from headroom.memory.policy import resolve_policy
from headroom.models.acestep.tiers import TIERS
from headroom.settings import Options
from headroom.units import MIB

FREE = Options()
DIT = Component("dit", (MIB,) * 8, 0, "bfloat16", (Form("int8", (MIB // 2,) * 8, 0),), core=True)
WORK = Footprint(
    (DIT, Component("vae", (), MIB, "bfloat16")),
    (Stage("denoise", ("dit",), (Way(MIB),)), Stage("decode", ("vae",), (Way(MIB),))),
)


def placed(size: float, policy: str, choices: Options = FREE) -> dict[str, tuple[str, str]]:
    found = resolve_policy(card(size), policy, choices, TIERS)
    made = plan(WORK, card(size), found.wishes(WORK))
    return {p.component: (p.residency.value, p.precision) for p in made.placements}


def test_the_row_is_in_force_and_what_is_said_wins():
    assert placed(8, "published")["dit"][0] in ("swapped", "streamed")
    assert placed(8, "published")["dit"][1] == "int8"
    assert placed(16, "published")["dit"] == ("resident", "int8")
    assert placed(16, "published")["vae"][0] == "swapped"
    assert placed(24, "published") == dict.fromkeys(("dit", "vae"), ("resident", "bfloat16"))
    said = Options(quantization="none", offload_dit=False)
    assert placed(8, "published", said)["dit"] == ("resident", "bfloat16")
    assert placed(24, "published", Options(quantization="int8_weight_only"))["dit"][1] == "int8"


def test_adaptive_fixes_nothing():
    assert placed(8, "adaptive") == dict.fromkeys(("dit", "vae"), ("resident", "bfloat16"))
    found = resolve_policy(card(4), "adaptive", FREE, TIERS)
    assert found.init_lm and found.lm == "4B" and found.limits(True) == {}


def test_a_model_or_backend_above_the_row_falls_back_with_a_note_that_names_the_tier():
    low = resolve_policy(
        card(6.9), "published", Options(lm_model="acestep-5Hz-lm-4B", lm_backend="vllm"), TIERS
    )
    assert (low.lm, low.lm_loop) == ("0.6B", "pt")
    assert [n.field for n in low.notes] == ["lm_model", "lm_backend"]
    assert all("tier 3" in n.why for n in low.notes)
    high = resolve_policy(
        card(24), "published", Options(lm_model="acestep-5Hz-lm-4B", lm_backend="vllm"), TIERS
    )
    assert (high.lm, high.lm_loop, high.notes) == ("4B", "vllm", ())
    free = resolve_policy(
        card(6.9), "adaptive", Options(lm_model="acestep-5Hz-lm-4B", lm_backend="vllm"), TIERS
    )
    assert (free.lm, free.lm_loop, free.notes) == ("4B", "vllm", ())


def test_a_model_whose_size_nobody_can_tell_is_answered_by_a_note():
    for policy, used in (("published", "0.6B"), ("adaptive", "4B")):
        found = resolve_policy(card(8), policy, Options(lm_model="my-own-model"), TIERS)
        (note,) = found.notes
        assert (found.lm, note.asked, note.used) == (used, "my-own-model", used)
    assert resolve_policy(card(8), "published", Options(lm_model="none"), TIERS).notes == ()


def test_small_tiers_load_no_model_unless_forced():
    assert not resolve_policy(card(4), "published", FREE, TIERS).init_lm
    forced = resolve_policy(card(4), "published", Options(init_lm=True), TIERS)
    assert forced.init_lm and forced.lm == "0.6B"


@pytest.mark.parametrize(
    ("size", "uses_lm", "seconds", "songs"),
    [
        (4, True, 240, 1),
        (4, False, 360, 1),
        (7, False, 600, 2),
        (20, False, 480, 8),
        (24, True, 600, 8),
    ],
)
def test_limits_are_the_row_s_and_say_why(size, uses_lm, seconds, songs):
    found = resolve_policy(card(size), "published", FREE, TIERS).limits(uses_lm)
    assert (found["seconds"].maximum, found["count"].maximum) == (seconds, songs)
    assert ("without" in found["seconds"].why) != uses_lm


def test_settings_tighten_the_row_and_never_widen_it():
    found = resolve_policy(card(4), "published", FREE, TIERS)
    low, high, batch = ("MAX_THIS", 180), ("MAX_THIS", 900), ("MAX_THAT", 8)
    assert found.limits(False, low, batch)["seconds"].maximum == 180
    assert found.limits(False, low)["seconds"].why == "MAX_THIS is 180"
    assert found.limits(False, high, batch)["seconds"].maximum == 360
    assert found.limits(False, high, batch)["count"].maximum == 1


def test_a_host_and_other_makers_cards_are_left_alone():
    host = replace(card(16), kind="cpu")
    found = resolve_policy(host, "published", FREE, TIERS)
    assert (found.tier, found.offload, found.quantization) == (None, None, None)
    assert found.init_lm and found.limits(True) == {}
    apple = resolve_policy(replace(card(16), kind="mps"), "published", FREE, TIERS)
    assert (apple.lm_loop, apple.offload, apple.compile) == ("mlx", False, False)
    assert apple.quantization == "none"


def test_offloading_never_means_the_host_computes():
    made = plan(WORK, card(4), resolve_policy(card(4), "published", FREE, TIERS).wishes(WORK))
    assert Residency.HOST not in {p.residency for p in made.placements}
