"""The literal prompts ACE-Step 1.5 was trained on, and their token ids. No torch.

Whitespace matters. The tokenizer's own post-processor appends one end-of-text id to every sequence,
in addition to the literal marker in the template; truncation keeps that last id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from headroom.models.acestep.text.plain_text import PromptEncoder, PromptReader, as_text, unescaped
from headroom.models.acestep.text.tokenizer_file import check_ends, check_rows, open_tokenizer

CAPTION_TOKENS = 256  # both limits include the appended id
LYRIC_TOKENS = 2048
END = "<|endoftext|>"
MISSING = "N/A"
INSTRUMENTAL = "[Instrumental]"
_LYRICS = "# Lyric\n"
_LETTER = 4  # most ids of one character: its bytes
T = TypeVar("T")

_FORMATTED = re.compile(r"# Caption\n(.*?)\n\n# Metas\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Metas:
    """What is known of the music; None prints as N/A."""

    bpm: int | None
    timesignature: str | None
    keyscale: str | None
    seconds: float | None

    def text(self) -> str:
        length = "30" if self.seconds is None else str(int(self.seconds))
        return (
            f"- bpm: {self.bpm if self.bpm is not None else MISSING}\n"
            f"- timesignature: {self.timesignature or MISSING}\n"
            f"- keyscale: {self.keyscale or MISSING}\n"
            f"- duration: {length} seconds\n"
        )


def caption_prompt(instruction: str, caption: str, metas: Metas) -> str:
    """The caption branch. If the caption is already a formatted prompt, its caption part is used.
    Special tokens in user text are plain text (`plain_text`), here and in the lyric branch."""
    formatted = _FORMATTED.search(caption)
    if formatted:
        caption = formatted.group(1)
    if not instruction.endswith(":"):
        instruction += ":"
    text = f"# Instruction\n{instruction}\n\n# Caption\n{caption}\n\n# Metas\n{metas.text()}"
    return f"{as_text(text)}{END}\n"


def away_prompts(instruction: str, negative: str, metas: Metas) -> tuple[str, str]:
    """Caption and lyric branch that guidance leads away from: the negative prompt and the length,
    and nothing else, so that every other part of the request still guides."""
    nothing = Metas(None, None, None, metas.seconds)
    return caption_prompt(instruction, negative, nothing), lyric_prompt("unknown", INSTRUMENTAL)


def stems_caption(caption: str, global_caption: str, instruction: str, explicit: bool) -> str:
    """The caption block of a stems checkpoint: song, stem, and whether the mask is a region."""
    rows = [f"Local: {caption}", f"Mask Control: {'true' if explicit else 'false'}"]
    if "a segment" not in instruction:
        rows.insert(0, f"Global: {global_caption}")
    return "\n".join(rows)


def lyric_prompt(language: str, lyrics: str) -> str:
    """The lyric branch."""
    return f"# Languages\n{language}\n\n{_LYRICS}{as_text(lyrics)}{END}"


def lyrics_in(prompt: str) -> tuple[int, int]:
    """The characters [start, stop) of a lyric prompt that are lyrics. Raises ValueError for any
    other prompt."""
    start = prompt.index(_LYRICS) + len(_LYRICS)
    stop = prompt.find(END, start)
    return start, len(prompt) if stop < 0 else stop


class TextTokenizer(PromptEncoder, Protocol):
    """The methods of a tokenizer that are used here."""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str: ...

    def get_added_tokens_decoder(self) -> Mapping[int, object]: ...


class PromptTokenizer:
    """The text encoder's tokenizer, from the folder's tokenizer.json."""

    def __init__(self, encoder: TextTokenizer) -> None:
        self.encoder = encoder
        self._reader = PromptReader(
            encoder, frozenset(encoder.get_added_tokens_decoder()).__contains__
        )

    @classmethod
    def open(cls, folder: Path, rows: int | None = None) -> PromptTokenizer:
        """Read the folder's, for an encoder with `rows` embeddings. Raises InvalidCheckpoint."""
        tokenizer = open_tokenizer(folder)
        if rows is not None:
            check_rows(folder, tokenizer, rows)
            check_ends(folder, tokenizer, rows)
        return cls(tokenizer)

    def caption(self, prompt: str) -> list[int]:
        """Ids of the caption branch, at most 256."""
        return _truncated(self._reader.encode(prompt).ids, CAPTION_TOKENS)

    def lyrics(self, prompt: str) -> list[int]:
        """Ids of the lyric branch, at most 2048."""
        return _truncated(self._reader.encode(prompt).ids, LYRIC_TOKENS)

    def lyric_spans(self, prompt: str) -> list[tuple[int, int]]:
        """The characters [start, stop) that each of those ids covers; none for the appended id."""
        encoded = self._reader.encode(prompt)
        spans = encoded.offsets
        if not _covers(spans, len(prompt)):
            text = unicodedata.normalize("NFC", unescaped(prompt))
            # If the decoded text begins with the prompt, characters were composed, none dropped.
            if not self.text(encoded.ids).startswith(text):
                spans = self._found(encoded.ids, unescaped(prompt))
        return _truncated(spans, LYRIC_TOKENS)

    def _found(self, ids: Sequence[int], text: str) -> list[tuple[int, int]]:
        """The characters each id covers, found by decoding one id after another.

        A tokenizer that does not know every character drops some, and its own spans are wrong from
        there on.
        """
        spans: list[tuple[int, int]] = []
        at = first = 0
        for number in range(1, len(ids) + 1):
            decoded = self.text(ids[first:number])
            if "\ufffd" in decoded and number - first < _LETTER:
                continue  # a character of several ids
            start = text.find(decoded, at)
            span = (start, start + len(decoded)) if decoded and start >= 0 else (at, at)
            spans += [span] * (number - first)
            at, first = span[1], number
        return spans + [(at, at)] * (len(ids) - first)

    def text(self, ids: Sequence[int]) -> str:
        """The decoded text of ids, with special tokens spelled out."""
        return self.encoder.decode(ids, skip_special_tokens=False)


def _covers(spans: Sequence[tuple[int, int]], length: int) -> bool:
    """Whether the spans cover every character, in order."""
    at = 0
    for start, stop in spans:
        if start > at:
            return False
        at = max(at, stop)
    return at == length


def _truncated(ids: Sequence[T], limit: int) -> list[T]:
    return list(ids) if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
