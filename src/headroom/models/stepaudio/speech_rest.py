"""Bodies of `POST /v1/audio/speech` as requests of this family. No torch.

Source: OpenAI's API, and the extension `step_audio` of Step-Audio-EditX-GPU-Managed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from headroom.errors import InvalidRequest
from headroom.models.speech_rest import Given, SentRecording, SpokenOrder
from headroom.models.stepaudio.requests.speech import CHANGES, OF_CLONES, EditType
from headroom.models.stepaudio.requests.values import EMOTIONS, LANGUAGES, SOUNDS, SPEEDS, STYLES

EXTENSION = "step_audio"
_CLONE, _THEN, _EDIT, _SOUNDS = "clone", "clone_with_", "edit", "paralinguistic"
_EDITS: tuple[str, ...] = get_args(EditType)
MODES = (_CLONE, *(_THEN + kind for kind in OF_CLONES), _EDIT, *_EDITS)
_PROMPT, _INPUT = "prompt_audio", "input_audio"
_VARIANTS = ("base",)  # of the model, as the extension names them
_NO_URL = (
    "a data: URL, Base64 in {}_base64, or the id of an uploaded file: nothing is fetched from "
    "elsewhere"
)


class _SpeechRest:
    files = (_PROMPT, _INPUT)

    def order(self, body: Given, voices: tuple[str, ...], files: Mapping[str, str]) -> SpokenOrder:
        own = body.get(EXTENSION) or {}
        if not isinstance(own, Mapping):
            raise InvalidRequest(EXTENSION, own, "an object")
        left = {name: value for name, value in own.items() if value is not None}
        kind, clones = _mode(left, body.get("instructions"))
        _check_fixed(left, body.get("speed"))
        sounds = {name: _recording(name, left, files) for name in self.files}
        text = _text(body.get("input"), needed=clones or kind == _SOUNDS)
        values: dict[str, object] = {"edit_type": kind} if kind else {}
        values |= {name: value for name, value in body.items() if name not in _READ}
        return (_clone if clones else _edit)({**values, **left}, text, body, sounds, voices)

    def tags(self) -> Mapping[str, object]:
        return {
            "emotions": [*EMOTIONS], "styles": [*STYLES], "speeds": [*SPEEDS],
            "sounds": [f"[{sound}]" for sound in SOUNDS],
            "languages": [f"[{language}]" for language in LANGUAGES], "modes": [*MODES],
        }  # fmt: skip

    def properties(self) -> Mapping[str, dict[str, object]]:
        text = {"type": ["string", "null"]}
        sound = {f"{name}{end}": text for name in self.files for end in ("", "_base64", "_url")}
        fields: dict[str, object] = {
            "mode": {"enum": [*MODES, None]}, "prompt_text": text, "audio_text": text,
            "edit_info": text, **sound,
        }  # fmt: skip
        about = "What is made: a clone of a voice, an edit of a recording, or one after another."
        return {EXTENSION: {"type": ["object", "null"], "properties": fields, "description": about}}


SPEECH_REST = _SpeechRest()
_READ = (EXTENSION, "input", "voice", "instructions", "speed")


def _mode(own: dict[str, object], instructions: object) -> tuple[str | None, bool]:
    """The kind of edit, and whether a voice is cloned first."""
    named = own.pop("mode", None)
    kind = own.pop("edit_type", None)
    mode = named or (_CLONE if kind is None else kind)
    if mode not in MODES:
        raise InvalidRequest(f"{EXTENSION}.mode", mode, ", ".join(MODES))
    clones = mode == _CLONE or str(mode).startswith(_THEN)
    if mode not in (_CLONE, _EDIT):
        kind = str(mode).removeprefix(_THEN)
    if mode == _EDIT and kind not in _EDITS:
        raise InvalidRequest(f"{EXTENSION}.edit_type", kind, ", ".join(_EDITS))
    if instructions not in (None, ""):
        word = str(instructions).strip().lower()
        if kind is not None or (found := _change(word)) is None:
            words = ", ".join(dict.fromkeys(w for words in CHANGES.values() for w in words))
            raise InvalidRequest("instructions", instructions, f"for a clone one of {words}")
        kind, own["edit_info"] = found, word
    return (None if kind is None else str(kind)), clones


def _change(word: str) -> str | None:
    """The kind of edit that a word belongs to."""
    return next((kind for kind, words in CHANGES.items() if word in words), None)


def _check_fixed(own: dict[str, object], speed: object) -> None:
    """Refuse what the model cannot do, where the forms have a field for it."""
    if speed not in (None, 1):
        raise InvalidRequest("speed", speed, f"1; {EXTENSION}.mode speed makes speech faster")
    intensity = own.pop("intensity", 1)
    if intensity != 1 or isinstance(intensity, bool):
        allowed = "1: edits have no strength, n_edit_iter repeats them"
        raise InvalidRequest(f"{EXTENSION}.intensity", intensity, allowed)
    variant = own.pop("model_variant", _VARIANTS[0])
    if variant not in _VARIANTS:
        raise InvalidRequest(f"{EXTENSION}.model_variant", variant, ", ".join(_VARIANTS))


def _recording(name: str, own: dict[str, object], files: Mapping[str, str]) -> SentRecording | None:
    """The recording of this name, in whichever form it came; None: there is none."""
    given = {f"{EXTENSION}.{n}": own.pop(n, None) for n in (f"{name}_base64", f"{name}_url", name)}
    given[name] = files.get(name)
    there = {place: data for place, data in given.items() if data not in (None, "")}
    if len(there) > 1:
        raise InvalidRequest(list(there)[1], "a second recording", f"one as {name}")
    for place, data in there.items():
        url = place.endswith("_url")
        if not isinstance(data, str) or (url and not data.lower().startswith("data:")):
            raise InvalidRequest(place, data, _NO_URL.format(name))
        return SentRecording(place, data)
    return None


def _text(given: object, needed: bool) -> str:
    if given is None and not needed:
        return ""
    if not isinstance(given, str) or (needed and not given.strip()):
        raise InvalidRequest("input", given, "a text")
    return given


def _voice(body: Given) -> object:
    """The name of a voice: a text, or an object with its id."""
    given = body.get("voice")
    return given.get("id") if isinstance(given, Mapping) else given


def _clone(
    values: dict[str, object],
    text: str,
    body: Given,
    sounds: Mapping[str, SentRecording | None],
    voices: tuple[str, ...],
) -> SpokenOrder:
    prompt, other = sounds[_PROMPT], sounds[_INPUT]
    if other is not None:
        raise InvalidRequest(other.name, "a recording", f"{_PROMPT}, or another mode")
    values.pop("audio_text", None)
    names = {"text": "input", "prompt_text": f"{EXTENSION}.prompt_text"}
    request = {**values, "task": "clone", "text": text}
    if prompt is not None:
        names["prompt_audio"] = prompt.name
        return SpokenOrder(request, {"prompt_audio": prompt}, names=names)
    voice = _voice(body)
    if voice not in voices:
        listed = "".join(f"{name}, " for name in voices)
        allowed = f"{listed}or a recording of a voice in {EXTENSION}.{_PROMPT}_base64"
        raise InvalidRequest("voice", voice, allowed)
    return SpokenOrder(request, {}, str(voice), ("prompt_audio", "prompt_text"), names)


def _edit(
    values: dict[str, object],
    text: str,
    body: Given,
    sounds: Mapping[str, SentRecording | None],
    voices: tuple[str, ...],
) -> SpokenOrder:
    prompt, source = sounds[_PROMPT], sounds[_INPUT]
    if prompt is not None:
        raise InvalidRequest(prompt.name, "a recording", f"{_INPUT}, or a mode that clones")
    if source is None:
        raise InvalidRequest(f"{EXTENSION}.{_INPUT}_base64", None, "a recording, which is edited")
    adds = values.get("edit_type") == _SOUNDS
    said = values.pop("audio_text", None)
    request = {**values, "task": "edit", "source_text": said or ("" if adds else text)}
    if adds:
        request["text"] = text
    names = {"text": "input", "source_text": f"{EXTENSION}.audio_text", "source_audio": source.name}
    return SpokenOrder(request, {"source_audio": source}, names=names)
