"""The answers of the chat API: a completion, or the chunks of one, with songs as Base64 in them.

A document names its songs by marks. Their bytes are read, encoded and sent piece by piece, so that
an answer of many megabytes needs no memory of its size.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import cast

from pydantic import JsonValue

from headroom.engine.wire import Json
from headroom.jobs.files import Files
from headroom.jobs.library import Output
from headroom.params.describe import Param, describe
from headroom.params.request import Request
from headroom.service.chat.ask import Ask
from headroom.service.chat.making import Making

NEVER = 253_402_300_799  # the end of the year 9999: when songs expire that are kept for good
DONE = b"data: [DONE]\n\n"
_LONG = 60  # characters of a value in a line of the text
_LYRICS = "lyrics"


class Marks:
    """Stands for the bytes of files in a JSON text, until that is sent."""

    def __init__(self, files: Files) -> None:
        self._files, self._word = files, f"headroom-{token_hex(16)}-"
        self._ids: list[str] = []

    def of(self, output: Output) -> str:
        """The mark for the bytes of an output."""
        self._ids.append(output.file)
        return f"{self._word}{len(self._ids) - 1}."

    def filled(self, document: Json) -> Iterator[bytes]:
        """The document as JSON with Base64 in place of the marks, in pieces. Raises UnknownId,
        StorageFailed."""
        parts = re.split(rf"{self._word}(\d+)\.", json.dumps(document))
        for text, number in zip(parts[::2], [*parts[1::2], None], strict=True):
            yield text.encode()
            if number is not None:
                yield from encoded(self._files.read(self._ids[int(number)]))


def encoded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Bytes as Base64, in pieces that are Base64 each."""
    left = b""
    for piece in pieces:
        whole = left + piece
        end = len(whole) - len(whole) % 3
        left = whole[end:]
        if end:
            yield b64encode(whole[:end])
    if left:
        yield b64encode(left)


def completion(ask: Ask, making: Making, marks: Marks, expires: int) -> Json:
    """The whole answer. In OpenAI's form each song is a choice; in OpenRouter's, one choice lists
    all of them."""
    text, first = content(ask, making), dict[str, JsonValue](role="assistant")
    if ask.openai:
        words = _sung(making)
        messages = [
            {**first, "content": text, "refusal": None, "audio": _audio(one, marks, expires, words)}
            for one in making.outputs
        ]
    else:
        messages = [{**first, "content": text, "audio": _listed(making, marks)}]
    choices: list[JsonValue] = [
        {"index": number, "message": message, "finish_reason": "stop", "logprobs": None}
        for number, message in enumerate(messages)
    ]
    return {**_head(ask, making, "chat.completion"), "choices": choices, **ending(making, True)}


def _head(ask: Ask, making: Making, kind: str) -> Json:
    job = making.job
    return {
        "id": f"chatcmpl-{job.id}", "object": kind, "created": int(job.created), "model": ask.shown
    }  # fmt: skip


def ending(making: Making, usage: bool) -> Json:
    """What stands beside the choices at the end: the notes, the job with its seeds, and what was
    used."""
    seeds: list[JsonValue] = [song.get("seed") for song in _songs(making)]
    told: Json = {"notes": list(notes_of(making)), "job": making.job.id, "seeds": seeds}
    return told | ({"usage": usage_of(making)} if usage else {})


def notes_of(making: Making) -> list[Json]:
    """Every note, those of the chat first."""
    own = (making.result or {}).get("notes") or []
    return [*making.notes, *cast("list[Json]", own)]


def usage_of(making: Making) -> Json:
    """What was used, as it was counted: tokens of the language model alone, 0 where none was used,
    as nothing else here reads or writes tokens; seconds of sound, and of work."""
    job = making.job
    work = (job.ended or 0.0) - (job.started or job.ended or 0.0)
    return {
        "prompt_tokens": making.read,
        "completion_tokens": making.written,
        "total_tokens": making.read + making.written,
        "audio_seconds": round(sum(one.seconds or 0.0 for one in making.outputs), 3),
        "work_seconds": round(work, 3),
    }


