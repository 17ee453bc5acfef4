"""The defects of ACE-Step's REST server, each shown not to be here."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from headroom.cli import serve
from headroom.errors import RenderFailed
from headroom.jobs.values import Told
from headroom.params.note import Note
from headroom.service.config import from_settings
from headroom.service.work import Work
from headroom.settings import load
from support.old_rest import RELEASES, Singer, typed
from support.web import Engine, Service, Start, wav

FAR = "192.168.1.7"
KEY = "your-api-key-0123456789"
SONG = {"prompt": "upbeat pop song"}
CODES = "<|audio_code_1|><|audio_code_2|>"


def released(service: Service, **body: object) -> str:
    answer = service.client.post("/release_task", json={**SONG, **body})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["task_id"])


def request(service: Service, id: str) -> Any:
    return Work.of(service.doors.queue.get(id).request).request


def queried(client: Any, *ids: str) -> list[Any]:
    return list(client.post("/query_result", json={"task_id_list": ids}).json()["data"])


def refused(answer: Any, status: int = 400) -> Any:
    told = answer.json()
    assert (answer.status_code, told["code"], told["data"]) == (status, status, None), answer.text
    assert told["error"] == told["detail"] and "Traceback" not in answer.text
    return told["extra"]


def test_d1_a_key_of_the_settings_is_asked_for_however_the_service_is_started(
    start: Start,
) -> None:
    settings = load({"ACESTEP_API_KEY": KEY})
    assert from_settings(settings).key == KEY
    service = start(key=from_settings(settings).key)
    refused(service.client.post("/release_task", json=SONG), 401)
    headers = {"Authorization": f"Bearer {KEY}"}
    assert service.client.post("/release_task", json=SONG, headers=headers).status_code == 200


def test_d1_the_console_script_refuses_a_flag_that_it_would_not_obey() -> None:
    with pytest.raises(SystemExit):  # a key on a command line is everybody's to read
        serve.parser().parse_args(["--api-key", KEY])


def test_d2_every_route_but_life_asks_for_the_key(start: Start) -> None:
    service = start(key=KEY)
    for path in ("/v1/models", "/openapi.json", "/docs", "/v1/stats", "/v1/model_inventory",
                 "/v1/audio?path=x", "/v1/lora/status"):  # fmt: skip
        assert service.client.get(path).status_code == 401, path
    for path in ("/release_task", "/query_result", "/create_random_sample", "/format_input",
                 "/v1/create_sample", "/v1/init", "/v1/reinitialize", "/v1/lora/load",
                 "/v1/chat/completions"):  # fmt: skip
        assert service.client.post(path, json={}).status_code == 401, path
    assert service.client.get("/health").status_code == 200


@pytest.mark.parametrize("kind", ["multipart", "urlencoded", "without a type"])
def test_d3_forms_are_taken_and_files_come_with_them(service: Service, kind: str) -> None:
    fields = {"caption": "x", "audioDuration": "20", "thinking": "True", "seed": "5", "bpm": ""}
    if kind == "multipart":
        files = {"ctx_audio": ("in.wav", wav()), "reference_audio": ("ref.wav", wav(0.5))}
        body: dict[str, Any] = {"data": {**fields, "task_type": "cover"}, "files": files}
    elif kind == "urlencoded":
        body = {"data": fields}
    else:
        body = {"content": b"caption=x&audioDuration=20&thinking=True&seed=5&bpm="}
    answer = service.client.post("/release_task", **body)
    assert answer.status_code == 200, answer.text
    asked = request(service, answer.json()["data"]["task_id"])
    assert (asked["caption"], asked["duration"], asked["thinking"], asked["seed"]) == (
        "x", 20, True, 5,
    )  # fmt: skip
    if kind == "multipart":
        source = service.doors.files.get(asked["source_audio"])
        (reference,) = asked["reference_audio"]
        assert (source.name, source.seconds) == ("in.wav", 1.0)
        assert service.doors.files.get(reference).seconds == 0.5


def test_d4_and_d5_a_seed_is_the_one_that_is_used_and_told(
    service: Service, engine: Engine
) -> None:
    id = released(service, seed=42, batch_size=1)
    assert request(service, id)["seed"] == 42
    Singer(engine).sing(42)
    (item,) = json.loads(queried(service.client, id)[0]["result"])
    assert item["seed_value"] == "42"
    several = released(service, seed="7,8")
    assert request(service, several)["seeds"] == [7, 8]
    Singer(engine).sing(7, 8)
    items = json.loads(queried(service.client, several)[0]["result"])
    assert [one["seed_value"] for one in items] == ["7,8"] * 2
    drawn = service.client.post("/release_task", json={**SONG, "seed": 42, "use_random_seed": True})
    (note,) = drawn.json()["extra"]["notes"]
    assert (note["field"], note["asked"]) == ("seed", 42)


def test_d6_no_documented_field_is_dropped(service: Service) -> None:
    fields = {
        "timesteps": "1,0.5,0", "audio_code_string": CODES, "dcw_enabled": True,
        "dcw_scaler": 0.1, "sampler_mode": "heun", "retake_variance": 0.5, "latent_shift": 0.1,
        "guidance_variant": "cfg", "global_caption": "g",
    }  # fmt: skip
    answer = service.client.post("/release_task", json={**SONG, **fields})
    assert answer.json()["extra"] is None
    asked = request(service, answer.json()["data"]["task_id"])
    assert asked["timesteps"] == [1, 0.5, 0] and asked["audio_codes"] == CODES
    kept = ("dcw_enabled", "dcw_scaler", "sampler_mode", "retake_variance", "latent_shift",
            "guidance_variant", "global_caption")  # fmt: skip
    assert {name: asked[name] for name in kept} == {name: fields[name] for name in kept}


def test_d7_the_list_of_models_is_in_the_envelope_under_a_path_of_its_own(
    service: Service,
) -> None:
    told = service.client.get("/v1/model_inventory").json()
    assert told["code"] == 200 and told["data"]["models"] and told["data"]["default_model"]


def test_d8_the_error_of_a_task_reaches_its_client_and_nobody_else(
    service: Service, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    (_, one), (_, two) = service.key(), service.key()
    mine, other = (service.client_at(FAR, Authorization=f"Bearer {key}") for key in (one, two))
    id = mine.post("/release_task", json=SONG).json()["data"]["task_id"]
    engine.fail(engine.claim())
    (entry,) = queried(mine, id)
    (item,) = json.loads(entry["result"])
    assert entry["status"] == item["status"] == 2 and item["stage"] == "failed"
    assert item["error"] == entry["progress_text"] == str(RenderFailed("no sound"))
    (entry,) = queried(other, id)
    (item,) = json.loads(entry["result"])
    assert item["stage"] == "unknown" and "no sound" not in json.dumps(entry)
    logging.getLogger("headroom").warning("words of another user")
    waits = mine.post("/release_task", json=SONG).json()["data"]["task_id"]
    assert "words of another user" not in json.dumps(queried(mine, waits))


def test_d8_progress_is_that_of_the_task(service: Service, engine: Engine) -> None:
    id = released(service)
    claim = engine.claim()
    (before,) = json.loads(queried(service.client, id)[0]["result"])
    assert (before["progress"], before["stage"]) == (0.0, "running")
    plan = {"stages": [{"stage": name} for name in ("condition", "denoise", "decode", "end")]}
    for event in (
        {"event": "started", "act": "render", "plan": plan},
        {"event": "stage_started", "stage": "denoise"},
        {"event": "progress", "stage": "denoise", "done": 4, "total": 8},
    ):
        engine.worker.tell(claim, [Told(json.dumps(event))])
    (entry,) = queried(service.client, id)
    (item,) = json.loads(entry["result"])
    assert (entry["status"], item["progress"], item["stage"]) == (0, 0.375, "denoise")
    assert entry["progress_text"] == "denoise (38%)"


def test_d9_a_full_queue_leaves_nothing_behind(start: Start) -> None:
    service = start(waiting=1)
    released(service)
    for body in (
        {"json": SONG},
        {"data": SONG},
        {"data": {**SONG, "task_type": "cover"}, "files": {"src_audio": ("a.wav", wav())}},
    ):
        answer = service.client.post("/release_task", **body)
        assert refused(answer, 429)["code"] == "queue_full"
        assert 1 <= int(answer.headers["retry-after"]) <= 300
    told = service.client.get("/v1/stats").json()["data"]
    assert (told["jobs"]["total"], told["queue_size"], told["queue_maxsize"]) == (1, 1, 1)
    assert list(service.doors.files.storage.stored()) == []
    assert list(service.doors.files.storage.staging.iterdir()) == []


def test_d10_tasks_can_be_cancelled_listed_and_asked_for_once(service: Service) -> None:
    headers = {"Idempotency-Key": "once"}
    ids = {
        service.client.post("/release_task", json=SONG, headers=headers).json()["data"]["task_id"]
        for _ in range(2)
    }
    (id,) = ids
    assert [one["id"] for one in service.client.get("/v1/jobs").json()["jobs"]] == [id]
    assert service.client.delete(f"/v1/jobs/{id}").status_code == 200
    (entry,) = queried(service.client, id)
    assert entry["status"] == 2 and "cancelled" in entry["progress_text"]
    (unknown,) = queried(service.client, "550e8400-e29b-41d4-a716-446655440000")
    assert unknown["status"] == 2


@pytest.mark.parametrize("path", ["/release_task", "/query_result", "/format_input", "/v1/init",
                                  "/create_random_sample", "/v1/create_sample"])  # fmt: skip
@pytest.mark.parametrize(
    "body", ["{", "[]", "[" * 9999, '{"a": ' + "9" * 5000 + "}", "nul", "\xff"]
)
def test_d11_malformed_json_is_a_sentence(service: Service, path: str, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    told = refused(service.client.post(path, content=body.encode("latin-1"), headers=headers))
    assert told["values"]["field"] == "body" and told["values"]["allowed"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("lm_backend", "jax"), ("task_type", "dance"), ("infer_method", "rk4"),
     ("audio_format", "../../x"), ("time_signature", "5"), ("key_scale", "H flat")],
)  # fmt: skip
def test_d11_and_d12_a_word_that_is_none_of_the_choices_is_named_with_them(
    service: Service, field: str, value: str
) -> None:
    told = refused(service.client.post("/release_task", json={**SONG, field: value}))
    assert told["values"]["value"] == value and told["values"]["allowed"]
    assert told["values"]["field"].replace("_", "") == field.replace("_", "")
    assert service.doors.queue.stats().counts == {}


def test_d12_numbers_beyond_the_limits_are_clamped_with_a_note_and_nonsense_is_refused(
    service: Service,
) -> None:
    body = {"batch_size": 50, "audio_duration": 99999, "inference_steps": 10**6}
    id = released(service, **body)  # the engine clamps them, as those of every door
    assert request(service, id)["duration"] == 99999
    for field, value in (("batch_size", 0), ("audio_duration", -5), ("inference_steps", -1),
                         ("guidance_scale", "x"), ("bpm", [1])):  # fmt: skip
        refused(service.client.post("/release_task", json={**SONG, field: value}))


def test_d13_what_is_uploaded_and_not_needed_is_removed(service: Service) -> None:
    files = {"src_audio": ("a.wav", wav())}
    answer = service.client.post("/release_task", data=SONG, files=files)  # text2music has none
    (note,) = answer.json()["extra"]["notes"]
    assert note["field"] == "src_audio"
    assert list(service.doors.files.storage.stored()) == []
    wrong = service.client.post("/release_task", data={"task_type": "dance"}, files=files)
    refused(wrong)
    assert list(service.doors.files.storage.stored()) == []
    kept = service.client.post("/release_task", data={"task_type": "cover"}, files=files)
    assert kept.status_code == 200 and len(list(service.doors.files.storage.stored())) == 1
    assert load({}).service_keep_days is None and load({}).service_quota is None


def test_d19_songs_and_codes_of_a_batch_are_counted_once(service: Service, engine: Engine) -> None:
    id = released(service, thinking=True, batch_size=8, seed="1,2,3,4,5,6,7,8")
    asked = request(service, id)  # one request for both: its engine clamps it before either
    assert (asked["batch_size"], len(asked["seeds"]), asked["thinking"]) == (8, 8, True)
    Singer(engine).sing(1, 2, notes=[Note("batch_size", 8, 2, "tier 3 allows 2 at once")])
    items = json.loads(queried(service.client, id)[0]["result"])
    assert len(items) == 2 == len(items[0]["seed_value"].split(","))
    assert "tier 3" in items[0]["notes"][0]


def test_a_line_of_the_documentation_is_what_was_sent(service: Service) -> None:
    typed(service.client, RELEASES[-1])
    (job,) = service.client.get("/v1/jobs").json()["jobs"]
    assert job["asked"]["request"]["task"] == "repaint"
