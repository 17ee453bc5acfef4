"""Sorts the fields of a chat request: those of the song's request, those of the API, and others.

No field is dropped without a word: each is used, refused, or named in a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import JsonValue

from headroom.engine.names import FORMAT, USUAL_FORMAT
from headroom.engine.wire import Json
from headroom.errors import InvalidRequest, written
from headroom.models.family import Family
from headroom.params.describe import TASK
from headroom.params.note import Note
from headroom.params.request import Request, Unread, snake, spellings
from headroom.reasons import reason

USUAL_AUDIO = "mp3"  # that clients of this API expect where they name no format
_TEXTS = "no text is written that it could be about"
_SAMPLES = "every song is made on its own"
_HERE = "everything is made on this service"
_NO_TOOLS = "a song calls no tools"
_STORED = "the service keeps jobs by its own rules"
_NO_VOICES = reason("chat_no_voices")

# What OpenAI's and OpenRouter's clients send and a song has no use for.
_UNUSED: Mapping[str, Unread] = MappingProxyType(
    {
        "n": Unread("batch_size makes several songs", (1,)),
        "max_tokens": Unread("duration says how long a song is"),
        "max_completion_tokens": Unread("duration says how long a song is"),
        **dict.fromkeys(
            ("stop", "response_format", "verbosity", "prediction"), Unread(_TEXTS, ([],))
        ),
        **dict.fromkeys(
            ("frequency_penalty", "presence_penalty", "min_p", "top_a"), Unread(_SAMPLES, (0,))
        ),
        **dict.fromkeys(
            ("logit_bias", "logprobs", "top_logprobs", "reasoning", "reasoning_effort"),
            Unread(_TEXTS, ({}, False, 0)),
        ),
        **dict.fromkeys(
            ("tools", "tool_choice", "functions", "function_call", "parallel_tool_calls"),
            Unread(_NO_TOOLS, ([], "none", "auto", True, False)),
        ),
        **dict.fromkeys(
            ("provider", "route", "models", "transforms", "plugins", "web_search_options"),
            Unread(_HERE, ([], {})),
        ),
        **dict.fromkeys(
            ("store", "metadata", "user", "safety_identifier", "session_id", "trace"),
            Unread(_STORED, ({}, False)),
        ),
        **dict.fromkeys(
            ("service_tier", "prompt_cache_key", "prompt_cache_retention"),
            Unread(_HERE, ("auto", "default")),
        ),
    }
)
# Fields of ACE-Step's chat API that not every family has.
_DECLARED = frozenset(
    "temperature top_p top_k thinking guidance_scale batch_size use_cot_caption use_cot_language "
    "audio_cover_strength repainting_start repainting_end duration bpm key_scale time_signature "
    "vocal_language instrumental seed seeds".split()
)


@dataclass(slots=True)
class Sorted:
    """The fields of a song's request of some kind, by name, and notes on what is not used."""

    family: Family
    kind: type[Request]
    values: dict[str, JsonValue] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    @property
    def task(self) -> str:
        """The task of the kind."""
        return next(task for task, kind in self.family.requests.items() if kind is self.kind)

    def put(self, name: str, value: JsonValue) -> None:
        """Take a field. Raises InvalidRequest for one that was given before, with another value."""
        plain = snake(written(name))
        unread = _UNUSED.get(plain) or self.kind.unread.get(plain)
        if value is None:
            return
        if unread is not None and unread.takes(value):
            self.notes += [unread.note(name, value)] if unread.asks(value) else []
        elif plain in spellings(self.kind):
            self._set(name, spellings(self.kind)[plain], value)
        elif (why := self._needless(plain)) is not None:
            self.notes.append(Note(name, value, None, why))
        else:  # of another task, or unknown: the family says which
            self._set(name, name, value)

    def _set(self, spelt: str, name: str, value: JsonValue) -> None:
        if self.values.get(name, value) != value:
            raise InvalidRequest(spelt, value, "one value for it, not two that differ")
        self.values[name] = value

    def _needless(self, name: str) -> str | None:
        """Why a field that the kind lacks is not used; None: it is to be refused."""
        others = {
            spelt: field
            for kind in self.family.songs.values()
            for spelt, field in spellings(kind).items()
        }
        if name not in others:
            lacks = name in _DECLARED
        else:
            lacks = others[name] in self.family.language_fields
        return reason("chat_field_of_no_use", task=self.task) if lacks else None

    def put_format(self, spelt: str, value: JsonValue) -> None:
        """Take the format of the audio; without one, that which clients of this API expect."""
        if FORMAT in self.kind.model_fields:
            if value is not None:
                self._set(spelt, FORMAT, value)
        elif value not in (None, USUAL_FORMAT):
            self.notes.append(Note(spelt, value, USUAL_FORMAT, reason("chat_one_format")))

    def put_seed(self, value: JsonValue) -> None:
        """Take a seed, or several separated by commas."""
        several = isinstance(value, str) and "," in value
        self.put("seeds" if several else "seed", value)


def kind_of(family: Family, given: Json) -> type[Request]:
    """The kind of song that a request is for. Raises InvalidRequest."""
    asked = [name for name in given if snake(name) in (TASK, "task_type") and given[name]]
    words = {snake(str(given[name]).strip()) for name in asked}
    task = next(iter(words), family.usual)
    if len(words) > 1 or task not in family.songs:
        raise InvalidRequest(asked[0], given[asked[0]], "one of " + ", ".join(family.songs))
    return family.songs[task]


def of_api(given: Json, names: Mapping[str, str]) -> Iterator[tuple[str, JsonValue]]:
    """The fields that are not the API's own, `names`, and no name of the task."""
    for name, value in given.items():
        if name not in names and snake(written(name)) not in (TASK, "task_type"):
            yield name, value


def put_voice(notes: list[Note], audio: Json) -> None:
    """Note that the voice of OpenAI's audio object is not used. Raises InvalidRequest for fields
    that the object does not have."""
    for name, value in audio.items():
        if name == "voice" and value is not None:
            notes.append(Note("audio.voice", value, None, _NO_VOICES))
        elif name not in ("format", "voice"):
            raise InvalidRequest(f"audio.{name}", value, "fields format, voice")
