"""Where seconds went, worked out by hand from events at known times."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from headroom.lm.token_timing import TokenTiming
from headroom.profiler import breakdown as parts
from headroom.profiler import trace as traces
from headroom.profiler.breakdown import Breakdown, breakdown, guidance_share
from headroom.profiler.report import (
    breakdown_table,
    insights,
    overhead_line,
    stage_table,
    token_table,
)
from headroom.profiler.trace import Overhead, Span, Trace, overhead
from headroom.reasons import reason_of
from headroom.runtime.events import (
    Event,
    Progress,
    Replanned,
    StageDone,
    StageStarted,
    Wrote,
)
from support.clock import Clock

PRINTED = Path(__file__).with_name("printed")  # what the published guides show

SHEET = TokenTiming(1, 1, 100, 40, 10, 0.5, 3.0, 0.5)
CODES = TokenTiming(2, 4, 60, 300, 0, 0.5, 4.5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(traces, "time", made)
    return made


def stage(
    name: str, seconds: float, loading: float = 0.0, wrote: Iterable[TokenTiming] = ()
) -> list[tuple[float, Event]]:
    """Events of a stage, each behind so many seconds."""
    said: list[tuple[float, Event]] = [(0.25, StageStarted(name, 200))]
    said += [(0.0, Wrote(name, one)) for one in wrote]
    return [*said, (seconds, StageDone(name, 200, 150, seconds, loading))]


RUN = [
    *stage("think", 5.0, 1.0, (SHEET,)),
    *stage("write codes", 5.5, 0.5, (CODES,)),
    *stage("condition", 2.0),
    *stage("denoise", 9.0, 1.0),
    *stage("decode", 3.0),
]


def heard(clock: Clock, events: Iterable[tuple[float, Event]]) -> Trace:
    trace = Trace()
    for seconds, event in events:
        clock.now += seconds
        trace(event)
    return trace


def test_a_run_falls_into_its_parts_and_they_add_up(clock: Clock) -> None:
    spans = heard(clock, RUN).spans
    found = breakdown(spans, wall=30.0, save=1.0, steps=8, guidance=0.4)
    # From the first stage's begin to the last one's end, with what is between; less the loading.
    assert found.lm == pytest.approx(5.0 + 0.25 + 5.5 - 1.5)
    assert found.grammar == 0.5 and found.guided
    assert found.guidance == pytest.approx(0.4 * 5.0)
    assert found.generation == pytest.approx(9.25 - 0.5 - 2.0)
    assert (found.dit, found.per_step, found.vae, found.save) == (8.0, 1.0, 3.0, 1.0)
    assert (found.loading, found.conditioning) == (2.5, 2.0)
    assert found.other == pytest.approx(30 - 9.25 - 8 - 3 - 1)
    assert found.rest == pytest.approx(found.other - 4.5)
    assert sum(found.parts.values()) == pytest.approx(30.0)


def test_what_guidance_costs_is_never_guessed(clock: Clock) -> None:
    spans = heard(clock, RUN).spans
    unknown = breakdown(spans, 30.0)
    assert unknown.guided and unknown.guidance is None and unknown.generation == 8.75
    plain = [*stage("write codes", 4.0, 0.0, (TokenTiming(2, 2, 50, 300, 0, 1.0, 3.0),))]
    found = breakdown(heard(clock, plain).spans, 30.0)
    assert not found.guided and found.guidance == 0.0


def test_the_share_of_guidance_is_of_a_token(clock: Clock) -> None:
    guided = heard(clock, RUN).spans
    half = TokenTiming(2, 2, 30, 150, 0, 0.1, 1.4)  # half as many tokens, in 1.5 s: 3 s for as many
    plain = heard(clock, stage("write codes", 1.5, 0.0, (half,))).spans
    assert guidance_share(guided, plain) == pytest.approx(1 - 3.0 / 5.0)
    slower = heard(
        clock, stage("write codes", 9.0, 0.0, (TokenTiming(2, 2, 30, 300, 0, 0, 9.0),))
    ).spans
    assert guidance_share(guided, slower) == 0.0
    assert guidance_share(guided, ()) is None and guidance_share((), plain) is None
    assert parts.codes(guided) == (300, 5.0)


def test_a_stage_that_is_tried_again_counts_once_and_says_so(clock: Clock) -> None:
    trace = heard(
        clock,
        [
            (0.0, StageStarted("write codes", 9)),
            (1.0, Wrote("write codes", CODES)),
            (1.0, Replanned("write codes", reason_of("smaller"), True)),
            *stage("write codes", 5.0, 0.0, (CODES,)),
        ],
    )
    (span,) = trace.spans
    assert span.wrote == (CODES,) and span.tried == 1 and span.began == 2.25
    assert "write codes: out of memory 1 times" in stage_table(trace.spans, {}, 10.0)


def test_what_listening_takes_is_measured_and_multiplied() -> None:
    trace = Trace()
    for event in (StageStarted("think", 0), Progress("think", 1, 2), Wrote("think", SHEET)):
        trace(event)
    trace(StageDone("think", 0, 0, 1.0))
    found = overhead(trace)
    assert (found.events, found.timed) == (4, 3 * SHEET.drawn)
    assert found.event_seconds > 0 and found.timed_seconds >= 0
    assert found.seconds == 4 * found.event_seconds + found.timed * found.timed_seconds
    assert "4 events × 2.00 µs and 5 timed calls × 1.00 µs = 0.01 ms, 0.001 %" in overhead_line(
        Overhead(4, 2e-6, 5, 1e-6), 1.3
    )


def test_the_table_is_laid_out_as_it_was_published() -> None:
    found = Breakdown(6.43, 2.908, 0.31, 0.15, True, 1.89, 8, 0.52, 0.12, 0.0, 0.0)
    published = (PRINTED / "breakdown.txt").read_text("utf-8").splitlines()
    lines = breakdown_table(found).strip().splitlines()
    assert lines[: len(published)] == published
    assert lines[len(published)] == (
        "  Other / Overhead: loading weights 0.00 s, sources and text 0.00 s, the rest 0.99 s."
    )
    unknown = Breakdown(6.43, 2.91, 0.31, None, True, 1.89, 8, 0.52, 0.12, 0.0, 0.0)
    assert "    └─ CFG overhead                  —               —" in breakdown_table(unknown)
    assert "not measured" in breakdown_table(unknown)
    assert "DiT" not in breakdown_table(found, dit=False)


def test_where_to_look_is_where_the_time_goes() -> None:
    def of(lm: float, dit: float, vae: float, loading: float = 0.0) -> str:
        return insights(Breakdown(10, lm, 0, 0, False, dit, 8, vae, 0, loading, 0), 30.0)

    assert "3.00 times real time" in of(1, 1, 1)
    assert "language model takes most" in of(6, 2, 1)
    assert "Denoising takes most" in of(0, 6, 1) and "Denoising" not in of(0, 3, 6)
    assert "Decoding takes most" in of(0, 3, 6)
    assert "come and go" in of(1, 1, 1, 2.0) and "come and go" not in of(1, 1, 1)


def test_tokens_are_told_with_their_rates() -> None:
    span = Span("write codes", 0, 5, 0, 5, 0, 0, (CODES, SHEET))
    words = token_table([span]).split()
    assert words[words.index("write") :][:12] == [
        "write", "codes", "2", "4", "60", "0.500", "120.0", "300", "0", "4.500", "66.7", "0.000",
    ]  # fmt: skip
    assert "Tokens/sec: 38.9 (350 tokens written in 9.00 s)" in token_table([span])
