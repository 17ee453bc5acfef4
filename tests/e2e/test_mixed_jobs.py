"""Music and speech on one card through one service; `scripts/prove mixed` makes 200 requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from support.mixed_jobs import GIBIBYTES, MUSIC, SPEECH, faults, mixed


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.ci  # two models, loaded several times
def test_a_card_that_holds_only_one_serves_both_and_never_runs_out(tmp_path: Path) -> None:
    told = mixed(tmp_path, 8, GIBIBYTES, at_once=False)
    assert faults(told) == [], told
    assert told["done"] == {MUSIC: 4, SPEECH: 4} and told["switches"] >= 2
