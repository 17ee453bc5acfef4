"""Plans, limits, models, the OpenAPI document and numbers, without torch and without a card."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headroom.engine.options import EngineOptions
from headroom.engine.wire import limits_from
from headroom.models.registry import family_named
from headroom.service.machine import Examined
from headroom.settings import load
from support.web import SONG, Engine, Service, Start, wav


def test_a_plan_runs_nothing_and_names_no_folder(service: Service, tmp_path: Any) -> None:
    answer = service.client.post("/v1/plan", json=SONG)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["task"], told["fits"]) == ("text2music", True)
    assert told["peak_bytes"] <= told["budget_bytes"]
    assert "model_folder" not in told and str(tmp_path) not in answer.text
    assert service.client.get("/v1/jobs").json()["jobs"] == []
    small = service.client.post("/v1/plan?vram=4", json=SONG).json()
    assert small["budget_bytes"] < told["budget_bytes"]


def test_limits_are_those_of_the_card(service: Service) -> None:
    few, many = (service.client.get("/v1/limits", params={"vram": size}).json() for size in (4, 24))
    assert few["limits"]["duration"]["maximum"] < many["limits"]["duration"]["maximum"]
    assert (few["tier"], many["tier"]) != (None, None)
    assert limits_from(few)["duration"].maximum == few["limits"]["duration"]["maximum"]
    for task in family_named().requests:
        assert service.client.get("/v1/limits", params={"task": task}).status_code == 200, task
    answer = service.client.get("/v1/limits", params={"task": "dance"})
    assert (answer.status_code, answer.json()["values"]["field"]) == (422, "task")
    answer = service.client.post("/v1/limits?vram=4", json=SONG)
    assert answer.json()["limits"]["duration"] == few["limits"]["duration"]


def test_without_a_card_one_has_to_be_named(start: Start) -> None:
    service = start()
    service.app.state.doors = replace(service.doors, machine=lambda: None)
    answer = service.client.post("/v1/plan", json=SONG)
    assert (answer.status_code, answer.json()["values"]["field"]) == (422, "vram")
    assert service.client.post("/v1/plan?vram=8", json=SONG).status_code == 200


@pytest.mark.parametrize("vram", ["nan", "-1", "1e300", "x"])
def test_nonsense_for_a_card(service: Service, vram: str) -> None:
    answer = service.client.post("/v1/plan", params={"vram": vram}, json=SONG)
    assert (answer.status_code, answer.json()["values"]["field"]) == (422, "vram")


def test_models_and_what_they_can_do(service: Service) -> None:
    told = service.client.get("/v1/models").json()
    assert "text2music" in told["tasks"]
    assert {"name", "kind", "installed", "ready", "tasks"} <= set(told["models"][0])
    ready = [model for model in told["models"] if model["ready"] and model["tasks"]]
    assert ready and "text2music" in ready[0]["tasks"]
    answer = service.client.get("/v1/models?family=none")
    assert (answer.status_code, answer.json()["values"]["field"]) == (422, "family")


def test_the_document_tells_requests_apart_and_clamped_bounds_are_no_minimum(
    service: Service,
) -> None:
    spec = service.client.get("/openapi.json").json()
    parts = spec["components"]["schemas"]
    assert set(parts["Request"]["discriminator"]["mapping"]) == set(family_named().requests)
    duration = next(
        b for b in parts["Text2Music"]["properties"]["duration"]["anyOf"] if "x-maximum" in b
    )
    assert "maximum" not in duration and duration["x-minimum"] == 10
    body = spec["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["$ref"].endswith("/Request")

    def refs(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [r for one in value.values() for r in refs(one)]
        return [r for one in value for r in refs(one)] if isinstance(value, list) else []

    assert {ref.rpartition("/")[2] for ref in refs(spec)} <= set(parts)


def test_numbers_for_prometheus(service: Service, engine: Engine) -> None:
    service.submit()
    service.client.get("/v1/jobs/x")
    text = service.client.get("/metrics").text
    assert 'headroom_jobs{state="queued"} 1.0' in text
    line = 'headroom_http_requests_total{method="GET",route="/v1/jobs/{id}",status="404"} 1.0'
    assert line in text


def test_ready_says_more_to_who_has_a_key(service: Service) -> None:
    whole = service.client.get("/health/ready").json()
    assert (whole["ready"], whole["checks"]) == (True, {"database": True, "storage": True})
    assert "8.00 GiB" in whole["machine"]
    far = service.client_at("192.168.1.7").get("/health/ready")
    assert (far.status_code, far.json()) == (200, {"ready": True})


def test_the_machine_is_examined_by_a_child_without_torch_here(tmp_path: Path) -> None:
    settings = load({"HEADROOM_DEVICE": "cpu", "HEADROOM_CACHE_DIR": str(tmp_path)})
    known = Examined(settings)
    machine = known()
    assert machine is not None and machine.kind == "cpu" and machine.host_total > 0
    assert known() is machine
    named = load({"HEADROOM_MAX_VRAM": "8", "HEADROOM_CACHE_DIR": str(tmp_path)})
    assert Examined(named)() is None


def test_a_group_of_cards_is_examined_as_one(tmp_path: Path) -> None:
    settings = load({"HEADROOM_CACHE_DIR": str(tmp_path), "MAX_CUDA_VRAM": "12"})
    machine = Examined(settings.under(EngineOptions(device="simulated,simulated")))()
    assert machine is not None and len(machine.cards) == 2
    assert {(card.limit, card.free) for card in machine.cards} == {(12 << 30, 12 << 30)}


def test_plans_are_for_the_cards_of_the_first_engine_process(tmp_path: Path) -> None:
    groups = {"HEADROOM_SERVICE_CARDS": "simulated:a,simulated:b simulated:c"}
    settings = load({"HEADROOM_CACHE_DIR": str(tmp_path), "MAX_CUDA_VRAM": "12", **groups})
    machine = Examined(settings)()
    assert machine is not None and [card.limit for card in machine.cards] == [12 << 30] * 2


def test_the_machine_is_examined_under_the_settings_in_force(tmp_path: Path) -> None:
    """Not under the child's own environment: a flag stands above that."""
    named = {"HEADROOM_DEVICE": "simulated", "HEADROOM_MEMORY_LIMIT": "3"}
    settings = load({**named, "HEADROOM_CACHE_DIR": str(tmp_path)})
    machine = Examined(settings.under(EngineOptions(device="cpu")))()
    assert machine is not None and (machine.kind, machine.cap) == ("cpu", 3 << 30)


