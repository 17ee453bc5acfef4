"""`gpu_manager.py` and the checks of `test_gpu_management.py`, both at the root."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from headroom.units import MIB

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # where a user of the checkout would stand
CHECKS = importlib.import_module("test_gpu_management")
sys.path.remove(str(ROOT))
NAMES = [name for name in vars(CHECKS) if name.startswith("test_")]


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = sys.modules["gpu_manager"]
    monkeypatch.setattr(module, "_only", [])
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_check_of_the_management_passes(manager: ModuleType, name: str) -> None:
    getattr(CHECKS, name)()


def test_the_checks_are_those_that_are_promised() -> None:
    promised = ("first_use", "leaves_after_use", "restore", "idle", "by_hand", "status")
    assert [word for word in promised if not any(word in name for name in NAMES)] == []


def test_a_failed_check_fails_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise AssertionError

    for name in NAMES:
        monkeypatch.setattr(CHECKS, name, broken if name == NAMES[-1] else lambda: None)
    assert CHECKS.main() == 1
    said = capsys.readouterr().out
    assert f"{len(NAMES) - 1} passed, 1 failed" in said and said.count("FAILED") == 1


def test_idle_models_make_room_for_another(
    manager: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADROOM_MAX_VRAM", str(40 * MIB / (1 << 30)))
    made = manager.GPUResourceManager(device="simulated")

    def model() -> nn.Module:
        return nn.Linear(2048, 2048, bias=False)  # 16 MiB

    for name in ("one", "two", "three"):
        made.get_model(name, model)
    assert CHECKS.location(made, "three") == "gpu"
    assert CHECKS.location(made, "one") == CHECKS.location(made, "two") == "cpu"
    with made.using("one", model), made.using("two", model):
        with pytest.raises(torch.OutOfMemoryError):
            made.get_model("three", model)
        assert CHECKS.location(made, "one") == CHECKS.location(made, "two") == "gpu"
    made.force_release()


def test_an_unknown_model_is_named(manager: ModuleType) -> None:
    made = manager.GPUResourceManager(device="simulated")
    with pytest.raises(KeyError, match="tts"):
        made.force_offload("tts")
    made.force_offload()
    made.start_monitor()
    made.start_monitor()
    made.stop_monitor()
    made.stop_monitor()


@pytest.mark.ci
def test_it_runs_as_it_is_said_to() -> None:
    command = [sys.executable, ROOT / "test_gpu_management.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(NAMES)} passed, 0 failed" in done.stdout
