"""What the program prints, for the guides: real runs, printed by the code that prints them.

`samples.json` holds the figures of runs of the small bundled model on a processor, and of the real
sizes on simulated cards; `take` reads them from a file of `acestep profile --benchmark-output`, or
of `benchmarks/management.py --save`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from docs.words import Words
from headroom.engine.forecast import answered
from headroom.engine.options import EngineOptions
from headroom.hardware.machine import card
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.unopened import released
from headroom.profiler import matrix
from headroom.profiler import report as profile_report
from headroom.profiler.breakdown import Breakdown
from headroom.profiler.tiers import report
from headroom.profiler.tiers.rows import TierRow, TierTest
from headroom.profiler.trace import Span
from headroom.settings import Settings

if TYPE_CHECKING:
    from headroom.profiler.song_run import Measured

FILE = Path(__file__).with_name("samples.json")
MODEL = "acestep-v15-turbo"
ROW = ("vram_gb", "tier", "test_variant", "use_lm", "batch_size", "duration", "status", "simulated",
       "model", "lm", "lm_backend", "offload", "quantization", "tile", "frames", "leaves",
       "decoded_on_host", "measured_peak")  # fmt: skip
SPAN = tuple(field.name for field in fields(Span) if field.name != "wrote")


def take(file: Path) -> str:
    """Put the figures of a file into samples.json; the names they have there.

    Raises ValueError for a file of a mode nothing is shown of.
    """
    found = _found(json.loads(file.read_text("utf-8")))
    before = json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {}
    lines = (f"{json.dumps(k)}: {_lines(v)}" for k, v in sorted({**before, **found}.items()))
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8", newline="\n")
    return ", ".join(found)


def _lines(value: Any) -> str:
    """JSON with an object a line."""
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n" + ",\n".join("  " + json.dumps(row) for row in value) + "\n]"


def _found(record: Mapping[str, Any]) -> dict[str, Any]:
    if record.get("benchmark") == "management":
        return {"management": [{name: record[name] for name in ("loaded", "managed")}]}
    match record["mode"]:
        case "profile":
            run = record["profile"]
            stages = [{name: stage[name] for name in SPAN} for stage in run["stages"]]
            return {"breakdown": [_parts(run)], "stages": stages}
        case "benchmark":
            made = [row for row in record["benchmark"]["rows"] if row["success"]]
            return {"benchmark": [{**row["config"], **_parts(row["measured"])} for row in made]}
        case "tier-test":
            rows = [{name: row[name] for name in ROW} for row in record["results"]]
            batches = [row for row in rows if row["test_variant"].startswith("batch-")]
            if batches:
                return {"batch-boundary": batches}
            usual = [row for row in rows if row["test_variant"] == "default"]
            return {"tier-test": usual, **({"boundary": rows} if "boundary" in record else {})}
    raise ValueError(f"nothing is shown of mode {record['mode']!r}")


def _parts(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a breakdown is made of."""
    said = {**run, **run["parts"], **run["lm"], **run["other"], "lm": run["parts"]["lm"]}
    return {field.name: said[field.name] for field in fields(Breakdown)}


def kept(name: str) -> list[dict[str, Any]]:
    """The figures of a name."""
    found: list[dict[str, Any]] = json.loads(FILE.read_text("utf-8"))[name]
    return found


def notes(say: Words) -> str:
    """What is answered to someone who asks a small card for too much."""
    flags = EngineOptions(lm_model="acestep-5Hz-lm-4B")
    request = Text2Music(caption="a song", thinking=True, duration=900, batch_size=6)
    said = answered(request, released(VARIANTS[MODEL]), card(8), flags, Settings())
    return _block(f"note: {note.sentence()}" for note in said.notes)


def breakdown(say: Words) -> str:
    """Where the seconds of a song went."""
    (parts,) = (Breakdown(**row) for row in kept("breakdown"))
    spans = [Span(**row) for row in kept("stages")]
    return _block(
        (
            profile_report.breakdown_table(parts).strip(),
            "",
            profile_report.stage_table(spans, {}, parts.wall).strip(),
        )
    )


def benchmark(say: Words) -> str:
    """The table of a matrix."""
    rows = []
    for row in kept("benchmark"):
        parts = Breakdown(**{field.name: row.pop(field.name) for field in fields(Breakdown)})
        measured = cast("Measured", SimpleNamespace(parts=lambda parts=parts: parts))
        cell = matrix.Cell(Text2Music(caption="a song", **row))
        rows.append(matrix.Row(cell, matrix.OK, measured))
    return _block([matrix.table(rows)])


def tier_test(say: Words) -> str:
    """A row for each size of card."""
    return _section("tier-test", "TIER TEST RESULTS")


def boundary(say: Words) -> str:
    """The smallest card for each capability."""
    return _section("boundary", "BOUNDARY ANALYSIS")


def batch_boundary(say: Words) -> str:
    """The largest batch for each card."""
    return _section("batch-boundary", "BATCH BOUNDARY SUMMARY")


def _section(name: str, heading: str) -> str:
    """One of the tables of a tier test."""
    lists: dict[str, list[Any]] = {"faults": [], "said": [], "stages": []}
    rows = tuple(TierRow.of({**lists, **row}) for row in kept(name))
    test = TierTest(rows, 0.0, False, name == "boundary", name == "batch-boundary")
    sections: Sequence[str] = report.printed(test).split("\n\n")
    return _block(section for section in sections if section.startswith(heading))


def _block(lines: Any) -> str:
    text = "\n".join(lines)
    return "```text\n" + "\n".join(line.rstrip() for line in text.splitlines()) + "\n```"
