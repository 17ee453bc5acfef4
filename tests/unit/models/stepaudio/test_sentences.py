"""Long texts in parts: nothing is lost, nothing is too long, and cuts are where one would pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.errors import InvalidRequest
from headroom.models.stepaudio.requests.speech import Clone
from headroom.models.stepaudio.text.sentences import (
    PART_SECONDS,
    parts_of,
    spoken_seconds,
    unread_letters,
)


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(st.text("ab 。好.!?,、\n[]éか한", max_size=400), st.floats(1, 20))
def test_parts_are_the_text_and_none_is_too_long(text: str, most: float) -> None:
    parts = parts_of(text, most)
    assert squeezed("".join(parts)) == squeezed(text)
    assert all(part == part.strip() and spoken_seconds(part) <= most for part in parts)


def test_cuts_are_at_ends_of_sentences_then_of_clauses_then_of_words() -> None:
    text = 'One sentence of words. He said "stop!" Then, in 3.5 seconds, it was over.'
    assert parts_of(text, 2.5) == (
        "One sentence of words.", 'He said "stop!"', "Then, in 3.5 seconds, it was over.",
    )  # fmt: skip
    assert parts_of("第一句话。第二句话！第三句话。", 1.9) == (
        "第一句话。", "第二句话！", "第三句话。",
    )  # fmt: skip
    assert parts_of("a clause that is long, and another one", 2) == (
        "a clause that is long,", "and another one",
    )  # fmt: skip
    assert parts_of("words without an end of any kind", 1) == (
        "words without", "an end of any", "kind",
    )  # fmt: skip
    assert parts_of("[Laughter]" * 4, 1) == ("[Laughter]",) * 4


def test_short_sentences_stay_together() -> None:
    assert parts_of("Yes. No. Maybe.") == ("Yes. No. Maybe.",)
    assert len(parts_of("Yes, this is a sentence of some length. " * 40)) == (
        pytest.approx(spoken_seconds("x" * 1600) / PART_SECONDS, abs=1)
    )


@pytest.mark.parametrize("text", ["Привет, мир", "مرحبا", "नमस्ते", "γειά σου"])
def test_a_text_of_another_script_is_refused_with_its_letters(text: str) -> None:
    values = {"prompt_audio": "a.wav", "prompt_text": "hi", "text": text}
    allowed = "allowed: a text in Chinese, Latin, Japanese or Korean script"
    with pytest.raises(InvalidRequest, match=f"text: '{text[:3]}.*{allowed}"):
        Clone.model_validate(values)


@pytest.mark.parametrize(
    "text", ["naïve café", "guo4 了", "こんにちは", "안녕", "x = π", "123", "ｆｕｌｌ"]
)
def test_texts_that_can_be_read_are_taken(text: str) -> None:
    assert unread_letters(text) == ""
