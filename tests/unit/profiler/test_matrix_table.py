"""The table of mode benchmark is laid out as the published guide shows it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from headroom.models.acestep.requests.songs import Text2Music
from headroom.profiler.matrix import Cell, Row, table

PRINTED = Path(__file__).with_name("printed") / "benchmark.txt"


def row(line: str) -> Row:
    """What a published line says, as a row."""
    seconds, batch, think, steps, wall, lm, dit, vae, status = line.split()
    request = Text2Music(
        caption="x", duration=float(seconds), batch_size=int(batch), thinking=think == "True",
        inference_steps=int(steps),
    )  # fmt: skip
    parts = SimpleNamespace(wall=float(wall), lm=float(lm), dit=float(dit), vae=float(vae))
    measured = SimpleNamespace(parts=lambda: parts)
    return Row(Cell(request), status, cast("Any", measured))


def test_the_table_is_laid_out_as_it_was_published() -> None:
    *published, more = PRINTED.read_text("utf-8").splitlines()
    assert more == "..." and len(published) == 5
    assert table([row(line) for line in published[2:]]).splitlines() == published
