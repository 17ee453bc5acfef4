"""The vocabulary of the planner language model: its marks, its codes, and what its pieces are."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.scoring import ScoreTask
from headroom.models.acestep.language.sheet import Sheet, read_sheet
from headroom.models.acestep.language.sheet_grammar import SheetGrammar, SheetWords
from headroom.models.acestep.text import lm_prompts
from headroom.models.acestep.text.codes_text import CODEBOOK
from headroom.models.acestep.text.plain_text import unescaped
from headroom.models.acestep.text.tokenizer_file import open_tokenizer
from headroom.models.acestep.text.vocabulary import LANGUAGES
from headroom.settings import LMPrompt
from support.lm_tokenizer import CODES, OTHERS, SPECIAL, VALID, lm_tokenizer
from support.real_words import BEGINNINGS, real_tokenizer
from support.tokenizer import byte_tokenizer

SMALL = LMVocabulary.of(lm_tokenizer(), VALID)


@pytest.fixture(scope="module")
def real() -> LMVocabulary:
    return LMVocabulary.of(real_tokenizer())


def test_marks_and_codes_lie_where_the_released_vocabulary_has_them(real: LMVocabulary) -> None:
    assert (real.end, real.think, real.thought) == (151_645, 151_667, 151_668)
    assert real.first_mark == 151_643
    assert real.text == slice(0, 151_669)
    assert real.codes == slice(151_669, 215_669)  # and 1,535 rows behind it that mean nothing
    assert CODEBOOK == 64_000 and real.tokenizer.get_vocab_size() == 217_204
    marks = [*(f"<|{word}|>" for word in SPECIAL), *OTHERS]
    assert [real.tokenizer.token_to_id(mark) for mark in marks] == list(range(151_643, 151_669))
    assert real.ids("<|endoftext|><|im_start|><|im_end|>") == (151_643, 151_644, 151_645)


def test_single_pieces_have_their_ids(real: LMVocabulary) -> None:
    assert real.ids("0123456789") == tuple(range(15, 25))  # every digit is one of its own
    singles = {"\n": 198, "\n\n": 271, " ": 220, ".": 13, ":": 25, ",": 11, "`": 63, ".\n": 624}
    assert {text: real.ids(text) for text in singles} == {t: (n,) for t, n in singles.items()}
    assert (real.newline, real.space) == (198, 220)


def test_a_language_is_one_token_behind_the_space_but_for_one(real: LMVocabulary) -> None:
    counts = {code: len(real.ids(f"language: {code}")) - 2 for code in LANGUAGES}
    assert len(counts) == 51
    assert {code: count for code, count in counts.items() if count != 1} == {"yue": 2}


def test_codes_are_numbers_behind_the_first(real: LMVocabulary) -> None:
    numbers = (0, 1, 66, 517, 63_999)
    text = real.spell_codes(numbers)
    assert text == "".join(f"<|audio_code_{n}|>" for n in numbers)
    assert real.ids(text) == tuple(151_669 + n for n in numbers)
    assert real.decode(real.ids(text)) == text


def test_a_small_vocabulary_is_read_from_its_own_file(tmp_path: Path) -> None:
    lm_tokenizer().save(str(tmp_path / "tokenizer.json"))
    words = LMVocabulary.open(tmp_path, VALID)
    first = words.tokenizer.token_to_id("<|audio_code_0|>")
    assert first == words.thought + 1 == SMALL.codes.start
    assert words.codes == slice(first, first + VALID) == SMALL.codes
    assert LMVocabulary.open(tmp_path).codes == slice(first, first + CODES)
    text = "<think>\nbpm: 90\n</think>\n\n<|audio_code_5|><|im_end|> 夜 🎹\t`"
    assert words.decode(words.ids(text)) == text
    assert words.ids("</think>\n\n")[1:] == words.ids("\n\n") and len(words.ids("\n\n")) == 1


EVERY_MARK = (
    *(f"<|{word}|>" for word in SPECIAL),
    *OTHERS,
    "<|audio_code_5|>",
    "<|audio_code_66|>",
)


@pytest.mark.parametrize("mark", EVERY_MARK)
def test_marks_that_people_write_are_text(mark: str) -> None:
    """In every prompt: none but the prompt's own marks are read, and the letters come back."""
    said = f"la {mark}{mark} 夜\n{mark[:-1]}"
    layouts: dict[LMPrompt, int] = {"current": 7, "legacy": 7, "closed": 8}
    against = {lm_prompts.against(said, said, said, one): own for one, own in layouts.items()}
    prompts = {
        lm_prompts.generating_prompt(said, said): 5,
        lm_prompts.away_from(said): 7,
        **against,
        lm_prompts.inspiring_prompt(said, True): 5,
        lm_prompts.formatting_prompt(said, said, ""): 5,
        lm_prompts.thought(Sheet(caption=said).text()): 2,
        ScoreTask("", Sheet(caption=said), "").targets()["caption"]: 2,
        ScoreTask("", Sheet(), said).targets()["lyrics"]: 2,
    }
    for prompt, own in prompts.items():
        ids = SMALL.ids(prompt)
        assert sum(number >= SMALL.first_mark for number in ids) == own, prompt
        assert SMALL.decode(ids) == unescaped(prompt)
        assert SMALL.written(ids) == prompt
    codes = lm_prompts.understanding_prompt("<|audio_code_5|><|audio_code_6|>")
    assert sum(number >= SMALL.codes.start for number in SMALL.ids(codes)) == 2


