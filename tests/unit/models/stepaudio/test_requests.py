"""What may be asked for, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from headroom.errors import InvalidRequest, InvalidSource
from headroom.models.registry import family_named
from headroom.models.stepaudio.composing import speech_of
from headroom.models.stepaudio.requests.speech import Clone, Edit
from headroom.models.stepaudio.requests.values import EMOTIONS, SOUNDS, SPEEDS, STYLES

VOICE = {"prompt_audio": "voice.wav", "prompt_text": "hello"}


def test_the_published_words_are_there() -> None:
    assert (len(EMOTIONS), len(STYLES), len(SPEEDS), len(SOUNDS)) == (15, 33, 4, 10)
    assert "remove" in EMOTIONS and "remove" in STYLES


def test_old_names_are_read() -> None:
    family = family_named("stepaudio")
    clone = family.request(
        {"task": "clone", "target_text": "hi", "prompt_wav_path": "a.wav", "prompt_text": "x"}
    )
    assert isinstance(clone, Clone) and clone.text == "hi"
    edit = family.request(
        {"task": "edit", "input_audio_path": "a.wav", "audio_text": "x", "edit_type": "speed",
         "edit_info": "more faster", "n_edit_iter": 2}
    )  # fmt: skip
    assert isinstance(edit, Edit) and (edit.passes, edit.edit_info) == (2, "more faster")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({**VOICE, "text": " "}, "text"),
        ({**VOICE, "text": "hi", "prompt_text": ""}, "prompt_text"),
        ({**VOICE, "text": "[Giggle] hi"}, "text"),
        ({**VOICE, "text": "hi <audio_7>"}, "text"),
        ({**VOICE, "text": "hi <|EOT|>"}, "text"),
        ({**VOICE, "text": "hi", "language": "French"}, "language"),
        ({**VOICE, "text": "hi", "edit_type": "paralinguistic"}, "edit_type"),
        ({**VOICE, "text": "hi", "edit_type": "emotion"}, "edit_info"),
        ({**VOICE, "text": "hi", "edit_info": "happy"}, "edit_info"),
        ({**VOICE, "text": "hi", "temperature": -1}, "temperature"),
        ({"text": "hi"}, "prompt_audio"),
    ],
)
def test_a_clone_that_cannot_be_is_refused_by_field(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Clone.model_validate(fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"edit_type": "emotion"}, "edit_info"),
        ({"edit_type": "emotion", "edit_info": "whisper"}, "edit_info"),
        ({"edit_type": "style", "edit_info": "happy"}, "edit_info"),
        ({"edit_type": "vad", "edit_info": "happy"}, "edit_info"),
        ({"edit_type": "pitch"}, "edit_type"),
        ({"edit_type": "paralinguistic"}, "text"),
        ({"edit_type": "paralinguistic", "text": "no sound"}, "text"),
        ({"edit_type": "denoise", "passes": 0}, "passes"),
    ],
)
def test_an_edit_that_cannot_be_is_refused_by_field(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Edit.model_validate({"source_audio": "a.wav", **fields})
    assert caught.value.field == field


def test_a_language_is_marked_once() -> None:
    def parts(text: str, **more: object) -> tuple[str, ...]:
        return Clone.model_validate({**VOICE, "text": text, **more}).parts

    assert parts("hi", language="Cantonese") == ("[Cantonese]hi",)
    assert parts("[Korean]hi", language="Korean") == ("[Korean]hi",)
    assert parts("[Japanese] hi") == ("[Japanese]hi",)
    assert parts("[Korean]hi", language="Japanese") == ("[Japanese]hi",)
    assert parts("a [Sigh] b") == ("a [Sigh] b",)
    long = parts("好。" * 150, language="Sichuanese")
    assert len(long) == 3 and all(part.startswith("[Sichuanese]好。") for part in long)


@pytest.mark.parametrize(
    ("rate", "seconds", "why"),
    [(16_000, 0.2, "0.20 s long"), (16_000, 31, "31.00 s long"), (8000, 1, "8000 samples")],
)
def test_a_recording_that_cannot_be_used_is_refused(
    rate: int, seconds: float, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(int(rate * seconds)) + 0.1, rate)
    request = Edit(source_audio=path, edit_type="vad")
    with pytest.raises(InvalidSource, match=why):
        speech_of(request, (1,))


def test_a_version_is_made_for_each_seed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.ones(16_000) * 0.1, 16_000)
    edit = Edit(source_audio=path, edit_type="emotion", edit_info="sad", passes=2, max_seconds=6)
    one, two = speech_of(edit, (3, 4))
    assert (one.seed, two.seed, one.passes, one.groups, one.seconds) == (3, 4, 2, 50, 1.0)
    assert one.edit is not None and one.edit.info == "sad"
    assert one.prompt_groups == 53
