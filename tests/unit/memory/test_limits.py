from __future__ import annotations

from dataclasses import replace

import pytest

from headroom.errors import DoesNotFit
from headroom.hardware.machine import card
from headroom.memory.footprint import Component, Footprint, Form, Stage, Way
from headroom.memory.limits import Choices, limits, longest, terms
from headroom.memory.plan import Residency
from headroom.memory.planner import plan
from headroom.units import MIB

FREE = Choices()
DIT = Component("dit", (MIB,) * 8, 0, "bfloat16", (Form("int8", (MIB // 2,) * 8, 0),), core=True)
WORK = Footprint(
    (DIT, Component("vae", (), MIB, "bfloat16")),
    (Stage("denoise", ("dit",), (Way(MIB),)), Stage("decode", ("vae",), (Way(MIB),))),
)


def placed(size: float, policy: str, choices: Choices = FREE) -> dict[str, tuple[str, str]]:
    found = terms(card(size), policy, choices)
    made = plan(WORK, card(size), found.wishes(WORK))
    return {p.component: (p.residency.name.lower(), p.precision) for p in made.placements}


def test_the_row_is_in_force_and_what_is_said_wins():
    assert placed(8, "published")["dit"][0] in ("swapped", "streamed")
    assert placed(8, "published")["dit"][1] == "int8"
    assert placed(16, "published")["dit"] == ("resident", "int8")
    assert placed(16, "published")["vae"][0] == "swapped"
    assert placed(24, "published") == dict.fromkeys(("dit", "vae"), ("resident", "bfloat16"))
    said = Choices(quantization="none", offload_dit=False)
    assert placed(8, "published", said)["dit"] == ("resident", "bfloat16")
    assert placed(24, "published", Choices(quantization="int8_weight_only"))["dit"][1] == "int8"


def test_adaptive_fixes_nothing():
    assert placed(8, "adaptive") == dict.fromkeys(("dit", "vae"), ("resident", "bfloat16"))
    found = terms(card(4), "adaptive", FREE)
    assert found.init_lm and found.lm == "4B" and limits(found, True) == {}


def test_a_model_or_backend_above_the_row_falls_back_with_a_note_that_names_the_tier():
    low = terms(card(6.9), "published", Choices(lm="acestep-5Hz-lm-4B", lm_backend="vllm"))
    assert (low.lm, low.lm_backend) == ("0.6B", "pt")
    assert [n.field for n in low.notes] == ["lm_model", "lm_backend"]
    assert all("tier 3" in n.why for n in low.notes)
    high = terms(card(24), "published", Choices(lm="acestep-5Hz-lm-4B", lm_backend="vllm"))
    assert (high.lm, high.lm_backend, high.notes) == ("4B", "vllm", ())
    free = terms(card(6.9), "adaptive", Choices(lm="acestep-5Hz-lm-4B", lm_backend="vllm"))
    assert (free.lm, free.lm_backend, free.notes) == ("4B", "vllm", ())


def test_a_model_whose_size_nobody_can_tell_is_answered_by_a_note():
    for policy, used in (("published", "0.6B"), ("adaptive", "4B")):
        found = terms(card(8), policy, Choices(lm="my-own-model"))
        (note,) = found.notes
        assert (found.lm, note.asked, note.used) == (used, "my-own-model", used)
    assert terms(card(8), "published", Choices(lm="none")).notes == ()


def test_small_tiers_load_no_model_unless_forced():
    assert not terms(card(4), "published", FREE).init_lm
    forced = terms(card(4), "published", Choices(init_lm=True))
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
    found = limits(terms(card(size), "published", FREE), uses_lm)
    assert (found["duration"].maximum, found["batch_size"].maximum) == (seconds, songs)
    assert ("without" in found["duration"].why) != uses_lm


def test_settings_tighten_the_row_and_never_widen_it():
    found = terms(card(4), "published", FREE)
    low, high, batch = ("MAX_THIS", 180), ("MAX_THIS", 900), ("MAX_THAT", 8)
    assert limits(found, False, low, batch)["duration"].maximum == 180
    assert limits(found, False, low)["duration"].why == "MAX_THIS is 180"
    assert limits(found, False, high, batch)["duration"].maximum == 360
    assert limits(found, False, high, batch)["batch_size"].maximum == 1


def test_a_host_and_other_makers_cards_are_left_alone():
    host = replace(card(16), kind="cpu")
    found = terms(host, "published", FREE)
    assert (found.tier, found.offload, found.quantization) == (None, None, None)
    assert found.init_lm and limits(found, True) == {}
    apple = terms(replace(card(16), kind="mps"), "published", FREE)
    assert (apple.lm_backend, apple.offload, apple.compile) == ("mlx", False, False)
    assert apple.quantization == "none"


def test_the_planner_asked_backwards():
    def fits(seconds: float) -> None:
        if seconds > 237.4:
            raise DoesNotFit(1, 0)

    assert longest(fits, 10, 600) == 237
    assert longest(lambda s: None, 10, 600) == 600

    def never(seconds: float) -> None:
        raise DoesNotFit(1, 0)

    assert longest(never, 10, 600) == 0


def test_offloading_never_means_the_host_computes():
    made = plan(WORK, card(4), terms(card(4), "published", FREE).wishes(WORK))
    assert Residency.HOST not in {p.residency for p in made.placements}
