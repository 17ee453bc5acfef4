"""Writing tokens: read the prompts, then one token of every song at a time.

A song that is guided is two rows of one forward: its own prompt, and the one it is guided away
from; both are given the token that was drawn. Prompts that are the same are read once. Nothing in
the loop asks the device for a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from headroom.lm.cache import Cache
from headroom.lm.sample import HIDDEN, Sampling, draw, guided, penalised
from headroom.nn.causal import CausalLM, Place
from headroom.nn.rope import Rope

TOLD_EVERY = 16  # tokens between two words of progress
SEEN = 64  # positions that attention looks over, in steps of so many

Ids: TypeAlias = Sequence[int]
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Writing:
    """What is to be written.

    prompts   ids of the prompt of each song
    against   ids of the prompt that guidance goes away from; None: no guidance
    count     tokens to write for each song
    words     the run of the vocabulary they are drawn from
    scale     of guidance
    """

    prompts: tuple[tuple[int, ...], ...]
    against: tuple[int, ...] | None
    count: int
    words: slice
    sampling: Sampling
    scale: float = 1.0

    @property
    def sequences(self) -> tuple[tuple[int, ...], ...]:
        """The prompt of every row of the cache: the songs' first."""
        if self.against is None:
            return self.prompts
        return (*self.prompts, *(self.against for _ in self.prompts))

    @property
    def tokens(self) -> int:
        """That a row holds at most."""
        return max(map(len, self.sequences)) + self.count


def write(
    model: CausalLM,
    writing: Writing,
    uniforms: Tensor,
    device: torch.device,
    progress: Progress,
) -> Tensor:
    """Token ids [songs, count], on the host. `uniforms` [songs, count] in [0, 1) decide.

    `progress(done, count)` hears how far it is, and may raise to stop.
    """
    rows = Rows(model, writing.sequences, writing.count, device)
    drawn = torch.empty(uniforms.shape, dtype=torch.long, device=device)
    chances = uniforms.to(device)
    seen: Tensor | None = None
    hidden = rows.hidden
    for number in range(writing.count):
        logits = model.logits(hidden, writing.words)
        logits = logits.float() if writing.against is None else guided(logits, writing.scale)
        if writing.sampling.penalty != 1:
            seen = torch.zeros_like(logits, dtype=torch.bool) if seen is None else seen
            logits = penalised(logits, seen, writing.sampling.penalty)
        token = draw(logits, chances[:, number], writing.sampling)
        if seen is not None:
            seen.scatter_(1, token.unsqueeze(1), True)
        token = token + writing.words.start
        drawn[:, number] = token
        if number % TOLD_EVERY == 0:
            progress(number, writing.count)
        if number + 1 < writing.count:
            hidden = rows.feed(token if writing.against is None else token.repeat(2))
    progress(writing.count, writing.count)
    return drawn.cpu()


class Rows:
    """The rows of a cache as they grow. `hidden` [rows, width] is that of each row's last token."""

    def __init__(
        self, model: CausalLM, prompts: Sequence[Ids], count: int, device: torch.device
    ) -> None:
        self._model = model
        self.cache = Cache(model, len(prompts), max(map(len, prompts)) + count, device)
        self._rope = model.rope(self.cache.capacity, device)
        self.hidden = self._read(prompts, device)
        self._numbers = torch.arange(len(prompts), device=device)
        self._at = torch.tensor(self.cache.lengths, device=device)
        places = torch.arange(self.cache.capacity, device=device)
        unseen = places >= self._at.unsqueeze(1)
        self._mask = torch.zeros(unseen.shape, dtype=self.hidden.dtype, device=device)
        self._mask = self._mask.masked_fill_(unseen, HIDDEN)[:, None, None]

    def feed(self, tokens: Tensor) -> Tensor:
        """Add a token [rows] to every row → hidden states [rows, width]."""
        lengths = self.cache.lengths
        top = max(lengths) + 1
        if top > self.cache.capacity:
            raise ValueError(f"a row of {top} tokens in a cache for {self.cache.capacity}")
        seen = min(self.cache.capacity, -(-top // SEEN) * SEEN)
        self._mask[self._numbers, :, :, self._at] = 0
        rope = Rope(self._rope.cos[self._at], self._rope.sin[self._at])
        place = Place(self._numbers, self._at, rope, self._mask[..., :seen])
        hidden = self._model.step(tokens, self.cache.past, place)
        self._at = self._at + 1
        self.cache.lengths = [length + 1 for length in lengths]
        return hidden

    def _read(self, prompts: Sequence[Ids], device: torch.device) -> Tensor:
        """Read each distinct prompt once, and share it."""
        same: dict[tuple[int, ...], list[int]] = {}
        for row, prompt in enumerate(prompts):
            same.setdefault(tuple(prompt), []).append(row)
        last: dict[int, Tensor] = {}
        for prompt, rows in same.items():
            ids = torch.tensor(prompt, device=device)
            read = self._model.prefill(ids, self.cache.past, rows[0], 0, self._rope)
            self.cache.lengths[rows[0]] = len(prompt)
            self.cache.share(rows[0], rows[1:])
            last |= dict.fromkeys(rows, read[-1].clone())
            del read
        return torch.stack([last[row] for row in range(len(prompts))])