def test_the_web_process_imports_no_torch() -> None:
    code = (
        "import sys, headroom.service.app, headroom.service.planning\n"
        "import headroom.service.cluster.replicas, headroom.service.cluster.run\n"
        "import headroom.mcp_server.within\n"
        "from headroom.models.registry import family_named\n"
        "from headroom.models.family import ModelChoice\n"
        "from headroom.settings import load\n"
        "family_named().plan(ModelChoice(None, None, load({})))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_plan_reads_the_uploaded_file_and_shows_its_id_alone(
    service: Service, tmp_path: Path
) -> None:
    file = service.client.post("/v1/files?name=a.wav", content=wav(32.0)).json()["id"]
    asked = {"task": "cover", "caption": "x", "source_audio": file}
    answer = service.client.post("/v1/plan", json=asked)
    assert (answer.status_code, answer.json()["duration"]) == (200, 32.0)
    short = service.client.post("/v1/files?name=a.wav", content=wav(0.01)).json()["id"]
    for id in ("a" * 20, short):
        answer = service.client.post("/v1/plan", json={**asked, "source_audio": id})
        assert (answer.status_code, answer.json()["values"]["field"]) == (422, "source_audio")
        assert id in answer.text and str(tmp_path) not in answer.text


@pytest.mark.parametrize("task", sorted({*family_named().requests} - {*family_named().songs}))
def test_a_plan_of_what_makes_no_songs_is_refused(service: Service, task: str) -> None:
    more = {
        "encode_audio": {"source_audio": "a" * 20},
        "align_lyrics": {"source_audio": "a" * 20, "lyrics": "la"},
        "score": {"audio_codes": "<|audio_code_1|>", "caption": "x"},
    }
    asked = {"task": task, **more.get(task, {})}
    answer = service.client.post("/v1/plan", json=asked)
    assert (answer.status_code, answer.json()["values"]["field"]) == (422, "task")


def test_a_path_names_every_method_that_it_takes(service: Service) -> None:
    answer = service.client.put("/v1/jobs/x", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")
