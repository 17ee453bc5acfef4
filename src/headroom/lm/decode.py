"""Decoding: read the prompts, then write one token of every song at a time.

A guided song is two rows of one forward: its own prompt and the negative one; both receive the
sampled token. Equal prompts are read once. Nothing in the loop waits for a value from the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import torch
from torch import Tensor

from headroom.lm.cache import Cache
from headroom.lm.sample import Sampling, draw_tokens, guided, penalised
from headroom.nn.causal import HIDDEN, CachedLM, CachePosition, CausalLM
from headroom.nn.rope import Rope

TOLD_EVERY = 16  # tokens between two progress reports
SEEN = 64  # the span of attention grows in steps of so many positions

Ids: TypeAlias = Sequence[int]
DecodeProgress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Writing:
    """A decoding job.

    prompts   ids of the prompt of each song
    against   ids of the negative prompt of guidance; None: no guidance
    count     tokens to write for each song
    words     the range of the vocabulary they are sampled from; it does not start at 0
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

    def to_read(self, before: ReadBefore | None) -> int:
        """Prompt tokens to be read: each prompt once, without what was read before."""
        distinct = {tuple(sequence) for sequence in self.sequences}
        return sum(len(p) - (0 if before is None else before.shared(p)) for p in distinct)

    @property
    def tokens(self) -> int:
        """The most tokens a row holds."""
        return max(map(len, self.sequences)) + self.count


@dataclass(frozen=True, slots=True)
class ReadBefore:
    """Tokens a model has read already, and the cache whose first row holds them."""

    tokens: tuple[int, ...]
    cache: Cache

    def shared(self, prompt: Ids) -> int:
        """How many leading tokens of a prompt were read; at least one is left to read."""
        pairs = zip(self.tokens, prompt, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(self.tokens))
        return max(0, min(same, len(prompt) - 1, self.cache.lengths[0]))


def generate(
    model: CausalLM,
    writing: Writing,
    uniforms: Tensor,
    device: torch.device,
    progress: DecodeProgress,
    before: ReadBefore | None = None,
) -> Tensor:
    """Token ids [songs, count], on the host. `uniforms` [songs, count] in [0, 1) decide.

    `progress(done, count)` is called as tokens are written, and may raise to stop. What was read
    `before` is reused, not read again.
    """
    loop = _Loop(model, writing, uniforms, device, before)
    for number in range(writing.count):
        if number % TOLD_EVERY == 0:
            progress(number, writing.count)
        loop.turn(number)
    progress(writing.count, writing.count)
    return loop.drawn.cpu()


def next_token(
    model: CausalLM, writing: Writing, hidden: Tensor, chances: Tensor, seen: Tensor | None
) -> Tensor:
    """Ids [songs] of the next tokens, for the hidden states [rows, width] of the last ones and one
    uniform a song. Sampled tokens are marked in `seen` [songs, words] where there is a penalty.

    Where the logits are NaN the id is the one before `words`: the model can go on reading it, so
    the host need not wait for the device, and the caller recognises it as invalid.
    """
    logits = model.logits(hidden, writing.words)
    logits = logits.float() if writing.against is None else guided(logits, writing.scale)
    if seen is not None:
        logits = penalised(logits, seen, writing.sampling.penalty)
    token = draw_tokens(logits, chances, writing.sampling)
    if seen is not None:
        seen.scatter_(1, token.clamp(min=0).unsqueeze(1), True)
    return token.add(writing.words.start)


def nothing_seen(writing: Writing, device: torch.device) -> Tensor | None:
    """Marks [songs, words] of the sampled tokens, where a penalty needs them."""
    if writing.sampling.penalty == 1:
        return None
    shape = len(writing.prompts), writing.words.stop - writing.words.start
    return torch.zeros(shape, dtype=torch.bool, device=device)


class _Loop:
    """State kept from token to token; all else is freed after each turn, so all turns are alike."""

    def __init__(
        self,
        model: CausalLM,
        writing: Writing,
        uniforms: Tensor,
        device: torch.device,
        before: ReadBefore | None,
    ) -> None:
        self._model, self._writing = model, writing
        self._rows = CachedRows(model, writing.sequences, writing.count, device)
        self._hidden = self._rows.read(writing.sequences, before)
        self._uniforms = uniforms.to(device)
        self.drawn = torch.empty(uniforms.shape, dtype=torch.long, device=device)
        self._seen = nothing_seen(writing, device)

    def turn(self, number: int) -> None:
        """Sample token `number` of every song, and feed it to the model unless it is the last."""
        writing = self._writing
        chances = self._uniforms[:, number]
        token = next_token(self._model, writing, self._hidden, chances, self._seen)
        self.drawn[:, number] = token
        if number + 1 < writing.count:
            self._hidden = self._rows.feed(token if writing.against is None else token.repeat(2))


