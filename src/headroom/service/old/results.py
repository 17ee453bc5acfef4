"""What ACE-Step's REST interface tells of jobs: states 0, 1 and 2, and results as JSON texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from headroom.engine.wire import Json
from headroom.errors import UnknownId
from headroom.jobs.values import Event, Job
from headroom.params.request import SONGS
from headroom.service.callers import Caller
from headroom.service.doors import Doors
from headroom.service.old.links import link_to
from headroom.service.work import Work

WAITS, SUCCEEDED, FAILED = 0, 1, 2
_STATES = {"queued": WAITS, "running": WAITS, "done": SUCCEEDED}  # the others have failed
_METAS = ("bpm", "duration", "genres", "keyscale", "timesignature")
_RENDER = "render"  # the act whose end is the song
_RECENT = 60  # events that are looked at for the progress of a job
_ENV = "development"
_ANALYSED = "Full Hardware Analysis Success"


def entry(doors: Doors, caller: Caller, id: str) -> Json:
    """What is told of one task. One that does not exist, or is another caller's, has failed."""
    try:
        job = doors.queue.get(id, caller.owner)
    except UnknownId as unknown:
        why = str(unknown)
        return _entry(id, FAILED, [_item(FAILED, 0, stage="unknown", error=why)], why)
    created = int(job.created)
    if job.state == "done":
        return _entry(id, SUCCEEDED, _made(doors, job, created), "")
    if job.has_ended:
        error = _error_of(doors, job)
        item = _item(FAILED, created, stage=job.state, error=error)
        return _entry(id, FAILED, [item], error)
    progress, stage, text = _progress(doors, caller, job)
    item = _item(WAITS, created, progress=progress, stage=stage, error=None)
    return _entry(id, WAITS, [item], text)


def sheet(output: Json) -> Json:
    """A song sheet under the names of the interface, in both of its spellings."""
    return {
        "caption": output["caption"],
        "lyrics": output["lyrics"],
        "bpm": output["bpm"],
        "duration": output["duration"],
        "key_scale": output["keyscale"] or "",
        "keyscale": output["keyscale"] or "",
        "time_signature": output["timesignature"] or "",
        "timesignature": output["timesignature"] or "",
        "vocal_language": output["language"] or "unknown",
        "language": output["language"] or "unknown",
        "genres": output["genres"] or "",
        "instrumental": output["instrumental"],
    }


def _entry(id: str, status: int, result: Sequence[Json], text: str) -> Json:
    return {
        "task_id": id,
        "status": status,
        "result": json.dumps(result, ensure_ascii=False),
        "progress_text": text,
    }


def _item(status: int, created: int, **more: JsonValue) -> Json:
    item: Json = {
        "file": "",
        "wave": "",
        "status": status,
        "create_time": created,
        "env": _ENV,
        "prompt": "",
        "lyrics": "",
        "metas": {},
        "progress": 0.0,
    }
    return item | more


def _error_of(doors: Doors, job: Job) -> str:
    if job.error is None:
        return f"the task was not finished: it is {job.state}."
    return doors.hidden.text(str(json.loads(job.error)["message"]))


def _made(doors: Doors, job: Job, created: int) -> list[Json]:
    result: Any = doors.hidden.object(json.loads(job.result or "{}"))
    output, values = result["output"], result["request"]["values"]
    asked = Work.of(job.request)
    said = {**asked.request, **(asked.first or {})}
    common: Json = {
        "status": SUCCEEDED,
        "create_time": created,
        "env": _ENV,
        "wave": "",
        "progress": 1.0,
        "stage": "succeeded",
        "notes": [note["sentence"] for note in result["notes"]],
        "lm_model": (result["thought"] or result["report"] or {}).get("language") or "",
    }
    if output["kind"] != SONGS:
        return [common | {"file": "", "audio_paths": []} | _answered(output, values)]
    songs = output["songs"]
    metas = {name: values.get(name) for name in _METAS}
    metas["duration"] = metas["duration"] or max((song["seconds"] for song in songs), default=None)
    common |= {
        "prompt": values.get("caption", ""),
        "lyrics": values.get("lyrics", ""),
        "metas": {
            **{name: value or "N/A" for name, value in metas.items()},
            "prompt": said.get("caption", ""),
            "lyrics": said.get("lyrics", ""),
        },
        "seed_value": ",".join(str(song["seed"]) for song in songs),
        "dit_model": songs[0]["provenance"]["model"] if songs else "",
        "generation_info": _information(result),
    }
    return [common | {"file": link_to(doors.files.get(song["file"]))} for song in songs]


def _answered(output: Any, values: Any) -> Json:
    """What a task says that makes no songs."""
    if output["kind"] == "song_sheet":
        told = sheet(output)
        metas = {name: output[name] or "N/A" for name in _METAS}
        return told | {
            "prompt": output["caption"],
            "genre": output["genres"] or "",
            "metas": {**metas, "prompt": values.get("caption", "")},
            "status_message": _ANALYSED,
        }
    named = {name: value for name, value in output.items() if name not in ("kind", "notes")}
    if "text" in named:
        named["audio_codes"] = named["audio_code_string"] = named.pop("text")
    return named


def _information(result: Any) -> str:
    """How songs were made, in Markdown."""
    songs, report = result["output"]["songs"], result["report"] or {}
    lines = {
        "Songs": len(songs),
        "Seeds": ", ".join(str(song["seed"]) for song in songs),
        "Steps": result["request"]["values"].get("inference_steps") or "those of the model",
        "Seconds": f"{report.get('seconds', 0):.1f}",
        "Language model": (result["thought"] or {}).get("language") or "none",
    }
    return "\n".join(f"- **{name}**: {value}" for name, value in lines.items())


def _progress(doors: Doors, caller: Caller, job: Job) -> tuple[float, str, str]:
    """How far a job is, from 0 to 1, its stage, and both in words: of this job alone."""
    if job.state == "queued":
        place = doors.queue.position(job.id, caller.owner)
        return 0.0, "queued", f"queued, {place} before it"
    first = doors.queue.story(job.id, 0, caller.owner).events
    last = doors.queue.story(job.id, max(0, job.told - _RECENT), caller.owner).events
    share, stage = _share([*first, *last])
    return share, stage or "running", f"{stage or 'running'} ({share:.0%})"


def _share(events: Sequence[Event]) -> tuple[float, str]:
    """The share that is done, and the stage. A language model's work counts for one half."""
    stages: list[str] = []
    half, part, stage = False, 0.0, ""
    render = False
    for event in sorted({one.number: one for one in events}.values(), key=lambda one: one.number):
        told: Any = json.loads(event.event)
        match told.get("event"):
            case "started":
                half, render = half or told["act"] != _RENDER, told["act"] == _RENDER
                stages, part = [one["stage"] for one in told["plan"]["stages"]], 0.0
            case "stage_started":
                stage, part = told["stage"], 0.0
            case "progress" if told["total"]:
                stage, part = told["stage"], told["done"] / told["total"]
            case "stage_done":
                stage, part = told["stage"], 1.0
    if stage not in stages:
        return 0.0, stage
    share = (stages.index(stage) + min(part, 1.0)) / len(stages)
    if half:
        share = 0.5 + share / 2 if render else share / 2
    return min(share, 0.99), stage
