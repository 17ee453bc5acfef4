"""Options of torch's allocator: they reach the environment before CUDA starts, and never after."""

from __future__ import annotations

import os

import pytest
import torch

from headroom.device import prepare_allocator

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


def test_nothing_asked_is_nothing_set() -> None:
    prepare_allocator(None)
    assert NAME not in os.environ


def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "backend:native")
    prepare_allocator(ASKED)
    assert os.environ[NAME] == "backend:native"


def test_once_cuda_runs_they_come_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    prepare_allocator(ASKED)
    assert NAME not in os.environ
