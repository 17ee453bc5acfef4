"""Encodes captions, lyrics and timbre of a batch into packed condition rows.

Neighbouring songs with the same words and the same timbre share one condition; its rows, and later
its keys and values in every layer, exist once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from headroom.models.acestep.networks.encoders import Conditioner, module_dtype
from headroom.models.acestep.song.song import Song, same_condition
from headroom.models.acestep.text.prompts import (
    PromptTokenizer,
    away_prompts,
    caption_prompt,
    lyric_prompt,
)
from headroom.nn.qwen3 import Qwen3, pack

Rows = tuple[Tensor, tuple[int, ...]]
"""Packed rows [ΣL, E] and the number of rows of each condition."""
Ids = Sequence[Sequence[int]]
"""Token ids of one branch of each condition."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a batch: `shared[c]` neighbouring songs use condition c. `second` replaces
    `first` after the switch.

    Guidance leads away from `away`, or from `null` if that is None.
    """

    first: Rows
    second: Rows | None
    shared: tuple[int, ...]
    null: Tensor | None  # [1, 1, E]
    away: Rows | None = None

    def to(self, device: torch.device) -> Conditions:
        """A copy on the device of a stage, or itself if it is already there."""

        def moved(rows: Rows) -> Rows:
            return rows[0].to(device), rows[1]

        second = None if self.second is None else moved(self.second)
        null = None if self.null is None else self.null.to(device)
        away = None if self.away is None else moved(self.away)
        return Conditions(moved(self.first), second, self.shared, null, away)

    def per_song(self) -> tuple[Tensor, Tensor]:
        """The first condition of every song, on the host: rows [B, L, E], zero beyond its own, and
        a mask of its own rows [B, L]."""
        rows, lengths = self.first
        each = rows.cpu().split(list(lengths))
        owners = [c for c, count in enumerate(self.shared) for _ in range(count)]
        padded = pad_sequence([each[c] for c in owners], batch_first=True)
        counts = torch.tensor([lengths[c] for c in owners]).unsqueeze(1)
        return padded, torch.arange(max(lengths)) < counts

    def of(self, songs: range) -> Conditions:
        """The part that some neighbouring songs of the batch need; the whole if that is all of
        them.
        """
        if len(songs) == sum(self.shared):
            return self
        owners = [c for c, count in enumerate(self.shared) for _ in range(count)]
        used = owners[songs.start : songs.stop]
        first, last = used[0], used[-1] + 1

        def cut(rows: Rows) -> Rows:
            start, stop = sum(rows[1][:first]), sum(rows[1][:last])
            return rows[0][start:stop], rows[1][first:last]

        second = None if self.second is None else cut(self.second)
        shared = tuple(used.count(c) for c in range(first, last))
        away = None if self.away is None else cut(self.away)
        return Conditions(cut(self.first), second, shared, self.null, away)


def encode_conditions(
    songs: Sequence[Song],
    references: Sequence[tuple[Tensor, ...]],
    silence: Tensor,
    text_encoder: Qwen3,
    conditioner: Conditioner,
    tokenizer: PromptTokenizer,
    device: torch.device,
) -> Conditions:
    """Encode all conditions of a batch. `references[i]`: timbre latents [F, 64] of song i;
    `silence` [F, 64] replaces missing ones.
    """
    leaders, shared = _leaders(songs)
    timbre = [references[i] or (silence,) for i in leaders]
    lyrics = [tokenizer.lyrics(lyric_prompt(songs[i].language, songs[i].lyrics)) for i in leaders]
    first = [tokenizer.caption(_prompt(songs[i], songs[i].instruction)) for i in leaders]

    def encode(captions: Ids, lyrics: Ids, timbre: Sequence[tuple[Tensor, ...]]) -> Rows:
        return _encode(captions, lyrics, timbre, text_encoder, conditioner, device)

    second = away = null = None
    if songs[0].instruction_after is not None:
        after = [_prompt(songs[i], songs[i].instruction_after or "") for i in leaders]
        # The reference keeps no more tokens than the prompt before the switch has.
        second = encode(
            [tokenizer.caption(text)[: len(ids)] for text, ids in zip(after, first, strict=True)],
            lyrics,
            timbre,
        )
    if songs[0].negative:
        prompts = [away_prompts(songs[i].instruction, songs[i].negative, songs[i].metas)
                for i in leaders]  # fmt: skip
        away = encode(
            [tokenizer.caption(caption) for caption, _ in prompts],
            [tokenizer.lyrics(words) for _, words in prompts],
            [(silence,)] * len(prompts),
        )
    elif any(songs[0].sampling.guided):
        null = conditioner.null_condition_emb.clone()
    return Conditions(encode(first, lyrics, timbre), second, shared, null, away)


def _prompt(song: Song, instruction: str) -> str:
    return caption_prompt(instruction, song.caption, song.metas)


def _leaders(songs: Sequence[Song]) -> tuple[list[int], tuple[int, ...]]:
    """The first song of each run of songs that share a condition, and the lengths of the runs."""
    leaders: list[int] = []
    shared: list[int] = []
    for i, song in enumerate(songs):
        if i and same_condition(songs[i - 1], song):
            shared[-1] += 1
        else:
            leaders.append(i)
            shared.append(1)
    return leaders, tuple(shared)


def _encode(
    captions: Ids,
    lyrics: Ids,
    timbre: Sequence[tuple[Tensor, ...]],
    text_encoder: Qwen3,
    conditioner: Conditioner,
    device: torch.device,
) -> Rows:
    dtype = module_dtype(conditioner)
    text_ids, text_lengths = pack(captions, device)
    lyric_ids, lyric_lengths = pack(lyrics, device)
    text = text_encoder(text_ids, text_lengths).to(dtype)
    embedded = text_encoder.embed(lyric_ids).to(dtype)
    latents = torch.stack([row for rows in timbre for row in rows]).to(device, dtype)
    packed: Rows = conditioner.encoder(
        text, text_lengths, embedded, lyric_lengths, latents, [len(rows) for rows in timbre]
    )
    return packed
