"""`/v1/audio/speech` as OpenAI's own client asks for it, and with the fields of the extension."""

from __future__ import annotations

import base64
import io
import json
import math
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
from openai import OpenAI

from headroom.service.speech.voices import FOLDER
from support.web import Engine, Service, Start, listening, made

PATH = "/v1/audio/speech"
TINY = "stepaudio/Step-Audio-EditX-tiny"
SHORT = {"max_seconds": 1, "seed": 4}
# What a client says of an answer that breaks off; OpenAI's uses the one or the other library.
BROKEN = tuple(
    import_module(name).TransportError for name in ("httpx", "httpx2") if find_spec(name)
)


def speech(seconds: float = 1.0, rate: int = 16_000, level: float = 0.3) -> bytes:
    time = np.arange(int(rate * seconds)) / rate
    out = io.BytesIO()
    sound = level * np.sin(2 * math.pi * 210 * time) * (1 + 0.4 * np.sin(9 * time))
    soundfile.write(out, sound, rate, format="WAV")
    return out.getvalue()


def encoded(data: bytes | None = None) -> str:
    return base64.b64encode(speech() if data is None else data).decode()


def clone(**own: Any) -> dict[str, Any]:
    values = {"prompt_audio_base64": encoded(), "prompt_text": "a", **SHORT, **own}
    return {"model": TINY, "input": "ab", "voice": "x", "step_audio": values}


def edit(mode: str, **own: Any) -> dict[str, Any]:
    values = {"mode": mode, "input_audio_base64": encoded(), **SHORT, **own}
    return {"model": TINY, "input": "ab", "voice": "x", "step_audio": values}


def kept_voice(service: Service, name: str = "anna", text: str = "a b") -> None:
    folder = service.doors.config.settings.data_dir / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.wav").write_bytes(speech())
    (folder / f"{name}.txt").write_text(text, "utf-8")


