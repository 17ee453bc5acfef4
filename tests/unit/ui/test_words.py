"""The tables of texts: whole in every language, and the page shows nothing that is not in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from headroom.engine.wire import error_json, note_json
from headroom.errors import QueueFull
from headroom.models.acestep.reasons import reason as of_acestep
from headroom.models.registry import family_named
from headroom.models.stepaudio.reasons import reason as of_stepaudio
from headroom.params.describe import union
from headroom.params.note import Note
from headroom.reasons import joined, reason
from headroom.settings import load
from headroom.settings.serving import LANGUAGES
from headroom.ui import words
from headroom.ui.page import build
from headroom.ui.words import LOCALES, SOURCE, Words, table
from support.blocks import in_loop

STATIC = LOCALES.parent / "static"
OTHERS = [one for one in LANGUAGES if one != SOURCE]
PARAMS = {param.name: param for param in union(family_named("acestep").requests.values())}
REASONS = {**reason, **of_acestep, **of_stepaudio}
_PLACE = re.compile(r"\{(\w+)")
_KEYED = re.compile(r"""\btext\(\s*(?:[^"()?]*\? )?"(\w+)"(?: : "(\w+)")?(?!, \{\}, ")""")


def test_there_is_a_table_for_every_language_and_no_other() -> None:
    assert {file.stem for file in LOCALES.glob("*.json")} == set(LANGUAGES)


@pytest.mark.parametrize("language", OTHERS)
def test_no_key_is_missing_in_a_language(language: str) -> None:
    for section, texts in table(SOURCE).items():
        assert table(language)[section].keys() == texts.keys(), section
    assert table(language)["help"].keys() == PARAMS.keys()
    assert table(language)["reasons"].keys() == REASONS.keys()
    assert set(table(language)) == {*table(SOURCE), "help", "reasons", "errors"}
    assert all(text.strip() for texts in table(language).values() for text in texts.values())


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_places_of_its_source(language: str) -> None:
    source = {**table(SOURCE), "reasons": REASONS}
    for section in ("ui", "player", "reasons"):
        for key, text in table(language)[section].items():
            assert set(_PLACE.findall(text)) == set(_PLACE.findall(source[section][key])), key


def test_every_field_task_and_heading_has_a_label() -> None:
    family = family_named("acestep")
    assert table(SOURCE)["params"].keys() == PARAMS.keys()
    assert table(SOURCE)["tasks"].keys() == family.requests.keys()
    assert {param.knob.group for param in PARAMS.values()} == set(table(SOURCE)["groups"])


def test_every_key_that_scripts_name_is_in_the_table() -> None:
    script = "\n".join(file.read_text("utf-8") for file in STATIC.rglob("*.js"))
    named = {key for found in _KEYED.findall(script) for key in found if key}
    assert {"jobs", "drop", "job_cancelling", "dark"} <= named
    assert named <= table(SOURCE)["ui"].keys()
    added = set(re.findall(r'(?<![.\w])add\("(\w+)"', script))
    assert "job_cancel" in added and added <= table(SOURCE)["ui"].keys()


def marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The components of a page in a language in which every text has a mark."""
    made = {
        section: {key: f"«{text}»" for key, text in {**texts}.items()}
        for section, texts in table("pt").items()
    }
    (tmp_path / "pt.json").write_text(json.dumps(made), "utf-8")
    (tmp_path / "en.json").write_text("{}", "utf-8")
    monkeypatch.setattr(words, "LOCALES", tmp_path)
    monkeypatch.setattr(words, "LANGUAGES", ("pt",))
    monkeypatch.setattr("headroom.ui.page.LANGUAGES", ("pt",))
    table.cache_clear()
    try:
        settings = load({"HEADROOM_UI_LANGUAGE": "pt"})
        page = in_loop(lambda: build(cast("Any", None), settings, "acestep"))
        return [one["props"] for one in page.get_config_file()["components"]]
    finally:
        table.cache_clear()


def test_no_text_of_the_page_stands_outside_the_tables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = marked(monkeypatch, tmp_path)
    found = []
    for props in shown:
        if props.get("visible") == "hidden":
            continue
        texts = [props.get(name) for name in ("label", "info", "placeholder")]
        texts += [choice[0] for choice in props.get("choices") or ()]
        if props.get("name") in ("button", "html"):
            texts.append(re.sub(r"<[^>]*>", "", str(props.get("value") or "")))
        found += [text for text in texts if text and "«" not in str(text)]
    data = {one for param in PARAMS.values() for one in param.choices}
    data |= {"pt", "mlx", "vllm", "none", "int8", "fp8", "w8a8", "int4"}
    assert [text for text in found if text not in data] == []
    assert len(shown) > 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_note_is_said_in_the_language_by_its_code(language: str) -> None:
    why = joined([reason("tier_seconds_with_lm", tier="tier 1", most=240), of_acestep("clips")])
    note = note_json(Note("duration", 500.0, 240, why))
    said = Words.of(language).note(note)
    assert "500" in said and "240" in said and "0 dB" in said
    assert ("because" in said) is (language == SOURCE)
    assert table(language)["params"]["duration"] in said


def test_an_error_is_said_in_the_language_by_its_code() -> None:
    form = error_json(QueueFull(7, 5, own=True))
    assert Words.of("pt").error(form).startswith("Já esperam 7 pedidos")
    assert Words.of("en").error(form) == form["message"]
    assert Words.of("pt").error({"code": "unheard_of", "message": "so"}) == "so"
    broken = {"code": "queue_full", "message": "full", "values": {}}
    assert Words.of("pt").error(broken) == "full"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("he,en;q=0.5", "he"),
        ("fr-FR, pt-BR;q=0.8, en;q=0.9", "en"),
        ("fr", "ja"),
        (None, "ja"),
        ("zh-Hant-TW", "zh"),
    ],
)
def test_the_language_that_a_browser_prefers(header: str | None, language: str) -> None:
    settings = load({"HEADROOM_UI_LANGUAGE": "ja"})
    assert Words.wanted(header, settings).language == language
