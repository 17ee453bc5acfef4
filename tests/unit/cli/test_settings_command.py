from __future__ import annotations

import json
from pathlib import Path

import pytest

from headroom.settings import declared
from unit.cli.conftest import Cli


def test_every_setting_stands_there_with_where_it_came_from(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_CUDA_VRAM", "6")
    monkeypatch.setenv("HF_TOKEN", "hush")
    monkeypatch.setenv("HEADROOM_MAX_DURATON", "60")
    (home / ".env").write_text("HEADROOM_BATCH_SIZE=2\n")
    done = cli("settings", "--json")
    sentence = (
        "HEADROOM_MAX_DURATON (environment) is no setting, did you mean HEADROOM_MAX_DURATION?"
    )
    assert (done.code, done.err) == (0, f"WARNING: {sentence}\n")
    value = json.loads(done.out)
    rows = {row["name"]: row for row in value["settings"]}
    assert list(rows) == [setting.name for _, setting in declared()]
    assert rows["HEADROOM_MAX_VRAM"]["source"] == "environment (MAX_CUDA_VRAM)"
    assert rows["HEADROOM_MAX_VRAM"]["value"] == "6.0"
    assert (rows["HEADROOM_BATCH_SIZE"]["source"], rows["HEADROOM_BATCH_SIZE"]["value"]) == (
        ".env",
        "2",
    )
    assert rows["HEADROOM_DEVICE"]["source"] == "default"
    assert rows["HEADROOM_DEVICE"]["help"]
    assert "hush" not in done.out
    assert (value["unknown"], value["ignored"]) == ([sentence], [])


def test_for_people_it_is_text(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_DEVICE", "cpu")
    done = cli("settings")
    assert "HEADROOM_DEVICE = cpu  <- environment\n" in done.out
    assert "HEADROOM_OUTPUT_DIR = outputs\n" in done.out


def test_a_bad_value_is_a_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_DEVICE", "toaster")
    done = cli("settings")
    assert (done.code, done.out) == (2, "")
    assert "HEADROOM_DEVICE: 'toaster' is not allowed; allowed: one of auto, cuda" in done.err
