"""Text that a person wrote is text to every tokenizer, whatever it looks like. No torch.

A tokenizer reads its marks (`<|im_end|>`, `<|audio_code_5|>`, `<think>`) anywhere in a prompt. The
prompts here are written around what people wrote, with marks of their own; so text of people goes
into them through `as_text`, and `Reader` reads a mark only where the prompt itself has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

_STAND_IN = "\ufdd0"  # a noncharacter of Unicode: no text has it
_MARK = re.compile(r"(<[^<>]+>)")
Span = tuple[int, int]


def as_text(text: str) -> str:
    """Text as it goes into a prompt: of the same length, and no mark in it."""
    return text.replace(_STAND_IN, "\ufffd").replace("<", _STAND_IN)


def shown(prompt: str) -> str:
    """A prompt, or a part of it, as people read it; of the same length."""
    return prompt.replace(_STAND_IN, "<")


class Encoding(Protocol):
    """What a tokenizer answers."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[Span]: ...


class Tokenizer(Protocol):
    """What is used of a tokenizer to read a prompt."""

    def encode(self, sequence: str, /) -> Any: ...

    def token_to_id(self, token: str, /) -> int | None: ...

    def to_str(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids, and the characters [start, stop) each stands for; (0, 0) for what was appended."""

    ids: list[int]
    offsets: list[Span]


class Reader:
    """Prompts → ids.

    is_mark  whether an id is a mark and no piece of text
    """

    def __init__(self, tokenizer: Tokenizer, is_mark: Callable[[int], bool]) -> None:
        self._tokenizer, self._is_mark = tokenizer, is_mark

    def encode(self, prompt: str) -> Encoding:
        """The ids of a prompt. Where no text looks like a mark, they are those of the tokenizer."""
        found: Encoding = self._tokenizer.encode(shown(prompt))
        parts = _MARK.split(prompt)
        marks = [self._mark(part) for part in parts[1::2]]
        own = sum(mark is not None for mark in marks)
        if sum(map(self._is_mark, found.ids)) == own + len(self._appended):
            return found
        return self._in_parts(parts, marks)

    def _in_parts(self, parts: Sequence[str], marks: Sequence[int | None]) -> Encoded:
        """Text between the prompt's own marks by the tokenizer without marks."""
        ids: list[int] = []
        offsets: list[Span] = []
        text, begins, at = "", 0, 0

        def read() -> None:
            known = self._plain.encode(shown(text))
            ids.extend(known.ids)
            offsets.extend((begins + a, begins + b) for a, b in known.offsets)

        for number, part in enumerate(parts):
            mark = marks[number // 2] if number % 2 else None
            if mark is None:
                text += part
            else:
                read()
                ids.append(mark)
                offsets.append((at, at + len(part)))
                text, begins = "", at + len(part)
            at += len(part)
        read()
        return Encoded(ids + self._appended, offsets + [(0, 0)] * len(self._appended))

    def _mark(self, part: str) -> int | None:
        known = self._tokenizer.token_to_id(part)
        return known if known is not None and self._is_mark(known) else None

    @cached_property
    def _appended(self) -> list[int]:
        """What the tokenizer puts behind every text."""
        return list(self._tokenizer.encode("").ids)

    @cached_property
    def _plain(self) -> Any:
        """The tokenizer without its marks, and with nothing appended."""
        from tokenizers import Tokenizer as Library

        told = json.loads(self._tokenizer.to_str())
        return Library.from_str(json.dumps({**told, "added_tokens": [], "post_processor": None}))
