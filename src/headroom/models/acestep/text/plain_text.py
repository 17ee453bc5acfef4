"""Makes every tokenizer read user text as plain text, even if it spells special tokens. No torch.

A tokenizer recognises special tokens (`<|im_end|>`, `<|audio_code_5|>`, `<think>`) anywhere in a
prompt. The prompts here have special tokens of their own around the user's text; that text is
therefore inserted through `as_text`, and `PromptReader` recognises a special token only where the
prompt itself has one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

_STAND_IN = "\ufdd0"  # a Unicode noncharacter, which no text contains
_MARK = re.compile(r"(<[^<>]+>)")
Span = tuple[int, int]


def as_text(text: str) -> str:
    """Text in the form that goes into a prompt: of the same length, without special tokens."""
    return text.replace(_STAND_IN, "\ufffd").replace("<", _STAND_IN)


def unescaped(prompt: str) -> str:
    """A prompt, or a part of it, in readable form; of the same length."""
    return prompt.replace(_STAND_IN, "<")


class Encoding(Protocol):
    """The result of a tokenizer."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[Span]: ...


class PromptEncoder(Protocol):
    """The methods of a tokenizer that are needed to read a prompt."""

    def encode(self, sequence: str, /) -> Any: ...

    def token_to_id(self, token: str, /) -> int | None: ...

    def to_str(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Ids, and the characters [start, stop) that each covers; (0, 0) for appended ids."""

    ids: list[int]
    offsets: list[Span]


class PromptReader:
    """Prompts → ids.

    is_mark  whether an id is a special token rather than text
    """

    def __init__(self, tokenizer: PromptEncoder, is_mark: Callable[[int], bool]) -> None:
        self._tokenizer, self._is_mark = tokenizer, is_mark

    def encode(self, prompt: str) -> Encoding:
        """The ids of a prompt: those of the tokenizer itself if no user text looks like a special
        token.
        """
        encoding: Encoding = self._tokenizer.encode(unescaped(prompt))
        parts = _MARK.split(prompt)
        marks = [self._mark(part) for part in parts[1::2]]
        marked = sum(mark is not None for mark in marks)
        if sum(map(self._is_mark, encoding.ids)) == marked + len(self._appended):
            return encoding
        return self._in_parts(parts, marks)

    def _in_parts(self, parts: Sequence[str], marks: Sequence[int | None]) -> TokenizedText:
        """Encode the text between the prompt's own special tokens without recognising others."""
        ids: list[int] = []
        offsets: list[Span] = []
        text, begins, at = "", 0, 0

        def read() -> None:
            encoding = self._plain.encode(unescaped(text))
            ids.extend(encoding.ids)
            offsets.extend((begins + a, begins + b) for a, b in encoding.offsets)

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
        return TokenizedText(ids + self._appended, offsets + [(0, 0)] * len(self._appended))

    def _mark(self, part: str) -> int | None:
        token = self._tokenizer.token_to_id(part)
        return token if token is not None and self._is_mark(token) else None

    @cached_property
    def _appended(self) -> list[int]:
        """The ids that the tokenizer appends to every text."""
        return list(self._tokenizer.encode("").ids)

    @cached_property
    def _plain(self) -> Any:
        """The tokenizer without its special tokens, and with nothing appended."""
        from tokenizers import Tokenizer as Library

        definition = json.loads(self._tokenizer.to_str())
        return Library.from_str(
            json.dumps({**definition, "added_tokens": [], "post_processor": None})
        )
