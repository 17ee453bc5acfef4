"""The module users of ACE-Step import, answered by the tiers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from acestep import gpu_config as g
from headroom.device.simulated import SimulatedDevice
from headroom.hardware.machine import card
from headroom.models.acestep.tiers import TIERS
from headroom.settings import load
from headroom.units import GIB


def test_importing_asks_nothing_and_loads_no_torch() -> None:
    code = (
        "import sys, acestep.gpu_config, acestep.memory_manager; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("tier", TIERS.rows, ids=lambda t: t.name)
def test_every_row_has_the_fields_programs_read(tier) -> None:
    row = g.get_gpu_config(tier.lower)
    assert (row.tier, g.get_gpu_tier(tier.lower)) == (tier.name, tier.name)
    assert (row.max_duration_with_lm, row.max_duration_without_lm) == tier.seconds
    assert (row.max_batch_size_with_lm, row.max_batch_size_without_lm) == tier.batch
    assert len(row.available_lm_models) == len(tier.lms) == len(row.lm_memory_gb)
    assert row.recommended_backend == tier.backend
    assert row.offload_dit_to_cpu_default == (tier.offload == "cpu+dit")
    assert row.quantization_default == (tier.quantization == "int8")
    if tier.lms:
        assert g.is_lm_model_size_allowed(row.recommended_lm_model, row.available_lm_models)
    assert not g.is_lm_model_size_allowed("acestep-5Hz-lm-9B", row.available_lm_models)


def test_the_environment_simulates_a_card_and_lowers_limits(monkeypatch) -> None:
    monkeypatch.setenv("MAX_CUDA_VRAM", "4")
    monkeypatch.setenv("ACESTEP_MAX_DURATION", "180")
    assert g.get_gpu_memory_gb() == 4
    row = g.get_gpu_config()
    assert (row.tier, row.max_duration_with_lm, row.max_duration_without_lm) == ("tier1", 180, 180)


def test_what_is_said_outright_wins_over_the_row(monkeypatch) -> None:
    monkeypatch.setenv("ACESTEP_QUANTIZATION", "int8_weight_only")
    monkeypatch.setenv("ACESTEP_OFFLOAD_TO_CPU", "true")
    row = g.get_gpu_config(24)
    assert (row.quantization_default, row.offload_to_cpu_default) == (True, True)
    monkeypatch.setenv("ACESTEP_QUANTIZATION", "none")
    monkeypatch.setenv("ACESTEP_LM_BACKEND", "vllm")
    row = g.get_gpu_config(6)
    assert (row.quantization_default, row.recommended_backend) == (False, "pt")


def test_an_apple_card_has_the_row_s_limits_and_apple_s_defaults(monkeypatch) -> None:
    monkeypatch.setattr(g, "current_machine", lambda settings: replace(card(16), kind="mps"))
    row = g.get_gpu_config()
    assert (row.tier, row.max_duration_with_lm, g.get_gpu_memory_gb()) == ("tier6a", 480, 16)
    assert (row.recommended_backend, row.lm_backend_restriction) == ("mlx", "pt_mlx_only")
    flags = (row.quantization_default, row.compile_model_default, row.offload_to_cpu_default)
    assert flags == (False, False, False)


def test_without_a_card_the_first_row_answers(monkeypatch) -> None:
    monkeypatch.setattr(g, "current_machine", lambda settings: replace(card(64), kind="cpu"))
    assert (g.get_gpu_memory_gb(), g.get_gpu_config().tier) == (0, "tier1")
    assert g.get_gpu_config(-1).tier == "tier1"


def test_the_smaller_of_two_limits_is_simulated(monkeypatch) -> None:
    monkeypatch.setenv("MAX_CUDA_VRAM", "12")
    monkeypatch.setenv("ACESTEP_MEMORY_LIMIT_GB", "8")
    assert (g.get_gpu_memory_gb(), g.get_gpu_config().tier) == (8, "tier4")


def test_a_simulated_card_of_several_processes_has_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HEADROOM_DEVICE", "simulated:lab")
    assert (g.get_gpu_memory_gb(), g.get_gpu_config().tier) == (8, "tier4")


def test_limits_are_checked_with_a_sentence() -> None:
    row = g.get_gpu_config(4)
    assert g.check_duration_limit(200, row, True) == (True, "")
    allowed, why = g.check_duration_limit(300, row, True)
    assert not allowed and "300" in why and "240" in why and "tier1" in why
    assert not g.check_batch_size_limit(2, row, False)[0]


def test_one_row_is_shared() -> None:
    row = g.get_gpu_config(12)
    g.set_global_gpu_config(row)
    assert g.get_global_gpu_config() is row


def test_of_a_group_of_cards_the_largest_has_the_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"cuda:0": 8, "cuda:1": 24}
    monkeypatch.setattr(
        "headroom.device.open_device", lambda word, shared: SimulatedDevice(sizes[word] * GIB)
    )
    machine = g.current_machine(load({"HEADROOM_DEVICE": "cuda:0,cuda:1"}))
    assert [one.total for one in machine.cards] == [8 * GIB, 24 * GIB]
    policy = g.current_policy(machine, load({}))
    assert policy.tier is not None and policy.tier.label == "unlimited"
