"""What is said to a language model and cannot be: refused, or put right with a note, and never
written into a prompt as it stands. Through the Python API and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

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
from headroom.models.acestep.catalogue import BUNDLED
from headroom.models.acestep.language import sheet_writing
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.lm_planning import chances
from headroom.models.acestep.language.sheet import Sheet, sheet_fields
from headroom.models.acestep.language.sheet_grammar import FreeText, SheetGrammar
from headroom.models.acestep.requests.every import any_request_from
from headroom.models.acestep.requests.language_requests import (
    AnySheetRequest,
    CreateSample,
    FormatSample,
    Score,
    Understand,
)
from headroom.models.acestep.requests.songs import request_from
from headroom.models.outputs import SongSheet
from headroom.params.request import Request
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


def task_of(engine: Engine, request: AnySheetRequest) -> sheet_writing.TextTask:
    """The language model's work for a request."""
    settled = engine._settle(request).request
    codes = request.audio_codes if isinstance(request, Understand) else ""
    return sheet_writing.text_task(cast(AnySheetRequest, settled), codes, 240, LANGUAGE)[0]


def prompt_of(engine: Engine, request: AnySheetRequest) -> str:
    """What the language model reads."""
    return LANGUAGE.words.decode(task_of(engine, request).prompt)


# --- metadata ------------------------------------------------------------------------------

GIVEN: dict[str, object] = {
    "bpm": 999, "duration": "9999", "keyscale": "H minor", "timesignature": "5/4",
    "language": "EN", "mood": "sad",
}  # fmt: skip


def test_metadata_beyond_their_range_are_put_right_with_a_note(engine: Engine) -> None:
    fields, notes = sheet_fields(GIVEN)
    assert fields == {"bpm": 300, "duration": 600, "vocal_language": "en"}
    assert {note.field: (note.asked, note.used) for note in notes} == {
        "bpm": (999, 300), "duration": ("9999", 600), "keyscale": ("H minor", None),
        "timesignature": ("5/4", None), "mood": ("sad", None),
    }  # fmt: skip
    assert "tempos of 30 to 300" in next(note.why for note in notes if note.field == "bpm")
    request = FormatSample(
        caption="slow", lyrics="la", bpm=999, duration=600, language="EN", seed=1
    )
    assert task_of(engine, request).given.values() == {
        "bpm": 300,
        "duration": 240,
        "language": "en",
    }
    found = engine.perform(request)
    assert isinstance(found.output, SongSheet)
    own = [note for note in found.notes if note.field != "model"]
    assert {note.field: (note.asked, note.used) for note in own} == {
        "bpm": (999, 300), "duration": (600, 240),
    }  # fmt: skip
    whys = {note.field: note.why for note in found.notes}
    assert "tempos of 30 to 300" in whys["bpm"] and "MAX_DURATION is 240" in whys["duration"]
    written = found.output
    assert (written.bpm, written.duration, written.language) == (300, 240, "en")
    assert "999" not in prompt_of(engine, request)
    fine = engine.perform(FormatSample(caption="slow", bpm=90, duration=12.4, seed=1))
    assert isinstance(fine.output, SongSheet) and {n.field for n in fine.notes} == {"model"}
    assert (fine.output.bpm, fine.output.duration) == (90, 12)


@pytest.mark.parametrize("kind", [CreateSample, FormatSample, Score])
def test_values_that_the_model_does_not_know_are_refused(kind: type[Request]) -> None:
    for name in ("keyscale", "timesignature", "language"):
        with pytest.raises(InvalidRequest, match=name):
            kind.model_validate({"caption": "slow", "audio_codes": "1", name: GIVEN[name] + "x"})  # type: ignore[operator]


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
    both = FormatSample(caption=CAPTION, lyrics=LYRICS, seed=1)
    assert f"# Caption\n{caption}\n\n# Lyric\n{lyrics}<|im_end|>" in prompt_of(engine, both)
    line = CreateSample(caption=CAPTION)
    assert f"user\n{caption}\n\ninstrumental" in prompt_of(engine, line)
    notes = {n.field: n.used for n in engine.perform(both).notes if n.field != "model"}
    assert notes == {"caption": caption, "lyrics": lyrics}
    given = FormatSample(caption="x", sheet_caption=CAPTION)
    assert task_of(engine, given).given.caption == caption
    assert [n.field for n in engine._settle(given).notes] == ["sheet_caption"]


