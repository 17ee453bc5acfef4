"""Reads the bodies of ACE-Step's REST interface: JSON, forms of both types, or what looks like one
of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from anyio.to_thread import run_sync
from fastapi import Request as HttpRequest
from pydantic import JsonValue

from headroom.errors import Conflict, InvalidRequest, UnknownId
from headroom.jobs.files import File, Incoming
from headroom.service.answers import Refusal
from headroom.service.callers import Caller
from headroom.service.doors import Doors
from headroom.service.old.token import FIELD
from headroom.service.orders import read_object
from headroom.service.uploads import Form, Write, is_form, read_form
from headroom.units import MIB

_PAIRS = 1000  # of a form
_TYPES = "application/json, application/x-www-form-urlencoded or multipart/form-data"
FileField = Callable[[str], str | None]
"""The field of a request for a file that comes under a name; None: there is none."""


@dataclass(slots=True)
class Body:
    """The values of a body by name, and the files that came with it: field, name, file."""

    values: dict[str, JsonValue]
    files: list[tuple[str, str, File]] = field(default_factory=list)


async def read_values(http: HttpRequest) -> dict[str, JsonValue]:
    """The values of a body without files; none of an empty one. Raises InvalidRequest, Refusal."""
    kind = http.headers.get("content-type", "")
    if is_form(kind):
        return await _of_form(http, _no_file)
    data = await http.body()
    if "json" in kind.partition(";")[0] or data.lstrip()[:1] in (b"{", b"["):
        return _without_key(await read_object(http))
    if kind.startswith("application/x-www-form-urlencoded") or b"=" in data:
        return _gathered(_pairs(data))
    if not data.strip():
        return {}
    raise Refusal(415, "wrong_type", "this type of body is not taken.", "Content-Type", _TYPES)


@asynccontextmanager
async def read_body(
    http: HttpRequest, doors: Doors, caller: Caller, file_field: FileField
) -> AsyncIterator[Body]:
    """The values and files of a body. Files that no job needs at the end of the block are removed.

    Raises InvalidRequest, InvalidSource, TooLarge, StorageFull, StorageFailed, Refusal.
    """
    if not is_form(http.headers.get("content-type", "")):
        values = await read_values(http)
        if not values:
            raise Refusal(415, "wrong_type", "there is no body.", "Content-Type", _TYPES)
        yield Body(values)
        return
    with ExitStack() as held:
        coming: list[tuple[str, str, Incoming]] = []

        def begin(name: str, named: str) -> Write:
            wanted = file_field(name)
            if wanted is None:
                raise InvalidRequest(name, named, "a name that this takes a file under")
            if not named:  # a browser's input for a file that nobody chose
                return _nothing(name)
            incoming = held.enter_context(
                doors.files.receive(caller.key, named, doors.config.upload_bytes)
            )
            coming.append((wanted, name, incoming))
            return incoming.write

        body = Body(await _of_form(http, begin, doors.config.body_bytes))
        try:
            for wanted, name, incoming in coming:
                body.files.append((wanted, name, await run_sync(incoming.accept)))
            yield body
        finally:
            await run_sync(_remove, doors, caller, [file.id for _, _, file in body.files])


async def _of_form(
    http: HttpRequest, begin: Callable[[str, str], Write], most: int = MIB
) -> dict[str, JsonValue]:
    """The fields of a form that are no files, `most` bytes of them."""
    form = Form(begin, most)
    await read_form(http.stream(), http.headers.get("content-type", ""), form)
    return _gathered((name, _text(name, value)) for name, value in form.fields)


def _no_file(name: str, named: str) -> Write:
    raise InvalidRequest(name, named, "a value, not a file")


def _nothing(name: str) -> Write:
    def write(data: bytes) -> None:
        raise InvalidRequest(name, "a file without a name", "a file with a name")

    return write


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(name, value[:40], "text in UTF-8") from error


def _pairs(data: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            data.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_PAIRS
        )
    except ValueError as error:
        raise InvalidRequest("body", data[:200], f"a form in UTF-8 ({error})") from error


def _gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, JsonValue]:
    """The values by name; a list of those that come under one name with different values."""
    values: dict[str, JsonValue] = {}
    for name, value in pairs:
        before = values.get(name)
        if before is None or before == value:
            values[name] = value
        else:
            values[name] = [*(before if isinstance(before, list) else [before]), value]
    return _without_key(values)


def _without_key(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if not isinstance(values.get(FIELD), str | None):
        raise InvalidRequest(FIELD, "(not shown)", "a key, as text")
    return {name: value for name, value in values.items() if name != FIELD}


def _remove(doors: Doors, caller: Caller, ids: list[str]) -> None:
    """Remove files, except those that a job needs."""
    for id in ids:
        with suppress(Conflict, UnknownId):
            doors.files.delete(id, caller.key)
