"""What is said to a language model and cannot be: refused, or put right with a note, and never
written into a prompt as it stands. Through the Python API and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from acestep.handler import AceStepHandler
from acestep.inference import (
    GenerationConfig,
    GenerationParams,
    create_sample,
    format_sample,
    generate_music,
    understand_music,
)
from acestep.llm_inference import LLMHandler
from headroom import Engine, Text2Music
from headroom.errors import InvalidRequest
from headroom.lm.constrained_decode import DecodedText, constrained_decode
from headroom.lm.sample import Sampling
from headroom.models.acestep.language import sheet_writing
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.language_service import BUNDLED
from headroom.models.acestep.language.lm_planning import chances
from headroom.models.acestep.language.sheet import Sheet
from headroom.models.acestep.language.sheet_grammar import FreeText, SheetGrammar
from headroom.models.acestep.requests.songs import request_from
from headroom.models.base import SheetWish, SongSheet
from headroom.settings import Settings
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]
LANGUAGE = Language("nano", BUNDLED / "acestep-5Hz-lm-nano", "float32")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that end early: the small model would write lyrics for seconds."""
    monkeypatch.setattr(sheet_writing, "TEXT_TOKENS", 30)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("cpu", "float32", settings=Settings(max_duration=240))


def notes_of(sheet: SongSheet) -> dict[str, tuple[object, object]]:
    return {note.field: (note.asked, note.used) for note in sheet.notes}


def prompt_of(wish: SheetWish) -> str:
    """What the language model reads."""
    asked = sheet_writing.text_task(wish, 240, LANGUAGE)
    return LANGUAGE.words.said(asked.task.prompt)


# --- metadata ------------------------------------------------------------------------------

GIVEN: dict[str, object] = {
    "bpm": 999, "duration": "9999", "keyscale": "H minor", "timesignature": "5/4",
    "language": "EN", "mood": "sad",
}  # fmt: skip


def test_metadata_beyond_their_range_are_put_right_with_a_note(engine: Engine) -> None:
    wish = SheetWish("format", "slow", "la", given=GIVEN, seed=1)
    task = sheet_writing.text_task(wish, 240, LANGUAGE).task
    assert task.given.values() == {"bpm": 300, "duration": 240, "language": "en"}
    sheet = engine.write(wish)
    assert notes_of(sheet) == {
        "bpm": (999, 300), "duration": ("9999", 240), "keyscale": ("H minor", None),
        "timesignature": ("5/4", None), "mood": ("sad", None),
    }  # fmt: skip
    whys = {note.field: note.why for note in sheet.notes}
    assert "tempos of 30 to 300" in whys["bpm"] and "at most 240 s here" in whys["duration"]
    assert (sheet.bpm, sheet.duration, sheet.language) == (300, 240, "en")
    assert all(word not in prompt_of(wish) for word in ("999", "H minor", "5/4", "mood"))
    fine = engine.write(SheetWish("format", "slow", given={"bpm": 90, "duration": 12.4}, seed=1))
    assert fine.notes == () and (fine.bpm, fine.duration) == (90, 12)


def test_a_request_is_put_right_before_anything_is_planned(engine: Engine) -> None:
    asked = Text2Music(caption="x", bpm=999, duration=900, plan_metadata=True, seed=1)
    settled = engine._settle(asked)
    assert {(n.field, n.used) for n in settled.notes} == {("bpm", 300), ("duration", 240)}
    for wrong in ({"keyscale": "H minor"}, {"vocal_language": "xx"}, {"bpm": -2}, {"bpm": "many"}):
        with pytest.raises(InvalidRequest, match=next(iter(wrong))):
            request_from({"caption": "x", "thinking": True, **wrong})


# --- words ---------------------------------------------------------------------------------

CAPTION, LYRICS = "very slow " * 60, "a line to sing\n" * 300