def test_a_caption_that_spells_a_mark_is_forced_as_text_and_read_back() -> None:
    given = Sheet(caption="a </think> <|audio_code_5|> song", bpm=90)
    grammar = SheetGrammar(SheetWords(SMALL), (), given, 600, closes=True, sings=False)
    ids = grammar.forced()
    assert [number for number in ids if number >= SMALL.first_mark] == [SMALL.think, SMALL.thought]
    assert read_sheet(SMALL.written(ids)) == given


def test_ordinary_text_has_the_ids_of_the_tokenizer(real: LMVocabulary) -> None:
    for said in ("la la", "I <3 you", "a < b > c", "<b>bold</b>", "<|", "夜 <|im_end|", "e\u0301"):
        for words in (SMALL, real):
            whole = words.tokenizer.encode(f"<think>\n{said}\n</think>\n\n").ids
            assert words.ids(lm_prompts.thought(said)) == tuple(whole)


def test_a_tokenizer_that_cuts_and_fills_is_told_not_to(tmp_path: Path) -> None:
    tokenizer = lm_tokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=20)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = "caption: a song of the sea"
    assert LMVocabulary.open(tmp_path, VALID).ids(text) == SMALL.ids(text)


@pytest.mark.parametrize(
    "mark", ["<think>", "</think>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "audio_code_0|"]
)
def test_a_mark_that_is_not_there_is_named(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    lm_tokenizer().save(str(path))
    told = json.loads(path.read_text("utf-8"))
    for token in told["added_tokens"]:
        token["content"] = token["content"].replace(mark, "<gone>")
    path.write_text(json.dumps(told), "utf-8")
    with pytest.raises(InvalidCheckpoint, match=mark.replace("|", r"\|")):
        LMVocabulary.open(tmp_path, VALID)


def test_codes_that_are_not_one_run_are_refused() -> None:
    tokenizer = lm_tokenizer(0)
    numbers = [*range(20), *range(21, VALID + 1), 20]
    tokenizer.add_tokens([f"<|audio_code_{n}|>" for n in numbers])
    with pytest.raises(InvalidCheckpoint, match="not one run"):
        LMVocabulary.of(tokenizer, VALID)


def test_a_file_that_the_library_stumbles_over_is_refused(tmp_path: Path) -> None:
    """It panics, which is no Exception, over a mark that its template does not explain."""
    tokenizer = byte_tokenizer()
    told = json.loads(tokenizer.to_str())
    told["post_processor"]["special_tokens"] = {}
    (tmp_path / "tokenizer.json").write_text(json.dumps(told), "utf-8")
    with pytest.raises(InvalidCheckpoint, match=r"tokenizer\.json: is no tokenizer"):
        open_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1\\n\\u001b"}', "utf-8")
    with pytest.raises(InvalidCheckpoint) as caught:
        open_tokenizer(tmp_path)
    assert str(caught.value).isprintable()


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for text in ("", "{", "[1, 2"):
        (tmp_path / "tokenizer.json").write_text(text, "utf-8")
        with pytest.raises(InvalidCheckpoint, match=r"tokenizer\.json"):
            LMVocabulary.open(tmp_path)
    with pytest.raises(InvalidCheckpoint, match=r"tokenizer\.json"):
        LMVocabulary.open(tmp_path / "nowhere")


@pytest.mark.parametrize("which", ["small", "real"])
def test_pieces_are_the_bytes_they_are_decoded_to(which: str, real: LMVocabulary) -> None:
    words = real if which == "real" else SMALL
    seen = 0
    for number, piece in enumerate(words.pieces):
        if not piece:
            continue  # a number the stored vocabulary leaves out
        seen += 1
        if piece.isascii():
            assert words.decode([number]).encode() == piece
        assert words.plain[number] == all(b >= 32 and b not in b"`\x7f" for b in piece)
        assert words.begins[number] == (
            len(piece) > 1 and piece[:1] == b" " and piece[1:2] != b" " and words.plain[number]
        )
        line = piece[-1:] == b"\n" and piece.count(b"\n") == 1 and piece[-2:] != b" \n"
        assert words.ends_line[number] == (line and all(b >= 32 and b != 96 for b in piece[:-1]))
    assert seen > 300
    assert b"".join(words.pieces[n] for n in words.ids("夜 🎹\n")) == "夜 🎹\n".encode()


def test_free_text_can_begin_with_any_letter(real: LMVocabulary) -> None:
    """A space and a letter are one token, or the space is its own: `begins` and `behind_space`."""
    apart = 0
    for letter in BEGINNINGS:
        first, *rest = real.ids(f"caption: {letter}")[2:]
        if first == real.space:
            apart += 1
            assert real.behind_space[rest[0]], (letter, unicodedata.name(letter))
        else:
            assert real.begins[first], (letter, unicodedata.name(letter))
    assert apart >= 2  # a digit, and the hiragana
    # What a space is one token with does not stand behind a space.
    known = set(real.pieces)
    for number, piece in enumerate(real.pieces):
        if real.behind_space[number]:
            assert b" " + piece not in known and not piece[:1].isspace()


def test_a_vocabulary_of_bytes_begins_with_a_space_alone() -> None:
    bytes_only = LMVocabulary.of(lm_tokenizer(2, learnt=""), 2)
    assert not bytes_only.begins.any()
    assert bytes_only.behind_space.sum() == bytes_only.plain.sum() - 1  # all but the space
