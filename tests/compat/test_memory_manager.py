"""The memory manager of the 4 GB mode."""

from __future__ import annotations

import json

import pytest

from acestep import memory_manager as m


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


def test_there_is_one_manager() -> None:
    assert m.get_memory_manager() is m.get_memory_manager()
