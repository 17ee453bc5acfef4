"""The loop of `decode` captured as graphs: what ACE-Step's name `vllm` selects.

A turn (logits, guidance, sampling, the next forward) touches the same tensors each time and never
waits for the host, so it is captured and replayed: once where our own kernels are used (`fused`),
otherwise once for each span of the cache that attention covers. On a device without graphs the same
turns are called one by one; where capturing fails, the rest is written that way and logged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from headroom.device import Graph
from headroom.lm.decode import (
    TOLD_EVERY,
    CachedRows,
    DecodeProgress,
    ReadBefore,
    Writing,
    next_token,
    nothing_seen,
)
from headroom.lm.fused import Fused, faults, unfit
from headroom.log import log
from headroom.nn.causal import CausalLM

STRETCH = 256  # the span of attention grows in such steps: a graph for each
AHEAD = 4  # turns run to capture one; the positions and tokens they write are restored
NEAR = 0.05  # relative to a hidden state's norm: what bfloat16 rounding adds up to over the layers


class Recorder(Protocol):
    """Captures work on fixed tensors. Raises RuntimeError where that fails."""

    def __call__(self, work: Callable[[], None]) -> Graph: ...


def write_graphed(
    model: CausalLM,
    writing: Writing,
    uniforms: Tensor,
    device: torch.device,
    progress: DecodeProgress,
    record: Recorder,
    before: ReadBefore | None = None,
) -> Tensor:
    """As `decode.write`: token ids [songs, count], on the host."""
    loop = _Turns(model, writing, uniforms, device, before)
    graph: Graph | None = None
    stretch, fails = 0, False
    for number in range(writing.count):
        if number % TOLD_EVERY == 0:
            progress(number, writing.count)
        if number + 1 == writing.count:
            loop.draw()  # the last token is not fed back
            break
        if loop.stretch != stretch:
            stretch, graph = loop.stretch, None
            if not fails and min(loop.room, writing.count - number) > AHEAD:
                graph = _recorded(loop, record)
                fails = graph is None
        if graph is None:
            loop.turn()
        else:
            graph.replay()
        loop.length += 1
    progress(writing.count, writing.count)
    return loop.drawn.cpu()


def _recorded(loop: _Turns, record: Recorder) -> Graph | None:
    """A graph of a turn, the loop's state restored; None where capturing fails."""
    saved = [(tensor, tensor.clone()) for tensor in loop.state]
    try:
        return record(loop.turn)
    except RuntimeError as error:
        log.warning("graphs: recording failed, so the loop runs as it is (%s)", error)
        return None
    finally:
        for tensor, before in saved:
            tensor.copy_(before)


class _Turns:
    """The loop with all its state in fixed tensors. `length` is the longest row's."""

    def __init__(
        self,
        model: CausalLM,
        writing: Writing,
        uniforms: Tensor,
        device: torch.device,
        before: ReadBefore | None,
    ) -> None:
        self._model, self._writing = model, writing
        rows = CachedRows(model, writing.sequences, writing.count, device)
        self._hidden = rows.read(writing.sequences, before)
        self._rows = rows
        self._at, self._mask = rows.places()
        self._number = torch.zeros(1, dtype=torch.long, device=device)
        self._uniforms = uniforms.to(device)
        self.drawn = torch.zeros(uniforms.shape, dtype=torch.long, device=device)
        self._seen = nothing_seen(writing, device)
        self.length, self._capacity = max(rows.cache.lengths), rows.cache.capacity
        self._fused: Fused | None = None
        why = unfit(model, rows.cache.rows, device)
        if why is None:
            self._fused = self._proven()
        else:
            log.debug("graphs: kernels of our own are left alone: %s", why)

    def _proven(self) -> Fused | None:
        """The kernels, if they agree with torch's on one token; the host waits for it, once."""
        ids = torch.full_like(self._at, self._writing.words.start)
        expected = self._plain(ids).float()
        try:
            fused = Fused(self._model, self._rows.cache, self._rows.rope)
            logits = fused.step(ids, self._at).float()
        except faults() as error:
            reason = f"{type(error).__name__}: {error}"
            log.warning(
                "graphs: kernels of our own cannot be made, so torch's are taken (%s)", reason
            )
            return None
        gap = float((logits - expected).norm() / expected.norm())
        if gap <= NEAR:
            return fused
        log.warning("graphs: kernels of our own are off by %.3g here, so torch's are taken", gap)
        return None

    @property
    def state(self) -> list[Tensor]:
        """What a turn changes; keys and values after a row's end are hidden by the mask."""
        seen = [] if self._seen is None else [self._seen]
        return [self._hidden, self._at, self._mask, self._number, self.drawn, *seen]

    @property
    def stretch(self) -> int:
        """Positions the next turn attends to."""
        if self._fused is not None:
            return self._capacity
        return min(self._capacity, -(-(self.length + 1) // STRETCH) * STRETCH)

    @property
    def room(self) -> int:
        """Positions left in the cache."""
        return self._capacity - self.length

    def draw(self) -> Tensor:
        """Sample the next token of every song → the input of every row, [rows]."""
        chances = self._uniforms.index_select(1, self._number).squeeze(1)
        token = next_token(self._model, self._writing, self._hidden, chances, self._seen)
        self.drawn.index_copy_(1, self._number, token.unsqueeze(1))
        return token if self._writing.against is None else token.repeat(2)

    def turn(self) -> None:
        """Sample, and feed the token back."""
        tokens = self.draw()
        step = self._plain if self._fused is None else self._stepped
        self._hidden.copy_(step(tokens))
        self._at.add_(1)
        self._number.add_(1)

    def _plain(self, tokens: Tensor) -> Tensor:
        """A step through torch's kernels."""
        place = self._rows.place((self._mask[..., : self.stretch],))
        return self._model.step(tokens, self._rows.cache.past, place)

    def _stepped(self, tokens: Tensor) -> Tensor:
        """A step through our own."""
        assert self._fused is not None
        return self._fused.step(tokens, self._at)