def test_what_is_scored_is_what_was_asked(engine: Engine) -> None:
    for fields, field in (
        ({"caption": CAPTION}, "caption"),
        ({"bpm": 999}, "bpm"),
        ({"bpm": 90, "lyrics": LYRICS}, "lyrics"),
        ({"keyscale": "H"}, "keyscale"),
        ({}, "caption"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            engine.perform(Score.model_validate({"audio_codes": "1,2", **fields}))
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
def test_invalid_codes_are_refused(text: str, allowed: str) -> None:
    for kind in (Understand, Score):
        with pytest.raises(InvalidRequest, match=allowed) as refused:
            kind.model_validate({"audio_codes": text} | ({"bpm": 90} if kind is Score else {}))
        assert refused.value.field == "audio_codes" and refused.value.exit_code == 2


def test_what_codes_say_is_not_said_for_them(engine: Engine) -> None:
    with pytest.raises(InvalidRequest, match="bpm"):
        Understand.model_validate({"audio_codes": "1,2", "bpm": 90})
    prompt = prompt_of(engine, Understand(audio_codes="1, 2"))
    assert prompt.count("<|audio_code_1|><|audio_code_2|>") == 1
    with pytest.raises(InvalidRequest, match="one of them"):
        Understand.model_validate({"audio_codes": "1,2", "source_audio": "a.wav"})


# --- how it is drawn -----------------------------------------------------------------------


def test_how_it_is_drawn_has_the_limits_of_a_request(engine: Engine) -> None:
    found = engine.perform(
        CreateSample(
            caption="x", seed=1, lm_temperature=5.0, lm_top_p=3.0, lm_repetition_penalty=7.0
        )
    )
    assert {note.field: note.used for note in found.notes if note.field != "model"} == {
        "lm_temperature": 2, "lm_top_p": 1, "lm_repetition_penalty": 2,
    }  # fmt: skip
    for wrong in (
        {"temperature": -1.0}, {"top_k": -1}, {"top_p": float("nan")}, {"repetition_penalty": 0.0}
    ):  # fmt: skip
        with pytest.raises(InvalidRequest, match=next(iter(wrong))):
            CreateSample.model_validate({"caption": "x", **wrong})
    with pytest.raises(InvalidRequest, match="understand, create_sample, format_sample"):
        any_request_from({"task": "dance"})


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
        (("compose", "x", "--repetition-penalty", "0"), "repetition_penalty"),
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
    words = ("--bpm", "999", "--keyscale", "Am", "--seed", "1", "--repetition-penalty", "9")
    done = cli("compose", CAPTION, *words, "--json")
    assert done.code == 0, done.err
    notes = {note["field"]: note for note in json.loads(done.out)["notes"]}
    assert notes["bpm"]["used"] == 300 and notes["lm_repetition_penalty"]["used"] == 2
    assert len(notes["caption"]["used"]) <= 512
    assert json.loads(done.out)["song"]["bpm"] == 300


# --- no voice ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [CreateSample, FormatSample])
@pytest.mark.parametrize("constrained", [True, False])
def test_instrumental_music_has_no_lyrics_whatever_is_said_or_written(
    kind: type[CreateSample] | type[FormatSample], constrained: bool
) -> None:
    fields: dict[str, object] = {"caption": "rain", "use_constrained_decoding": constrained}
    if kind is FormatSample:
        fields["lyrics"] = "la la"
    request = kind.model_validate({**fields, "instrumental": True})
    task, notes = sheet_writing.text_task(request, "", 240, LANGUAGE)
    assert not task.sings and "la la" not in LANGUAGE.words.decode(task.prompt)
    lyrics = "[Verse]\nwords that were written all the same"
    written = sheet_writing.Written(Sheet(caption="rain"), lyrics)
    sheet = sheet_writing.song_sheet(request, written)
    assert (sheet.lyrics, sheet.instrumental) == ("[Instrumental]", True)
    left_out = {note.field: (note.asked, note.used) for note in notes}
    assert left_out == ({"lyrics": ("la la", None)} if kind is FormatSample else {})
    sung = kind.model_validate(fields)
    voice = sheet_writing.song_sheet(sung, written)
    assert (voice.lyrics, voice.instrumental) == (written.lyrics, False)
    assert sheet_writing.text_task(sung, "", 240, LANGUAGE)[0].sings


def test_values_that_people_write_in_words_and_units_are_forced() -> None:
    given = {"tempo": "120 BPM", "key": "Am", "duration": "1:30", "language": "English"}
    fields, notes = sheet_fields(given)
    request = CreateSample.model_validate({"caption": "rain", **fields})
    task, _ = sheet_writing.text_task(request, "", 240, LANGUAGE)
    assert task.given == Sheet(120, None, 90, None, "A minor", "en") and not notes
    _, beyond = sheet_fields({"tempo": "999 BPM"})
    assert [(n.field, n.asked, n.used) for n in beyond] == [("bpm", "999 BPM", 300)]
