"""What the planner language model is told: to the letter, and in the released vocabulary's ids.

The texts stand in `support.lm_texts` as ACE-Step 1.5 has them. Ids are compared in a tokenizer
with the pieces, the order of merges and the ids of the released vocabulary, as far as these texts
reach into it (`support.real_words`). That shows that our texts, marks and sheets give the ids the
model was trained on. It does not show that a downloaded `tokenizer.json` is that vocabulary: the
test marked `weights` does, where there is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from headroom.models.acestep.catalogue import CATALOGUE, LM_KIND
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.scoring import ScoreTask
from headroom.models.acestep.language.sheet import Sheet, dumped
from headroom.models.acestep.language.sheet_writing import text_task
from headroom.models.acestep.language.song_task import song_task
from headroom.models.acestep.requests.language_requests import (
    CreateSample,
    FormatSample,
    Understand,
)
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.text import lm_prompts as ours
from headroom.models.acestep.text.prompts import INSTRUMENTAL
from headroom.settings import load
from headroom.weights import catalog
from support import lm_texts as golden
from support.real_words import real_tokenizer, stored

# Ids of the released tokenizer: the prompt that codes are guided away from.
AGAINST_NOTHING = (
    "151644 8948 198 2 29051 198 31115 7699 41733 11211 3118 389 279 2661 4682 1447 151645 198 "
    "151644 872 198 8996 13872 26149 151645 198 151644 77091 198 151667 271 151668 271"
)
SHEET = Sheet(120, golden.THOUGHT_CAPTION, 240, None, "F# minor", "no", "6")
FOUR = Sheet(bpm=95, duration=30, keyscale="B♭ major", timesignature="4")
QUERY = "a sad song about rain"


def made() -> dict[str, str]:
    """Every prompt as the product makes it."""
    asked = ours.generating_prompt(golden.CAPTION, golden.LYRICS)
    format_, nothing = ours.formatting_prompt, INSTRUMENTAL
    return {
        "A metadata": asked,
        "B codes": asked + ours.thought(SHEET.text()),
        "B codes, four values": asked + ours.thought(FOUR.text()),
        "B codes, nothing known": asked + ours.thought(Sheet(genres="rock").text()),
        "C against nothing": ours.away_from(""),
        "C against something": ours.away_from(golden.NEGATIVE),
        "B codes, closed": asked + ours.before_codes(SHEET.text(), "closed"),
        "C against nothing, legacy": ours.against("", golden.CAPTION, golden.LYRICS, "legacy"),
        "C against something, closed": ours.against(
            golden.NEGATIVE, golden.CAPTION, golden.LYRICS, "closed"
        ),
        "D understand": ours.understanding_prompt(golden.CODES),
        "E anything": ours.understanding_prompt(""),
        "F a voice": ours.inspiring_prompt(QUERY, False),
        "F no voice": ours.inspiring_prompt(QUERY, True),
        "F nothing": ours.inspiring_prompt("  ", False),
        "G format": format_(golden.CAPTION, golden.LYRICS, nothing),
        "G no lyrics": format_(golden.CAPTION, "\n", nothing),
        "G nothing": format_(" ", "", nothing),
    }


TARGETS = ScoreTask(
    golden.CODES,
    Sheet(97, "slow: and soft", 240, "bossa nova", "G major", "no", "3"),
    "[Verse]\nla la la",
).targets()


@pytest.fixture(scope="module")
def words() -> LMVocabulary:
    return LMVocabulary.of(real_tokenizer())


@pytest.mark.parametrize("name", golden.PROMPTS)
def test_a_prompt_is_the_trained_one_to_the_letter(name: str) -> None:
    assert made()[name] == golden.PROMPTS[name]
    assert made().keys() == golden.PROMPTS.keys()


@pytest.mark.parametrize("name", golden.TARGETS)
def test_what_is_scored_is_the_trained_text_to_the_letter(name: str) -> None:
    assert TARGETS[name] == golden.TARGETS[name]
    assert TARGETS.keys() == golden.TARGETS.keys()


def test_the_sentinel_said_by_hand_is_nothing() -> None:
    expected = golden.PROMPTS["C against nothing"]
    for said in ("", "  \n", "NO USER INPUT", " NO USER INPUT\n"):
        assert ours.away_from(said) == expected
        assert ours.against(said, golden.CAPTION, golden.LYRICS, "current") == expected


def test_ids_are_those_of_the_released_vocabulary(words: LMVocabulary) -> None:
    texts = made() | {f"H {name}": text for name, text in TARGETS.items()}
    assert texts.keys() == stored()["ids"].keys()
    for name, text in texts.items():
        assert list(words.ids(text)) == stored()["ids"][name], name
        assert words.decode(words.ids(text)) == text


def test_the_prompt_that_is_guided_away_from_is_the_one_of_the_specification(
    words: LMVocabulary,
) -> None:
    ids = words.ids(ours.away_from(""))
    assert " ".join(map(str, ids)) == AGAINST_NOTHING and len(ids) == 33


def test_frames_are_as_long_as_the_specification_says(words: LMVocabulary) -> None:
    frames = [
        ours.frame(i, "") for i in (ours.GENERATE, ours.UNDERSTAND, ours.INSPIRE, ours.FORMAT)
    ]
    assert frames == list(golden.FRAMES)
    assert [len(words.ids(frame)) for frame in frames] == list(golden.FRAMES.values())


def test_thoughts_read_behind_a_prompt_are_the_whole_text(words: LMVocabulary) -> None:
    """A prompt and thoughts are encoded apart, and so is a target from the codes it is held
    against: no token spans the border."""
    asked = ours.generating_prompt(golden.CAPTION, golden.LYRICS)
    for sheet in (SHEET, FOUR, Sheet()):
        behind = ours.thought(sheet.text())
        assert words.ids(asked) + words.ids(behind) == words.ids(asked + behind)
        assert words.ids(behind)[-2:] == (151_668, 271)  # directly before the first code
    heard = ours.understanding_prompt(golden.CODES)
    for target in TARGETS.values():
        assert words.ids(heard) + words.ids(target) == words.ids(heard + target)


def test_metadata_have_the_ids_of_training_texts(words: LMVocabulary) -> None:
    assert words.ids("bpm:") == (65, 5187, 25)  # b|pm, and not bp|m
    assert words.ids("keyscale: G major") == (10_563, 2246, 25, 479, 3598)
    assert words.ids("</think>\n\n") == (151_668, 271)
    assert words.ids(dumped({"language": "no"}) + "\n") == (11_528, 25, 364, 2152, 1248)
    assert words.ids(dumped({"timesignature": 4})) == (15_136, 622, 1568, 25, 220, 19)
    assert words.ids(dumped({"duration": 240})) == (17_021, 25, 220, 17, 19, 15)


class Vocabulary:
    """What of a language model prompts are made with."""

    notes = ()

    def __init__(self, words: LMVocabulary) -> None:
        self.words = words


def test_requests_become_these_prompts(words: LMVocabulary) -> None:
    """To the last space: nothing on the way strips, folds or turns what was said."""
    language = cast(Language, Vocabulary(words))
    said = {"caption": golden.CAPTION, "lyrics": golden.LYRICS, "thinking": True}
    task = song_task(Text2Music.model_validate(said), (1, 2), 600, language, "current")
    assert list(task.prompt) == stored()["ids"]["A metadata"]
    assert " ".join(map(str, task.against or ())) == AGAINST_NOTHING
    said["lm_negative_prompt"] = golden.NEGATIVE
    task = song_task(Text2Music.model_validate(said), (1,), 600, language, "current")
    assert list(task.against or ()) == stored()["ids"]["C against something"]
    unguided = Text2Music.model_validate(said | {"lm_cfg_scale": 1.0})
    assert song_task(unguided, (1,), 600, language, "current").against is None

    wishes = {
        "D understand": Understand(audio_codes=golden.CODES),
        "E anything": Understand(audio_codes=""),
        "F a voice": CreateSample(caption=QUERY),
        "F no voice": CreateSample(caption=QUERY, instrumental=True),
        "F nothing": CreateSample(caption=""),
        "G format": FormatSample(caption=golden.CAPTION, lyrics=golden.LYRICS),
        "G no lyrics": FormatSample(caption=golden.CAPTION),
        "G nothing": FormatSample(caption=""),
    }
    for name, wish in wishes.items():
        codes = wish.audio_codes if isinstance(wish, Understand) else ""
        task, _ = text_task(wish, codes, 600, language)
        assert list(task.prompt) == stored()["ids"][name], name


@pytest.mark.weights
def test_a_downloaded_tokenizer_has_these_ids() -> None:
    dirs: tuple[Path, ...] = catalog.checkpoint_dirs(load())
    here = [item for item in CATALOGUE.installed(dirs) if item.kind == LM_KIND and not item.bundled]
    assert here, f"no language model in {', '.join(map(str, dirs))}"
    texts = made() | {f"H {name}": text for name, text in TARGETS.items()}
    for item in here:
        words = LMVocabulary.open(item.folder)
        assert (words.codes, words.first_mark) == (slice(151_669, 215_669), 151_643)
        for name, text in texts.items():
            assert list(words.ids(text)) == stored()["ids"][name], (item.name, name)