def asked(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    """The request that stands in the queue for a body, whose job is cancelled."""
    queue, stop = service.doors.queue, threading.Event()

    def cancel() -> None:
        while not stop.is_set():
            for job in queue.page(states=["queued"]).jobs:
                queue.cancel(job.id)
            time.sleep(0.02)

    thread = threading.Thread(target=cancel)
    thread.start()
    answer = service.client.post(PATH, json=body)
    stop.set()
    thread.join()
    assert answer.status_code == 409, answer.text
    job = queue.get(answer.headers["X-Job-Id"])
    request = json.loads(job.request)
    assert (request["family"], request["model"]) == tuple(TINY.split("/"))
    values = request["request"]
    assert isinstance(values, dict)
    return values


def refused(service: Service, body: dict[str, Any], status: int = 400) -> dict[str, Any]:
    answer = service.client.post(PATH, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert isinstance(error, dict)
    return error


@contextmanager
def client_of(service: Service) -> Iterator[OpenAI]:
    with listening(service.app) as url:
        yield OpenAI(api_key=service.key()[1], base_url=f"{url}/v1", max_retries=0)


def samples_in(data: bytes) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(data))
    assert rate == 24_000 and 0 < len(samples) <= 24_000 and samples.ndim == 1
    return np.asarray(samples)


@pytest.mark.ci  # starts a process that converts, which imports torch
def test_openais_client_speaks_in_every_way(service: Service, tmp_path: Path) -> None:
    kept_voice(service)
    with made(service.doors), client_of(service) as client:
        given: Any = {"model": TINY, "voice": "anna", "input": "ab"}
        extra: Any = {"extra_body": {"step_audio": SHORT}}
        plain = client.audio.speech.create(**given, response_format="wav", **extra)
        whole = samples_in(plain.read())
        job = service.doors.queue.get(plain.response.headers["X-Job-Id"])
        assert job.state == "done" and plain.response.headers["content-type"] == "audio/wav"
        assert int(plain.response.headers["content-length"]) == len(plain.content)
        client.audio.speech.create(**given, response_format="flac", **extra).write_to_file(
            tmp_path / "a.flac"
        )
        flac, rate = soundfile.read(tmp_path / "a.flac")
        assert rate == 24_000 and np.allclose(flac, whole, atol=1e-4)
        with client.audio.speech.with_streaming_response.create(
            **given, response_format="pcm", **extra
        ) as stream:
            raw = b"".join(stream.iter_bytes())
        assert np.allclose(np.frombuffer(raw, "<i2") / 32768, whole, atol=1e-4)
        with client.audio.speech.with_streaming_response.create(
            **given, response_format="wav", stream_format="sse", **extra
        ) as stream:
            lines = [json.loads(line[6:]) for line in stream.iter_lines() if line]
    assert {line["type"] for line in lines[:-1]} == {"speech.audio.delta"}
    sound = b"".join(base64.b64decode(line["audio"]) for line in lines[:-1])
    with wave.open(io.BytesIO(sound)) as file:
        assert file.getframerate() == 24_000
    assert sound[44:] == raw
    usage = lines[-1]["usage"]
    assert lines[-1]["type"] == "speech.audio.done" and usage["output_tokens"] > 5


def test_sound_is_sent_before_the_job_has_ended(service: Service) -> None:
    """The engine here makes one second, then waits until the client has heard it."""
    engine, heard, ready = Engine(service.doors), threading.Event(), threading.Event()
    from headroom.jobs.pieces import Piece
    from headroom.jobs.values import Told

    def work() -> None:
        while not service.doors.queue.page(states=["queued"]).jobs:
            time.sleep(0.02)
        claim = engine.claim()
        service.doors.files.pieces.add(claim, Piece(0, 0, 1, 24_000, b"\1\2" * 24_000))
        event = {"event": "audio_ready", "song": 0, "start": 0, "channels": 1, "frames": 24_000,
                 "rate": 24_000, "file": None}  # fmt: skip
        engine.worker.tell(claim, [Told(json.dumps(event), True)])
        if heard.wait(20):
            ready.set()
        engine.fail(claim)

    thread = threading.Thread(target=work)
    thread.start()
    kept_voice(service)
    got = b""
    with client_of(service) as client, suppress(openai.APIError, *BROKEN):
        with client.audio.speech.with_streaming_response.create(
            model=TINY, voice="anna", input="ab", response_format="pcm"
        ) as stream:
            for piece in stream.iter_bytes(4800):
                got += piece
                if len(got) >= 40_000:
                    heard.set()
    thread.join()
    assert ready.is_set() and got[:4] == b"\1\2\1\2"


@pytest.mark.long  # works with the model of random weights
def test_a_form_brings_the_recordings_and_leaves_none(service: Service) -> None:
    payload = {"model": TINY, "response_format": "flac",
               "step_audio": {"mode": "denoise", **SHORT}}  # fmt: skip
    key = {"X-API-Key": service.key()[1]}
    with made(service.doors):
        answer = service.client.post(
            f"{PATH}/upload", data={"payload": json.dumps(payload)},
            files={"input_audio": ("a.wav", speech(), "audio/wav")}, headers=key,
        )  # fmt: skip
    assert answer.status_code == 200, answer.text
    samples_in(answer.content)
    broken = service.client.post(
        f"{PATH}/upload", data={"payload": "{"}, files={"prompt_audio": speech()}, headers=key
    )
    assert broken.status_code == 400 and broken.json()["error"]["param"] == "payload"
    left = [job.id for job in service.doors.queue.page().jobs]
    assert len(left) == 1 and len(list(service.doors.files.storage.stored())) == 1


def test_bodies_of_the_extension_are_requests(service: Service) -> None:
    kept_voice(service)
    own = {"mode": "clone_with_emotion", "edit_info": "sad", "n_edit_iter": 2}
    values = asked(service, clone(**own))
    assert (values["task"], values["text"], values["prompt_text"]) == ("clone", "ab", "a")
    assert (values["edit_type"], values["edit_info"], values["passes"]) == ("emotion", "sad", 2)
    values = asked(service, {**clone(), "instructions": "Whisper"})
    assert (values["edit_type"], values["edit_info"]) == ("style", "whisper")
    values = asked(service, {"model": TINY, "input": "hi", "voice": {"id": "anna"}})
    assert (values["task"], values["prompt_text"], values["text"]) == ("clone", "a b", "hi")
    values = asked(service, edit("speed", edit_info="faster", audio_text="said"))
    assert (values["task"], values["source_text"], values["edit_info"]) == (
        "edit",
        "said",
        "faster",
    )
    values = asked(service, {**edit("paralinguistic", audio_text="said"), "input": "[Sigh] ab"})
    assert (values["text"], values["source_text"]) == ("[Sigh] ab", "said")
    values = asked(service, edit("edit", edit_type="vad", intensity=1.0, model_variant="base"))
    assert values["edit_type"] == "vad"


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        ({**clone(), "input": ""}, "input", "a text"),
        ({**clone(), "input": 7}, "input", "a text"),
        ({**clone(), "input": "[Giggle] a"}, "input", "in brackets only Breathing, Laughter"),
        ({**clone(), "input": "Привет"}, "input", "Chinese, Latin, Japanese or Korean"),
        ({**clone(), "response_format": "aiff"}, "response_format", "mp3, opus, aac, flac, wav"),
        ({**clone(), "speed": 1.5}, "speed", "1; step_audio.mode speed"),
        ({**clone(), "instructions": "like a king"}, "instructions", "happy, angry"),
        (clone(prompt_text=""), "step_audio.prompt_text", "a text"),
        (clone(mode="sing"), "step_audio.mode", "clone, clone_with_emotion"),
        (clone(mode="clone_with_style", edit_info="happy"), "edit_info", "serious, arrogant"),
        (clone(prompt_audio_base64="a*b"), "step_audio.prompt_audio_base64", "Base64"),
        (clone(prompt_audio_base64=None, prompt_audio_url="http://example.org/a.wav"),
         "step_audio.prompt_audio_url", "a data: URL"),
        (clone(intensity=2), "step_audio.intensity", "1: edits have no strength"),
        (clone(model_variant="awq"), "step_audio.model_variant", "base"),
        (clone(colour="red"), "colour", ""),
        (clone(prompt_audio_base64=None), "voice", "anna, or a recording"),
        (edit("emotion"), "edit_info", "happy, angry"),
        (edit("vad", input_audio_base64=None), "step_audio.input_audio_base64", "a recording"),
        ({**edit("paralinguistic"), "input": "no tag"}, "input", "at least one of [Breathing]"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_field_at_once(
    service: Service, body: dict[str, Any], field: str, allowed: str
) -> None:
    kept_voice(service)
    error = refused(service, body)
    assert (error["param"], error["type"]) == (field, "invalid_request_error")
    assert field in error["message"] and allowed in error["message"]
    assert error["message"].count(". ") == 0  # one sentence
    assert service.doors.queue.page().jobs == ()


def test_recordings_that_cannot_be_used_are_refused_with_the_reason(service: Service) -> None:
    bad = {
        "is 0.20 s long; allowed: a recording of 0.5 to 30 s": speech(0.2),
        "is 31.00 s long": speech(31),
        "has 8000 samples a second; allowed: a recording of at least 16000 Hz": speech(1, 8000),
        "is silent; allowed: a recording of speech": speech(1, level=0),
    }
    with made(service.doors):
        for why, data in bad.items():
            error = refused(service, clone(prompt_audio_base64=encoded(data)))
            assert error["param"] == "step_audio.prompt_audio_base64" and why in error["message"]
            assert tempfile.gettempdir() not in error["message"]


def test_without_a_speech_model_the_answer_says_how_to_get_one(service: Service) -> None:
    error = refused(service, {**clone(), "model": "tts-1"}, 404)
    assert "acestep models download --family stepaudio Step-Audio-EditX" in error["message"]
    assert "Step-Audio-EditX-tiny" in error["message"]
    assert refused(service, {**clone(), "model": "no-such"}, 404)["code"] == "model_not_found"


def test_a_full_queue_is_a_rate_limit_and_leaves_nothing(start: Start) -> None:
    service = start(waiting=0)
    assert refused(service, clone(), 429)["code"] == "queue_full"
    assert list(service.doors.files.storage.stored()) == []


def test_who_hangs_up_cancels_the_job(service: Service) -> None:
    kept_voice(service)
    with client_of(service) as client, pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=1.5).audio.speech.create(
            model=TINY, voice="anna", input="ab", response_format="pcm"
        )
    for _ in range(100):
        (job,) = service.doors.queue.page().jobs
        if job.has_ended:
            break
        time.sleep(0.1)
    assert job.state == "cancelled"


def test_voices_and_tags_are_listed(service: Service) -> None:
    kept_voice(service)
    (service.doors.config.settings.data_dir / FOLDER / "mute.wav").write_bytes(speech())
    told = service.client.get("/v1/voices").json()
    assert told["data"] == [{"id": "anna", "object": "voice", "name": "anna", "text": "a b"}]
    tags = service.client.get("/v1/tags").json()["families"]["stepaudio"]
    assert len(tags["sounds"]) == 10 and "[Laughter]" in tags["sounds"]
    assert "whisper" in tags["styles"] and "[Cantonese]" in tags["languages"]
