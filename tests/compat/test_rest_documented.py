"""The lines of ACE-Step's REST documentation, on the ports of the service and of the page."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from headroom.engine.wire import error_json
from headroom.errors import OutOfMemory
from headroom.models.outputs import AudioCodes, SongSheet
from headroom.params.note import Note
from headroom.service.work import Work
from support.old_rest import (
    AUDIO,
    FORMAT,
    LANGUAGE_MODEL,
    MODEL,
    QUERY,
    RELEASES,
    SAMPLE,
    SELECT_MODEL,
    STATS,
    WITH_KEY,
    Loader,
    Singer,
    typed,
)
from support.web import Engine, Service, Start, wav

SHEET = SongSheet("a waltz", "la", 90, "C major", "3", "bn", 40, "waltz", False)
ENVELOPE = {"data", "code", "error", "timestamp", "extra"}


@pytest.fixture(params=[8001, 7860])
def client(service: Service, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    base = f"http://127.0.0.1:{request.param}"
    yield TestClient(
        service.app, base_url=base, client=("127.0.0.1", 4000), raise_server_exceptions=False
    )


@pytest.fixture
def singer(engine: Engine) -> Singer:
    return Singer(engine)


def data(answer: Any, status: int = 200) -> Any:
    told = answer.json()
    assert answer.status_code == status == told["code"], answer.text
    assert set(told) == ENVELOPE | ({"detail"} if status != 200 else set())
    assert abs(told["timestamp"] - time.time() * 1000) < 60_000
    assert (told["error"] is None) == (status == 200)
    return told["data"] if status == 200 else told


def queried(client: TestClient, *ids: str) -> list[Any]:
    return list(data(client.post("/query_result", json={"task_id_list": ids})))


def asked(service: Service, id: str) -> Work:
    return Work.of(service.doors.queue.get(id).request)


@pytest.mark.parametrize("line", RELEASES)
def test_a_task_is_released_polled_and_fetched(
    client: TestClient, service: Service, singer: Singer, line: str
) -> None:
    told = data(typed(client, line))
    assert set(told) == {"task_id", "status", "queue_position"}
    assert (told["status"], told["queue_position"]) == ("queued", 1)
    (waits,) = queried(client, told["task_id"])
    assert waits["status"] == 0
    (item,) = json.loads(waits["result"])
    assert (item["file"], item["progress"], item["stage"]) == ("", 0.0, "queued")
    singer.sing(12345, 67890)
    (entry,) = queried(client, told["task_id"])
    assert (entry["task_id"], entry["status"]) == (told["task_id"], 1)
    songs = json.loads(entry["result"])
    assert len(songs) == 2 and isinstance(entry["result"], str)
    for song in songs:
        assert {"file", "wave", "status", "create_time", "env", "prompt", "lyrics", "metas",
                "generation_info", "seed_value", "lm_model", "dit_model", "progress",
                "stage"} <= set(song)  # fmt: skip
        assert set(song["metas"]) == {"bpm", "duration", "genres", "keyscale", "timesignature",
                                      "prompt", "lyrics"}  # fmt: skip
        assert (song["status"], song["seed_value"], song["wave"]) == (1, "12345,67890", "")
        assert song["dit_model"] == MODEL and isinstance(song["create_time"], int)
        assert song["file"].startswith("/v1/audio?path=") and song["file"].endswith(".mp3")
    assert client.get(songs[0]["file"]).content == wav() + b"12345"
    assert client.get(songs[1]["file"]).headers["content-type"] == "audio/mpeg"


def test_the_lines_ask_for_what_they_say(client: TestClient, service: Service) -> None:
    works = [asked(service, data(typed(client, line))["task_id"]) for line in RELEASES]
    assert works[0].request["caption"] == "upbeat pop song" and works[0].request["batch_size"] == 2
    assert works[1].request["thinking"] is True and works[1].request["lm_cfg_scale"] == 2.5
    assert works[2].first is not None
    assert works[2].first["caption"] == "a soft Bengali love song for a quiet evening"
    assert works[3].first is not None and works[3].first["task"] == "format_sample"
    assert len(works[4].request["timesteps"]) == 9  # type: ignore[arg-type]
    file = service.doors.files.get(str(works[5].request["source_audio"]))
    assert (works[5].request["task"], file.name, file.kind) == ("repaint", "song.mp3", "audio/wav")


def test_a_model_is_selected_by_its_name_or_refused_with_those_there_are(
    client: TestClient, service: Service
) -> None:
    told = data(typed(client, SELECT_MODEL), 400)
    assert "acestep-v15-turbo" in told["error"] and MODEL in told["error"]
    named = SELECT_MODEL.replace("acestep-v15-turbo", MODEL)
    assert asked(service, data(typed(client, named))["task_id"]).model == MODEL
    for line in (named.replace('"model"', '"ditModel"'), named.replace(MODEL, f"acestep/{MODEL}")):
        assert asked(service, data(typed(client, line))["task_id"]).model == MODEL


def test_an_unknown_task_is_told_as_such(client: TestClient) -> None:
    (entry,) = data(typed(client, QUERY))
    (item,) = json.loads(entry["result"])
    assert (entry["status"], item["status"], item["stage"]) == (2, 2, "unknown")
    assert entry["task_id"] in item["error"]


@pytest.mark.parametrize("form", ["json", "text", "urlencoded", "multipart"])
def test_ids_come_as_a_list_or_as_its_text(client: TestClient, service: Service, form: str) -> None:
    ids = [data(typed(client, RELEASES[0]))["task_id"] for _ in range(2)]
    text = json.dumps(ids)
    bodies: dict[str, Any] = {
        "json": {"json": {"task_id_list": ids}},
        "text": {"json": {"task_id_list": text}},
        "urlencoded": {"data": {"task_id_list": text}},
        "multipart": {"files": {"task_id_list": (None, text)}},
    }
    told = data(client.post("/query_result", **bodies[form]))
    assert [one["task_id"] for one in told] == ids
    for wrong in (
        "[",
        '{"a": 1}',
        "5",
        "[5]",
        '["\\ud800"]',
        '["\\u0000"]',
        json.dumps(["x" * 999]),
    ):
        assert data(client.post("/query_result", data={"task_id_list": wrong}), 400)["error"]
    assert data(client.post("/query_result", json={})) == []


def test_a_sheet_is_written_while_the_client_waits(start: Start) -> None:
    service = start(wait_seconds=60.0)
    singer = Singer(Engine(service.doors))
    for path, line in (("/format_input", FORMAT), ("/v1/create_sample", None)):
        answers: list[Any] = []

        def ask(path: str = path, line: str | None = line, answers: list[Any] = answers) -> None:
            body = {"query": "a waltz", "vocal_language": "en", "instrumental": False}
            made = typed(service.client, line) if line else service.client.post(path, json=body)
            answers.append(made)

        thread = threading.Thread(target=ask)
        thread.start()
        while not service.doors.queue.stats().counts.get("queued"):
            time.sleep(0.01)
        claim = singer.answer(SHEET)
        thread.join()
        told = data(answers[0])
        assert (told["caption"], told["bpm"], told["duration"]) == ("a waltz", 90, 40)
        assert told["key_scale"] == told["keyscale"] == "C major"
        assert told["time_signature"] == told["timesignature"] == "3"
        assert told["vocal_language"] == "bn"
        request = Work.of(claim.request).request
        if line:
            assert request["duration"] == 180 and request["vocal_language"] == "en"
            assert request["lyrics"] == "Walking down the street"
        else:
            assert (request["task"], request["caption"]) == ("create_sample", "a waltz")


def test_who_waits_for_too_long_is_told_and_nothing_is_made_afterwards(service: Service) -> None:
    told = data(typed(service.client, FORMAT), 504)
    assert "did not finish" in told["error"]
    assert service.doors.queue.stats().counts.get("queued") is None


def test_examples_fill_in_forms(client: TestClient) -> None:
    for line in (SAMPLE, SAMPLE.replace("simple_mode", "custom_mode")):
        told = data(typed(client, line))
        assert {"caption", "lyrics", "bpm", "key_scale", "time_signature", "duration",
                "vocal_language", "description", "instrumental"} <= set(told)  # fmt: skip
    assert data(client.post("/create_random_sample"))["caption"]
    assert "simple_mode" in data(client.post("/create_random_sample", data={"sample_type": "x"}),
                                 400)["error"]  # fmt: skip


def test_numbers_of_tasks_are_those_of_the_queue(
    client: TestClient, service: Service, singer: Singer
) -> None:
    ids = [data(typed(client, RELEASES[0]))["task_id"] for _ in range(4)]
    singer.sing(1)
    singer.engine.fail(singer.engine.claim())
    service.doors.queue.cancel(ids[2])
    told = data(typed(client, STATS))
    assert told["jobs"] == {"total": 4, "queued": 1, "running": 0, "succeeded": 1, "failed": 2}
    assert (told["queue_size"], told["queue_maxsize"]) == (1, 200)
    assert told["avg_job_seconds"] >= 0


def test_health_and_models(client: TestClient, service: Service) -> None:
    told = data(client.get("/health"))
    assert (told["status"], told["service"], told["version"]) == ("ok", "ACE-Step API", "1.0")
    assert (told["models_initialized"], told["loaded_model"]) == (False, None)
    assert (told["llm_initialized"], told["loaded_lm_model"]) == (False, None)
    Loader(service.doors, "pretended").tell(None, MODEL, LANGUAGE_MODEL)
    told = data(client.get("/health"))
    assert (told["models_initialized"], told["loaded_model"]) == (True, MODEL)
    assert (told["llm_initialized"], told["loaded_lm_model"]) == (True, LANGUAGE_MODEL)
    known = data(client.get("/v1/model_inventory"))
    assert known["default_model"] == MODEL
    (model,) = [one for one in known["models"] if one["name"] == MODEL]
    assert (model["is_default"], model["is_loaded"]) == (True, True)
    loaded = [one["name"] for one in known["models"] + known["lm_models"] if one["is_loaded"]]
    assert loaded == [MODEL, LANGUAGE_MODEL]
    assert "cover" in model["supported_task_types"] and known["lm_models"]
    far = service.client_at("192.168.1.7")
    assert set(data(far.get("/health"))) == {"status", "service", "version"}


def test_a_model_is_loaded_and_chosen_for_tasks_that_name_none(
    client: TestClient, start: Start
) -> None:
    service = start(wait_seconds=30)
    client = TestClient(service.app, base_url=client.base_url, client=("127.0.0.1", 4000))
    engine, other = Loader(service.doors, "one"), Loader(service.doors, "two")
    with engine.working(), other.working():
        told = data(client.post("/v1/init", json={"model": MODEL, "slot": 1, "init_llm": False}))
        assert (told["slot"], told["loaded_model"]) == (1, MODEL) and told["models"]
        assert (told["loaded_lm_model"], told["llm_initialized"]) == (None, False)
        usual = {"family": "acestep", "model": MODEL, "plans": False}
        assert engine.given == other.given == [usual]
        assert asked(service, data(typed(client, RELEASES[0]))["task_id"]).model == MODEL
        another = start()  # a second web process
        assert asked(another, data(typed(another.client, RELEASES[0]))["task_id"]).model == MODEL
        assert data(another.client.get("/health"))["loaded_model"] == MODEL
        for wrong in ({"model": "none"}, {"slot": 2}, {"model": 5}, {"lm_model_path": "/srv/lm"},
                      {"init_llm": "perhaps"}):  # fmt: skip
            assert data(client.post("/v1/init", json=wrong), 400)["error"]
        language = {"init_llm": True, "lm_model_path": f"/srv/{LANGUAGE_MODEL}"}
        told = data(client.post("/v1/init", json=language))
        assert (told["loaded_lm_model"], told["llm_initialized"]) == (LANGUAGE_MODEL, True)
        assert engine.given[1:] == [{**usual, "plans": True, "language_model": LANGUAGE_MODEL}]
        message = data(client.post("/v1/reinitialize"))["message"]
        assert "reinitialized" in message and MODEL in message
        assert engine.given[2:] == [{"family": "acestep", "model": None, "language_model": None}]
        assert asked(service, data(typed(client, RELEASES[0]))["task_id"]).model is None


@pytest.mark.parametrize("path", ["/v1/init", "/v1/reinitialize"])
def test_what_was_not_loaded_is_not_told_to_be(start: Start, path: str) -> None:
    service = start(wait_seconds=0.05)
    client = service.client
    told = data(client.post(path), 409)
    assert "no engine process runs" in told["error"]
    loader = Loader(service.doors, "one", json.dumps(error_json(OutOfMemory("dit", 2, 1))))
    with loader.working():
        told = data(client.post(path), 500)
        assert told["extra"]["code"] == "out_of_memory"
    loader.tell(None)  # at work on a job
    told = data(client.post(path), 504)
    assert "when the job at work has ended" in told["error"]
    assert data(client.get("/health"))["models_initialized"] is False


@pytest.mark.parametrize("path", ["/v1/init", "/v1/reinitialize"])
def test_only_an_admin_loads_models_for_all(service: Service, path: str) -> None:
    _, use = service.key("use")
    far = service.client_at("192.168.1.7", X_API_Key=use)
    assert data(far.post(path), 403)["extra"]["code"] == "no_right"


@pytest.mark.parametrize("path", ["load", "unload", "toggle", "scale"])
def test_adapters_come_with_a_later_version(client: TestClient, path: str) -> None:
    body = {"lora_path": "/srv/lora", "use_lora": True, "scale": 0.5}
    told = data(client.post(f"/v1/lora/{path}", json=body), 501)
    assert "planned for version" in told["error"] and "/srv" not in told["error"]
    assert told["extra"]["code"] == "not_supported_yet"
    status = data(client.get("/v1/lora/status"))
    assert (status["lora_loaded"], status["use_lora"], status["adapter_type"]) == (
        False, False, None,
    )  # fmt: skip


def test_analyses_have_results_of_their_own(client: TestClient, singer: Singer) -> None:
    files = {"src_audio": ("a.wav", wav())}
    body = {"full_analysis_only": "true"}
    full = data(client.post("/release_task", data=body, files=files))["task_id"]
    singer.answer(SHEET)
    (item,) = json.loads(queried(client, full)[0]["result"])
    assert (item["bpm"], item["prompt"], item["language"]) == (90, "a waltz", "bn")
    assert (item["status_message"], item["audio_paths"]) == ("Full Hardware Analysis Success", [])
    codes = data(client.post("/release_task", data={"extractCodesOnly": "1"}, files=files))
    singer.answer(AudioCodes((1,), "<|audio_code_1|>", 5))
    (item,) = json.loads(queried(client, codes["task_id"])[0]["result"])
    assert item["audio_codes"] == "<|audio_code_1|>"


def test_notes_reach_who_asks_and_who_polls(client: TestClient, singer: Singer) -> None:
    answer = client.post("/release_task", json={"prompt": "x", "lyrcs": "la", "eta": 1})
    (first, second) = answer.json()["extra"]["notes"]
    assert (first["field"], second["field"]) == ("lyrcs", "eta") and "lyrics" in first["sentence"]
    singer.sing(1, notes=[Note("batch_size", 2, 1, "tier 1 allows 1 at once")])
    (item,) = json.loads(queried(client, answer.json()["data"]["task_id"])[0]["result"])
    assert item["notes"] == ["batch_size: asked 2, used 1: tier 1 allows 1 at once."]


def test_a_path_of_the_server_leads_to_no_sound(client: TestClient) -> None:
    assert data(typed(client, AUDIO), 400)["error"]
    for path in ("", "/etc/passwd", "../jobs.db", "a" * 20 + "/..", "C:\\x", "x.mp3"):
        assert client.get("/v1/audio", params={"path": path}).status_code == 400
    assert data(client.get("/v1/audio", params={"path": "a" * 20}), 404)["error"]
    assert data(client.get("/v1/audio"), 400)["error"]


def test_a_key_in_a_header_or_in_the_body(start: Start) -> None:
    service = start(key="your-api-key-0123456789")
    line = WITH_KEY.replace("your-api-key", "your-api-key-0123456789")
    data(typed(service.client, line))
    assert data(typed(service.client, RELEASES[0]), 401)["extra"]["code"] == "no_key"
    body = {"ai_token": "your-api-key-0123456789", "prompt": "upbeat pop song"}
    id = data(service.client.post("/release_task", json=body))["task_id"]
    data(service.client.post("/release_task", data=body))
    data(service.client.post("/release_task", data=body, files={"ref_audio": ("a.wav", wav())}))
    assert "ai_token" not in service.doors.queue.get(id).request
    (entry,) = data(service.client.post("/query_result", json={**body, "task_id_list": [id]}))
    assert entry["status"] == 0
    wrong = {**body, "ai_token": "wrong"}
    for given in ({"json": wrong}, {"data": wrong}, {"data": wrong, "files": {"a": b"x"}}):
        assert data(service.client.post("/release_task", **given), 401)["error"]
