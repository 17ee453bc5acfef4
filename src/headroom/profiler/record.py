"""Builds the profiler's JSON record: the machine, the versions, the plan and every figure.

`schema.json` beside this file describes it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from headroom.engine.engine import Engine
from headroom.engine.record import versions
from headroom.engine.save import note_json, plain
from headroom.memory.plan import Plan
from headroom.models.base import Speaker
from headroom.params.clamp import Note
from headroom.params.request import Request
from headroom.profiler import matrix, texts
from headroom.profiler.breakdown import Breakdown
from headroom.profiler.functions import Row
from headroom.profiler.options import Options, length_of
from headroom.profiler.single import Measured
from headroom.profiler.trace import Overhead, Span

FORMAT = 1
Record = dict[str, Any]


def schema() -> Mapping[str, Any]:
    """The JSON schema of every record."""
    text = files("headroom.profiler").joinpath("schema.json").read_text("utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def head(options: Options, engine: Engine | None = None, complete: bool = True) -> Record:
    """The part common to every run. Without an engine: only what is known of the program."""
    found: Record = {
        "format": FORMAT,
        "mode": options.mode,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "complete": complete,
        "host": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "processor": platform.machine(),
        },
        "versions": versions(),
    }
    if engine is None:
        return found
    terms = engine.terms
    return found | {
        "warm_up": options.warmup,
        "machine": plain({**asdict(engine.machine), "budget": engine.machine.budget}),
        "setup": {
            "model": engine.model.name,
            "dtype": engine.model.numerics().dtype,
            "compiled": engine.model.numerics().compiled,
            "policy": terms.policy,
            "tier": None if terms.tier is None else terms.tier.name,
            "offload": terms.offload,
            "offload_dit": terms.offload_dit,
            "quantization": terms.quantization,
            "lm_backend": terms.lm_backend,
        },
    }


def languages(engine: Engine) -> tuple[str, ...]:
    """The language models to choose from, the preferred one first. Raises WeightsMissing."""
    return engine.model.languages if isinstance(engine.model, Speaker) else ()


def of_profile(
    options: Options,
    engine: Engine,
    found: Measured,
    guidance: float | None,
    tables: Mapping[str, Sequence[Row]],
    complete: bool,
) -> Record:
    """The record of mode profile."""
    return head(options, engine, complete) | {
        "request": _request(found.result.request),
        "language_model": found.language,
        "notes": _notes(found.result.notes),
        "plan": _plan(found.result.plan),
        "profile": {
            **_measured(found, found.parts(guidance)),
            "profiler": _overhead(found.overhead, found.wall),
            **{name: [asdict(row) for row in rows] for name, rows in tables.items()},
        },
    }


def of_benchmark(options: Options, engine: Engine, found: matrix.Matrix) -> Record:
    """The record of mode benchmark."""
    return head(options, engine, not found.stopped) | {
        "request": _request(options.request()),
        "notes": _notes(found.notes),
        "benchmark": {"asked": found.asked, "rows": [_row(row) for row in found.rows]},
    }


def _row(row: matrix.Row) -> Record:
    request, measured, parts = row.cell.request, row.measured, row.parts
    return {
        "config": {
            "duration": length_of(request),
            "batch_size": row.cell.batch,
            "thinking": row.cell.thinking,
            "inference_steps": row.cell.steps,
        },
        "status": row.status,
        "success": row.status == matrix.OK,
        "error": row.error,
        "language_model": None if measured is None else measured.language,
        "plan": None if measured is None else _plan(measured.result.plan),
        "measured": None if measured is None or parts is None else _measured(measured, parts),
    }


def of_text(options: Options, engine: Engine, found: texts.Sheeted) -> Record:
    """The record of modes understand, create_sample and format_sample."""
    return head(options, engine) | {
        "notes": _notes(found.sheet.notes),
        "text": {
            **_breakdown(found.parts),
            "hearing": found.hearing,
            "stages": [_span(span) for span in found.spans],
            "profiler": _overhead(found.overhead, found.wall),
            "wish": plain(asdict(found.wish)),
            "sheet": plain(texts.as_json(found.sheet)),
        },
    }


def of_tiers(options: Options, report: Mapping[str, Any]) -> Record:
    """The record of mode tier-test."""
    return head(options, complete=not report["interrupted"]) | dict(report)


def _request(request: Request) -> Record:
    return request.model_dump(mode="json")


def _notes(notes: Sequence[Note]) -> list[object]:
    return [note_json(note) for note in notes]


def _plan(plan: Plan) -> Record:
    return {
        "budget": plan.budget,
        "peak": plan.peak,
        "seconds": plan.seconds,
        "placements": [
            {**asdict(p), "residency": p.residency.name.lower()} for p in plan.placements
        ],
        "words": plan.explain().splitlines(),
    }


def _breakdown(parts: Breakdown) -> Record:
    """Seconds; `parts` add up to `wall`, and the entries of each other group to its total."""
    return {
        "wall": parts.wall,
        "parts": parts.parts,
        "lm": {
            "generation": parts.generation,
            "grammar": parts.grammar,
            "guidance": parts.guidance,
            "guided": parts.guided,
        },
        "other": {
            "loading": parts.loading,
            "conditioning": parts.conditioning,
            "rest": parts.rest,
        },
    }


def _measured(found: Measured, parts: Breakdown) -> Record:
    """The record of one run that made songs."""
    planned = found.planned_seconds
    return {
        **_breakdown(parts),
        "steps": parts.steps,
        "per_step": parts.per_step,
        "songs": found.songs,
        "silent": found.silent,
        "audio_seconds": found.audio_seconds,
        "planned_bytes": found.planned_bytes,
        "measured_bytes": found.measured_bytes,
        "stages": [
            {**_span(span), "planned_seconds": planned.get(span.stage)} for span in found.spans
        ],
    }


def _span(span: Span) -> Record:
    return asdict(span)


def _overhead(found: Overhead, wall: float) -> Record:
    share = found.seconds / wall if wall else 0.0
    return {**asdict(found), "seconds": found.seconds, "share": share}
