"""The counts of tokens, rows and frames that a stage's workspace depends on. No torch.

The workspace is the largest of a few sums of these measures, each with a coefficient
(`workspaces`); a key names the kind of work and so selects the sums. `scripts/footprint` finds the
coefficients in traces of the real modules and takes the measures from here too, so both mean the
same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headroom.models.acestep.networks.config import AceStepConfig
from headroom.models.acestep.song.song import Song, same_condition
from headroom.models.acestep.text.prompts import (
    CAPTION_TOKENS,
    LYRIC_TOKENS,
    away_prompts,
    caption_prompt,
    lyric_prompt,
)
from headroom.nn.attention_layout import DENSE_WINDOWS, MASK_STRIDE
from headroom.nn.oobleck_layout import spread


class TokenCounter(Protocol):
    """Counts the tokens of the two prompts."""

    def caption(self, prompt: str) -> Sequence[object]: ...

    def lyrics(self, prompt: str) -> Sequence[object]: ...


class Bytes:
    """A substitute for a missing tokenizer: every token stands for at least one byte of text."""

    def caption(self, prompt: str) -> Sequence[object]:
        """At least as many tokens as a tokenizer would give."""
        return prompt.encode()[:CAPTION_TOKENS]

    def lyrics(self, prompt: str) -> Sequence[object]:
        """At least as many tokens as a tokenizer would give."""
        return prompt.encode()[:LYRIC_TOKENS]


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Token counts of one condition: caption (no more after the cover switch) and lyrics, and the
    number of timbre references; `away`: those of the condition that guidance leads away from, if it
    is not the null condition."""

    caption: int
    lyrics: int
    references: int
    away: PromptTokens | None = None

    @property
    def rows(self) -> int:
        """Rows of the condition."""
        return self.caption + self.lyrics + max(1, self.references)

    @property
    def away_rows(self) -> int:
        """Rows of the condition that guidance leads away from; 0: the null condition is used."""
        return 0 if self.away is None else self.away.rows


def prompt_tokens(songs: Sequence[Song], reader: TokenCounter) -> list[PromptTokens]:
    """The conditions of a batch: neighbours with the same words share one."""
    result = []
    for i, song in enumerate(songs):
        if i and same_condition(songs[i - 1], song):
            continue
        prompt = caption_prompt(song.instruction, song.caption, song.metas)
        result.append(
            PromptTokens(
                len(reader.caption(prompt)),
                len(reader.lyrics(lyric_prompt(song.language, song.lyrics))),
                len(song.references),
                _away(song, reader),
            )
        )
    return result


def _away(song: Song, reader: TokenCounter) -> PromptTokens | None:
    if not song.negative:
        return None
    caption, lyrics = away_prompts(song.instruction, song.negative, song.metas)
    return PromptTokens(len(reader.caption(caption)), len(reader.lyrics(lyrics)), 0)


# --- attention windows ----------------------------------------------------------------------


def window_kind(length: int, window: int | None) -> str:
    """How an accelerator computes windowed attention over a sequence of this length."""
    if window is None or length <= window + 1:
        return "plain"
    return "dense" if length <= DENSE_WINDOWS * window else "fold"


