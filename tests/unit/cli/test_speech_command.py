"""`acestep speech clone | edit`, with our flags and those of `tts_infer.py`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from headroom.cli.speech import speaking_family, translated
from headroom.errors import InvalidRequest
from unit.cli.conftest import Cli

TINY = "Step-Audio-EditX-tiny"
SHORT = ("--max-seconds", "1", "--seed", "4", "--device", "cpu")


@pytest.fixture
def voice(home: Path) -> str:
    time = np.arange(16_000) / 16_000
    soundfile.write(home / "voice.wav", 0.3 * np.sin(1300 * time), 16_000)
    return "voice.wav"


@pytest.mark.ci  # starts the model of random weights twice
def test_a_voice_is_cloned_by_our_flags_and_by_the_older_ones(
    home: Path, cli: Cli, voice: str
) -> None:
    (home / "models").mkdir()
    ours = cli(
        "speech", "clone", "ab", "--prompt-audio", voice, "--prompt-text", "c", "--model", TINY,
        *SHORT, "-o", "a.flac", "--json",
    )  # fmt: skip
    assert ours.code == 0, ours.err
    (made,) = json.loads(ours.out)["outputs"]
    assert made["path"] == "a.flac" and 0 < made["duration"] <= 1
    old = cli(
        "speech", "clone", "--model-path", "models", "--tts-model-id", TINY, "--edit-type", "clone",
        "--prompt-audio-path", voice, "--prompt-text", "c", "--generated-text", "ab",
        "--device-map", "cpu", "--output-dir", "out", "--model-source", "local", *SHORT[:4],
    )  # fmt: skip
    assert old.code == 0, old.err
    assert "random" in old.err
    sounds = [soundfile.read(home / name)[0] for name in ("a.flac", "out/voice_cloned.wav")]
    assert np.allclose(*sounds, atol=1e-4)


def test_the_older_flags_of_an_edit_are_those_of_its_recording() -> None:
    words = ["edit", "--prompt_audio_path", "a/b.wav", "--prompt-text=say", "--edit-type", "style",
             "--edit-info", "whisper", "--n-edit-iter", "2", "--output-dir", "out",
             "--torch-dtype", "float16", "--quantization", "int8"]  # fmt: skip
    assert translated(speaking_family(), words) == [
        "--source-audio", "a/b.wav", "--source-text=say", "--edit-type", "style", "--edit-info",
        "whisper", "--n-edit-iter", "2", "--dtype", "float16", "--quantization", "int8",
        "--output", str(Path("out") / "b_edited_iter2.wav"),
    ]  # fmt: skip
    kept = translated(speaking_family(), ["clone", "--output-dir", "out", "-o", "mine.wav", "x"])
    assert kept == ["-o", "mine.wav", "x"]
    with pytest.raises(InvalidRequest, match="model_source: 'modelscope'"):
        translated(speaking_family(), ["clone", "--model-source", "modelscope"])


def test_what_cannot_be_is_refused_before_anything_is_loaded(cli: Cli, voice: str) -> None:
    def said(*words: str) -> str:
        done = cli("speech", *words, "--model", TINY)
        assert done.code == 2 and done.err.count("error:") == 1, done.err
        return done.err

    assert "task: 'sing' is not allowed; allowed: clone or edit" in said("sing")
    spoken = ("--prompt-audio", voice, "--prompt-text", "c")
    assert "text: '[Giggle]'" in said("clone", "[Giggle] a", *spoken)
    assert "edit_info: 'happy'" in said("edit", "--source-audio", voice, "--edit-type", "style",
                                        "--edit-info", "happy")  # fmt: skip
    assert "prompt_text" in said("clone", "a", "--prompt-audio", voice)


def test_the_folder_of_an_older_flag_is_made_by_what_is_written_into_it(
    home: Path, cli: Cli, voice: str
) -> None:
    spoken = ("a", "--prompt-audio", voice, "--prompt-text", "c", "--model", TINY, "--output-dir")
    refused = cli("speech", "clone", *spoken, "new", "--max-seconds", "x")
    assert refused.code == 2 and not (home / "new").exists()
    in_a_file = cli("speech", "clone", *spoken, voice)
    assert in_a_file.code == 2 and "is no folder" in in_a_file.err


def test_without_a_model_the_sentence_says_how_to_get_one(cli: Cli, voice: str) -> None:
    done = cli("speech", "clone", "a", "--prompt-audio", voice, "--prompt-text", "c", *SHORT)
    assert done.code != 0 and "models download --family stepaudio Step-Audio-EditX" in done.err


def test_its_help_lists_the_tasks_and_their_flags(cli: Cli) -> None:
    assert "clone " in cli("speech", "--help").out
    told = cli("speech", "edit", "--help").out
    assert "--edit-type" in told and "--prompt-audio" in told
