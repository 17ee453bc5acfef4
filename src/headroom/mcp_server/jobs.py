"""Asks for jobs and tells an agent of them: in a few lines, and as values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import cast
from urllib.parse import quote

from anyio import CancelScope, get_cancelled_exc_class, sleep
from pydantic import JsonValue

from headroom.engine.wire import Json
from headroom.mcp_server.link import Link, Refused

Report = Callable[[float, str], Awaitable[None]]
"""Told the seconds that were waited, and the state of the job."""

_ENDED = ("done", "failed", "cancelled", "expired")
_LOOK_SECONDS = 0.5  # between two looks at a job that is waited for


def place(job: str, output: int | None = None) -> str:
    """The path of a job, or of one of its outputs."""
    path = f"/v1/jobs/{quote(job, safe='')}"
    return path if output is None else f"{path}/outputs/{output}"


async def made(link: Link, request: Json, model: str | None, wait: float, report: Report) -> Json:
    """Ask for a job and wait for it for some seconds; the job as it is then. It is cancelled if the
    agent takes its call back. Raises Refused."""
    view = await link.ask("POST", "/v1/jobs", request, model=model)
    id = str(view["id"])
    try:
        return await waited(link, id, wait, report)
    except get_cancelled_exc_class():
        with CancelScope(shield=True), suppress(Refused):
            await link.ask("POST", f"{place(id)}/cancel")
        raise


async def waited(link: Link, job: str, wait: float, report: Report) -> Json:
    """A job, once it has ended or some seconds are over. Raises Refused."""
    began = monotonic()
    while True:
        view = await link.ask("GET", place(job))
        spent = monotonic() - began
        if view["state"] in _ENDED or spent >= wait:
            return view
        await report(spent, str(view["state"]))
        await sleep(min(_LOOK_SECONDS, wait - spent))


def values_of(view: Json, link: Link) -> Json:
    """What an agent is told of a job: no provenance, no plan."""
    result = cast("Json", view.get("result") or {})
    error = cast("Json", view.get("error") or {})
    told: Json = {"job": view["id"], "state": view["state"]}
    told |= {name: view[name] for name in ("position",) if name in view}
    if error:
        told["error"] = error.get("message")
    notes = cast("list[Json]", result.get("notes") or [])
    told["notes"] = [note.get("sentence") for note in notes]
    outputs = cast("list[Json]", view.get("outputs") or [])
    told["outputs"] = [_output(one, link) for one in outputs]
    answer = cast("Json", result.get("output") or {})
    if answer and answer.get("kind") != "songs":
        told["answer"] = {name: one for name, one in answer.items() if name != "notes"}
    return told


def _output(one: Json, link: Link) -> Json:
    names = ("number", "title", "kind", "seconds", "size", "file")
    told: Json = {name: one[name] for name in names}
    return told if link.address is None else {**told, "url": f"{link.address}{one['url']}"}


def lines_of(told: Json) -> str:
    """The same in a few lines of text."""
    lines = [f"job {told['job']}: {told['state']}"]
    if told.get("position") is not None:
        lines[0] += f", {told['position']} before it"
    if told.get("error"):
        lines.append(f"error: {told['error']}")
    for one in cast("list[Json]", told["outputs"]):
        parts = [
            one["title"] or "a song",
            f"{one['seconds']} s",
            one["kind"],
            f"file {one['file']}",
        ]
        parts += [one["url"]] if "url" in one else []
        lines.append(f"output {one['number']}: " + ", ".join(map(str, parts)))
    lines += [f"note: {note}" for note in cast("list[JsonValue]", told["notes"])]
    for name, value in cast("Json", told.get("answer") or {}).items():
        if value not in (None, "", []):
            lines.append(f"{name}: {value}")
    if told["state"] == "done" and told["outputs"]:
        lines.append("Hear an output with the tool listen.")
    elif told["state"] in ("queued", "running"):
        lines.append("It goes on; ask the tool status.")
    return "\n".join(lines)
