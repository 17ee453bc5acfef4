"""A made vocabulary for Step-Audio-EditX: a few words, all audio ids at their places."""

from __future__ import annotations

from functools import cache

from headroom.models.stepaudio.text.audio_ids import AUDIO_START, USED_CODES, piece_of
from headroom.models.stepaudio.text.pieces_file import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER,
    Pieces,
)

HEAD = ("<unk>", "<s>", "</s>", "<|EOT|>", "<|BOT|>")
WORDS = (
    ("▁", -2.0), ("a", -4.0), ("b", -4.1), ("ab", -5.0), ("▁ab", -5.5), ("c", -4.2), ("abc", -9.9),
    ("h", -4.4), ("e", -3.9), ("l", -4.3), ("o", -4.5), ("▁h", -6.0), ("ll", -6.5), ("<", -7.0),
    ("_", -7.5), ("▁system", -6.1), ("▁human", -6.2), ("▁assistant", -6.3), (".", -3.1),
)  # fmt: skip


@cache
def pieces_as_rows() -> tuple[tuple[str, float, int], ...]:
    """Text, score and kind of every piece, by id."""
    rows = [(HEAD[0], 0.0, UNKNOWN), *((text, 0.0, CONTROL) for text in HEAD[1:])]
    rows += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    rows += [("<|MASK|>", 0.0, USER), ("<|MASK|>>", 0.0, USER)]
    rows += [(text, score, NORMAL) for text, score in WORDS]
    rows += [(f"\ue000{n}", -18.0, NORMAL) for n in range(AUDIO_START - len(rows))]
    rows += [(piece_of(code), 0.0, USER) for code in range(USED_CODES)]
    return tuple(rows)


def made_pieces() -> Pieces:
    texts, scores, kinds = zip(*pieces_as_rows(), strict=True)
    return Pieces(texts, scores, kinds)
