"""The guide to the page: its commands start it, its words stand there, its pictures are small."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from docs.contents import contents
from pictures.guides import FOLDER, PICTURES
from PIL import Image

from headroom.cli import ui
from headroom.ui.words import table
from support.guide_pages import Command, commands

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "en" / "PAGE.md"
TEXT = PAGE.read_text("utf-8")
SHOWN = [FOLDER / f"{name}.png" for name in PICTURES]
MOST = 120 << 10  # bytes of a picture
STARTING = list(commands(TEXT))


@pytest.mark.parametrize("command", STARTING, ids=str)
def test_a_command_starts_the_page(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    for name, value in command.set:
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ui, "serve", lambda config, *_: started.append(config) or 0)
    assert command.program[0] == "ui"
    assert ui.run(command.program[1:]) == 0
    assert started[0].page is not None


def test_the_words_in_bold_stand_on_the_page() -> None:
    named = re.findall(r"\*\*(.+?)\*\*", TEXT)
    known = {text for texts in table("en").values() for text in texts.values()}
    begun = {text.split(" (")[0] for text in known}
    assert len(named) > 20 and [one for one in named if one not in known | begun] == []


def test_every_heading_is_linked() -> None:
    assert contents(TEXT) in TEXT


@pytest.mark.parametrize("picture", SHOWN, ids=lambda one: one.name)
def test_a_picture_is_small_and_shown(picture: Path) -> None:
    assert picture.stat().st_size < MOST
    assert f"](../pictures/{picture.name})" in TEXT
    with Image.open(picture) as opened:
        assert opened.width >= 1000


def test_the_readme_shows_the_page() -> None:
    assert "](docs/pictures/make.png)" in (ROOT / "README.md").read_text("utf-8")
