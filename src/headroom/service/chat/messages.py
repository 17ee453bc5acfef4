"""Reads the messages of a chat: the text and the recordings of what the user says last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from headroom.engine.wire import Json
from headroom.errors import InvalidRequest
from headroom.params.note import Note
from headroom.reasons import reason

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_OF_PERSON = "user"
_PARTS = "text, input_audio or file"
_ONLY_LAST = reason("chat_last_message")
_ANSWERS = "assistant"


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording in a message: Base64 in `data`, or the id of a file that is there already.

    field   where it stands, for errors
    format  what the sender says it is; the bytes decide
    """

    field: str
    data: str = ""
    id: str = ""
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What the user says last. `before`: the id of the song that the assistant answered before."""

    text: str
    recordings: tuple[Recording, ...]
    before: str | None
    notes: tuple[Note, ...]


def read_messages(given: JsonValue) -> Said:
    """The user's last messages, those behind the last answer. Raises InvalidRequest."""
    if not isinstance(given, list) or not given:
        raise InvalidRequest("messages", given, "a list of at least one message")
    texts: list[str] = []
    recordings: list[Recording] = []
    notes: list[Note] = []
    before: str | None = None
    for number, message in enumerate(given):
        place = f"messages.{number}"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            value = message.get("role") if isinstance(message, dict) else message
            raise InvalidRequest(f"{place}.role", value, "one of " + ", ".join(_ROLES))
        if message.get("name"):
            notes.append(Note(f"{place}.name", message["name"], None, reason("chat_names_unused")))
        if message["role"] == _ANSWERS:
            if texts or recordings:
                notes.append(Note(place, "earlier messages", None, _ONLY_LAST))
            texts, recordings, before = [], [], _song_of(message) or before
        elif message["role"] != _OF_PERSON:
            notes.append(Note(place, f"a message of the {message['role']}", None, _ONLY_LAST))
        else:
            text, some = _content(place, message.get("content"))
            texts.append(text)
            recordings += some
    if not texts:
        raise InvalidRequest("messages", given[-1], f"a message with the role {_OF_PERSON} at last")
    return Said("\n".join(filter(None, texts)), tuple(recordings), before, tuple(notes))


def _song_of(message: Json) -> str | None:
    """The id of the song that an answer refers to, as OpenAI's API does."""
    audio = message.get("audio")
    id = audio.get("id") if isinstance(audio, dict) else None
    return id if isinstance(id, str) else None


def _content(place: str, content: JsonValue) -> tuple[str, list[Recording]]:
    if isinstance(content, str):
        return content.strip(), []
    if not isinstance(content, list):
        raise InvalidRequest(f"{place}.content", content, "a text, or a list of parts")
    texts, recordings = [], []
    for number, part in enumerate(content):
        where = f"{place}.content.{number}"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(_text(f"{where}.text", part, "text"))
        elif kind in ("input_audio", "file"):
            inner = part.get(str(kind)) if isinstance(part, dict) else None
            if not isinstance(inner, dict):
                raise InvalidRequest(f"{where}.{kind}", inner, "an object")
            read = _recording if kind == "input_audio" else _file
            recordings.append(read(f"{where}.{kind}", inner))
        else:
            raise InvalidRequest(f"{where}.type", kind, _PARTS)
    return "\n".join(filter(None, map(str.strip, texts))), recordings


def _recording(where: str, inner: Json) -> Recording:
    format = inner.get("format")
    if format is not None and not isinstance(format, str):
        raise InvalidRequest(f"{where}.format", format, "a word such as wav or mp3")
    _check_known(where, inner, ("data", "format"))
    return Recording(f"{where}.data", data=_text(f"{where}.data", inner, "data"), format=format)


def _file(where: str, inner: Json) -> Recording:
    if inner.get("file_id") is None and inner.get("file_data") is not None:
        _check_known(where, inner, ("file_data", "filename"))
        return Recording(f"{where}.file_data", data=_text(f"{where}.file_data", inner, "file_data"))
    _check_known(where, inner, ("file_id", "filename"))
    return Recording(f"{where}.file_id", id=_text(f"{where}.file_id", inner, "file_id"))


def _check_known(where: str, inner: Mapping[str, JsonValue], known: tuple[str, ...]) -> None:
    for name, value in inner.items():
        if name not in known and value is not None:
            raise InvalidRequest(f"{where}.{name}", value, "fields " + ", ".join(known))


def _text(field: str, part: JsonValue, name: str) -> str:
    value = part.get(name) if isinstance(part, dict) else None
    if not isinstance(value, str):
        raise InvalidRequest(field, value, "a text")
    return value
