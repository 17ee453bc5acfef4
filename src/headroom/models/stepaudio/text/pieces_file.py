"""Read `tokenizer.model`, a SentencePiece unigram model, without SentencePiece. No torch.

Source: SentencePiece, `sentencepiece_model.proto`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headroom.errors import InvalidCheckpoint, InvalidFile
from headroom.files import read_bytes
from headroom.units import MIB
from headroom.weights.protobuf import BYTES, FIXED32, VARINT, Field, TornMessage, fields

NAME = "tokenizer.model"
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # kinds of pieces
_LARGEST = 16 * MIB
_MOST_PIECES = 1 << 20
_PIECE, _TRAINER, _NORMALISER = 1, 2, 3  # fields of a model
_TEXT, _SCORE, _KIND = 1, 2, 3  # fields of a piece
_UNIGRAM, _MODEL_KIND, _BYTE_FALLBACK = 1, 3, 35  # of the trainer
_RULES, _PREFIX, _STRIP, _ESCAPE = 2, 3, 4, 5  # of the normaliser


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a unigram model, by id: their texts, log probabilities and kinds."""

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    kinds: tuple[int, ...]

    def of_kind(self, kind: int) -> Iterator[int]:
        """The ids of one kind of pieces."""
        return (number for number, k in enumerate(self.kinds) if k == kind)


def read_pieces(folder: Path) -> Pieces:
    """The pieces in a model folder. Raises InvalidCheckpoint, also for a model of another kind."""
    try:
        data = read_bytes(folder / NAME, _LARGEST)
        return _parse(data)
    except InvalidFile as error:
        raise _fault(folder, "not there" if error.missing else error.why) from error
    except TornMessage as error:
        raise _fault(folder, f"is no tokenizer model that can be read: {error}") from error


def _parse(data: bytes) -> Pieces:
    texts, scores, kinds = list[str](), list[float](), list[int]()
    seen = 0
    for field in fields(data, 0, len(data)):
        if field.kind != BYTES:
            continue
        if field.number == _PIECE:
            text, score, kind = _piece(data, field)
            texts.append(text)
            scores.append(score)
            kinds.append(kind)
            if len(texts) > _MOST_PIECES:
                raise TornMessage(f"it has more than {_MOST_PIECES} pieces")
        elif field.number == _TRAINER:
            seen |= 1
            _check_trainer(data, field)
        elif field.number == _NORMALISER:
            seen |= 2
            _check_normaliser(data, field)
    if seen != 3 or not texts:
        raise TornMessage("it lacks pieces, a trainer or a normaliser")
    if kinds.count(BYTE) != 256 or kinds.count(UNKNOWN) != 1:
        raise TornMessage("256 pieces for bytes and one for unknown text are needed")
    if len(set(texts)) != len(texts):
        raise TornMessage("a piece is there twice")
    return Pieces(tuple(texts), tuple(scores), tuple(kinds))


def _piece(data: bytes, span: Field) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    for field in fields(data, span.start, span.stop):
        if field.number == _TEXT and field.kind == BYTES:
            text = field.text(data)
        elif field.number == _SCORE and field.kind == FIXED32:
            score = field.decimal
        elif field.number == _KIND and field.kind == VARINT:
            kind = field.value
    if not text or not math.isfinite(score) or not NORMAL <= kind <= BYTE:
        raise TornMessage(f"a piece {text!r} has the score {score} and the kind {kind}")
    return text, score, kind


def _check_trainer(data: bytes, span: Field) -> None:
    values = {f.number: f.value for f in fields(data, span.start, span.stop) if f.kind == VARINT}
    if values.get(_MODEL_KIND, _UNIGRAM) != _UNIGRAM or not values.get(_BYTE_FALLBACK, 0):
        raise TornMessage("it is no unigram model that writes unknown text as bytes")


def _check_normaliser(data: bytes, span: Field) -> None:
    """Refuse a model that changes texts: the released one only marks spaces."""
    flags = {_PREFIX: 1, _STRIP: 1, _ESCAPE: 1}
    for field in fields(data, span.start, span.stop):
        if field.number == _RULES and field.stop > field.start:
            raise TornMessage("it has rules that replace characters")
        if field.number in flags and field.kind == VARINT:
            flags[field.number] = field.value
    if flags != {_PREFIX: 1, _STRIP: 0, _ESCAPE: 1}:
        raise TornMessage("it does not read texts as they are, with a space in front")


def _fault(folder: Path, why: str) -> InvalidCheckpoint:
    return InvalidCheckpoint(folder, [f"{NAME}: {why}"])
