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
from headroom.engine.wire import note_json, plain, plan_json
from headroom.memory.plan import Plan
from headroom.models.base import Planner
from headroom.params.clamp import Note
from headroom.params.request import Request
from headroom.profiler import matrix, text_run
from headroom.profiler.breakdown import Breakdown
from headroom.profiler.functions import Row
from headroom.profiler.options import Options, length_of
from headroom.profiler.song_run import Measured
from headroom.profiler.trace import Overhead, Span

FORMAT = 1
Record = dict[str, Any]


def schema() -> Mapping[str, Any]:
    """The JSON schema of every record."""
    text = files("headroom.profiler").joinpath("schema.json").read_text("utf-8")
    json_schema: Mapping[str, Any] = json.loads(text)
    return json_schema


def head(options: Options, engine: Engine | None = None, complete: bool = True) -> Record:
    """The part common to every run. Without an engine: only what is known of the program."""
    record: Record = {
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
        return record
    policy = engine.policy
    return record | {
        "warm_up": options.warmup,
        "machine": plain({**asdict(engine.machine), "budget": engine.machine.budget}),
        "setup": {
            "model": engine.model.name,
            "dtype": engine.model.numerics().dtype,
            "compiled": engine.model.numerics().compiled,
            "policy": policy.name,
            "tier": None if policy.tier is None else policy.tier.name,
            "offload": policy.offload,
            "offload_dit": policy.offload_dit,
            "quantization": policy.quantization,
            "lm_backend": policy.lm_loop,
        },
    }


def languages(engine: Engine) -> tuple[str, ...]:
    """The language models to choose from, the preferred one first. Raises WeightsMissing."""
    return engine.model.languages if isinstance(engine.model, Planner) else ()


def of_profile(
    options: Options,
    engine: Engine,
    measured: Measured,
    guidance: float | None,
    tables: Mapping[str, Sequence[Row]],
    complete: bool,
) -> Record:
    """The record of mode profile."""
    return head(options, engine, complete) | {
        "request": _request(measured.result.request),
        "language_model": measured.language,
        "notes": _notes(measured.result.notes),
        "plan": _plan(measured.result.plan),
        "profile": {
            **_measured(measured, measured.parts(guidance)),
            "profiler": _overhead(measured.overhead, measured.wall),
            **{name: [asdict(row) for row in rows] for name, rows in tables.items()},
        },
    }


def of_benchmark(options: Options, engine: Engine, result: matrix.Matrix) -> Record:
    """The record of mode benchmark."""
    return head(options, engine, not result.stopped) | {
        "request": _request(options.request()),
        "notes": _notes(result.notes),
        "benchmark": {"asked": result.asked, "rows": [_row(row) for row in result.rows]},
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


def of_text(options: Options, engine: Engine, text: text_run.MeasuredText) -> Record:
    """The record of modes understand, create_sample and format_sample."""
    return head(options, engine) | {
        "notes": _notes(text.notes),
        "text": {
            **_breakdown(text.parts),
            "hearing": text.hearing,
            "stages": [_span(span) for span in text.spans],
            "profiler": _overhead(text.overhead, text.wall),
            "request": text.request.model_dump(mode="json"),
            "sheet": plain(text_run.as_json(text.sheet)),
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
    form = plan_json(plan)
    kept = {name: form[name] for name in ("budget", "peak", "seconds", "placements")}
    return kept | {"words": plan.explain().splitlines()}


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


def _measured(measured: Measured, parts: Breakdown) -> Record:
    """The record of one run that made songs."""
    planned = measured.planned_seconds
    return {
        **_breakdown(parts),
        "steps": parts.steps,
        "per_step": parts.per_step,
        "songs": measured.songs,
        "silent": measured.silent,
        "audio_seconds": measured.audio_seconds,
        "planned_bytes": measured.planned_bytes,
        "measured_bytes": measured.measured_bytes,
        "stages": [
            {**_span(span), "planned_seconds": planned.get(span.stage)} for span in measured.spans
        ],
    }


def _span(span: Span) -> Record:
    return asdict(span)


def _overhead(overhead: Overhead, wall: float) -> Record:
    share = overhead.seconds / wall if wall else 0.0
    return {**asdict(overhead), "seconds": overhead.seconds, "share": share}
