"""The sizes in `docs/en/CLUSTER.md` are those that the program forecasts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headroom.cli.main import main
from headroom.settings import declared
from support.guide_pages import part, rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "en" / "CLUSTER.md"
TABLE = rows(part(PAGE.read_text(encoding="utf-8"), "sizes"))


@pytest.mark.parametrize(("card", "model", "seconds", "songs"), TABLE)
def test_a_days_songs_are_those_of_the_plan(
    card: str,
    model: str,
    seconds: str,
    songs: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _, setting in declared():
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)
    thinking = "--no-thinking" if model == "none" else "--thinking"
    vram = card.removesuffix(" GB")
    words = ["plan", "a song", "--duration", "180", "--vram", vram, thinking, "--json"]
    assert main(words) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["language_model"] or "none") == model
    places = len(seconds.partition(".")[2])
    assert f"{plan['seconds']:.{places}f}" == seconds
    day = 86400 / plan["seconds"]
    assert int(songs.replace(",", "")) == float(f"{day:.2g}")


def test_the_table_has_cards_with_and_without_a_language_model() -> None:
    assert len(TABLE) == 8 and len({row[0] for row in TABLE}) == 4
