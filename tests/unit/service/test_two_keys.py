"""One who has a key learns nothing of what another key has, and changes nothing of it, whatever the
route: every path of the OpenAPI document is tried with every id of the other."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from headroom.jobs.values import Made
from support.web import SONG, Engine, Service, wav

WORDS, NAME, TITLE = "words that only one knows", "tape of one.wav", "Title of one"
# Their answers wait for an engine process, and they take no ids.
WAIT = ("/format_input", "/v1/create_sample", "/v1/chat/completions", "/api/v1/chat/completions")


@dataclass
class One:
    """The holder of a key, with a job that is done, one that waits, an upload and a playlist."""

    client: TestClient
    ids: list[str]

    def sees(self) -> list[Any]:
        """All that is theirs, as they see it."""
        pages = ("/v1/jobs", "/v1/library/songs", "/v1/library/playlists")
        files = [f"/v1/files/{id}" for id in self.ids]
        return [self.client.get(path).json() | {"request_id": ""} for path in (*pages, *files)]


@pytest.fixture
def one(service: Service, monkeypatch: pytest.MonkeyPatch) -> One:
    monkeypatch.setattr("headroom.service.stream.LIFE_SECONDS", 0.0)
    key, secret = service.key()
    client = service.client_at("192.168.1.7", X_API_Key=secret)
    upload = client.post("/v1/files", params={"name": NAME}, content=wav()).json()["id"]
    done = client.post("/v1/jobs", json={**SONG, "caption": WORDS}).json()["id"]
    engine = Engine(service.doors)
    claim = engine.claim()
    with service.doors.files.receive(key, "song.wav") as incoming:
        incoming.write(wav(2.0))
        file = incoming.keep("audio/wav", 2.0)
    engine.worker.finish(claim, json.dumps({"told": WORDS}), [Made(file.id, TITLE)])
    waiting = client.post("/v1/jobs", json={**SONG, "caption": WORDS}).json()["id"]
    (song,) = client.get("/v1/library/songs").json()["songs"]
    made = client.post("/v1/library/playlists", json={"name": TITLE, "songs": [song["id"]]})
    assert made.status_code == 201, made.text
    return One(client, [done, waiting, upload, file.id, song["id"], made.json()["id"]])


def bodies(id: str, named: bool) -> list[dict[str, Any]]:
    """What may change or use something, wherever it is understood; `named`: the path has the id."""
    if named:
        return [{}, {"title": "stolen", "rating": 1}, {"name": "stolen"}, {"songs": [id]}]
    cover = {"task": "cover", "caption": "x", "source_audio": id}
    old = {"prompt": "x", "task_type": "cover", "src_audio_path": id}
    return [{"name": "stolen", "songs": [id]}, {"songs": [id]}, {"task_id_list": [id]}, cover, old]


@pytest.mark.ci
def test_another_key_learns_and_changes_nothing_on_any_route(service: Service, one: One) -> None:
    _, secret = service.key()
    other = service.client_at("192.168.1.8", X_API_Key=secret)
    paths = service.client.get("/openapi.json").json()["paths"]
    before, told = one.sees(), json.dumps(one.sees())
    assert all(word in told for word in (WORDS, NAME, TITLE))
    asked = 0
    for path, methods in paths.items():
        assert path not in WAIT or "parameters" not in methods["post"]
        for method, operation in () if path in WAIT else methods.items():
            names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
            for id in one.ids if "{id}" in path or names or method != "get" else one.ids[:1]:
                url = path.replace("{id}", id).replace("{number}", "1")
                queries = [{}, *({name: id} for name in names)]
                sent = [None] if method in ("get", "delete") else bodies(id, "{id}" in path)
                for query, body in itertools.product(queries, sent):
                    if body is not None and query:
                        continue
                    answer = other.request(method, url, params=query, json=body)
                    asked += 1
                    place = (method, url, query, body, answer.status_code)
                    assert answer.status_code not in (500, 503, 504), place
                    for secret_word in (WORDS, NAME, TITLE):
                        assert secret_word not in answer.text, place
                    if "{id}" in path:
                        assert answer.status_code in (403, 404, 422), place
    assert asked > 250
    assert one.sees() == before
