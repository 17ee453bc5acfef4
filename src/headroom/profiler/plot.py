"""Draws a picture of a run: its stages over time, and below them the memory each took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headroom.memory.footprint import DECODE, DENOISE
from headroom.params.describe import task_of
from headroom.profiler.breakdown import LANGUAGE
from headroom.profiler.song_run import Measured
from headroom.profiler.trace import Span
from headroom.units import GIB, MIB, clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, PAPER, GRID, LIMIT = "#22272e", "#ffffff", "#d7dbe0", "#c0392b"
LANGUAGE_MODEL, DIT, VAE, BESIDE = "#3b7dd8", "#e07b39", "#4c9f70", "#8b93a1"
MADE_BY = "headroom: acestep profile"  # the picture's Software
NARROW = 0.06  # of the width: a narrower stage has its seconds beside it


def draw(measured: Measured, path: Path) -> None:
    """Write the picture as a PNG. matplotlib is imported here."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spans = measured.spans
    figure = Figure(figsize=(10, 2.6 + 0.34 * len(spans) + 2.4), dpi=130, facecolor=PAPER)
    FigureCanvasAgg(figure)
    rows = max(2.0, 0.34 * len(spans) + 0.6)
    stages, memory = figure.subplots(2, 1, sharex=True, height_ratios=(rows, 2.4))
    _stages(stages, spans, measured)
    _memory(memory, spans, measured)
    for axes in (stages, memory):
        axes.set_xlim(0, measured.wall)
        axes.grid(axis="x", color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
    request = measured.request
    steps = f"{measured.steps} steps"
    songs = f"{len(measured.result.audios)} × {measured.result.audio.seconds:.0f} s"
    figure.suptitle(
        f"{measured.result.provenance[0].model}: {task_of(request)}, {songs}, {steps}, "
        f"{clock(measured.wall)} on {measured.result.provenance[0].device}",
        color=INK, fontsize=11, x=0.01, ha="left",
    )  # fmt: skip
    figure.tight_layout()
    figure.savefig(path, format="png", metadata={"Software": MADE_BY})


def _stages(axes: Axes, spans: tuple[Span, ...], measured: Measured) -> None:
    """One row for each stage, the first on top; the time until its parts were ready is hatched."""
    for row, span in enumerate(spans):
        colour, width = _colour(span.stage), span.ended - span.began
        axes.barh(row, width, left=span.began, height=0.62, color=colour, edgecolor=colour)
        if span.loading > 0:
            axes.barh(
                row, span.loading, left=span.began, height=0.62, color=colour, hatch="////",
                edgecolor=PAPER, linewidth=0,
            )  # fmt: skip
        text = f"{span.loading + span.working:.2f} s"
        if width > NARROW * measured.wall:
            axes.text(span.began + width / 2, row, text, ha="center", va="center", color=PAPER)
        else:
            right = span.ended < 0.85 * measured.wall
            place = span.ended if right else span.began
            axes.annotate(
                text, (place, row), xytext=(5 if right else -5, 0), textcoords="offset points",
                ha="left" if right else "right", va="center", color=INK,
            )  # fmt: skip
    saved = measured.wall - measured.save
    axes.barh(len(spans), measured.save, left=saved, height=0.62, color=BESIDE)
    axes.annotate(
        f"{measured.save:.2f} s", (saved, len(spans)), xytext=(-5, 0), textcoords="offset points",
        ha="right", va="center", color=INK,
    )  # fmt: skip
    axes.set_yticks(range(len(spans) + 1), [*(span.stage for span in spans), "save"], color=INK)
    axes.invert_yaxis()
    axes.set_title("Stages (hatched: until its weights were there)", loc="left", fontsize=10)


def _memory(axes: Axes, spans: tuple[Span, ...], measured: Measured) -> None:
    """The measured and planned peak of each stage."""
    highest = max((max(s.measured, s.planned) for s in spans), default=0)
    unit, name = (GIB, "GiB") if highest >= GIB else (MIB, "MiB")
    for span in spans:
        axes.bar(
            span.began, span.measured / unit, width=span.ended - span.began, align="edge",
            color=_colour(span.stage), alpha=0.75,
        )  # fmt: skip
        planned = span.planned / unit
        axes.plot((span.began, span.ended), (planned, planned), color=INK, linewidth=1.8)
    axes.bar(0, 0, color=BESIDE, alpha=0.75, label="measured at most")
    axes.plot((), (), color=INK, linewidth=1.8, label="planned")
    budget = measured.result.plan.budget
    if budget < 2 * highest:
        axes.axhline(budget / unit, color=LIMIT, linewidth=1.2, linestyle="--", label="budget")
        highest = max(highest, budget)
    axes.set_ylim(0, highest / unit * 1.3 or 1.0)
    axes.set_ylabel(name, color=INK)
    axes.set_xlabel("seconds", color=INK)
    on_host = measured.result.provenance[0].device_kind == "cpu"
    whose = "of the process, beyond what it had at first" if on_host else "of the device"
    axes.set_title(f"Memory {whose}", loc="left", fontsize=10)
    axes.legend(loc="upper right", ncols=3, frameon=False, fontsize=9)


def _colour(stage: str) -> str:
    if stage in LANGUAGE:
        return LANGUAGE_MODEL
    return {DENOISE: DIT, DECODE: VAE}.get(stage, BESIDE)
