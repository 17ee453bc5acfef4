"""The tools: what each is for, what it takes, and what it does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from mcp_types import AudioContent, ContentBlock, ResourceLink, TextContent
from pydantic import JsonValue

from headroom.engine.wire import Json, limits_from
from headroom.mcp_server.jobs import Report, lines_of, made, place, values_of, waited
from headroom.mcp_server.link import Link, Refused
from headroom.mcp_server.schemas import MORE, fields_of, input_of, input_with
from headroom.models.family import Family
from headroom.params.describe import TASK
from headroom.params.knob import Limit

WAIT = 20.0  # seconds that a tool waits for a job if the agent does not say how long
MOST_WAIT = 600.0
INLINE_BYTES = 512 * 1024  # of sound within an answer: clients read messages of up to 1 MiB
MAKE, SHEET, SHEET_TASK = "make_song", "write_sheet", "create_sample"
_TEXT: Json = {"type": "string"}
_JOB: Json = {"type": "string", "description": "The id of a job."}
_WAIT: Json = {
    "type": "number", "minimum": 0, "maximum": MOST_WAIT, "default": WAIT,
    "description": "Seconds to wait for the end; the job goes on after them.",
}  # fmt: skip
_MODEL: Json = {"type": "string", "description": "A model's name, as the tool models lists it."}
_NUMBER: Json = {"type": "integer", "minimum": 1, "default": 1}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool answers: blocks for the agent, and values for programs."""

    content: list[ContentBlock]
    values: Json


