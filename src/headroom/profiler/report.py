"""Formats measurements as tables for the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

from headroom.lm.token_timing import TokenTiming
from headroom.profiler.breakdown import Breakdown
from headroom.profiler.trace import Overhead, Span
from headroom.units import gib

WIDTH = 100
NAME, TIME, SHARE = 35, 14, 6  # columns of the breakdown
RULE = "  " + "─" * 61
BAR = 30  # characters of a stage's bar
DASH = "—"
NO_SHARE = "  —"  # as in the published table
LOPSIDED = 2.0  # ratio of times above which one side is worth a look


def title(text: str) -> str:
    """A heading, underlined."""
    return f"\n{text}\n{'=' * WIDTH}"


def breakdown_table(parts: Breakdown, dit: bool = True) -> str:
    """The table TIME COSTS BREAKDOWN. `dit` false: a run that made no song."""
    lines = [title("TIME COSTS BREAKDOWN"), _row("Component", "Time (s)", " % of Total"), RULE]
    lines += [_timed("LLM Planning (total)", parts.lm, parts)]
    lines += [_timed("  ├─ Token generation", parts.generation, parts)]
    lines += [_timed("  ├─ Constrained decoding", parts.grammar, parts)]
    if parts.guidance is None:
        lines += [_row("  └─ CFG overhead", DASH, NO_SHARE)]
    else:
        lines += [_timed("  └─ CFG overhead", parts.guidance, parts)]
    if dit:
        lines += [_timed("DiT Diffusion (total)", parts.dit, parts)]
        lines += [_row("  ├─ Per-step average", f"{parts.per_step:.2f}", NO_SHARE)]
        lines += [_row("  └─ Steps", str(parts.steps), NO_SHARE)]
        lines += [_timed("VAE Decode", parts.vae, parts)]
        lines += [_timed("Audio Save", parts.save, parts)]
    lines += [_timed("Other / Overhead", parts.other, parts), RULE]
    lines += [_timed("Wall Time (total)", parts.wall, parts)]
    return "\n".join([*lines, *_said_of(parts)])


def _row(name: str, time: str, share: str) -> str:
    return f"  {name:<{NAME}}{time:<{TIME}}{share}".rstrip()


def _timed(name: str, seconds: float, parts: Breakdown) -> str:
    share = 100 * seconds / parts.wall if parts.wall else 0.0
    return _row(name, f"{seconds:.2f}", f"{share:.1f}%".rjust(SHARE))


def _said_of(parts: Breakdown) -> Iterator[str]:
    """How the figures above were obtained."""
    yield (
        f"  Other / Overhead: loading weights {parts.loading:.2f} s, sources and text "
        f"{parts.conditioning:.2f} s, the rest {parts.rest:.2f} s."
    )
    if parts.lm:
        yield "  Constrained decoding: the time in the grammar, around each of its calls."
    if parts.guidance is None:
        yield "  CFG overhead: not measured; it is in token generation."
    elif parts.guided:
        yield "  CFG overhead: by as much less the same codes took, written again without guidance."


def stage_table(spans: Sequence[Span], planned: dict[str, float], wall: float) -> str:
    """Stages in the order they ran: when, how long, and planned and measured memory."""
    from rich.bar import Bar
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for name in ("  Stage", "When"):
        table.add_column(name, no_wrap=True)
    for name in ("Time (s)", "Planned", "Loading", "Memory", "Planned"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for span in spans:
        table.add_row(
            f"  {span.stage}",
            Bar(max(wall, span.ended), span.began, span.ended, width=BAR),
            f"{span.loading + span.working:.2f}",
            f"{planned[span.stage]:.2f}" if planned.get(span.stage) else DASH,
            f"{span.loading:.2f}",
            gib(span.measured),
            gib(span.planned) if span.planned else DASH,
        )
    written = io.StringIO()
    Console(
        file=written,
        width=WIDTH,
        color_system=None,
        legacy_windows=False,
        markup=False,
        emoji=False,
    ).print(table)
    lines = [line.rstrip() for line in written.getvalue().splitlines()]
    tried = [f"  {s.stage}: out of memory {s.tried} times before it went" for s in spans if s.tried]
    return "\n".join([title("STAGES"), *lines, *tried])


def insights(parts: Breakdown, audio_seconds: float) -> str:
    """Where optimization is worthwhile, in a line or two."""
    lines = []
    if audio_seconds and parts.wall:
        lines.append(
            f"  {audio_seconds:.1f} s of music in {parts.wall:.2f} s: "
            f"{audio_seconds / parts.wall:.2f} times real time."
        )
    if parts.lm > LOPSIDED * parts.dit:
        lines.append(
            "  The language model takes most of it: a smaller one (--lm-model), --lm-backend vllm "
            "on CUDA, or less to think about helps."
        )
    elif parts.dit > LOPSIDED * parts.lm and parts.dit >= parts.vae:
        lines.append(
            "  Denoising takes most of it: fewer --inference-steps, a turbo model, or all of the "
            "DiT on the card (`acestep plan`) helps."
        )
    elif parts.vae > max(parts.lm, parts.dit):
        lines.append("  Decoding takes most of it: larger tiles, where memory allows, help.")
    if parts.loading > 0.1 * parts.wall:
        lines.append("  Weights come and go: with more memory they would stay (`acestep plan`).")
    return "\n".join([title("PERFORMANCE INSIGHTS"), *lines])


def token_table(spans: Iterable[Span]) -> str:
    """The table LLM DEBUG: tokens read and written, counted and timed separately."""
    head = ("Stage", "Songs", "Rows", "Read", "Prefill(s)", "Tokens/s", "Drawn", "Forced",
            "Decode(s)", "Tokens/s", "Grammar(s)")  # fmt: skip
    widths = (13, 6, 5, 7, 11, 10, 7, 7, 10, 10, 10)
    rows = [head, *(_tokens(span.stage, one) for span in spans for one in span.wrote)]
    lines = [
        "  " + "".join(f"{word:<{w}}" for word, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    total = [one for span in spans for one in span.wrote]
    seconds = sum(one.reading + one.writing + one.grammar for one in total)
    count = sum(one.drawn + one.forced for one in total)
    rate = f"{count / seconds:.1f}" if seconds else DASH
    lines.append(f"  Tokens/sec: {rate} ({count} tokens written in {seconds:.2f} s)")
    return "\n".join([title("LLM DEBUG"), *lines])


def _tokens(stage: str, one: TokenTiming) -> tuple[str, ...]:
    read = one.read / one.reading if one.reading else 0.0
    wrote = one.drawn / one.writing if one.writing else 0.0
    return (
        stage, str(one.songs), str(one.rows), str(one.read), f"{one.reading:.3f}", f"{read:.1f}",
        str(one.drawn), str(one.forced), f"{one.writing:.3f}", f"{wrote:.1f}",
        f"{one.grammar:.3f}",
    )  # fmt: skip


def overhead_line(overhead: Overhead, wall: float) -> str:
    """The overhead of measuring itself."""
    share = 100 * overhead.seconds / wall if wall else 0.0
    timed = f" and {overhead.timed} timed calls × {overhead.timed_seconds * 1e6:.2f} µs" * bool(
        overhead.timed
    )
    return (
        f"  Profiler: {overhead.events} events × {overhead.event_seconds * 1e6:.2f} µs{timed} = "
        f"{overhead.seconds * 1000:.2f} ms, {share:.3f} % of the wall time."
    )
