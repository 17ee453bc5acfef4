"""Keeps the recordings that stand in a message as files of the service."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from headroom.errors import HeadroomError, InvalidRequest, InvalidSource, TooLarge
from headroom.jobs.files import File
from headroom.params.note import Note
from headroom.reasons import reason
from headroom.service.callers import Caller
from headroom.service.chat.messages import Recording
from headroom.service.doors import Doors

_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+=-]+)*;base64,", re.IGNORECASE | re.ASCII)
_KINDS = {"wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg"}
_BASE64 = "audio as Base64, or as a data URL of it"


@dataclass(frozen=True, slots=True)
class Kept:
    """Recordings as files: their ids, in order, and a note where the format was another one."""

    ids: tuple[str, ...]
    notes: tuple[Note, ...]


@contextmanager
def kept(doors: Doors, caller: Caller, recordings: Sequence[Recording]) -> Iterator[Kept]:
    """The recordings, kept as files; those of this call are removed again if the block raises an
    error.

    Raises InvalidRequest for what is no Base64, TooLarge, InvalidSource for what is no audio,
    StorageFull, StorageFailed.
    """
    left = min(doors.config.inline_bytes, doors.config.upload_bytes)
    ids: list[str] = []
    notes: list[Note] = []
    with ExitStack() as undo:
        for one in recordings:
            if one.id:
                ids.append(one.id)
                continue
            data = _decoded(one, left)
            left -= len(data)
            file = _file(doors, caller, one, data)
            undo.callback(_removed, doors, caller, file.id)
            ids.append(file.id)
            if one.format is not None and _KINDS.get(one.format, file.kind) != file.kind:
                notes.append(Note(one.field, one.format, file.kind, reason("chat_bytes_decide")))
        yield Kept(tuple(ids), tuple(notes))
        undo.pop_all()


def _decoded(one: Recording, left: int) -> bytes:
    head = _URL.match(one.data)
    text = "".join(one.data[head.end() if head else 0 :].split())
    if len(text) * 3 // 4 > left + 2:
        raise TooLarge(one.field, left)
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        raise InvalidRequest(one.field, text[:40], _BASE64) from None
    if len(data) > left:
        raise TooLarge(one.field, left)
    if not data:
        raise InvalidRequest(one.field, "", _BASE64)
    return data


def _file(doors: Doors, caller: Caller, one: Recording, data: bytes) -> File:
    with doors.files.receive(caller.key, one.field, len(data)) as incoming:
        incoming.write(data)
        try:
            return incoming.accept()
        except InvalidSource as error:
            raise InvalidSource(one.field, "the recording", error.why, error.allowed) from error


def _removed(doors: Doors, caller: Caller, id: str) -> None:
    with suppress(HeadroomError):  # what cannot be removed now expires
        doors.files.delete(id, caller.key)