class CachedRows:
    """The rows of a cache as they grow: `read` the prompts, then `feed` a token at a time."""

    def __init__(
        self, model: CachedLM, prompts: Sequence[Ids], count: int, device: torch.device
    ) -> None:
        self._model = model
        self.cache = Cache(model, len(prompts), max(map(len, prompts)) + count, device)
        self._rope = model.rope(self.cache.capacity, device)
        self._numbers = torch.arange(len(prompts), device=device)
        self._at = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self._mask = self._unseen(device)

    def _unseen(self, device: torch.device) -> Tensor:
        """Additive mask [rows, 1, 1, capacity]: positions after each prompt are hidden."""
        places = torch.arange(self.cache.capacity, device=device)
        mask = torch.zeros(
            self.cache.rows, self.cache.capacity, dtype=self.cache.memory.dtype, device=device
        )
        return mask.masked_fill_(places >= self._at.unsqueeze(1), HIDDEN)[:, None, None]

    def places(self) -> tuple[Tensor, Tensor]:
        """The next position of each row [rows], and its additive mask [rows, 1, 1, capacity]:
        for callers that step by themselves and update both."""
        return self._at, self._mask

    @property
    def rope(self) -> Rope:
        """Cosines and sines of every position."""
        return self._rope

    def place(self, masks: tuple[Tensor, ...]) -> CachePosition:
        """The position of one more token of every row, itself visible."""
        self._mask[:, 0, 0].scatter_(1, self._at.unsqueeze(1), 0)
        rope = Rope(self._rope.cos[self._at], self._rope.sin[self._at])
        return CachePosition(self._numbers, self._at, rope, masks)

    def feed(self, tokens: Tensor) -> Tensor:
        """Add a token [rows] to every row → hidden states [rows, width]."""
        lengths = self.cache.lengths
        top = max(lengths) + 1
        if top > self.cache.capacity:
            raise ValueError(f"a row of {top} tokens in a cache for {self.cache.capacity}")
        place = self.place(self._masks(lengths))
        hidden = self._model.step(tokens, self.cache.past, place)
        self._at = self._at + 1
        self.cache.lengths = [length + 1 for length in lengths]
        return hidden

    def _masks(self, lengths: Sequence[int]) -> tuple[Tensor, ...]:
        """Neighbouring rows that end in the same span attend together: the negative prompt of a
        guided song is far shorter than its own."""
        ends = [min(self.cache.capacity, -(-(n + 1) // SEEN) * SEEN) for n in lengths]
        masks, first = [], 0
        for end, rows in groupby(ends):
            count = len(tuple(rows))
            masks.append(self._mask[first : first + count, ..., :end])
            first += count
        return tuple(masks)

    def extend(self, ids: Ids) -> Tensor:
        """Add tokens to the only row → hidden state [1, width] of the last one."""
        if self.cache.rows != 1:
            raise ValueError(f"only a single row can be extended, not {self.cache.rows}")
        start = self.cache.lengths[0]
        stop = start + len(ids)
        if stop > self.cache.capacity:
            raise ValueError(f"a row of {stop} tokens in a cache for {self.cache.capacity}")
        device = self.cache.memory.device
        if len(ids) == 1 and start:
            self._at = torch.tensor([start], device=device)
            return self.feed(torch.tensor(ids, device=device))
        tokens = torch.tensor(ids, device=device)
        read = self._model.prefill(tokens, self.cache.past, 0, start, self._rope)
        self._mask[..., start:stop] = 0
        self.cache.lengths[0] = stop
        return read[-1:].clone()

    def read(self, prompts: Sequence[Ids], before: ReadBefore | None = None) -> Tensor:
        """Read each distinct prompt once and share it → hidden states [rows, width] of each row's
        last token. What was read before is reused."""
        same: dict[tuple[int, ...], list[int]] = {}
        for row, prompt in enumerate(prompts):
            same.setdefault(tuple(prompt), []).append(row)
        last: dict[int, Tensor] = {}
        for prompt, rows in same.items():
            last |= dict.fromkeys(rows, self._read(prompt, rows[0], before))
            self.cache.share(rows[0], rows[1:])
        return torch.stack([last[row] for row in range(len(prompts))])

    def _read(self, prompt: Ids, row: int, before: ReadBefore | None) -> Tensor:
        start = 0 if before is None else before.shared(prompt)
        if before is not None and start:
            self.cache.take(before.cache, 0, row, start)
        ids = torch.tensor(prompt[start:], device=self.cache.memory.device)
        read = self._model.prefill(ids, self.cache.past, row, start, self._rope)
        self.cache.lengths[row] = len(prompt)
        return read[-1].clone()
