"""Options of torch's allocator: they reach the environment before CUDA starts, and never after."""

from __future__ import annotations

import os
import platform
import sys
from types import SimpleNamespace

import pytest
import torch

from headroom.device import prepare_allocator
from headroom.device.cuda import SPILLING, CudaDevice
from headroom.device.open import GROWING
from headroom.units import GIB

NAME = "PYTORCH_CUDA_ALLOC_CONF"
ASKED = "garbage_collection_threshold:0.6,max_split_size_mb:128"


@pytest.fixture(autouse=True)
def _without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "")  # so that it is put back afterwards
    monkeypatch.delenv(NAME)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)


def test_options_are_there_before_the_first_tensor() -> None:
    prepare_allocator(ASKED)
    assert os.environ[NAME] == ASKED


@pytest.mark.parametrize(
    ("system", "release", "cuda", "set_to"),
    [
        ("linux", "6.8.0-generic", "13.0", GROWING),
        ("linux", "6.6.87.2-microsoft-standard-WSL2", "13.0", None),
        ("win32", "11", "13.0", None),
        ("linux", "6.8.0-generic", None, None),
    ],
)
def test_what_nobody_asked_for_is_what_is_best_here(
    monkeypatch: pytest.MonkeyPatch, system: str, release: str, cuda: str | None, set_to: str | None
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "release", lambda: release)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    prepare_allocator(None)
    assert os.environ.get(NAME) == set_to


def test_where_a_driver_spills_what_is_beyond_the_free_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares: list[float] = []
    answers = {
        "get_device_name": "a card",
        "mem_get_info": (3 * GIB, 8 * GIB),
        "memory_reserved": 2 * GIB,
        "memory_allocated": GIB,
        "get_device_properties": SimpleNamespace(total_memory=8 * GIB),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, a=answer: a)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, _: shares.append(share * 8)
    )
    plain = CudaDevice()
    assert shares == []
    plain.set_cap(6 * GIB)
    assert shares.pop() == pytest.approx(6)
    spilling = CudaDevice(spills=True)  # 3 GiB free, 1 in reserve, 1 in use
    assert shares.pop() == pytest.approx(5 - SPILLING / GIB)
    assert spilling.cap is None  # it is no smaller card: its tier stays
    spilling.set_cap(6 * GIB)
    assert shares.pop() == pytest.approx(5 - SPILLING / GIB)
    spilling.set_cap(4 * GIB)
    assert shares.pop() == pytest.approx(4) and spilling.cap == 4 * GIB


def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "backend:native")
    prepare_allocator(ASKED)
    assert os.environ[NAME] == "backend:native"


def test_once_cuda_runs_they_come_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    prepare_allocator(ASKED)
    assert NAME not in os.environ
