"""Texts become ids as SentencePiece's unigram models make them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from headroom.errors import InvalidCheckpoint
from headroom.models.stepaudio.text.audio_ids import AUDIO_START
from headroom.models.stepaudio.text.pieces_file import BYTE, NORMAL, USER, Pieces, read_pieces
from headroom.models.stepaudio.text.vocabulary import Vocabulary
from support import wire
from support.speech import pieces_as_rows

REAL = "STEPAUDIO_TOKENIZER"  # the path of a folder with the released tokenizer.model


def best_cut(pieces: Pieces, text: str) -> tuple[int, ...]:
    """The definition: of all ways to cut a text into pieces, the one of the highest score."""
    ids = {t: n for n, (t, k) in enumerate(zip(pieces.texts, pieces.kinds, strict=True))
           if k in (NORMAL, USER)}  # fmt: skip
    longest = 12
    unknown = min(s for s, k in zip(pieces.scores, pieces.kinds, strict=True) if k == NORMAL) - 10

    @cache
    def cut(at: int) -> tuple[float, tuple[int, ...]]:
        if at == len(text):
            return 0.0, ()
        ways = []
        for stop in range(at + 1, min(len(text), at + longest) + 1):
            number = ids.get(text[at:stop])
            if number is not None:
                user = pieces.kinds[number] == USER
                score, rest = cut(stop)
                ways.append((score + (1e3 if user else pieces.scores[number]), (number, *rest)))
        if not any(len(pieces.texts[way[1][0]]) == 1 for way in ways):
            raw = [pieces.texts.index(f"<0x{byte:02X}>") for byte in text[at].encode()]
            score, rest = cut(at + 1)
            ways.append((score + unknown, (*raw, *rest)))
        return max(ways)

    return cut(0)[1]


@pytest.mark.parametrize(
    "text",
    [
        "ab",
        "abc",
        "a b  c",
        "hello",
        "abab.c",
        "é",
        "ab\n",
        "日本",
        "<_<|MASK|>>a",
        "",
        " ab ",
        "🎵a",
    ],
)
def test_a_text_is_cut_into_the_most_probable_pieces(words: Vocabulary, text: str) -> None:
    marked = text.replace(" ", "▁")
    assert words.encode(text) == (best_cut(words.pieces, "▁" + marked) if text else ())
    assert words.encode(text, prefix=False) == best_cut(words.pieces, marked)


def test_the_longest_user_defined_piece_wins_and_control_pieces_never_match(
    words: Vocabulary,
) -> None:
    texts = words.pieces.texts
    assert words.encode("<|MASK|>>", prefix=False) == (texts.index("<|MASK|>>"),)
    assert texts.index("<|EOT|>") not in words.encode("<|EOT|>")
    assert texts.index("<0x0A>") not in words.encode("<0x0A>")
    assert words.encode("\n", prefix=False) == (texts.index("<0x0A>"),)


def test_audio_codes_within_a_text_are_single_ids(words: Vocabulary) -> None:
    space = words.pieces.texts.index("▁")
    assert words.encode("<audio_1>") == (space, AUDIO_START + 1)
    assert words.encode("<audio_1><audio_12>", prefix=False) == (AUDIO_START + 1, AUDIO_START + 12)


def test_a_lone_surrogate_is_read_as_a_question_mark(words: Vocabulary) -> None:
    assert words.encode("a\ud800") == words.encode("a?")


def written(tmp_path: Path, rows: Sequence[tuple[str, float, int]], **how: int) -> Path:
    (tmp_path / "tokenizer.model").write_bytes(wire.pieces_model(rows, **how))
    return tmp_path


def test_the_file_is_read_and_its_ids_are_checked(tmp_path: Path) -> None:
    rows = pieces_as_rows()
    folder = written(tmp_path, rows)
    pieces = read_pieces(folder)
    assert pieces.texts == tuple(row[0] for row in rows)
    assert pieces.kinds == tuple(row[2] for row in rows)
    assert pieces.scores == pytest.approx([row[1] for row in rows])
    assert Vocabulary.open(folder, len(rows)).encode("ab") == Vocabulary(pieces).encode("ab")
    with pytest.raises(InvalidCheckpoint, match=r"70656 pieces, and vocab_size .* is 70655"):
        Vocabulary.open(folder, len(rows) - 1)
    with pytest.raises(InvalidCheckpoint, match=r"id 3 is not <\|EOT\|>"):
        Vocabulary.open(written(tmp_path, (*rows[:3], rows[4], rows[3], *rows[5:])), len(rows))
    with pytest.raises(InvalidCheckpoint, match="id 65536 is not <audio_0>"):
        Vocabulary.open(written(tmp_path, rows[:300]), len(rows))


def test_what_is_no_such_model_is_refused(tmp_path: Path) -> None:
    rows = [row for row in pieces_as_rows() if row[2] != NORMAL][:300]
    assert read_pieces(written(tmp_path, rows)).kinds.count(BYTE) == 256
    with pytest.raises(InvalidCheckpoint, match="no unigram model"):
        read_pieces(written(tmp_path, rows, kind=2))
    with pytest.raises(InvalidCheckpoint, match="256 pieces for bytes"):
        read_pieces(written(tmp_path, rows[:40]))
    with pytest.raises(InvalidCheckpoint, match="there twice"):
        read_pieces(written(tmp_path, [*rows, rows[-1]]))
    whole = (tmp_path / "tokenizer.model").read_bytes()
    for data, why in ((whole[:-3], "ends behind"), (b"", "it lacks pieces"), (b"x" * 9, "")):
        (tmp_path / "tokenizer.model").write_bytes(data)
        with pytest.raises(InvalidCheckpoint, match=f"tokenizer.model: .*{why}"):
            read_pieces(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(InvalidCheckpoint, match="not there"):
        read_pieces(tmp_path)


@pytest.fixture(scope="module")
def real() -> Vocabulary:
    folder = os.environ.get(REAL)
    if folder is None:
        pytest.skip(f"{REAL} names no folder with the released tokenizer.model")
    return Vocabulary.open(Path(folder), 74_752)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("system\n", (2323, 78)),
        ("human\n", (4623, 78)),
        ("assistant\n", (15886, 78)),
        ("\n", (324, 78)),
        ("[Laughter]", (877, 766, 37168, 422)),
        ("[Sichuanese]", (877, 459, 5986, 5009, 5851, 422)),
        ("<audio_1>", (324, 65537)),
    ],
)
def test_the_released_vocabulary_gives_the_known_ids(
    real: Vocabulary, text: str, ids: tuple[int, ...]
) -> None:
    assert real.encode(text) == ids
