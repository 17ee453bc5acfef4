"""Audio codes as ids: their arithmetic, and the grammar they are written in."""

from __future__ import annotations

import random

import pytest

from headroom.models.stepaudio.language.grammar import LOOK_BACK, WORDS, CodesGrammar
from headroom.models.stepaudio.text.audio_ids import FLOW_ROWS, Codes, codes_of
from headroom.models.stepaudio.text.vocabulary import EOT, Vocabulary

CODES = Codes((0, 1023, 7), (0, 4095, 9, 8))


def test_codes_have_the_published_ids_in_every_place() -> None:
    assert CODES.groups == 1
    assert CODES.seconds == pytest.approx(0.12)
    assert CODES.text == "<audio_0><audio_1023><audio_1024><audio_5119><audio_1033>"
    assert CODES.ids == (65_536, 66_559, 66_560, 70_655, 66_569)
    assert CODES.rows() == ((0, 1025), (1023, 5120), (1024, 1034))
    assert FLOW_ROWS == 5121
    assert codes_of(CODES.ids) == Codes((0, 1023), (0, 4095, 9))


def test_the_text_of_codes_is_read_as_their_ids(words: Vocabulary) -> None:
    assert words.encode(CODES.text, prefix=False) == CODES.ids


@pytest.mark.parametrize("ids", [(65_536,), (66_560,) * 5, (65_536, 65_536, 66_560, 66_560, EOT)])
def test_ids_that_are_no_whole_groups_are_refused(ids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="group"):
        codes_of(ids)


def test_codes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="of 1024"):
        Codes((1024,), ())
    with pytest.raises(ValueError, match="of 4096"):
        Codes((), (-1,))


def test_trap_the_end_is_id_3_and_only_between_groups() -> None:
    grammar = CodesGrammar((1, 4))
    for number in CODES.ids * 2:
        place = len(grammar.written) % 5
        allowed = grammar.allowed().tolist()
        assert (EOT in allowed) == (place == 0 and bool(grammar.written))
        assert 2 not in allowed  # the tokenizer's own name for an end
        audio = [n for n in allowed if n != EOT]
        span = (65_536, 66_560) if place < 2 else (66_560, 70_656)
        assert set(audio) <= set(range(*span)) and len(audio) >= span[1] - span[0] - 1
        assert WORDS.start <= min(allowed) and max(allowed) < WORDS.stop
        grammar.take(number)
    assert not grammar.done
    grammar.take(EOT)
    assert grammar.done and grammar.whole() == CODES.ids * 2


def test_an_unfinished_group_is_left_out() -> None:
    grammar = CodesGrammar(())
    for number in (*CODES.ids, CODES.ids[0]):
        grammar.take(number)
    assert grammar.whole() == CODES.ids


def test_the_last_id_is_banned_if_it_came_twice_within_ten_the_prompt_included() -> None:
    """Against the published rule: a share above 0.1 of the last ten ids."""
    drawn = random.Random(5)
    prompt = [65_536 + drawn.randrange(3) for _ in range(12)]
    grammar = CodesGrammar(prompt)
    history = list(prompt)
    for step in range(200):
        window = history[-LOOK_BACK:]
        banned = window.count(history[-1]) / len(window) > 0.1
        allowed = grammar.allowed().tolist()
        first = 65_536 if step % 5 < 2 else 66_560
        assert (history[-1] in allowed) == (
            not banned and history[-1] >= first and (history[-1] < 66_560) == (first == 65_536)
        )
        token = drawn.choice([n for n in (first, first + 1, first + 2) if n in allowed])
        grammar.take(token)
        history.append(token)


def test_equal_sets_are_the_same_object() -> None:
    grammar = CodesGrammar(())
    first = grammar.allowed()
    for number in CODES.ids:
        grammar.take(number)
    again = grammar.allowed()
    for number in (*CODES.ids[::-1][:0], 65_540, 65_541, 66_600, 66_601, 66_602):
        grammar.take(number)
    assert again is grammar.allowed() and again is not first