def test_words_beyond_what_is_documented_are_cut_alike_everywhere(engine: Engine) -> None:
    asked = Text2Music(caption=CAPTION, lyrics=LYRICS, plan_metadata=True, seed=1)
    settled = engine._settle(asked)
    caption, lyrics = settled.request.caption, settled.request.lyrics  # type: ignore[attr-defined]
    assert len(caption) <= 512 and len(lyrics) <= 4096
    assert {n.field: n.used for n in settled.notes} == {"caption": caption, "lyrics": lyrics}
    prompt = prompt_of(SheetWish("format", CAPTION, LYRICS))
    assert f"# Caption\n{caption}\n\n# Lyric\n{lyrics}<|im_end|>" in prompt
    assert f"user\n{caption}\n\ninstrumental" in prompt_of(SheetWish("inspire", CAPTION))
    sheet = engine.write(SheetWish("format", CAPTION, LYRICS, seed=1))
    assert {name: used for name, (_, used) in notes_of(sheet).items()} == {
        "caption": caption, "lyrics": lyrics,
    }  # fmt: skip
    given = sheet_writing.text_task(
        SheetWish("format", "x", given={"caption": CAPTION}), 240, LANGUAGE
    )
    assert given.task.given.caption == caption and [n.field for n in given.notes] == ["caption"]


def test_what_is_scored_is_what_was_asked(engine: Engine) -> None:
    for given, lyrics, field in (
        ({"caption": CAPTION}, "", "caption"),
        ({"bpm": 999}, "", "bpm"),
        ({"bpm": 90}, LYRICS, "lyrics"),
        ({"keyscale": "H"}, "", "keyscale"),
        ({}, "", "caption"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            engine.score(SheetWish("score", "1,2", lyrics, given=given))
        assert refused.value.field == field


# --- codes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("64000", "codes from 0 to 63999"),
        ("<|audio_code_64000|>", "codes from 0 to 63999"),
        ("9" * 5000, "codes from 0 to 63999"),
        ("la la", "numbers with commas"),
        ("1,-2", "numbers with commas"),
        ("<|audio_code_x|>", "numbers with commas"),
        ("1," * 3000 + "1", "at most 3000"),
    ],
    ids=["beyond", "beyond as a mark", "far beyond", "words", "negative", "no number", "too many"],
)
def test_codes_that_are_none_are_refused(engine: Engine, text: str, allowed: str) -> None:
    for act in (engine.write, engine.score):
        with pytest.raises(InvalidRequest, match=allowed) as refused:
            act(SheetWish("understand", text, given={"bpm": 90}))
        assert refused.value.field == "codes" and refused.value.exit_code == 2


def test_what_codes_say_is_not_said_for_them(engine: Engine) -> None:
    sheet = engine.write(SheetWish("understand", "1,2", given={"bpm": 90}, seed=1))
    assert notes_of(sheet) == {"bpm": (90, None)}
    assert prompt_of(SheetWish("understand", "1, 2")).count("<|audio_code_1|><|audio_code_2|>") == 1


# --- how it is drawn -----------------------------------------------------------------------


def test_how_it_is_drawn_has_the_limits_of_a_request(engine: Engine) -> None:
    plain = SheetWish("inspire", "x", seed=1)
    sheet = engine.write(replace(plain, temperature=5.0, top_p=3.0, penalty=7.0))
    assert {name: used for name, (_, used) in notes_of(sheet).items()} == {
        "lm_temperature": 2, "lm_top_p": 1, "lm_repetition_penalty": 2,
    }  # fmt: skip
    for wrong in ({"temperature": -1.0}, {"top_k": -1}, {"top_p": float("nan")}, {"penalty": 0.0}):
        name = next(iter(wrong)).replace("penalty", "lm_repetition_penalty")
        with pytest.raises(InvalidRequest, match=name):
            engine.write(replace(plain, **wrong))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="understand, inspire, format"):
        engine.write(replace(plain, act="dance"))