def mask_elements(length: int, window: int | None) -> int:
    """Number of elements in the mask of one sequence."""
    if window is None or length <= window + 1:
        return 0
    if length <= DENSE_WINDOWS * window:
        return length * _up(length, MASK_STRIDE)
    block = 2 * max(window, 1)
    return -(-length // block) * block * _up(block + 2 * window, MASK_STRIDE)


def making_masks(lengths: Sequence[int], config: AceStepConfig, size: int) -> int:
    """An upper bound in bytes while the masks of these lengths are made: two tensors of eight-byte
    distances, one of single bytes (within the window or not), and all masks that are kept."""
    window = _window(config)
    distinct = set(lengths)
    finished = sum(mask_elements(n, window) for n in distinct) * size
    making = max((mask_elements(n, window) for n in distinct), default=0) * (8 + 8 + 1)
    return finished + making


def blocked_length(length: int, window: int | None) -> int:
    """The length rounded up to whole blocks, if attention goes block by block; else 0."""
    if window is None or length <= DENSE_WINDOWS * window:
        return 0
    return _up(length, 2 * max(window, 1))


def _own_mask(length: int, window: int | None) -> int:
    """Elements of the mask; 0 if they are a fixed number per folded token, which is counted
    already.
    """
    return 0 if blocked_length(length, window) else mask_elements(length, window)


def _up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _window(config: AceStepConfig) -> int | None:
    return next((w for w in config.windows if w is not None), None)


# --- the stages ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """A kind of work, and its measures in the order of the coefficients."""

    key: str
    measures: tuple[int, ...]


def condition(prompt: PromptTokens, config: AceStepConfig, guided: bool) -> Measured:
    """One condition without references: 1, caption tokens, lyric tokens, mask, folded lyrics."""
    window = _window(config)
    kind = window_kind(prompt.lyrics, window)
    measures = (
        1,
        prompt.caption,
        prompt.lyrics,
        _own_mask(prompt.lyrics, window),
        blocked_length(prompt.lyrics, window),
    )
    return Measured(f"condition {kind}{' guided' * guided}", measures)


def schedule(times: int) -> Measured:
    """1, times of the schedule."""
    return Measured("schedule", (1, times))


def denoise(songs: Sequence[Song], conditions: int, rows: int, config: AceStepConfig) -> Measured:
    """1, tokens, songs beyond the first, rows, times, mask, folded tokens.

    A token is two frames; the last one may be a single frame.
    """
    window = _window(config)
    lengths = [-(-song.frames // config.patch) for song in songs]
    masks = lengths[:1] if len(set(lengths)) == 1 else lengths
    mask = mask_elements if len(songs) > 1 else _own_mask
    measures = (
        1,
        sum(lengths),
        len(songs) - 1,
        rows,
        len(songs[0].sampling.times),
        sum(mask(n, window) for n in masks),
        sum(blocked_length(n, window) for n in lengths),
    )
    odd = " odd" if any(song.frames % config.patch for song in songs) else ""
    guided = " guided" if any(songs[0].sampling.guided) else ""
    many = " many" if conditions > 1 else ""
    kind = window_kind(max(lengths), window)
    batch = " batch" if len(songs) > 1 else ""
    return Measured(f"denoise {kind}{odd}{guided}{batch}{many}", measures)


def align_work(frames: int, rows: int, config: AceStepConfig) -> Measured:
    """One song through the first layers: 1, tokens, rows, tokens times rows, mask, folded tokens;
    see `denoise`."""
    window, length = _window(config), -(-frames // config.patch)
    mask = _own_mask(length, window)
    measures = (1, length, rows, length * rows, mask, blocked_length(length, window))
    odd = " odd" if frames % config.patch else ""
    return Measured(f"align {window_kind(length, window)}{odd}", measures)


def is_plain(songs: Sequence[Song]) -> bool:
    """Whether the sampler keeps only its basic state, and all songs have equal lengths.

    A correction in the wavelet domain needs less than the forward pass before it, and keeps
    nothing.
    """
    s = songs[0].sampling
    return (
        len({song.frames for song in songs}) == 1
        and all(song.source is None and song.instruction_after is None for song in songs)
        and (s.method, s.solver, s.norm_clamp, s.ema) == ("ode", "euler", 0, 0)
        and (s.repainting, s.start_from_source) == (None, False)
        and (not any(s.guided) or s.guidance_variant == "apg")
        and all(song.retake_seed is None for song in songs)
    )


def decode_work(frames: int, tile: int, halo: int) -> Measured:
    """1, frames of a window, frames of the song if they are more."""
    window = spread(frames, tile, halo) + 2 * halo
    if window < frames:
        return Measured("decode tiled", (1, window, frames))
    return Measured("decode whole", (1, frames, 0))
