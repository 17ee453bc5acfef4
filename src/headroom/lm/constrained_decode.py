"""Decoding one text under a grammar: forced tokens are read together, the others sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from headroom.lm.constraint import Constraint
from headroom.lm.decode import TOLD_EVERY, CachedRows, ReadBefore
from headroom.lm.sample import NONE, Sampling, draw_tokens, penalised
from headroom.lm.token_timing import TimedGrammar, TokenStopwatch, TokenTiming
from headroom.nn.causal import CachedLM


@dataclass(frozen=True, slots=True)
class DecodedText:
    """The text written after a prompt, the cache that holds both, and the time it took.

    failed  the logits became NaN, and the text ends there
    """

    tokens: tuple[int, ...]
    read: ReadBefore
    spent: TokenTiming
    failed: bool = False


def constrained_decode(
    model: CachedLM,
    prompt: tuple[int, ...],
    grammar: Constraint,
    words: slice,
    most: int,
    sampling: Sampling,
    uniforms: Iterator[float],
    device: torch.device,
    progress: Callable[[int, int], None],
) -> DecodedText:
    """Write until the grammar is done or `most` tokens are written.

    words     the range of the vocabulary that logits are computed for
    uniforms  in [0, 1), one for each sampled token
    """
    stopwatch = TokenStopwatch()
    grammar = TimedGrammar(grammar, stopwatch)
    rows = CachedRows(model, (prompt,), most + 1, device)
    waiting, written = list(prompt), list[int]()
    on_device: dict[int, tuple[Tensor, Tensor]] = {}  # sets kept alive: ids stay unique
    failed, drawn, before = False, 0, 0  # tokens sampled, and written before the first
    used, marked = None, 0
    if sampling.penalty != 1:
        used = torch.zeros(model.embed_tokens.num_embeddings, dtype=torch.bool, device=device)
    while len(written) < most:
        forced = grammar.forced()[: most - len(written)]
        waiting += forced
        written += forced
        if grammar.done or len(written) >= most:
            break
        allowed = grammar.allowed()
        if len(allowed) == 1:
            token = int(allowed[0])
        else:
            hidden = rows.extend(waiting)
            waiting = []
            if id(allowed) not in on_device:
                on_device[id(allowed)] = allowed, allowed.to(device)
            ids = on_device[id(allowed)][1]
            logits = model.logits(hidden, words).float()[:, ids - words.start]
            if used is not None:
                used[torch.tensor(written[marked:], dtype=torch.long, device=device)] = True
                marked = len(written)
                logits = penalised(logits, used[ids], sampling.penalty)
            chance = torch.tensor([next(uniforms)], device=device)
            number = _value(draw_tokens(logits, chance, sampling))
            if not drawn:
                stopwatch.read()
                before = len(written)
            drawn += 1
            if number == NONE:
                failed = True
                break
            token = int(allowed[number])
        grammar.take(token)
        waiting.append(token)
        written.append(token)
        if len(written) % TOLD_EVERY == 0:
            progress(len(written), most)
    if waiting:
        rows.extend(waiting)
    progress(len(written), len(written))
    spent = stopwatch.timing(1, 1, len(prompt) + before, drawn, len(written) - drawn + failed)
    return DecodedText(tuple(written), ReadBefore((*prompt, *written), rows.cache), spent, failed)


def _value(token: Tensor) -> int:
    """The host waits for the device here, once a token: the grammar needs the sampled token."""
    return int(token)
