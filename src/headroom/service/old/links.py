"""Files by the links that answers of ACE-Step's REST interface show: ids, never paths."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import JsonValue

from headroom.errors import InvalidRequest, written
from headroom.jobs.files import File
from headroom.service.callers import Caller
from headroom.service.doors import Doors
from headroom.service.old.bodies import Body, FileField

AUDIO = "/v1/audio"
_ID = re.compile(r"([A-Za-z0-9_-]{20})(?:\.[a-z0-9]{1,5})?")
_FILE = re.compile(r"/v1/files/([A-Za-z0-9_-]{20})")
_OUTPUT = re.compile(r"/v1/jobs/([A-Za-z0-9_-]{20})/outputs/(\d{1,3})")
_ALLOWED = (
    "the id of an uploaded file, or the link to a song that an earlier answer had; files of the "
    "server are not read: send the recording with the request, or to POST /v1/files"
)


def link_to(file: File) -> str:
    """The link to a file. The ending after its id is for clients that look at it."""
    ending = re.search(r"\.[a-z0-9]{1,5}$", file.name.lower())
    return f"{AUDIO}?path={quote(file.id + (ending[0] if ending else ''))}"


def id_in(path: str) -> str | None:
    """The id of a file in the parameter `path` of a link; None: it is none."""
    found = _ID.fullmatch(path)
    return None if found is None else found[1]


def with_ids(doors: Doors, caller: Caller, body: Body, file_field: FileField) -> None:
    """Put ids in place of the links in a body, and those of its files. Where a file was sent, what
    else names one is left out, as the interface documents. Raises InvalidRequest."""
    for name, value in list(body.values.items()):
        wanted = file_field(name)
        if wanted is None or value in (None, ""):
            continue
        if wanted in [field for field, _, _ in body.files]:
            del body.values[name]
            continue
        many = value if isinstance(value, list) else [value]
        ids: list[JsonValue] = [_id_of(doors, caller, name, one) for one in many]
        body.values[name] = ids if isinstance(value, list) else ids[0]
    for wanted in dict.fromkeys(field for field, _, _ in body.files):
        sent = [(name, file.id) for field, name, file in body.files if field == wanted]
        body.values[sent[0][0]] = [id for _, id in sent] if len(sent) > 1 else sent[0][1]


def _id_of(doors: Doors, caller: Caller, name: str, value: object) -> str:
    text = written(value).strip()
    if (plain := id_in(text)) is not None:
        return plain
    try:
        parts = urlsplit(text)
        asked = parse_qs(parts.query).get("path", [""])[0]
    except ValueError as error:
        raise InvalidRequest(name, value, _ALLOWED) from error
    if parts.path == AUDIO and (linked := id_in(asked)) is not None:
        return linked
    if (file := _FILE.fullmatch(parts.path)) is not None:
        return file[1]
    if (output := _OUTPUT.fullmatch(parts.path)) is not None:
        return doors.library.get(output[1], int(output[2]), caller.owner).file
    raise InvalidRequest(name, value, _ALLOWED)