def chunk(ask: Ask, making: Making, delta: Json, index: int = 0, **more: JsonValue) -> Json:
    """A piece of a streamed answer. `more`: finish_reason, or what stands beside the choices."""
    finish = more.pop("finish_reason", None)
    choice: Json = {"index": index, "delta": delta, "finish_reason": finish}
    return {**_head(ask, making, "chat.completion.chunk"), "choices": [choice], **more}


def without_choice(ask: Ask, making: Making, **more: JsonValue) -> Json:
    """A piece of a streamed answer that belongs to no choice."""
    return {**_head(ask, making, "chat.completion.chunk"), "choices": [], **more}


def audio_chunks(ask: Ask, making: Making, files: Files, expires: int) -> Iterator[Iterator[bytes]]:
    """The songs as messages of a stream, each in pieces. In OpenAI's form a song is spread over
    several messages, whose Base64 can be joined or decoded one by one."""
    if not ask.openai:
        marks = Marks(files)
        yield message(marks.filled(chunk(ask, making, {"audio": _listed(making, marks)})))
        return
    for index, one in enumerate(making.outputs):
        begins: Json = {"id": one.file, "transcript": _sung(making), "expires_at": expires}
        yield message([json.dumps(chunk(ask, making, {"audio": begins}, index)).encode()])
        for piece in encoded(files.read(one.file)):
            audio: Json = {"id": one.file, "data": piece.decode()}
            yield message([json.dumps(chunk(ask, making, {"audio": audio}, index)).encode()])


def message(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A message of a stream of server-sent events."""
    yield b"data: "
    yield from pieces
    yield b"\n\n"


def _audio(one: Output, marks: Marks, expires: int, transcript: str) -> Json:
    return {
        "id": one.file, "data": marks.of(one), "transcript": transcript, "expires_at": expires
    }  # fmt: skip


def _listed(making: Making, marks: Marks) -> list[JsonValue]:
    return [
        {"type": "audio_url", "audio_url": {"url": f"data:{one.kind};base64,{marks.of(one)}"}}
        for one in making.outputs
    ]


def content(ask: Ask, making: Making) -> str:
    """What was made, in Markdown: the values that describe the song, its lyrics, and the notes."""
    values = _values(making)
    params = _describing(ask.kind)
    lines = [
        f"- {param.name}: {_short(param.shown(values[param.name]))}"
        for param in params
        if param.name != _LYRICS and values.get(param.name) not in (None, "", [])
    ]
    for number, song in enumerate(_songs(making), 1):
        seconds, seed = song.get("seconds"), song.get("seed")
        lines.append(f"- song {number}: {seconds:.1f} s, seed {seed}")
    parts = ["\n".join(lines), _sung(making)]
    sentences = [f"- {note.get('sentence')}" for note in notes_of(making)]
    if sentences:
        parts.append("\n".join(["Notes:", *sentences]))
    return "\n\n".join(filter(None, parts))


def _describing(kind: type[Request]) -> list[Param]:
    """The parameters of a request's first group, which say what the music is."""
    params = describe(kind)
    return [param for param in params if param.knob.group == params[0].knob.group]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONG * 10 else line[: _LONG * 10 - 1] + "…"


def _values(making: Making) -> Json:
    """The fields of the request as it was carried out."""
    request = (making.result or {}).get("request")
    return cast("Json", request.get("values") or {}) if isinstance(request, dict) else {}


def _songs(making: Making) -> list[Json]:
    output = (making.result or {}).get("output")
    return cast("list[Json]", output.get("songs") or []) if isinstance(output, dict) else []


def _sung(making: Making) -> str:
    """The words that are sung; none of a song without a voice."""
    values = _values(making)
    return "" if values.get("instrumental") else str(values.get(_LYRICS) or "")
