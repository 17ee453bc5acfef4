"""The memory of engine processes: told, given back, and filled with another model."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from headroom import Client
from headroom.service import steward
from support.live import Live, live, wait_for
from support.web import Service
from tone_model.requests import Tone

MANAGED = {"HEADROOM_GPU_MANAGEMENT": "true"}


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("engines")
    with live(folder, settings=MANAGED) as one, one.working():
        wait_for(lambda: status(one))
        with Client(one.url, family="tone") as client:
            client.perform(Tone(duration=0.1))
        wait_for(lambda: status(one)[0]["engines"] and status(one)[0]["job"] is None)
        yield one


def ask(one: Live, path: str, **body: Any) -> httpx2.Response:
    return httpx2.post(one.url + path, json=body, timeout=30)


def status(one: Live) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = httpx2.get(one.url + "/gpu/status").json()["engines"]
    return told


def places(engine: dict[str, Any]) -> set[str]:
    return {part["state"] for open in engine["engines"] for part in open["parts"]}


def test_the_status_tells_every_part(managed: Live) -> None:
    (engine,) = status(managed)
    assert (engine["engine"], engine["job"], engine["management"]) == ("live", None, True)
    (open,) = engine["engines"]
    assert (open["family"], open["idle_timeout"]) == ("tone", 600)
    assert open["parts"] and {"name", "state", "idle_seconds"} <= set(open["parts"][0])
    assert open["free_bytes"] > 0


def test_parts_are_released_and_come_back(managed: Live) -> None:
    answer = ask(managed, "/gpu/release")
    assert answer.status_code == 200
    (errand,) = answer.json()["errands"]
    assert (errand["engine"], errand["state"], errand["error"]) == ("live", "done", None)
    assert places(errand["status"]) == {"not loaded"}
    with Client(managed.url, family="tone") as client:
        client.perform(Tone(duration=0.1))
    assert ask(managed, "/gpu/offload", engine="live").json()["errands"][0]["state"] == "done"
    part = status(managed)[0]["engines"][0]["parts"][0]["name"]
    assert ask(managed, "/gpu/release", part=part).status_code == 200


def test_the_idle_timeout_is_changed(managed: Live) -> None:
    answer = ask(managed, "/gpu/timeout", seconds=42)
    (errand,) = answer.json()["errands"]
    assert errand["status"]["idle_timeout"] == 42
    assert errand["status"]["engines"][0]["idle_timeout"] == 42
    path = f"/gpu/errands/{errand['id']}"
    assert httpx2.get(managed.url + path).json()["errands"] == [errand]


def test_a_model_is_loaded(managed: Live) -> None:
    ask(managed, "/gpu/release")
    answer = ask(managed, "/v1/models/load", family="tone")
    assert answer.status_code == 200, answer.text
    (errand,) = answer.json()["errands"]
    assert errand["state"] == "done", errand
    assert errand["status"]["family"] == "tone" and places(errand["status"]) != {"not loaded"}


def test_models_are_loaded_until_they_are_released(managed: Live) -> None:
    def told() -> list[object]:
        (model,) = httpx2.get(managed.url + "/v1/models").json()["data"]
        return [model[name] for name in ("is_loaded", "loaded_on", "is_default")]

    ask(managed, "/v1/models/load", family="tone")
    assert told() == [True, ["live"], True]
    ask(managed, "/gpu/release")
    assert told() == [False, [], True]


def test_what_cannot_be_done_is_told(managed: Live) -> None:
    (errand,) = ask(managed, "/gpu/offload", part="dit").json()["errands"]
    assert errand["state"] == "failed" and errand["error"]["values"]["field"] == "part"
    (errand,) = ask(managed, "/v1/models/load", family="acestep", model="nowhere").json()["errands"]
    assert errand["error"]["code"] == "weights_missing"
    for path, body, code in (
        ("/gpu/timeout", {"seconds": 0}, 422),
        ("/gpu/timeout", {"seconds": True}, 422),
        ("/gpu/offload", {"parts": "x"}, 422),
        ("/gpu/offload", {"engine": "other"}, 404),
        ("/v1/models/load", {"model": "../x"}, 422),
        ("/v1/models/load", {"family": "nobody"}, 422),
        ("/gpu/offload?wait=100", {}, 422),
    ):
        assert ask(managed, path, **body).status_code == code, (path, body)


def test_memory_that_is_not_managed_has_no_timeout(tmp_path: Any) -> None:
    with live(tmp_path) as one, one.working():
        wait_for(lambda: status(one))
        (errand,) = ask(one, "/gpu/timeout", seconds=42).json()["errands"]
        assert errand["error"]["values"]["field"] == "gpu_idle_timeout"


def test_without_an_engine_process(service: Service) -> None:
    assert service.client.get("/gpu/status").json() == {"engines": []}
    answer = service.client.post("/gpu/release", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_an_errand_waits_for_its_process(service: Service) -> None:
    service.doors.roster.tell("slow", '{"job": null, "engines": []}')
    answer = service.client.post("/gpu/release?wait=0")
    assert answer.status_code == 202
    assert answer.json()["errands"][0]["state"] == "waiting"


def test_an_engine_process_of_an_earlier_version_tells_of_no_models(service: Service) -> None:
    old = '{"job": null, "engines": [{"family": "acestep", "model": "acestep-v15-nano"}]}'
    service.doors.roster.tell("old", old)
    known = service.client.get("/v1/models").json()["models"]
    assert known and not any(one["is_loaded"] or one["loaded_on"] for one in known)


def test_only_an_admin_changes_memory(service: Service) -> None:
    _, use = service.key("use")
    _, admin = service.key("use", "admin")
    service.doors.roster.tell("slow", '{"job": null, "engines": []}')
    far = service.client_at("192.168.1.7", X_API_Key=use)
    assert far.get("/gpu/status").status_code == 200
    for path in ("/gpu/offload", "/gpu/release", "/gpu/timeout", "/v1/models/load"):
        assert far.post(path + "?wait=0", json={"seconds": 1}).status_code == 403
    far = service.client_at("192.168.1.7", X_API_Key=admin)
    assert far.post("/gpu/release?wait=0", json={}).status_code == 202
    assert service.client_at("192.168.1.7").get("/gpu/status").status_code in (400, 401)


def test_nothing_more_is_told_of_a_lost_device(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(steward, "LOOK_SECONDS", 0.01)
    engines: Any = SimpleNamespace(status=lost, have_a_device=False, settings=None)
    doors = service.doors
    with steward.Steward(doors.roster, "of a test", engines, doors.hidden) as one:
        one._thread.join(30)
        assert not one._thread.is_alive()  # an error that it does not handle would be raised here
