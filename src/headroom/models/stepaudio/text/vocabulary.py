"""From text to ids as SentencePiece's unigram models do it. No torch.

A space is put in front of a text and every space becomes `▁`. User-defined pieces are matched
first, the longest one; the text between them is cut into the pieces of the highest total
probability (Kudo, 2018), and characters without a piece are written as bytes. Pieces for control,
such as `<|EOT|>`, are never matched in a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headroom.errors import InvalidCheckpoint
from headroom.models.stepaudio.text.audio_ids import AUDIO_START, USED_CODES, piece_of
from headroom.models.stepaudio.text.pieces_file import (
    BYTE,
    NAME,
    NORMAL,
    UNKNOWN,
    USER,
    Pieces,
    read_pieces,
)

if TYPE_CHECKING:
    from tokenizers.models import Unigram

BOS, EOT, BOT = 1, 3, 4
SPACE = "▁"
_CONTROL = {BOS: "<s>", EOT: "<|EOT|>", BOT: "<|BOT|>"}


class Vocabulary:
    """Pieces as an encoder of texts."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self._user = {pieces.texts[number]: number for number in pieces.of_kind(USER)}
        self._lengths = sorted({len(text) for text in self._user}, reverse=True)
        self._first = {text[0] for text in self._user}
        self._bytes = tuple(sorted(pieces.of_kind(BYTE), key=lambda n: pieces.texts[n]))

    @classmethod
    def open(cls, folder: Path, rows: int) -> Vocabulary:
        """The vocabulary in a model folder, checked against the rows of its network and against
        the ids that prompts are made of. Raises InvalidCheckpoint."""
        pieces = read_pieces(folder)
        count = len(pieces.texts)
        faults = []
        if count > rows:
            faults.append(f"{count} pieces, and vocab_size in config.json is {rows}")
        for number, text in _CONTROL.items():
            if count <= number or pieces.texts[number] != text:
                faults.append(f"id {number} is not {text}")
        for code in (0, USED_CODES - 1):
            number = AUDIO_START + code
            if count <= number or pieces.texts[number] != piece_of(code):
                faults.append(f"id {number} is not {piece_of(code)}")
        if faults:
            raise InvalidCheckpoint(folder, [f"{NAME}: {fault}" for fault in faults])
        return cls(pieces)

    def encode(self, text: str, prefix: bool = True) -> tuple[int, ...]:
        """The ids of a text; `prefix`: with a space in front of it. Nothing for an empty text.

        Surrogates without a partner, which no UTF-8 has, are read as `?`.
        """
        if not text:
            return ()
        text = text.encode("utf-8", "replace").decode("utf-8").replace(" ", SPACE)
        if prefix:
            text = SPACE + text
        ids = list[int]()
        for part in self._split(text):
            ids += [part] if isinstance(part, int) else self._cut(part)
        return tuple(ids)

    def _split(self, text: str) -> Iterator[int | str]:
        """The ids of user-defined pieces in a text, and the texts between them."""
        begun = at = 0
        while at < len(text):
            number = self._user_piece(text, at) if text[at] in self._first else None
            if number is None:
                at += 1
                continue
            if begun < at:
                yield text[begun:at]
            yield number
            at += len(self.pieces.texts[number])
            begun = at
        if begun < len(text):
            yield text[begun:]

    def _user_piece(self, text: str, at: int) -> int | None:
        found = (self._user.get(text[at : at + length]) for length in self._lengths)
        return next((number for number in found if number is not None), None)

    def _cut(self, text: str) -> Iterator[int]:
        for token in self._unigram.tokenize(text):
            if token.id != self._unknown:
                yield token.id
                continue
            for byte in token.value.encode("utf-8"):
                yield self._bytes[byte]

    @cached_property
    def _unknown(self) -> int:
        return next(iter(self.pieces.of_kind(UNKNOWN)))

    @cached_property
    def _unigram(self) -> Unigram:
        """The normal pieces. Under the ids of all others stand texts that nothing matches."""
        from tokenizers.models import Unigram

        parts = zip(self.pieces.texts, self.pieces.scores, self.pieces.kinds, strict=True)
        vocabulary = [
            (text, score) if kind == NORMAL else (f"\0{number}", 0.0)
            for number, (text, score, kind) in enumerate(parts)
        ]
        return Unigram(vocabulary, self._unknown, byte_fallback=False)
