"""Models are downloaded by the service: begun, watched, called off, and refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from filelock import FileLock

from headroom.errors import Cancelled
from headroom.service import fetching
from headroom.service.fetching import Fetching
from headroom.settings import load
from support.live import Live, live, wait_for
from support.web import Service
from unit.weights.downloads import TURBO, assert_whole, hugging_face
from unit.weights.folders import published
from unit.weights.hub import Hub, serving

GIVEN = {"family": "acestep", "models": [TURBO]}
COMPANY = ("vae", "Qwen3-Embedding-0.6B")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Hub(published())) as served:
        monkeypatch.setattr(fetching, "sources", lambda *_: (hugging_face(served),))
        yield served


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def running(tmp_path: Path, models: Path) -> Iterator[Live]:
    named = {"HEADROOM_CHECKPOINTS_DIR": str(models)}
    with live(tmp_path, "acestep", named) as one, one.working():
        wait_for(lambda: httpx2.get(one.url + "/gpu/status").json()["engines"])
        yield one


def downloads(one: Live) -> list[dict[str, Any]]:
    (engine,) = httpx2.get(one.url + "/gpu/status").json()["engines"]
    return list(engine["downloads"])


def errand(one: Live, wait: int = 30, **body: Any) -> dict[str, Any]:
    answer = httpx2.post(f"{one.url}/v1/models/download?wait={wait}", json=body, timeout=60)
    assert answer.status_code in (200, 202), answer.text
    (made,) = answer.json()["errands"]
    return dict(made)


def test_a_model_comes_with_what_it_needs_and_only_once(
    hub: Hub, running: Live, models: Path
) -> None:
    made = errand(running, models=[TURBO])
    assert (made["verb"], made["state"], made["error"]) == ("download", "done", None)
    for name in (TURBO, *COMPANY):
        assert_whole(models / name, name)
    rows = httpx2.get(running.url + "/v1/models?family=acestep").json()["models"]
    assert {row["name"] for row in rows if row["installed"]} >= {TURBO, *COMPANY}
    asked = len(hub.requests)
    assert errand(running, models=[TURBO])["state"] == "done"
    assert len(hub.requests) == asked


def test_how_far_a_download_is(hub: Hub, models: Path) -> None:
    known = Fetching(load({"HEADROOM_CHECKPOINTS_DIR": str(models)}))
    seen: list[dict[str, Any]] = []

    def watched() -> bool:
        seen.extend(known.view())
        return False

    known.fetch("one", GIVEN, watched)
    assert {one["errand"] for one in seen} == {"one"} and seen[0]["models"] == [TURBO]
    assert (seen[0]["model"], seen[0]["total"]) == (None, 0)
    assert {one["model"] for one in seen[1:]} >= {TURBO, *COMPANY}
    assert seen[-1]["done"] <= seen[-1]["total"] and seen[-1]["done"] > seen[0]["done"]
    assert known.view() == []


def test_a_download_that_stops_keeps_what_has_come(hub: Hub, models: Path) -> None:
    known = Fetching(load({"HEADROOM_CHECKPOINTS_DIR": str(models)}))
    with pytest.raises(Cancelled):
        known.fetch("one", GIVEN, lambda: known.view()[0]["done"] > 0)
    assert list((models / TURBO).iterdir())
    known.fetch("two", GIVEN, lambda: False)
    assert_whole(models / TURBO, TURBO)


def test_a_download_is_called_off(hub: Hub, running: Live, models: Path) -> None:
    models.mkdir()
    with FileLock(models / ".headroom-downloads"):  # another process of this machine downloads
        made = errand(running, wait=0, models=[TURBO])
        path = f"{running.url}/gpu/errands/{made['id']}"
        wait_for(lambda: downloads(running))
        assert httpx2.get(path).json()["errands"][0]["state"] == "waiting"
        (ended,) = httpx2.delete(path).json()["errands"]
        wait_for(lambda: not downloads(running))  # it has learned of it
    assert (ended["state"], ended["error"]["code"]) == ("failed", "cancelled")
    assert errand(running, models=["vae"])["state"] == "done"
    assert not (models / TURBO).exists()
    assert httpx2.delete(running.url + "/gpu/errands/nowhere").status_code == 404


def test_only_downloads_are_called_off(service: Service) -> None:
    service.doors.roster.tell("slow", '{"job": null, "engines": []}')
    (made,) = service.client.post("/gpu/release?wait=0").json()["errands"]
    answer = service.client.delete(f"/gpu/errands/{made['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_hub_that_cannot_be_reached_is_a_sentence(hub: Hub, running: Live, models: Path) -> None:
    hub.status = {"": [503] * 1000}
    error = errand(running, models=[TURBO])["error"]
    assert error["code"] == "download_failed"
    assert "could not be downloaded" in error["message"]
    assert str(models.parent) not in error["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "models"),
        ({"models": []}, "models"),
        ({"models": "vae"}, "models"),
        ({"models": ["../vae"]}, "models"),
        ({"models": ["acestep-v15-turbo-rl"]}, "models"),
        ({"models": [7]}, "models"),
        ({"models": ["vae"], "family": "nobody"}, "family"),
        ({"models": ["vae"], "family": "tone"}, "family"),
        ({"models": ["vae"], "token": "x"}, "token"),
    ],
)
def test_what_cannot_be_downloaded(service: Service, body: dict[str, Any], field: str) -> None:
    answer = service.client.post("/v1/models/download", json=body)
    assert (answer.status_code, answer.json()["values"]["field"]) == (422, field)


def test_only_an_admin_downloads(service: Service) -> None:
    _, use = service.key("use")
    far = service.client_at("192.168.1.7", X_API_Key=use)
    assert far.post("/v1/models/download", json={"models": ["vae"]}).status_code == 403
    assert far.delete("/gpu/errands/any").status_code == 403
