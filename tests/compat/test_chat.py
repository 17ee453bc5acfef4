"""The chat-completions API: OpenAI's client and OpenRouter's requests, and what must not return of
the program that it is made after.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import soundfile
from openai import OpenAI

from headroom.errors import TooLarge
from headroom.jobs.values import Job, Told
from headroom.runtime.events import Event, Progress
from headroom.service.callers import HERE as ME
from headroom.service.chat.ask import OWN, read_ask
from headroom.service.chat.documents import encoded
from headroom.service.chat.making import submit
from headroom.service.chat.wish import Wish, wish_in
from headroom.service.looks import LOOK_SECONDS
from headroom.service.teller import Teller
from support.web import Engine, Service, Start, listening, tones_made, wav

PATH = "/v1/chat/completions"
USER: dict[str, Any] = {"role": "user", "content": "slow bossa nova"}
TONE = {"model": "tone", "audio_config": {"duration": 0.2, "frequency": 330}}


def part(data: bytes | None = None, **more: Any) -> dict[str, Any]:
    text = base64.b64encode(wav() if data is None else data).decode()
    return {"type": "input_audio", "input_audio": {"data": text, "format": "wav", **more}}


def chat(*content: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content) or "slow bossa nova"}], **more}


def accepted(service: Service, body: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What stands in the queue for a chat request, and the notes on it."""
    doors = service.doors
    making = submit(doors, ME, read_ask(body, doors.config.settings, doors.config.family))
    return json.loads(making.job.request), making.notes


def test_a_chat_that_names_no_model_gets_the_one_that_was_loaded(service: Service) -> None:
    service.doors.roster.choose("acestep", "acestep-v15-nano")
    queue = service.doors.queue

    def cancel() -> None:
        while not (waiting := queue.page().jobs):
            time.sleep(0.02)
        queue.cancel(waiting[0].id)

    thread = threading.Thread(target=cancel, daemon=True)
    thread.start()
    answer = service.client.post(PATH, json=chat(stream=True))
    assert '"model": "acestep/acestep-v15-nano"' in answer.text
    (job,) = queue.page().jobs
    assert json.loads(job.request)["model"] == "acestep-v15-nano"


def asked(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    request = accepted(service, body)[0]["request"]
    assert isinstance(request, dict)
    return request


def error(service: Service, body: Any, status: int = 400) -> dict[str, Any]:
    """The error object that answers a body."""
    answer = service.client.post(PATH, json=body)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text
    told = answer.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"message", "type", "param", "code", "values", "request_id"}
    assert isinstance(told["error"], dict)
    return told["error"]


