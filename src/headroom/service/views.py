"""What clients see of jobs, files and outputs, as JSON."""

from __future__ import annotations

import json

from pydantic import JsonValue

from headroom.engine.wire import Json
from headroom.jobs.files import File
from headroom.jobs.library import Output
from headroom.jobs.values import Event, Job
from headroom.service.hidden import Hidden


def job_view(
    job: Job, hidden: Hidden, outputs: tuple[Output, ...] = (), position: int | None = None
) -> Json:
    """A job. Times are seconds since 1970; `position`: how many are made before it."""
    view: Json = {
        "id": job.id,
        "state": job.state,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "deadline": job.deadline,
        "priority": job.priority,
        "attempt": job.attempt,
        "cancelling": job.stop and not job.has_ended,
        "events": job.told,
        "asked": json.loads(job.request),
        "reused": job.reused,
        "error": _read(job.error, hidden),
        "result": _read(job.result, hidden),
        "outputs": [output_view(one) for one in outputs],
    }
    return view if position is None else view | {"position": position}


def output_view(output: Output) -> Json:
    """An output, and where its bytes are."""
    return {
        "number": output.number,
        "url": f"/v1/jobs/{output.job}/outputs/{output.number}",
        "file": output.file,
        "title": output.title,
        "tags": json.loads(output.tags),
        "rating": output.rating,
        "parent": output.parent,
        "kind": output.kind,
        "seconds": output.seconds,
        "size": output.size,
        "created": output.created,
    }


def file_view(file: File) -> Json:
    """A file that was uploaded, or that a job made."""
    return {
        "id": file.id,
        "name": file.name,
        "kind": file.kind,
        "seconds": file.seconds,
        "size": file.size,
        "sha256": file.hash,
        "created": file.created,
        "expires": file.expires,
    }


def event_view(job: str, event: Event, hidden: Hidden) -> Json:
    """An event in its usual form, with its job, number, attempt and time; of sound that can be
    heard, with the place where it is."""
    told = hidden.object(json.loads(event.event))
    match told:
        case {"event": "audio_ready", "song": int(song)}:
            told["file"] = f"/v1/jobs/{job}/outputs/{song + 1}/preview"
    return {
        **told, "job": job, "number": event.number, "attempt": event.attempt, "time": event.time
    }  # fmt: skip


def _read(text: str | None, hidden: Hidden) -> JsonValue:
    return None if text is None else hidden.json(json.loads(text))
