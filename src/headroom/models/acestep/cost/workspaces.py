"""Formulas for the workspace that stages of the released sizes need besides their weights. No
torch.

Each is the largest of a few sums of `measures`; coefficients are bytes. `scripts/footprint` writes
them from traces of the real modules, and a test checks them against new traces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from headroom import paths
from headroom.models.acestep.cost.measures import Measured

FILE = Path(__file__).with_suffix(".json")


@cache
def _rows() -> Mapping[str, tuple[tuple[int, ...], ...]]:
    read = json.loads(FILE.read_text("utf-8")) if paths.is_file(FILE) else {}
    return {key: tuple(tuple(row) for row in rows) for key, rows in read.items()}


def room(size: str, precision: str, work: Measured) -> int | None:
    """Peak bytes of this work; None if such work was never traced."""
    rows = _rows().get(f"{size} {precision} {work.key}")
    if rows is None:
        return None
    return max(sum(c * m for c, m in zip(row, work.measures, strict=True)) for row in rows)
