"""Reads a chat request: what it asks for, and in which form it wants the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import JsonValue

from headroom.engine.names import FORMAT
from headroom.engine.wire import Json
from headroom.errors import InvalidRequest
from headroom.models.registry import family_named
from headroom.params.note import Note
from headroom.params.request import Request
from headroom.service.chat.fields import USUAL_AUDIO, Sorted, kind_of, of_api, put_voice
from headroom.service.chat.messages import Said, read_messages
from headroom.service.models import named
from headroom.settings import Settings

SAMPLE, REWRITE = "create_sample", "format_sample"  # tasks that write a song sheet
AUDIO = "audio"
_MODALITIES = ("text", AUDIO)
# The fields of the API itself, and what each is; all others are of the song's request.
OWN: Mapping[str, str] = MappingProxyType(
    {
        "model": "family/name, as GET /v1/models lists them; else that of the service",
        "messages": "texts, and recordings as input_audio or file parts",
        "modalities": 'text and audio: ["text", "audio"]',
        "audio": "format and voice, as OpenAI's API has them: the answer then has its form, too",
        "audio_config": "fields of the song's request, and format",
        "stream": "whether the answer comes in pieces, with progress before it",
        "stream_options": "include_usage",
        "usage": "include, as stream_options.include_usage",
        "seed": "a number, or several separated by commas",
        "lyrics": "to be sung; the text of the messages is the caption then",
        "sample_mode": "whether a language model makes a song sheet of the text first",
        "use_format": "whether a language model puts caption and lyrics into its form first",
    }
)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a chat request asks for.

    shown   the model's id, as the answer names it
    model   its name; None: the one the service was started with
    kind    of the song's request, and `values` of it: neither words nor recordings
    lyrics  that stand in a field of their own
    sheet   the task by which a language model is to write a song sheet first
    openai  whether the answer has the form of OpenAI's audio; else OpenRouter's list
    usage   whether a stream ends with the numbers of use
    """

    family: str
    model: str | None
    shown: str
    kind: type[Request]
    values: Mapping[str, JsonValue]
    said: Said
    lyrics: str
    sheet: str | None
    openai: bool
    stream: bool
    usage: bool
    notes: tuple[Note, ...]


def read_ask(given: Json, settings: Settings, usual_family: str, chosen: str | None = None) -> Ask:
    """What a chat request asks for; `chosen`: the model for those that name none, if one was
    loaded for them. Raises InvalidRequest, Refusal, WeightsMissing."""
    id = given.get("model")
    if id is not None and not isinstance(id, str):
        raise InvalidRequest("model", id, "the id of a model")
    model = named(settings, id or "", usual_family, chosen)
    family = family_named(model.family)
    sorted = Sorted(family, kind_of(family, given))
    said = read_messages(given.get("messages"))
    config, audio = _object(given, "audio_config"), _object(given, AUDIO)
    _check_modalities(given.get("modalities"))
    for name, value in (*of_api(given, OWN), *config.items()):
        if name != "format":
            sorted.put(name, value)
    sorted.put_format("audio_config.format", config.get("format"))
    sorted.put_format("audio.format", audio.get("format"))
    sorted.put_seed(given.get("seed"))
    put_voice(sorted.notes, audio)
    if FORMAT in sorted.kind.model_fields:
        sorted.values.setdefault(FORMAT, USUAL_AUDIO)
    sheets = [task for name, task in (("sample_mode", SAMPLE), ("use_format", REWRITE))
              if _flag(given, name)]  # fmt: skip
    if len(sheets) > 1:
        raise InvalidRequest("use_format", True, "false beside sample_mode")
    options, usage = _object(given, "stream_options"), _object(given, "usage")
    return Ask(
        family=model.family,
        model=model.name if model.given else None,
        shown=model.id,
        kind=sorted.kind,
        values=sorted.values,
        said=said,
        lyrics=_text(given, "lyrics"),
        sheet=sheets[0] if sheets else None,
        openai=AUDIO in given and given[AUDIO] is not None,
        stream=_flag(given, "stream"),
        usage=_flag(options, "include_usage") or _flag(usage, "include"),
        notes=(*said.notes, *sorted.notes),
    )


def _check_modalities(given: JsonValue) -> None:
    """Raise InvalidRequest for anything but a list of kinds with audio among them."""
    if given is None:
        return
    known = isinstance(given, list) and all(one in _MODALITIES for one in given)
    if not known or AUDIO not in given:  # type: ignore[operator]
        raise InvalidRequest("modalities", given, f'["{AUDIO}"] or ["text", "{AUDIO}"]')


def _object(given: Json, name: str) -> Json:
    value = given.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(name, value, "an object")
    return value


def _flag(given: Json, name: str) -> bool:
    value = given.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidRequest(name, value, "true or false")
    return value


def _text(given: Json, name: str) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest(name, value, "a text")
    return value.strip()
