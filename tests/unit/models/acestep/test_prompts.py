"""The literal texts, and how they end as tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.text.prompts import (
    Metas,
    PromptTokenizer,
    caption_prompt,
    lyric_prompt,
    stems_caption,
)
from support.tokenizer import byte_tokenizer, write_tokenizer

END = 256  # <|endoftext|> of the small tokenizer; 151643 of the released one
NEWLINE = byte_tokenizer().encode("\n").ids[0]  # 198 of the released one
FULL = Metas(120, "4", "C major", 95.7)
EMPTY = Metas(None, None, None, None)


def test_the_caption_branch() -> None:
    assert caption_prompt("Do it:", "bossa nova", FULL) == (
        "# Instruction\nDo it:\n\n# Caption\nbossa nova\n\n# Metas\n"
        "- bpm: 120\n- timesignature: 4\n- keyscale: C major\n- duration: 95 seconds\n"
        "<|endoftext|>\n"
    )


def test_what_is_not_known_is_said_so() -> None:
    assert EMPTY.text() == (
        "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 30 seconds\n"
    )
    assert "- duration: 0 seconds\n" in Metas(None, None, None, 0.9).text()


def test_an_instruction_ends_in_a_colon() -> None:
    with_colon, without = (caption_prompt(s, "x", FULL) for s in ("Do it:", "Do it"))
    assert with_colon == without


def test_a_caption_that_is_a_prompt_gives_up_its_middle() -> None:
    inner = caption_prompt("Old:", "one\n\ntwo", FULL)
    assert caption_prompt("New:", inner, EMPTY) == caption_prompt("New:", "one\n\ntwo", EMPTY)
    about = "a song about # Caption marks"
    assert f"# Caption\n{about}\n\n" in caption_prompt("New:", about, EMPTY)


def test_the_lyric_branch() -> None:
    assert lyric_prompt("en", "[Verse]\nhello\n") == (
        "# Languages\nen\n\n# Lyric\n[Verse]\nhello\n<|endoftext|>"
    )


def test_the_caption_of_stems() -> None:
    assert stems_caption("loud drums", "a rock song", "Do:", True) == (
        "Global: a rock song\nLocal: loud drums\nMask Control: true"
    )
    assert stems_caption("loud drums", "a rock song", "Do:", False).endswith("Control: false")
    assert stems_caption("loud drums", "a rock song", "Change a segment:", True) == (
        "Local: loud drums\nMask Control: true"
    )


MARKS = ("<|endoftext|>", "<|im_end|>", "<|im_start|>")


@pytest.mark.parametrize("mark", MARKS)
def test_marks_that_people_write_are_text(mark: str, tokenizer: PromptTokenizer) -> None:
    """Their ids are those of the same letters, and the prompt's own ending is where it was."""
    said = f"la {mark} 海\n< {mark}{mark}"
    letters = list(said.encode())
    prompt = lyric_prompt("en", said)
    lyrics = tokenizer.lyrics(prompt)
    assert lyrics[-2:] == [END, END] and not any(number >= END for number in lyrics[:-2])
    assert tokenizer.text(lyrics[:-2]) == f"# Languages\nen\n\n# Lyric\n{said}"
    assert len(lyrics) == len(tokenizer.lyrics(lyric_prompt("en", ""))) + len(letters)
    spans = tokenizer.lyric_spans(prompt)
    at = prompt.index("la ")
    assert spans[at : at + 4] == [(at + n, at + n + 1) for n in range(4)] and len(spans) == len(
        lyrics
    )
    assert spans[-2:] == [(len(prompt) - len(MARKS[0]), len(prompt)), (0, 0)]
    for field in ("instruction", "caption"):
        words = {"instruction": "Do:", "caption": "x"} | {field: said}
        caption = tokenizer.caption(caption_prompt(**words, metas=EMPTY))
        assert caption[-3:] == [END, NEWLINE, END] and caption.count(END) == 2
        assert said in tokenizer.text(caption)


def test_ordinary_text_has_the_ids_of_the_tokenizer(tokenizer: PromptTokenizer) -> None:
    for said in ("la la", "I <3 you", "a < b > c", "<b>bold</b>", "<|", "|>", "<|im_end|"):
        whole = f"# Languages\nen\n\n# Lyric\n{said}<|endoftext|>"
        assert tokenizer.lyrics(lyric_prompt("en", said)) == byte_tokenizer().encode(whole).ids


@pytest.fixture
def tokenizer(tmp_path: Path) -> PromptTokenizer:
    write_tokenizer(tmp_path)
    return PromptTokenizer.open(tmp_path)


def test_every_sequence_ends_with_the_appended_id(tokenizer: PromptTokenizer) -> None:
    """Captions end …151643, 198, 151643 and lyrics …151643, 151643 with the released ids."""
    caption = tokenizer.caption(caption_prompt("Do:", "x", FULL))
    assert caption[-3:] == [END, NEWLINE, END] and caption.count(END) == 2
    lyrics = tokenizer.lyrics(lyric_prompt("en", "la"))
    assert lyrics[-2:] == [END, END] and lyrics.count(END) == 2


def test_what_is_too_long_keeps_its_beginning_and_its_last_id(tokenizer: PromptTokenizer) -> None:
    prompt = caption_prompt("Do:", "x" * 400, FULL)
    whole = byte_tokenizer().encode(prompt).ids
    caption = tokenizer.caption(prompt)
    assert (len(whole) > 400, len(caption)) == (True, 256)
    assert caption == [*whole[:255], END] and END not in caption[:-1]
    prompt = lyric_prompt("en", "y" * 3000)
    lyrics = tokenizer.lyrics(prompt)
    assert lyrics == [*byte_tokenizer().encode(prompt).ids[:2047], END]


def test_exactly_at_the_limit_nothing_is_cut() -> None:
    @dataclass
    class Encoding:
        ids: list[int]

    class Encoder:
        def encode(self, sequence: str) -> Encoding:
            return Encoding(list(range(len(sequence))))

        def get_added_tokens_decoder(self) -> dict[int, object]:
            return {}

    tokenizer = PromptTokenizer(Encoder())
    assert tokenizer.caption("x" * 256) == list(range(256))
    assert tokenizer.caption("x" * 257) == [*range(255), 256]
    assert tokenizer.lyrics("x" * 2048) == list(range(2048))
    assert tokenizer.lyrics("x" * 2049) == [*range(2047), 2048]


def test_limits_that_a_file_brings_are_not_ours(tmp_path: Path) -> None:
    own = byte_tokenizer()
    own.enable_truncation(16)
    own.enable_padding(length=64)
    own.save(str(tmp_path / "tokenizer.json"))
    tokenizer = PromptTokenizer.open(tmp_path)
    assert tokenizer.lyrics("a" * 40) == byte_tokenizer().encode("a" * 40).ids
    assert len(tokenizer.lyrics("a")) == 2


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match=r"tokenizer\.json: not there"):
        PromptTokenizer.open(tmp_path)
    for torn in ("{", '{"version": "1.0"}', "[1]"):
        (tmp_path / "tokenizer.json").write_text(torn)
        with pytest.raises(InvalidCheckpoint, match=r"tokenizer\.json: "):
            PromptTokenizer.open(tmp_path)
