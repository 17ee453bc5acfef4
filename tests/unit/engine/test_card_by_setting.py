"""A card that a setting names, on a machine without one: its tier holds, its size caps nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from acestep.memory_manager import MemoryConfig
from headroom.device.host import HostDevice
from headroom.engine.engine import Engine
from headroom.engine.limits import request_limits
from headroom.engine.policy import policy_in_force
from headroom.hardware.machine import Machine, card
from headroom.hardware.probe import machine_of
from headroom.memory.policy import Policy
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.tiers import TIERS
from headroom.settings import Options, Settings, load
from headroom.units import GIB
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]

HOST = HostDevice()
MPS = dataclasses.replace(card(8), kind="mps")


def found(on: Machine | HostDevice, **environment: str) -> Policy:
    settings = load(environment)
    machine = on if isinstance(on, Machine) else machine_of((on,), settings)
    return policy_in_force(machine, settings, captures=False, tiers=TIERS)


@pytest.fixture
def four(home: Path) -> Settings:
    """A folder whose `.env` says one thing."""
    (home / ".env").write_text("MAX_CUDA_VRAM=4\n", "utf-8")
    return load()


def test_the_engine_has_the_limits_of_the_card_and_the_memory_of_the_host(four: Settings) -> None:
    engine = Engine("cpu", settings=four)
    plain = Engine("cpu", settings=Settings(cache_dir=four.cache_dir))
    assert engine.machine.limit == plain.machine.limit == engine.machine.total
    assert engine.device.cap is None and engine.machine.budget > 0
    request = Text2Music(caption="x", duration=600, batch_size=8)
    allowed = request_limits(request, {}, four, engine.policy)
    assert (allowed["duration"].maximum, allowed["batch_size"].maximum) == (360, 1)
    assert request_limits(request, {}, four, plain.policy) == {}
    assert engine.plan(request) == engine.plan(Text2Music(caption="x", duration=360))


def test_the_memory_manager_and_plan_have_the_same(four: Settings, cli: Cli) -> None:
    config = MemoryConfig.read()
    assert (config.max_duration_seconds, config.max_batch_size) == (360, 1)
    words = "plan", "--duration", "600", "--batch-size", "8", "--json"
    for more in ([], ["--device", "cpu"]):
        made = json.loads(cli(*words, *more).out)
        used = {note["field"]: note["used"] for note in made["notes"]}
        assert (used["duration"], used["batch_size"], used["card"]) == (360, 1, "tier 1")
    assert made["budget_bytes"] > 4 * GIB  # of the host, which computes with its own memory


@pytest.mark.parametrize(
    ("size", "tier"),
    [("4", "tier 1"), ("6", "tier 2"), ("8", "tier 4"), ("12", "tier 5"), ("16", "tier 6a")],
)
def test_the_tier_it_leads_to_is_said(size: str, tier: str) -> None:
    for machine in (HOST, card(float(size))):
        (note,) = (n for n in found(machine, MAX_CUDA_VRAM=size).notes if n.field == "card")
        assert (note.asked, note.used) == (f"{size} GB by MAX_CUDA_VRAM", tier)
    assert "the host computes with its own memory" in found(HOST, MAX_CUDA_VRAM=size).notes[0].why


def test_what_does_not_hold_is_not_said() -> None:
    assert found(HOST).notes == found(card(8)).notes == ()
    assert found(HOST).tier is None
    assert found(HOST, MAX_MPS_VRAM="4").tier is None  # it speaks of another maker's cards
    small = found(card(6), MAX_CUDA_VRAM="8")
    assert small.notes[0].used == "tier 2" and "6 GB" in small.notes[0].why
    free = found(HOST, MAX_CUDA_VRAM="4", HEADROOM_POLICY="adaptive")
    assert free.notes[0].used == "tier 1" and "adaptive" in free.notes[0].why and free.init_lm
    other = found(MPS, MAX_CUDA_VRAM="8", MAX_MPS_VRAM="8", ACESTEP_MEMORY_LIMIT_GB="8")
    assert other.notes[0].asked == "8 GB by MAX_MPS_VRAM"


def test_the_host_is_given_nothing_that_a_card_needs() -> None:
    four, free = found(HOST, MAX_CUDA_VRAM="4"), found(HOST)
    for name in ("offload", "offload_dit", "quantization", "compile", "lm_loop"):
        assert getattr(four, name) == getattr(free, name), name
    assert (four.init_lm, free.init_lm) == (False, True)


def test_a_limit_of_memory_holds_for_the_host_a_card_s_does_not() -> None:
    said = load({"MAX_CUDA_VRAM": "4", "ACESTEP_MEMORY_LIMIT_GB": "16"})
    assert (said.vram_for("cpu"), said.vram_for("cuda")) == (16, 4)
    assert load({"HEADROOM_MAX_VRAM": "4"}).vram_for("cpu") is None


@pytest.mark.parametrize(
    ("environment", "choices", "why"),
    [
        ({"ACESTEP_INIT_LM_DEFAULT": "false"}, Options(), "ACESTEP_INIT_LM_DEFAULT is false"),
        ({"ACESTEP_INIT_LLM": "0"}, Options(), "ACESTEP_INIT_LLM is false"),
        ({}, Options(init_lm=False), "it was turned off (--no-init-lm)"),
        ({"ACESTEP_LM_MODEL_PATH": "none"}, Options(), "ACESTEP_LM_MODEL_PATH is none"),
        ({}, Options(lm_model="none"), "it was turned off (--lm-model none)"),
        ({}, Options(), "tier 1 loads none by itself"),
    ],
)
@pytest.mark.parametrize("size", ["4", "16"])
def test_why_no_language_model_is_loaded(
    environment: dict[str, str], choices: Options, why: str, size: str
) -> None:
    settings = load({**environment, "MAX_CUDA_VRAM": size}).under(choices)
    machine = machine_of((HOST,), settings)
    policy = policy_in_force(machine, settings, captures=False, tiers=TIERS)
    if size == "16" and "tier" in why:
        assert policy.init_lm
        return
    assert not policy.init_lm
    assert policy.lm_off is not None and why in policy.lm_off
    assert ("tier" in policy.lm_off) == ("tier" in why)