def test_what_was_written_is_less_likely_under_a_penalty() -> None:
    model, words = LANGUAGE.load(torch.float32), LANGUAGE.words

    def written(penalty: float) -> tuple[int, ...]:
        with torch.inference_mode():
            return constrained_decode(
                model, words.ids("a song"), FreeText(LANGUAGE.sheets, sings=True), words.text, 60,  # type: ignore[arg-type]
                Sampling(0.0, 0, 1.0, penalty), chances(1), torch.device("cpu"), lambda a, b: None,
            ).tokens  # fmt: skip

    plain, varied = written(1.0), written(2.0)
    assert plain[0] == varied[0] and len(set(varied)) > len(set(plain))
    # The first token that was written before is where the two part.
    first = next(i for i, (a, b) in enumerate(zip(plain, varied, strict=True)) if a != b)
    assert plain[first] in plain[:first] and plain[:first] == varied[:first]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[object, Sampling]]]:
    """The grammar and the sampling of every text that is written."""
    found: list[tuple[object, Sampling]] = []

    def watched(*given: Any) -> DecodedText:
        found.append((given[2], given[5]))
        return constrained_decode(*given)

    monkeypatch.setattr(sheet_writing, "constrained_decode", watched)
    return found


def test_the_old_functions_pass_on_what_they_are_given(
    seen: list[tuple[object, Sampling]], tmp_path: Path
) -> None:
    llm = LLMHandler()
    _, ok = llm.initialize(str(tmp_path), "acestep-5Hz-lm-nano", backend="pt", device="cpu")
    assert ok
    drawn = {"temperature": 0.5, "top_k": 7, "top_p": 0.8, "repetition_penalty": 1.25}
    for act in (
        lambda **more: understand_music(llm, "<|audio_code_1|>", **more),
        lambda **more: create_sample(llm, "rain", **more),
        lambda **more: format_sample(llm, "slow", "la", **more),
    ):
        assert act(**drawn).success
        grammar, sampling = seen.pop()
        assert isinstance(grammar, SheetGrammar) and sampling == Sampling(0.5, 7, 0.8, 1.25)
        act(use_constrained_decoding=False)
        grammar, sampling = seen.pop()
        assert isinstance(grammar, FreeText) and sampling.penalty == 1.0
    wrong = format_sample(llm, "slow", "la", temperature=-1.0)
    assert not wrong.success and "temperature" in (wrong.error or "") and not seen
    assert not understand_music(llm, "64000").success


def test_a_text_that_is_no_sheet_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    llm = LLMHandler()
    llm.initialize(str(tmp_path), "acestep-5Hz-lm-nano", backend="pt", device="cpu")
    nothing = LANGUAGE.words.ids("nothing of the kind")
    real = sheet_writing.constrained_decode
    monkeypatch.setattr(
        sheet_writing, "constrained_decode", lambda *given: replace(real(*given), tokens=nothing)
    )
    found = create_sample(llm, "rain")
    assert not found.success and found.error == "Empty metadata returned"


def test_the_old_generation_says_what_is_wrong(tmp_path: Path) -> None:
    dit, llm = AceStepHandler(), LLMHandler()
    dit.initialize_service(str(tmp_path), "acestep-v15-nano", device="cpu")
    llm.initialize(str(tmp_path), "acestep-5Hz-lm-nano", backend="pt", device="cpu")
    config = GenerationConfig(batch_size=1)
    plain = {"caption": "x", "duration": 10, "inference_steps": 1, "thinking": False}
    for wrong, said in (
        ({"keyscale": "H minor"}, "keyscale"),
        ({"audio_codes": "la la"}, "audio_codes"),
        ({"lm_temperature": -1.0}, "lm_temperature"),
    ):
        result = generate_music(dit, llm, GenerationParams(**plain, **wrong), config)  # type: ignore[arg-type]
        assert not result.success and said in (result.error or "")
    params = GenerationParams(**plain, keyscale="Am", bpm=999, use_cot_caption=False)  # type: ignore[arg-type]
    result = generate_music(dit, llm, params, config)
    assert result.success and "asked 999, used 300" in result.status_message
    assert (params.cot_bpm, params.cot_keyscale) == (300, "A minor")


