"""What writing took: tokens counted, and seconds on a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headroom.lm import token_timing
from headroom.lm.constrained_decode import constrained_decode
from headroom.lm.decode import CachedRows, ReadBefore, Writing
from headroom.lm.sample import Sampling
from headroom.lm.token_timing import TimedGrammar, TokenStopwatch, TokenTiming
from support.clock import Clock
from support.tiny_lm import FIRST, WORDS, random_ids, tiny_network

CPU = torch.device("cpu")
USUAL = Sampling(0.85, 0, 0.9, 1.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(token_timing, "time", made)
    return made


class Grammar:
    """Three tokens are fixed, then two are drawn, one is fixed, and one is drawn; each answer takes
    a second of the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._turns, self.done = clock, 0, False

    def forced(self) -> tuple[int, ...]:
        self._clock.now += 1
        return {0: (1, 2, 3), 2: (4,)}.get(self._turns, ())

    def allowed(self) -> Tensor:
        self._clock.now += 1
        return torch.arange(5, 25)

    def take(self, token: int) -> None:
        assert 5 <= token < 25
        self._clock.now += 1
        self._turns += 1
        self.done = self._turns == 3


class Slow(torch.nn.Module):
    """A network each of whose forwards takes ten seconds of the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock, self._network = clock, tiny_network(1)

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._network, name)

    def prefill(self, *given: object) -> Tensor:
        self._clock.now += 10
        return self._network.prefill(*given)  # type: ignore[arg-type]

    def step(self, *given: object) -> Tensor:
        self._clock.now += 10
        return self._network.step(*given)  # type: ignore[arg-type]


def test_a_text_is_counted_and_timed_in_three_parts(clock: Clock) -> None:
    with torch.inference_mode():
        filled = constrained_decode(
            Slow(clock), (1, 2, 3, 4), Grammar(clock), slice(0, 30), 50, USUAL,
            iter([0.5] * 9), CPU, lambda a, b: None,
        )  # type: ignore[arg-type]  # fmt: skip
    assert len(filled.tokens) == 7 and filled.tokens[:3] == (1, 2, 3)
    # Read at once: the prompt and what was fixed before the first draw. Then a token and a fixed
    # one behind it, and the last token: three forwards more.
    forwards = 1 + 3
    assert filled.spent == TokenTiming(
        songs=1, rows=1, read=7, drawn=3, forced=4,
        reading=10.0, writing=10.0 * (forwards - 1), grammar=10.0,
    )  # fmt: skip
    assert clock.now == 10 * forwards + 10  # it is asked once more, and is at its end


def test_seconds_of_the_grammar_are_in_no_other_part(clock: Clock) -> None:
    stopwatch = TokenStopwatch()
    grammar = TimedGrammar(Grammar(clock), stopwatch)
    clock.now += 5
    grammar.forced()
    stopwatch.read()
    clock.now += 7
    grammar.take(5)
    stopwatch.read()  # only the first counts
    found = stopwatch.timing(2, 4, 30, 20)
    assert (found.reading, found.writing, found.grammar) == (5, 7, 2)
    assert found.reading + found.writing + found.grammar == clock.now
    assert found.guided and not TokenTiming(2, 2, 0, 0, 0, 0, 0).guided


def test_a_loop_is_awaited_once_when_it_begins_to_write(clock: Clock) -> None:
    awaited, told = [], list[tuple[int, int]]()
    stopwatch = TokenStopwatch()

    def settle() -> None:
        clock.now += 3
        awaited.append(clock.now)

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    tell: Callable[[int, int], None] = stopwatch.watching(settle, progress)
    for done in (0, 16, 20):
        tell(done, 20)
        clock.now += 4
    found = stopwatch.timing(1, 2, 10, 20)
    assert awaited == [3] and told == [(0, 20), (16, 20), (20, 20)]
    assert (found.reading, found.writing, found.grammar) == (3, 12, 0)


def test_prompts_are_read_once_each_and_not_what_was_read_before() -> None:
    model = tiny_network(1)
    first, second, against = random_ids(9, 1), random_ids(12, 2), random_ids(4, 3)
    writing = Writing((first, second, first), against, 5, slice(FIRST, WORDS), USUAL, 2.0)
    assert writing.to_read(None) == 9 + 12 + 4
    with torch.inference_mode():
        rows = CachedRows(model, (first,), 8, CPU)
        rows.read((first,))
    before = ReadBefore(tuple(first), rows.cache)
    assert writing.to_read(before) == 1 + 12 + 4  # the last token is read again
