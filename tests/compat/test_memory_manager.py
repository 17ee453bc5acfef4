"""The memory manager of the 4 GB mode."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from acestep import memory_manager as m
from acestep.gpu_config import get_gpu_config
from acestep.inference_types import GenerationConfig, GenerationParams


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> m.MemoryManager:
    for name, value in (
        ("MAX_CUDA_VRAM", "4"),
        ("ACESTEP_MAX_DURATION", "180"),
        ("ACESTEP_MAX_BATCH_SIZE", "1"),
        ("ACESTEP_INIT_LM_DEFAULT", "false"),
        ("ACESTEP_OFFLOAD_TO_CPU", "true"),
        ("ACESTEP_OFFLOAD_DIT_TO_CPU", "true"),
    ):
        monkeypatch.setenv(name, value)
    return m.MemoryManager()


def test_the_mode_s_limits_are_in_force(manager: m.MemoryManager) -> None:
    found = manager.get_generation_constraints()
    assert (found["max_duration_seconds"], found["max_batch_size"]) == (180, 1)
    assert (found["lm_enabled"], found["offload_to_cpu"]) == (False, True)
    assert found["memory_limit_gb"] == 4


def test_parameters_are_cut_with_a_warning(manager: m.MemoryManager) -> None:
    assert manager.validate_generation_params(120, 1) == (120, 1, "")
    seconds, songs, warning = manager.validate_generation_params(400, 4)
    assert (seconds, songs) == (180, 1)
    assert "400" in warning and " | " in warning


def test_the_status_is_json(manager: m.MemoryManager) -> None:
    status = json.loads(json.dumps(manager.get_status()))
    assert set(status) == {
        "config", "current_usage", "constraints", "healthy", "status", "generation_count",
    }  # fmt: skip
    assert status["config"]["offload_enabled"] is True
    assert status["current_usage"]["ram_total"] > 0


def test_a_request_that_cannot_begin_is_refused(manager: m.MemoryManager) -> None:
    assert manager.can_generate(0.0)[0]
    assert not manager.can_generate(1e6)[0]
    with pytest.raises(MemoryError, match="host memory"), manager.generation_context(1e6):
        raise AssertionError("it began")


def test_the_decorator_with_and_without_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(m.MemoryManager, "force_memory_cleanup", lambda self: counted.append(1))

    @m.memory_limit_decorator
    def plain(x: int) -> int:
        return x + 1

    @m.memory_limit_decorator(required_gb=0.01)
    def limited(x: int) -> int:
        return x + 2

    assert (plain(1), limited(1), len(counted)) == (2, 3, 2)
    assert plain.__name__ == "plain"


def test_there_is_one_manager_however_many_threads_ask_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(m, "_manager", [])
    made = []

    def slowly(self: m.MemoryManager) -> None:
        time.sleep(0.02)
        made.append(self)

    monkeypatch.setattr(m.MemoryManager, "__init__", slowly)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: m.get_memory_manager(), range(8)))
    assert len(made) == 1 and all(one is made[0] for one in found)


def test_the_limits_are_those_the_engine_goes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CUDA_VRAM", "20")
    config = m.MemoryConfig.read()
    assert (config.enable_lm, config.max_duration_seconds, config.max_batch_size) == (True, 480, 4)
    monkeypatch.setenv("ACESTEP_INIT_LLM", "false")
    assert m.MemoryConfig.read().max_batch_size == 8  # the row without a language model
    monkeypatch.setenv("HEADROOM_POLICY", "adaptive")
    assert (m.MemoryConfig.read().max_duration_seconds, m.MemoryConfig.read().max_batch_size) == (
        600,
        8,
    )
    monkeypatch.setenv("ACESTEP_MAX_DURATION", "900")
    assert m.MemoryConfig.read().max_duration_seconds == 600


def test_short_host_memory_is_a_warning_and_not_a_refusal(
    manager: m.MemoryManager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.config.min_free_ram_gb = 1e6
    allowed, why = manager.can_generate(0.0)
    assert allowed and "short" in why
    monkeypatch.setattr(m, "_manager", [manager])
    with caplog.at_level("WARNING", "headroom"):
        assert not m.check_startup_memory()
    assert "host memory is short" in caplog.text


def test_memory_is_given_back_also_after_a_failure(manager: m.MemoryManager) -> None:
    with pytest.raises(KeyError), manager.generation_context(0.0):
        raise KeyError("inside")
    assert manager.generation_count == 1


# --- the decorator ----------------------------------------------------------------------------


@dataclass
class Wanted:
    """What a program hands to the function that it wraps."""

    duration: float
    thinking: bool | None = None


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> m.MemoryManager:
    """A card of 20 GB: 480 s and four songs with a language model, eight without."""
    monkeypatch.setenv("MAX_CUDA_VRAM", "20")
    found = m.MemoryManager()
    monkeypatch.setattr(m, "_manager", [found])
    monkeypatch.setattr(m.MemoryManager, "force_memory_cleanup", lambda self: None)
    return found


def test_limits_are_those_of_the_column_that_a_request_needs(card: m.MemoryManager) -> None:
    assert card.validate_generation_params(500, 8)[:2] == (480, 4)
    assert card.validate_generation_params(500, 8, use_lm=True)[:2] == (480, 4)
    assert card.validate_generation_params(500, 8, use_lm=False)[:2] == (480, 8)


def test_without_settings_of_its_own_a_small_card_has_its_tier_s_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAX_CUDA_VRAM", "4")
    row = get_gpu_config()
    config = m.MemoryConfig.read()
    assert config.most(None) == config.most(False) == (360, 1)
    assert (row.max_duration_without_lm, row.max_batch_size_without_lm) == (360, 1)
    assert config.max_memory_gb == 4 and not config.enable_lm


def test_the_decorator_cuts_what_the_call_asks_for(
    card: m.MemoryManager, caplog: pytest.LogCaptureFixture
) -> None:
    @m.memory_limit_decorator(required_gb=0.01)
    def make(caption: str, audio_duration: float, batch_size: int = 1, **more: Any) -> Any:
        return caption, audio_duration, batch_size, more

    with caplog.at_level("WARNING", "headroom"):
        assert make("x", 900, batch_size=9) == ("x", 480, 4, {})
    assert "900" in caplog.text and "9 is cut to 4" in caplog.text
    assert make("x", 100, 2) == ("x", 100, 2, {})
    assert make("x", 100, 8, thinking=False) == ("x", 100, 8, {"thinking": False})
    assert make("x", 100, 8, thinking=True) == ("x", 100, 4, {"thinking": True})
    assert make("x", -1, batchSize=9) == ("x", -1, 1, {"batchSize": 4})
    with pytest.raises(TypeError):
        make()  # type: ignore[call-arg]


def test_the_decorator_cuts_a_copy_of_objects(card: m.MemoryManager) -> None:
    @m.memory_limit_decorator
    def make(params: Any, config: Any = None) -> Any:
        return params, config

    wanted = Wanted(900)
    params, _ = make(wanted)
    assert (params.duration, wanted.duration) == (480, 900)
    said = GenerationParams(duration=900, thinking=False)
    inside, config = make(said, GenerationConfig(batch_size=9))
    assert (inside.duration, config.batch_size) == (480, 8)
    assert inside.is_set("duration") and not inside.is_set("shift")
    kept = Wanted(100)
    assert make(kept)[0] is kept


def test_the_limits_of_the_4_gb_mode_reach_the_wrapped_call(
    manager: m.MemoryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(m, "_manager", [manager])
    monkeypatch.setattr(m.MemoryManager, "force_memory_cleanup", lambda self: None)
    made = m.memory_limit_decorator(lambda duration, batch_size: (duration, batch_size))
    assert made(400, 4) == (180, 1)
