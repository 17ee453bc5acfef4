"""The vocabulary of the planner language model: text, special tokens and audio codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.text.codes_text import CODEBOOK
from headroom.models.acestep.text.lm_prompts import END, PAD, START, THINK, THOUGHT
from headroom.models.acestep.text.plain_text import Encoding, PromptReader, as_text
from headroom.models.acestep.text.tokenizer_file import open_tokenizer

CODE = "<|audio_code_{}|>"
Marks = npt.NDArray[np.bool_]


class LMTokenizer(Protocol):
    """The methods of a tokenizer that are used here."""

    def encode(self, sequence: str, /) -> Encoding: ...

    def encode_batch(self, input: Sequence[str], /) -> Sequence[Encoding]: ...

    def decode(self, ids: Sequence[int], /, skip_special_tokens: bool = True) -> str: ...

    def id_to_token(self, id: int, /) -> str | None: ...

    def token_to_id(self, token: str, /) -> int | None: ...

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]: ...
    def to_str(self) -> str: ...

    def get_vocab_size(self, with_added_tokens: bool = True) -> int: ...


@dataclass(frozen=True)
class LMVocabulary:
    """Text to ids and back. Audio codes are the last run of the vocabulary.

    end, think, thought  ids of special tokens
    first_mark           the first id of a special token; all lower ids are text
    codes                the run of ids of the codes that have a meaning
    """

    tokenizer: LMTokenizer
    end: int
    think: int
    thought: int
    first_mark: int
    codes: slice

    @classmethod
    def of(
        cls, tokenizer: LMTokenizer, codebook: int = CODEBOOK, where: str | Path = ""
    ) -> LMVocabulary:
        """Find the special tokens. Raises InvalidCheckpoint naming those that are missing."""
        names = (END, THINK, THOUGHT, START, PAD, CODE.format(0))
        ids = {name: tokenizer.token_to_id(name) for name in names}
        absent = [f"tokenizer.json: {name} is not in it" for name, at in ids.items() if at is None]
        if absent:
            raise InvalidCheckpoint(where, absent)
        present = {name: at for name, at in ids.items() if at is not None}
        first = present[CODE.format(0)]
        count = min(codebook, tokenizer.get_vocab_size() - first)
        if count < 1 or tokenizer.token_to_id(CODE.format(count - 1)) != first + count - 1:
            raise InvalidCheckpoint(where, ["tokenizer.json: its audio codes are not one run"])
        marks = (present[name] for name in (END, THINK, THOUGHT, START, PAD))
        return cls(
            tokenizer,
            present[END],
            present[THINK],
            present[THOUGHT],
            min(marks),
            slice(first, first + count),
        )

    @classmethod
    def open(cls, folder: Path, codebook: int = CODEBOOK) -> LMVocabulary:
        """Read tokenizer.json of a model folder. Raises InvalidCheckpoint."""
        return cls.of(open_tokenizer(folder), codebook, folder)

    @property
    def text(self) -> slice:
        """The run of ids that text is drawn from: all ids before the first code."""
        return slice(0, self.codes.start)

    def ids(self, text: str) -> tuple[int, ...]:
        """Text to ids, special tokens and codes included; parts that went through `as_text` stay
        text.
        """
        return tuple(self._reader.encode(text).ids)

    def ids_of(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of many texts, encoded in one batch."""
        return [tuple(encoding.ids) for encoding in self.tokenizer.encode_batch(list(texts))]

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, with special tokens and codes spelled out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    def spell_codes(self, codes: Sequence[int]) -> str:
        """Codes, numbered from 0, as prompts spell them."""
        return "".join(CODE.format(code) for code in codes)

    def written(self, ids: Sequence[int]) -> str:
        """Ids to text as prompts hold it: special tokens are spelled out, and text that only looks
        like one is escaped as by `as_text`.
        """
        text = ""
        for is_mark, run in groupby(ids, lambda number: number >= self.first_mark):
            part = self.decode(list(run))
            text += part if is_mark else as_text(part)
        return text

    @cached_property
    def _reader(self) -> PromptReader:
        return PromptReader(self.tokenizer, lambda number: number >= self.first_mark)

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes of every text id; empty for special tokens."""
        values = _bytes_of_letters()
        pieces = []
        for token in map(self.tokenizer.id_to_token, range(self.first_mark)):
            letters = token or ""
            pieces.append(bytes(values[c] for c in letters if c in values))
        return tuple(pieces)

    @cached_property
    def plain(self) -> Marks:
        """[first_mark]: text without line breaks or other control characters."""
        return np.array([bool(p) and _is_plain(p) for p in self.pieces])

    @cached_property
    def begins(self) -> Marks:
        """[first_mark]: one space, followed by something other than a space."""
        starts = (len(p) > 1 and p[:1] == b" " and p[1:2] != b" " for p in self.pieces)
        return np.array(list(starts)) & self.plain

    @cached_property
    def behind_space(self) -> Marks:
        """[first_mark]: what may follow a space that is a token of its own: digits, which never
        share a token with it, and characters beyond ASCII that have no token with a leading space;
        in a vocabulary that never joins a space to a word, everything but spaces.
        """
        if self.begins.any():
            pieces = frozenset(self.pieces)
            letter = (p >= b"\xc2" and b" " + p not in pieces for p in self.pieces)
            digit = (p[:1].isdigit() for p in self.pieces)
            marks: Marks = (np.array(list(letter)) | np.array(list(digit))) & self.plain
            return marks
        return np.array([p[:1] not in (b" ", b"") for p in self.pieces]) & self.plain

    @cached_property
    def ends_line(self) -> Marks:
        """[first_mark]: text that ends with its only line break, and has no other control
        characters.
        """
        marks = []
        for p in self.pieces:
            before = p[:-1]
            marks.append(p[-1:] == b"\n" and _is_plain(before) and not before.endswith(b" "))
        return np.array(marks)

    @cached_property
    def newline(self) -> int:
        """The id of a lone line break."""
        return self.pieces.index(b"\n")

    @cached_property
    def space(self) -> int:
        """The id of a lone space."""
        return self.pieces.index(b" ")


def _is_plain(piece: bytes) -> bool:
    """Whether it has no control characters, and no backtick, which training texts do not have."""
    return all(byte >= 32 and byte not in (96, 127) for byte in piece)


def _bytes_of_letters() -> dict[str, int]:
    """The character a byte-level tokenizer uses for each byte (Radford et al., GPT-2, 2019): the
    byte's own if it is printable, else the next one from 256 on.
    """
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    values = {chr(byte): byte for byte in printed}
    others = (byte for byte in range(256) if byte not in set(printed))
    values |= {chr(256 + number): byte for number, byte in enumerate(others)}
    return values