@pytest.fixture
def alone(start: Start, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service without a language model."""
    monkeypatch.setattr("headroom.service.chat.making.has_language_model", lambda *_: False)
    return start()


# Words


WISH = "I want a song for my sister\nshe loves the sea\nsomething calm\nwith a guitar"
SUNG = "[Verse 1]\nThe sea is wide\n[chorus]\nand so am I"


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        (WISH, Wish(words=WISH)),
        (SUNG, Wish(lyrics=SUNG)),
        (f"calm guitar\n\n{SUNG}", Wish(caption="calm guitar", lyrics=SUNG)),
        ("<prompt>jazz</prompt><lyrics>la la</lyrics>", Wish(caption="jazz", lyrics="la la")),
        ("<PROMPT>jazz</PROMPT>\nwith brass", Wish(caption="jazz\nwith brass")),
        ("<lyrics>one</lyrics> and <lyrics>two</lyrics>", Wish(caption="and", lyrics="one\ntwo")),
        ("<prompt>[Verse]</prompt>", Wish(caption="[Verse]")),
        ("a [verse] in the middle of a line", Wish(words="a [verse] in the middle of a line")),
        ("<prompt>not closed", Wish(words="<prompt>not closed")),
        ("", Wish()),
    ],
)
def test_tags_and_section_marks_decide_what_is_sung(text: str, wish: Wish) -> None:
    assert wish_in(text) == wish


def test_a_wish_of_four_lines_is_not_sung_but_is_the_caption(alone: Service) -> None:
    request = asked(alone, chat({"type": "text", "text": WISH}))
    assert (request["task"], request["caption"], "lyrics" in request) == ("text2music", WISH, False)


def test_a_wish_is_made_a_song_sheet_of_where_a_language_model_is(service: Service) -> None:
    body = chat({"type": "text", "text": WISH}, seed=5, audio_config={"instrumental": True})
    work = accepted(service, {**body, "temperature": 0.5, "top_k": 9})[0]
    assert work["first"] == {
        "task": "create_sample", "caption": WISH, "instrumental": True, "seed": 5,
        "lm_temperature": 0.5, "lm_top_k": 9,
    }  # fmt: skip
    request = work["request"]
    assert request == {
        "task": "text2music", "instrumental": True, "seed": 5, "audio_format": "mp3"
    }  # fmt: skip


def test_no_language_model_is_asked_where_the_machine_uses_none(start: Start) -> None:
    service = start()
    service.app.state.doors = replace(service.doors, machine=lambda: None)
    assert "first" not in accepted(service, chat())[0]


def test_a_caption_with_lyrics_needs_no_language_model(service: Service) -> None:
    work = accepted(service, chat(lyrics="[Verse]\nla"))[0]
    assert "first" not in work
    assert (work["request"]["caption"], work["request"]["lyrics"]) == (
        "slow bossa nova", "[Verse]\nla"
    )  # fmt: skip


def test_caption_and_lyrics_are_put_into_the_form_of_the_language_model(service: Service) -> None:
    work = accepted(service, chat(lyrics="la", use_format=True))[0]
    assert work["first"] == {"task": "format_sample", "caption": "slow bossa nova", "lyrics": "la"}
    assert not {"caption", "lyrics"} & work["request"].keys()


@pytest.mark.parametrize("name", ["sample_mode", "use_format"])
def test_a_sheet_without_a_language_model_is_refused(alone: Service, name: str) -> None:
    told = error(alone, chat(**{name: True}))
    assert (told["param"], "language model" in told["message"]) == (name, True)


def test_only_what_the_user_says_last_is_made(alone: Service) -> None:
    said = [
        {"role": "system", "content": "You are a composer."},
        USER,
        {"role": "assistant", "content": "Here it is.", "audio": {"id": "a" * 20}},
        {"role": "user", "content": "faster", "name": "Ada"},
    ]
    work, notes = accepted(alone, {"messages": said})
    assert work["request"]["caption"] == "faster"
    assert [note["field"] for note in notes] == [
        "messages.0", "messages.2", "messages.3.name", "messages"
    ]  # fmt: skip


# Fields


def test_the_fields_of_the_audio_reach_the_request(alone: Service) -> None:
    config = {
        "duration": 42, "format": "wav", "bpm": 90, "key_scale": "C major",
        "time_signature": "3/4", "vocal_language": "pt", "instrumental": False,
    }  # fmt: skip
    body = chat(audio_config=config, thinking=True, guidance_scale=3, batch_size=2, shift=2)
    request = asked(alone, body)
    assert request == {
        "task": "text2music", "caption": "slow bossa nova", "duration": 42, "audio_format": "wav",
        "bpm": 90, "keyscale": "C major", "timesignature": "3", "vocal_language": "pt",
        "instrumental": False, "thinking": True, "guidance_scale": 3, "batch_size": 2, "shift": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seed", "field", "value"),
    [(7, "seed", 7), ("7", "seed", 7), ("7, 8", "seeds", [7, 8]), (-1, "seed", None)],
)
def test_a_seed_reaches_the_request(alone: Service, seed: Any, field: str, value: Any) -> None:
    assert asked(alone, chat(seed=seed)).get(field) == value


def test_what_openai_and_openrouter_send_beside_is_noted(alone: Service) -> None:
    sent = {
        "max_tokens": 100, "stop": ["x"], "tools": [{}], "user": "u", "presence_penalty": 1,
        "provider": {"sort": "price"}, "n": 2, "lora_path": "x",
    }  # fmt: skip
    quiet = {"n": 1, "frequency_penalty": 0, "store": False, "tool_choice": "auto", "stop": None}
    _, notes = accepted(alone, chat(**sent, audio={"format": "wav", "voice": "alloy"}))
    assert {note["field"] for note in notes} == {*sent, "audio.voice"}
    assert all(note["sentence"] and note["used"] is None for note in notes)
    assert accepted(alone, chat(**quiet))[1] == []


def test_fields_of_a_language_model_are_noted_for_tasks_without_one(alone: Service) -> None:
    body = chat({"type": "text", "text": "x"}, part(), task_type="cover", temperature=0.3)
    assert [note["field"] for note in accepted(alone, body)[1]] == ["temperature"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        (chat({"type": "image_url", "image_url": {}}), "messages.0.content.0.type"),
        (chat({"type": "text"}), "messages.0.content.0.text"),
        (chat({"type": "input_audio", "input_audio": 1}), "messages.0.content.0.input_audio"),
        (chat(part(url="http://x")), "messages.0.content.0.input_audio.url"),
        (chat(task_type="music_continuation"), "task_type"),
        (chat(task="understand"), "task"),
        (chat(modalities=["text"]), "modalities"),
        (chat(modalities="audio"), "modalities"),
        (chat(audio={"format": "pcm16"}), "audio_format"),
        (chat(audio={"speed": 2}), "audio.speed"),
        (chat(audio_config={"format": "../../x"}), "audio_format"),
        (chat(audio_config=[1]), "audio_config"),
        (chat(audio_config={"duration": -3}), "duration"),
        (chat(duration=3, audio_config={"duration": 4}), "duration"),
        (chat(inference_stepps=8), "inference_stepps"),
        (chat(repainting_start=5), "repainting_start"),
        (chat(stream="yes"), "stream"),
        (chat(seed="x"), "seed"),
        (chat(seed=True), "seed"),
        (chat(lyrics=["la"]), "lyrics"),
        (chat({"type": "text", "text": SUNG}, lyrics="la"), "lyrics"),
        (chat(caption="rock"), "caption"),
        (chat(task_type="cover"), "messages"),
        (chat(sample_mode=True, use_format=True), "use_format"),
        (chat(model=7), "model"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(alone: Service, body: Any, field: str) -> None:
    told = error(alone, body)
    assert (told["param"], told["type"]) == (field, "invalid_request_error")
    assert "allowed" in told["message"]
    assert alone.client.get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize("body", ["", "[]", "{", '"x"', '{"messages": NaN}'])
def test_a_body_that_is_no_chat_is_a_sentence(service: Service, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = service.client.post(PATH, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_an_unknown_model_is_not_taken_for_another(service: Service) -> None:
    told = error(service, chat(model="openai/gpt-audio"), 404)
    assert (told["code"], told["param"]) == ("model_not_found", "model")
    assert "acestep-v15-nano" in told["message"]


def test_a_model_that_is_not_installed_is_told_so(service: Service) -> None:
    told = error(service, chat(model="acemusic/acestep-v1.5-xl-base"), 503)
    assert (told["code"], told["type"]) == ("weights_missing", "server_error")


def test_models_are_named_with_and_without_their_family(alone: Service) -> None:
    for name in ("acestep/acestep-v15-nano", "acestep-v15-nano", "acemusic/ACEStep-v1.5-nano"):
        assert accepted(alone, chat(model=name))[0]["model"] == "acestep-v15-nano"
    assert accepted(alone, chat())[0]["model"] is None
    assert accepted(alone, {**chat(), **TONE})[0]["family"] == "tone"


# Recordings


def test_recordings_are_source_and_references_of_a_task_that_edits(alone: Service) -> None:
    text = {"type": "text", "text": "jazz"}
    one, two = (
        {"type": "file", "file": {"file_id": file.json()["id"]}}
        for file in (alone.client.post("/v1/files", content=wav(long)) for long in (1, 2))
    )
    for task in ("cover", "repaint", "lego", "extract", "complete"):
        request = asked(alone, chat(text, one, two, task_type=task))
        ids = [request["source_audio"], *request["reference_audio"]]
        seconds = [alone.doors.files.get(id).seconds for id in ids]
        assert (request["task"], seconds) == (task, [1.0, 2.0])


def test_recordings_are_references_of_a_new_song_and_no_task_is_invented(alone: Service) -> None:
    request = asked(alone, chat({"type": "text", "text": "jazz"}, part(), part()))
    assert (request["task"], len(request["reference_audio"])) == ("text2music", 2)


def test_a_recording_may_be_a_data_url_or_a_file_that_was_sent(alone: Service) -> None:
    url = "data:audio/wav;base64," + base64.b64encode(wav()).decode()
    file = alone.client.post("/v1/files", content=wav()).json()["id"]
    ways = (
        {"type": "input_audio", "input_audio": {"data": url}},
        {"type": "file", "file": {"file_data": url, "filename": "a.wav"}},
        {"type": "file", "file": {"file_id": file}},
    )
    for way in ways:
        request = asked(alone, chat(way, task_type="cover"))
        assert alone.doors.files.get(request["source_audio"]).kind == "audio/wav"


def test_the_song_of_an_answer_is_the_source_of_the_next(alone: Service, start: Start) -> None:
    engine = Engine(alone.doors)
    alone.submit()
    engine.finish(engine.claim())
    (job,) = alone.client.get("/v1/jobs").json()["jobs"]
    (output,) = alone.client.get(f"/v1/jobs/{job['id']}").json()["outputs"]
    answered = {"role": "assistant", "audio": {"id": output["file"]}}
    body = {"messages": [USER, answered, {"role": "user", "content": "jazz"}]}
    assert asked(alone, {**body, "task_type": "cover"})["source_audio"] == output["file"]


@pytest.mark.parametrize("data", ["%%%", "YWI", "", "YWJj%%ZGVm", "data:audio/wav;base64,???", "é"])
def test_broken_base64_is_refused_by_name(alone: Service, data: str) -> None:
    told = error(alone, chat({"type": "input_audio", "input_audio": {"data": data}}))
    assert told["param"] == "messages.0.content.0.input_audio.data"
    assert "Base64" in told["message"]


def test_what_is_no_audio_is_refused_by_name_and_nothing_is_kept(alone: Service) -> None:
    told = error(alone, chat(part(), part(b"no sound at all")))
    assert told["param"] == "messages.0.content.1.input_audio.data"
    staged = list(alone.doors.files.storage.stored())
    assert staged == []


def test_recordings_have_a_cap_together(start: Start) -> None:
    service = start(inline_bytes=len(wav()) + 10)
    with pytest.raises(TooLarge, match=r"messages\.0\.content\.1"):
        accepted(service, chat(part(), part()))
    service = start(inline_bytes=1000, body_bytes=1000)
    assert error(service, chat(part()), 413)["code"] == "too_large"


def test_the_bytes_decide_what_a_recording_is(alone: Service) -> None:
    _, notes = accepted(alone, chat(part(format="mp3")))
    assert [(note["asked"], note["used"]) for note in notes] == [("mp3", "audio/wav")]


def test_a_file_of_somebody_else_does_not_exist(alone: Service) -> None:
    _, secret = alone.key()
    other = alone.client_at("192.168.1.7", X_API_Key=secret)
    file = alone.client.post("/v1/files", content=wav()).json()["id"]
    body = chat({"type": "file", "file": {"file_id": file}}, task_type="cover")
    answer = other.post(PATH, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "source_audio")


# Who may, and when not


def test_no_key_no_song_and_no_list_of_models(start: Start) -> None:
    service = start(key="k" * 20)
    for path in (PATH, "/api" + PATH):
        answer = service.client.post(path, json=chat())
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    for path in ("/v1/models", "/api/v1/models"):
        assert service.client.get(path).status_code == 401
    client = OpenAI(api_key="wrong" * 5, base_url="http://127.0.0.1:8001/v1",
                    http_client=service.client)  # fmt: skip
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    client = client.copy(api_key="k" * 20)
    assert client.models.list().data[0].id == "acestep/acestep-v15-nano"


def test_a_full_queue_is_a_rate_limit_and_leaves_nothing(start: Start) -> None:
    service = start(waiting=0)
    told = error(service, chat(part(), task_type="cover"), 429)
    assert (told["code"], told["type"]) == ("queue_full", "rate_limit_error")
    assert list(service.doors.files.storage.stored()) == []


def test_models_read_well_for_clients_of_all_three_kinds(service: Service) -> None:
    told = service.client.get("/v1/models").json()
    assert told == service.client.get("/api/v1/models").json()
    assert {"object", "data", "family", "tasks", "usual", "best", "models"} <= set(told)
    (model,) = told["data"]
    assert (told["object"], model["object"], model["owned_by"]) == ("list", "model", "acestep")
    assert model["id"] == "acestep/" + told["best"]
    assert {"name", "created", "pricing", "architecture", "context_length"} <= set(model)
    assert model["output_modalities"][0] == "audio" and model["max_output_length"] == 600
    listed = service.client.get("/v1/models?family=tone").json()["data"]
    assert [model["id"] for model in listed] == ["tone"]


# Answers


@contextmanager
def served(service: Service) -> Iterator[tuple[OpenAI, str]]:
    """OpenAI's client of a service that listens and makes tones, and the address of the service."""
    with listening(service.app) as url, tones_made(service.doors):
        yield OpenAI(api_key=service.key()[1], base_url=f"{url}/v1"), url


def sound(text: str) -> tuple[float, bytes]:
    """Seconds of a song, and its samples: the tags of a file differ each time."""
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(text, validate=True)))
    assert abs(samples).max() > 0.01
    return len(samples) / rate, samples.tobytes()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that tells its progress is at work for as long as a stream takes to look at it."""
    tell = Teller.__call__

    def told(self: Teller, event: Event) -> None:
        tell(self, event)
        if isinstance(event, Progress) and event.done == event.total:
            time.sleep(2 * LOOK_SECONDS)

    monkeypatch.setattr(Teller, "__call__", told)


@pytest.mark.usefixtures("unhurried")
def test_openais_client_makes_songs_plain_and_streamed(service: Service) -> None:
    """In the audio form of OpenAI: each song a choice, with an id that the service knows."""
    with served(service) as (client, _):
        audio: Any = {"voice": "alloy", "format": "flac"}
        given: Any = {"model": "tone", "messages": [USER], "audio": audio,
                      "modalities": ["text", "audio"]}  # fmt: skip
        config = {"duration": 0.2, "overtones": 99, "seeds": [5, 6]}
        plain = client.chat.completions.create(**given, extra_body={"audio_config": config})
        assert [choice.finish_reason for choice in plain.choices] == ["stop", "stop"]
        songs = [choice.message.audio for choice in plain.choices]
        assert songs[0] is not None and songs[1] is not None
        first = sound(songs[0].data)
        assert first[0] == pytest.approx(0.2) and sound(songs[1].data)[1] != first[1]
        assert service.doors.files.get(songs[0].id).seconds == pytest.approx(0.2)
        assert (songs[0].transcript, songs[0].expires_at > time.time()) == ("", True)
        # The clamp is told in words and as a value.
        text = plain.choices[0].message.content
        assert text is not None and "overtones: asked 99, used 16" in text and "seed 5" in text
        (note,) = [one for one in plain.notes if one["field"] == "overtones"]  # type: ignore[attr-defined]
        assert (note["asked"], note["used"]) == (99, 16)
        assert plain.usage is not None and plain.usage.total_tokens == 0
        assert plain.usage.audio_seconds == pytest.approx(0.4)  # type: ignore[attr-defined]
        options: Any = {"include_usage": True}
        stream = client.chat.completions.create(
            **given, stream=True, stream_options=options, extra_body={"audio_config": config}
        )
        chunks = list(stream)
        assert chunks[0].choices[0].delta.role == "assistant"
        pieces: dict[int, str] = {}
        for chunk in chunks:
            for choice in chunk.choices:
                if choice.delta.audio is not None and choice.delta.audio.data:
                    pieces[choice.index] = pieces.get(choice.index, "") + choice.delta.audio.data
        assert sound(pieces[0])[1] == first[1]  # the same seed, the same samples
        assert "".join(c.delta.content or "" for x in chunks for c in x.choices) == text
        ends = [c.finish_reason for x in chunks for c in x.choices if c.finish_reason]
        assert ends == ["stop", "stop"]
        progress = [x.progress for x in chunks if hasattr(x, "progress")]
        assert progress and set(progress[0]) == {"stage", "done", "total"}
        assert chunks[-1].usage is not None and chunks[-1].choices == []


@pytest.mark.usefixtures("unhurried")
def test_openrouters_form_lists_every_song_of_a_batch(service: Service) -> None:
    with served(service) as (client, url), httpx2.Client() as plain:
        head = {"Authorization": f"Bearer {client.api_key}"}
        config = {**TONE["audio_config"], "batch_size": 2}
        body = {**chat(), **TONE, "audio_config": config, "seed": "3,4"}
        answer = plain.post(f"{url}/api/v1/chat/completions", json=body, headers=head, timeout=60)
        told = answer.json()
        (choice,) = told["choices"]
        urls = [one["audio_url"]["url"] for one in choice["message"]["audio"]]
        assert [one["type"] for one in choice["message"]["audio"]] == ["audio_url"] * 2
        songs = [sound(one.removeprefix("data:audio/flac;base64,")) for one in urls]
        assert told["seeds"] == [3, 4] and songs[0] != songs[1]
        assert told["id"] == f"chatcmpl-{told['job']}" and told["model"] == "tone"
        body |= {"stream": True}
        with plain.stream("POST", f"{url}{PATH}", json=body, headers=head, timeout=60) as stream:
            lines = list(stream.iter_lines())
        assert lines[-2] == "data: [DONE]"
        assert any(line.startswith(": denoise") for line in lines)
        chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        (audio,) = [c["choices"][0]["delta"]["audio"] for c in chunks
                    if "audio" in c["choices"][0]["delta"]]  # fmt: skip
        parts = [one["audio_url"]["url"].partition("base64,")[2] for one in audio]
        assert [sound(text) for text in parts] == songs
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
        assert chunks[-1]["seeds"] == [3, 4]


def test_a_job_that_fails_is_an_error_without_a_traceback(service: Service) -> None:
    """Here a recording where the tone family takes a text; nobody asks a second time."""
    with served(service) as (client, _):
        body = {**chat(part()), **TONE}
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="tone", messages=body["messages"])
        assert caught.value.param == "melody" and "Traceback" not in str(caught.value)
        assert caught.value.response.headers["x-should-retry"] == "false"
        stream = client.chat.completions.create(model="tone", messages=body["messages"],
                                                stream=True)  # fmt: skip
        with pytest.raises(openai.APIError, match="melody"):
            list(stream)
        assert len(service.doors.queue.page().jobs) == 2


def ended(service: Service) -> Job:
    """The one job, once it has ended."""
    until = time.monotonic() + 30
    while True:
        for job in service.doors.queue.page().jobs:
            if job.has_ended:
                return job
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("stream", [False, True])
def test_who_hangs_up_cancels_the_job(service: Service, stream: bool) -> None:
    with listening(service.app) as url, httpx2.Client() as client:
        body = {**chat(), "stream": stream}
        with pytest.raises(httpx2.TimeoutException):
            client.post(f"{url}{PATH}", json=body, timeout=0.5)
        assert ended(service).state == "cancelled"


def test_a_job_that_somebody_cancels_ends_the_answer(service: Service) -> None:
    with listening(service.app) as url, httpx2.Client() as client:
        with client.stream("POST", f"{url}{PATH}", json={**chat(), "stream": True}) as stream:
            lines = stream.iter_lines()
            next(lines)
            (job,) = service.doors.queue.page().jobs
            service.doors.queue.cancel(job.id)
            data = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert data[-1]["error"]["code"] == "cancelled"
        assert data[-1]["choices"][0]["finish_reason"] == "error"


def test_an_answer_ends_with_the_server_and_its_job_does_not(service: Service) -> None:
    with listening(service.app) as url, httpx2.Client() as client:
        with client.stream("POST", f"{url}{PATH}", json={**chat(), "stream": True}) as stream:
            lines = stream.iter_lines()
            next(lines)
            service.doors.closing.set()
            told = [json.loads(line[6:]) for line in lines if line.startswith("data: {")][-1]
        (job,) = service.doors.queue.page().jobs
        assert (told["error"]["code"], job.state) == ("closing", "queued")
        assert job.id in told["error"]["message"]


def test_the_tokens_of_a_language_model_are_counted(service: Service) -> None:
    engine = Engine(service.doors)
    with listening(service.app) as url, httpx2.Client() as client:
        with client.stream("POST", f"{url}{PATH}", json={**chat(), "stream": True,
                           "usage": {"include": True}}) as stream:  # fmt: skip
            lines = stream.iter_lines()
            next(lines)
            claim = engine.claim()
            spent = {"read": 30, "drawn": 50, "forced": 7}
            engine.worker.tell(claim, [Told(json.dumps({"event": "wrote", "spent": spent}))])
            engine.finish(claim)
            told = [json.loads(line[6:]) for line in lines if line.startswith("data: {")][-1]
    usage = {name: told["usage"][name] for name in told["usage"] if name.endswith("tokens")}
    assert usage == {"prompt_tokens": 30, "completion_tokens": 57, "total_tokens": 87}


def test_base64_in_pieces_is_that_of_the_whole() -> None:
    data = bytes(range(256)) * 5
    for size in (1, 2, 3, 100, 255, 5000):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert b"".join(encoded(pieces)) == base64.b64encode(data)
    assert list(encoded([])) == []


def test_the_page_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs/en/CHAT.md").read_text("utf-8")
    table = page.split("## Fields")[1].split("## The answer")[0]
    assert set(OWN) <= set(re.findall(r"`(\w+)`", table))