# --- on the command line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("generate", "x", "--thinking", "--keyscale", "H"), "keyscale"),
        (("generate", "x", "--thinking", "--lm-temperature", "-1"), "lm_temperature"),
        (("generate", "x", "--thinking", "--lm-seed", "-1"), "lm_seed"),
        (("generate", "x", "--audio-codes", "la la"), "audio_codes"),
        (("generate", "x", "--audio-codes", "1," * 3001), "at most 3000"),
        (("understand", "64000"), "codes from 0 to 63999"),
        (("understand", "<|audio_code_99999|>"), "codes from 0 to 63999"),
        (("understand", "1," * 3001), "at most 3000"),
        (("compose", "x", "--repetition-penalty", "9"), "repetition_penalty"),
        (("score", "1,2"), "to score against"),
        (("score", "1,2", "--bpm", "999"), "bpm"),
        (("score", "1,2", "--caption", CAPTION), "up to 512 characters"),
    ],
    ids=lambda words: " ".join(words)[:40] if isinstance(words, tuple) else "",
)
def test_what_is_wrong_ends_with_code_two(cli: Cli, words: tuple[str, ...], said: str) -> None:
    done = cli(*words)
    assert done.code == 2 and said in done.err and done.out == "", done.err


def test_what_is_put_right_is_told(cli: Cli, home: Path) -> None:
    refused = cli("compose", "x", "--keyscale", "H")
    assert refused.code == 2 and "keyscale: 'H'" in refused.err and "B minor" in refused.err
    done = cli("compose", CAPTION, "--bpm", "999", "--keyscale", "Am", "--seed", "1", "--json")
    assert done.code == 0, done.err
    notes = {note["field"]: note for note in json.loads(done.out)["notes"]}
    assert notes["bpm"]["used"] == 300
    assert len(notes["caption"]["used"]) <= 512
    assert json.loads(done.out)["song"]["bpm"] == 300


# --- no voice ------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["inspire", "format"])
@pytest.mark.parametrize("constrained", [True, False])
def test_instrumental_music_has_no_lyrics_whatever_is_said_or_written(
    act: str, constrained: bool
) -> None:
    wish = SheetWish(act, "rain", "la la", instrumental=True, constrained=constrained)
    asked = sheet_writing.text_task(wish, 240, LANGUAGE)
    assert not asked.task.sings and "la la" not in prompt_of(wish)
    written = sheet_writing.Written(
        Sheet(caption="rain"), "[Verse]\nwords that were written all the same"
    )
    sheet = sheet_writing.song_sheet(wish, written, asked.notes)
    assert (sheet.lyrics, sheet.instrumental) == ("[Instrumental]", True)
    assert notes_of(sheet) == ({"lyrics": ("la la", None)} if act == "format" else {})
    voice = sheet_writing.song_sheet(SheetWish(act, "rain", "la la"), written, ())
    assert (voice.lyrics, voice.instrumental) == (written.lyrics, False)
    assert sheet_writing.text_task(SheetWish(act, "rain", "la la"), 240, LANGUAGE).task.sings


def test_values_that_people_write_in_words_and_units_are_forced() -> None:
    given = {"tempo": "120 BPM", "key": "Am", "duration": "1:30", "language": "English"}
    task = sheet_writing.text_task(SheetWish("inspire", "rain", given=given), 240, LANGUAGE).task
    assert task.given == Sheet(120, None, 90, None, "A minor", "en")
    beyond = sheet_writing.text_task(
        SheetWish("inspire", "rain", given={"tempo": "999 BPM"}), 240, LANGUAGE
    )
    assert [(n.field, n.asked, n.used) for n in beyond.notes] == [("bpm", "999 BPM", 300)]
