"""A list of genres: in the folder of the language model, or named by a setting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headroom.errors import InvalidCheckpoint
from headroom.lm.constrained_decode import DecodedText, constrained_decode
from headroom.models.acestep.language import sheet_writing
from headroom.models.acestep.language.folder import GENRES, Language
from support.languages import SMALL, copied
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]
LIST = "\nrock, slow\n  pop  \n1980\n"
CHOICES = {"rock, slow", "pop", "1980"}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets without their lyrics, which take the small model long."""
    monkeypatch.setattr(sheet_writing, "TEXT_TOKENS", 40)
    monkeypatch.setattr(sheet_writing, "FIELDS", ("genres",))


def genres_of(cli: Cli, seed: int) -> str:
    done = cli("compose", "rain", "--seed", str(seed), "--temperature", "1.5", "--json")
    assert done.code == 0, done.err
    found: str = json.loads(done.out)["song"]["genres"]
    return found


def test_a_list_in_the_folder_is_kept_to(cli: Cli, home: Path) -> None:
    folder = copied(home / "checkpoints", SMALL)
    free = {genres_of(cli, seed) for seed in range(4)}
    assert not free & CHOICES
    (folder / GENRES).write_text(LIST, "utf-8")
    assert {genres_of(cli, seed) for seed in range(8)} <= CHOICES


def test_a_list_that_a_setting_names_goes_first(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied(home / "checkpoints", SMALL) / GENRES).write_text(LIST, "utf-8")
    (home / "mine.txt").write_text("\ufeffjazz\n", "utf-8")
    monkeypatch.setenv("HEADROOM_GENRES_FILE", "mine.txt")
    assert genres_of(cli, 1) == "jazz"


@pytest.mark.parametrize("content", [None, b"\xff\xfe rock"], ids=["missing", "no text"])
def test_a_list_that_cannot_be_read_is_said(
    content: bytes | None, cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (home / "mine.txt").write_bytes(content)
    monkeypatch.setenv("HEADROOM_GENRES_FILE", "mine.txt")
    done = cli("compose", "rain", "--seed", "1")
    assert done.code == 2 and "HEADROOM_GENRES_FILE" in done.err and "mine.txt" in done.err


def test_a_list_in_the_folder_that_is_no_text_is_a_fault_of_the_folder(tmp_path: Path) -> None:
    folder = copied(tmp_path, SMALL)
    (folder / GENRES).write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidCheckpoint, match=GENRES):
        assert Language(SMALL, folder, "float32").sheets


def test_the_stub_is_the_real_loop() -> None:
    assert (
        sheet_writing.constrained_decode is constrained_decode
        and DecodedText is sheet_writing.DecodedText
    )