Run = Callable[[Link, Json, Report], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool. `reads`: it changes nothing."""

    name: str
    about: str
    input: Json
    run: Run = field(repr=False)
    reads: bool = False


def tools_of(family: Family, limits: Mapping[str, Mapping[str, Limit]]) -> Iterator[Tool]:
    """The tools for a family; `limits` are those of its tasks on the machine of the service."""
    further: Json = {"wait": _WAIT, "model": _MODEL}
    for task, kind in family.requests.items():
        if task in family.songs or task == SHEET_TASK:
            name = MAKE if task == family.usual else SHEET if task == SHEET_TASK else task
            about = f"{_about(kind)} Makes a job; its outputs are heard with the tool listen."
            schema = input_of(kind, limits.get(task, {}), further)
            yield Tool(name, about, schema, _making(task))
    tasks: Json = {"enum": list(family.requests), "default": family.usual}
    request: Json = {"type": "object", "description": "Fields of the task."}
    yield Tool(
        "plan", "Tells what a request would take, and whether it fits. Makes nothing.",
        input_with(task=tasks, request=request, model=_MODEL), _plan, reads=True,
    )  # fmt: skip
    yield Tool(
        "limits", "Lists every field of a task, with its help, and its limits on this machine.",
        input_with(task=tasks, model=_MODEL), _limits_in(family), reads=True,
    )  # fmt: skip
    yield Tool(
        "status", "Shows a job: its state, outputs, notes and error.",
        input_with(("job",), job=_JOB, wait={**_WAIT, "default": 0}), _status, reads=True,
    )  # fmt: skip
    yield Tool(
        "jobs", "Lists jobs, the newest first.",
        input_with(state=_TEXT, cursor=_TEXT, most={"type": "integer", "default": 10}),
        _jobs, reads=True,
    )  # fmt: skip
    yield Tool("cancel", "Cancels a job.", input_with(("job",), job=_JOB), _cancel)
    yield Tool(
        "listen",
        "Gives the sound of an output: within the answer if it is short, else a link and, by "
        "first_byte and last_byte, the part that is asked for.",
        input_with(
            ("job",), job=_JOB, number=_NUMBER, first_byte={"type": "integer", "minimum": 0},
            last_byte={"type": "integer", "minimum": 0},
        ),
        _listen, reads=True,
    )  # fmt: skip
    yield Tool("models", "Lists the models, and what each can do.", input_with(), _models, True)
    data: Json = {"type": "string", "description": "The file as Base64: wav, flac, mp3, ogg, m4a."}
    yield Tool(
        "send_audio", "Sends a recording; requests name it by the id in the answer.",
        input_with(("data",), data=data, name=_TEXT), _send,
    )  # fmt: skip


def _about(kind: type[Any]) -> str:
    return " ".join((kind.__doc__ or "").split())


def said(text: str, values: Json) -> Answer:
    """An answer of text and values."""
    return Answer([TextContent(text=text)], values)


def _making(task: str) -> Run:
    async def run(link: Link, given: Json, report: Report) -> Answer:
        fields = {n: v for n, v in given.items() if n not in (MORE, "wait", "model")}
        more = given.get(MORE) or {}
        if not isinstance(more, dict):
            raise Refused(f"{MORE}: an object of fields is allowed.")
        twice = sorted(fields.keys() & more.keys())
        if twice:
            raise Refused(f"{twice[0]}: it is given twice, by itself and in {MORE}.")
        request = {**fields, **more, TASK: task}
        model = _text(given, "model")
        view = await made(link, request, model, _seconds(given, WAIT), report)
        return _told(view, link)

    return run


def _told(view: Json, link: Link) -> Answer:
    told = values_of(view, link)
    return said(lines_of(told), told)


async def _plan(link: Link, given: Json, report: Report) -> Answer:
    request = given.get("request") or {}
    if not isinstance(request, dict):
        raise Refused("request: an object of fields is allowed.")
    body = {**request, TASK: given.get("task") or request.get(TASK) or (await _usual(link))}
    told = await link.ask("POST", "/v1/plan", body, model=_text(given, "model"))
    notes = cast("list[Json]", told["notes"])
    lines = [
        f"{told['songs']} song(s) of {told['duration']} s with {told['model']}: "
        + ("fits" if told["fits"] else f"does not fit: {told.get('error')}")
    ]
    if told.get("seconds") is not None:
        lines.append(f"takes about {told['seconds']} s")
    lines += [f"note: {note['sentence']}" for note in notes]
    names = ("model", "task", "duration", "songs", "fits", "policy", "tier", "language_model",
             "budget_bytes", "peak_bytes", "seconds", "error", "notes")  # fmt: skip
    return said("\n".join(lines), {name: told[name] for name in names if name in told})


async def _usual(link: Link) -> str:
    return str((await link.ask("GET", "/v1/models"))["usual"])


def _limits_in(family: Family) -> Run:
    async def run(link: Link, given: Json, report: Report) -> Answer:
        task = _text(given, "task") or family.usual
        told = await link.ask("GET", "/v1/limits", task=task, model=_text(given, "model"))
        fields = fields_of(family.requests[task], limits_from(told))
        lines = [f"{name}: {cast('Json', one)['allowed']}" for name, one in fields.items()]
        rest = {n: told[n] for n in ("policy", "tier", "language_model", "card_bytes")}
        return said("\n".join(lines), {"task": task, "fields": fields, **rest})

    return run


async def _status(link: Link, given: Json, report: Report) -> Answer:
    job = _needed(given, "job")
    return _told(await waited(link, job, _seconds(given, 0.0), report), link)


async def _jobs(link: Link, given: Json, report: Report) -> Answer:
    most, state = given.get("most") or 10, _text(given, "state")
    cursor = _text(given, "cursor")
    told = await link.ask("GET", "/v1/jobs", state=state, cursor=cursor, most=str(most))
    some = [values_of(view, link) for view in cast("list[Json]", told["jobs"])]
    lines = [f"{one['job']}: {one['state']}" for one in some] or ["there are no jobs."]
    return said("\n".join(lines), {"jobs": list(some), "next": told["next"]})


async def _cancel(link: Link, given: Json, report: Report) -> Answer:
    return _told(await link.ask("POST", f"{place(_needed(given, 'job'))}/cancel"), link)


async def _listen(link: Link, given: Json, report: Report) -> Answer:
    job, number = _needed(given, "job"), _whole(given, "number", 1)
    view = await link.ask("GET", place(job))
    outputs = cast("list[Json]", view["outputs"])
    found = next((one for one in outputs if one["number"] == number), None)
    if found is None:
        raise Refused(f"job {job} is {view['state']} and has no output {number}.")
    size, kind = int(cast("int", found["size"])), str(found["kind"])
    first, last = _whole(given, "first_byte", 0), _whole(given, "last_byte", size - 1)
    content: list[ContentBlock] = [_link(found, link, job)]
    if last - first < INLINE_BYTES:
        data, _ = await link.fetch(place(job, number), first, last)
        sound = base64.b64encode(data).decode()
        content.append(AudioContent(data=sound, mime_type=kind))
    else:
        part = f"{size} bytes: fetch the link, or ask for parts of up to {INLINE_BYTES} bytes."
        content.append(TextContent(text=part))
    values = {n: found[n] for n in ("number", "kind", "seconds", "size", "file", "title")}
    return Answer(content, values)


def _link(output: Json, link: Link, job: str) -> ResourceLink:
    """Where an output is: at the service, else at this server."""
    path = place(job, int(cast("int", output["number"])))
    return ResourceLink(
        name=str(output["title"] or f"song-{output['number']}"),
        uri=f"headroom:/{path}" if link.address is None else f"{link.address}{path}",
        mime_type=str(output["kind"]),
        size=int(cast("int", output["size"])),
        description="Takes requests for ranges of bytes.",
    )


async def _models(link: Link, given: Json, report: Report) -> Answer:
    told = await link.ask("GET", "/v1/models")
    ready = cast("list[Json]", told["data"])
    lines = [f"{one['name']}: {one['description'] or 'ready'}" for one in ready]
    return said("\n".join(lines), {n: told[n] for n in ("family", "tasks", "best", "models")})


async def _send(link: Link, given: Json, report: Report) -> Answer:
    try:
        data = binascii.a2b_base64(_needed(given, "data").encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Refused("data: Base64 is allowed.") from None
    told = await link.send(data, _text(given, "name") or "recording")
    return said(f"file {told['id']}: {told['seconds']} s, {told['kind']}", told)


def _text(given: Json, name: str) -> str | None:
    value: JsonValue = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(f"{name}: a text is allowed.")
    return value


def _needed(given: Json, name: str) -> str:
    value = _text(given, name)
    if not value:
        raise Refused(f"{name}: it is needed.")
    return value


def _whole(given: Json, name: str, usual: int) -> int:
    value = given.get(name)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Refused(f"{name}: a whole number is allowed.")
    return value


def _seconds(given: Json, usual: float) -> float:
    value = given.get("wait")
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_WAIT:
        raise Refused(f"wait: seconds from 0 to {MOST_WAIT:g} are allowed.")
    return float(value)
