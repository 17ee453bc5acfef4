"""Reads a body of `POST /v1/audio/speech`: which model, which form of sound, and the order."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from headroom.audio.formats import Format
from headroom.engine.wire import Json
from headroom.errors import InvalidRequest, InvalidSource, StorageFailed
from headroom.jobs.values import Asked
from headroom.models.family import Family
from headroom.models.registry import speaking_families
from headroom.models.speech_rest import SentRecording, SpokenOrder
from headroom.service.answers import Refusal
from headroom.service.callers import Caller
from headroom.service.chat.making import Making
from headroom.service.chat.messages import Recording
from headroom.service.chat.recordings import kept
from headroom.service.doors import Doors
from headroom.service.errands import chosen_model
from headroom.service.models import ModelName, models_of, named
from headroom.service.orders import ID, check_files, read_order
from headroom.service.speech.voices import Voice, voices_of
from headroom.service.work import files_of
from headroom.settings import Settings

PCM = "pcm"  # samples alone: 16 bits, one channel
FORMATS: Mapping[str, Format] = {
    "mp3": "mp3", "opus": "opus", "aac": "m4a", "flac": "flac", "wav": "wav", PCM: "wav"
}  # fmt: skip
USUAL_FORMAT, EVENTS, SOUND = "mp3", "sse", "audio"
_OPENAI = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")  # names that programs send unasked
_OWN = ("model", "response_format", "stream_format", "stream", "metadata", "user")


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a body asks for.

    format  the word of OpenAI's API for the form of the sound
    live    whether sound is sent as it is made
    events  whether it comes as server-sent events
    """

    model: ModelName
    order: SpokenOrder
    voice: Voice | None
    format: str
    live: bool
    events: bool


def settings_for(doors: Doors, family: Family) -> Settings:
    """The settings, of which `model` names one of the service's own family alone."""
    settings = doors.config.settings
    if family.name == doors.config.family:
        return settings
    return settings.model_copy(update={"model": None})


def read_spoken(doors: Doors, given: Json, files: Mapping[str, str]) -> Spoken:
    """What a body asks for; `files`: ids of those that came with it. Raises InvalidRequest,
    Refusal, WeightsMissing."""
    family, model = _model(doors, given.get("model"))
    format, form = given.get("response_format"), given.get("stream_format")
    if format is None:
        format = USUAL_FORMAT
    if not isinstance(format, str) or format not in FORMATS:
        raise InvalidRequest("response_format", format, "one of " + ", ".join(FORMATS))
    if form not in (None, EVENTS, SOUND):
        raise InvalidRequest("stream_format", form, f"{SOUND} or {EVENTS}")
    if given.get("stream") not in (None, True, False):
        raise InvalidRequest("stream", given["stream"], "true or false")
    if not isinstance(given.get("metadata"), dict | None):
        raise InvalidRequest("metadata", given["metadata"], "an object")
    voices = voices_of(doors.config.settings)
    body = {name: value for name, value in given.items() if name not in _OWN}
    order = family.speech_rest().order(body, tuple(voices), files)
    asked = form == EVENTS or given.get("stream") is True
    live = format == PCM or (format == "wav" and asked)
    voice = None if order.voice is None else voices[order.voice]
    return Spoken(model, order, voice, format, live, form == EVENTS)


def submit(doors: Doors, caller: Caller, spoken: Spoken) -> Making:
    """Accept a job for what a body asks for. Raises what reading and accepting a request do."""
    order, values = spoken.order, dict(spoken.order.request)
    sent = dict(order.recordings)
    if spoken.voice is not None:
        recording, text = order.voice_fields
        sent[recording] = SentRecording("voice", _bytes_of(spoken.voice))
        values.setdefault(text, spoken.voice.text)
    try:
        with kept(doors, caller, [_recording(one) for one in sent.values()]) as files:
            values |= dict(zip(sent, files.ids, strict=True))
            request = json.loads(json.dumps(values))
            work, asked = read_order(request, spoken.model.family, spoken.model.name)
            check_files(asked, doors.files, caller.key)
            row = Asked(work.model_dump_json(), caller.key, inputs=files_of(asked))
            return Making(doors.queue.submit(row, caller.waiting), [])
    except InvalidRequest as error:
        raise renamed(error, order) from error


def renamed(error: InvalidRequest | InvalidSource, order: SpokenOrder) -> Exception:
    """An error with the name that the body has for the field."""
    name = order.names.get(error.field, error.field)
    if isinstance(error, InvalidSource):
        return InvalidSource(name, "the recording", error.why, error.allowed)
    return InvalidRequest(name, error.value, error.allowed)


def _model(doors: Doors, given: object) -> tuple[Family, ModelName]:
    """The model that a body names, else the usual one of the first family that speaks here."""
    if given is not None and not isinstance(given, str):
        raise InvalidRequest("model", given, "the id of a model")
    id = "" if given is None or given in _OPENAI else given
    own = doors.config.family
    families = sorted(
        speaking_families(), key=lambda one: (one.name != id.partition("/")[0], one.name != own)
    )
    if not families:
        raise Refusal(404, "model_not_found", "no family of models speaks here.", "model", "none")
    family = families[0]
    settings = settings_for(doors, family)
    chosen = chosen_model(doors) if family.name == own else None
    model = named(settings, id, family.name, chosen)
    if model.name is None and family.folders is not None:
        catalogue = family.folders.catalogue
        ready = [row["name"] for row in _rows(settings, family) if row["ready"]]
        others = f", or name one of {', '.join(map(str, ready))}" if ready else ""
        way = f"`acestep models download --family {family.name} {catalogue.usual}` brings it"
        message = f"{catalogue.usual} is not here: {way}{others}."
        raise Refusal(404, "model_not_found", message, "model", "a model that is installed")
    return family, model


def _rows(settings: Settings, family: Family) -> list[Json]:
    assert family.folders is not None
    core = family.folders.catalogue.core.name
    view = models_of(settings, family.name)
    rows: list[Json] = view["models"]  # type: ignore[assignment]
    return [row for row in rows if row["kind"] == core]


def _recording(sent: SentRecording) -> Recording:
    if ID.fullmatch(sent.data):
        return Recording(sent.name, id=sent.data)
    return Recording(sent.name, data=sent.data)


def _bytes_of(voice: Voice) -> str:
    try:
        return b64encode(voice.recording.read_bytes()).decode()
    except OSError as error:
        raise StorageFailed(error.strerror or type(error).__name__) from error
