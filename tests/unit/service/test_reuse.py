"""The same request is answered with the songs there are, where that is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headroom.engine.wire import result_from
from support.web import Service, Start, tones_made

TONE = {"task": "tone", "duration": 0.2, "frequency": 220.0, "seed": 3}


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def service(start: Start) -> Iterator[Service]:
    """A service that makes tones."""
    made = start(family="tone")
    with tones_made(made.doors):
        yield made


def asked(client: Any, reuse: bool = True, **fields: object) -> Any:
    request = {name: value for name, value in (TONE | fields).items() if value is not None}
    answer = client.post("/v1/jobs", json=request, params={"reuse": reuse})
    assert answer.status_code in (200, 202), answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    assert (answer.status_code == 200) == (answer.json()["reused"] is not None)
    return answer.json()


def made(client: Any, reuse: bool = False, **fields: object) -> Any:
    """A job that is done, by work of its own."""
    job = asked(client, reuse, **fields)
    assert job["reused"] is None
    wait_for(lambda: client.get(f"/v1/jobs/{job['id']}").json()["state"] == "done")
    return client.get(f"/v1/jobs/{job['id']}").json()


def test_the_same_songs_are_not_made_twice(service: Service) -> None:
    client = service.client
    first = made(client, reuse=True)  # there are none yet
    again = asked(client)
    assert (again["state"], again["reused"], again["attempt"]) == ("done", first["id"], 0)
    assert again["id"] != first["id"] and again["result"]["reused"] == first["id"]
    assert again["result"] == first["result"] | {"reused": first["id"]}
    assert result_from(again["result"]).reused == first["id"]
    assert result_from(first["result"]).reused is None
    (one,), (other,) = first["outputs"], again["outputs"]
    assert one["file"] == other["file"] and one["url"] != other["url"]
    assert client.get(one["url"]).content == client.get(other["url"]).content
    with client.stream("GET", f"/v1/jobs/{again['id']}/events") as events:
        assert "event: end" in "".join(events.iter_text())
    assert len(client.get("/v1/library/songs").json()["songs"]) == 1
    assert asked(client)["result"]["reused"] in (first["id"], again["id"])


@pytest.mark.parametrize(
    "spelt",
    [
        {"steps": 4, "batch_size": 1},  # the defaults, written out
        {"seed": None, "seeds": [3]},
        {"frequency": 220},
        {"overtones": None, "length": 0.2, "duration": None},  # an old name
    ],
)
def test_it_does_not_matter_how_the_request_is_written(
    service: Service, spelt: dict[str, object]
) -> None:
    first = made(service.client)
    assert asked(service.client, **spelt)["reused"] == first["id"]


@pytest.mark.parametrize(
    "other", [{"seed": 4}, {"seed": None}, {"duration": 0.4}, {"overtones": 2}, {"seeds": [3, 4]}]
)
def test_another_request_is_work_of_its_own(service: Service, other: dict[str, object]) -> None:
    made(service.client)
    assert asked(service.client, **other)["reused"] is None


def test_seeds_that_were_drawn_count_too(service: Service) -> None:
    first = made(service.client, seed=None)
    seed = first["result"]["output"]["songs"][0]["seed"]
    assert asked(service.client, seed=seed)["reused"] == first["id"]


def test_nothing_is_reused_unless_that_is_asked_for(service: Service) -> None:
    made(service.client)
    assert asked(service.client, reuse=False)["reused"] is None


def test_songs_of_others_are_not_theirs_but_the_admins(service: Service) -> None:
    _, secret = service.key()
    one = service.client_at("192.168.1.7", X_API_Key=secret)
    first = made(one)
    assert asked(one)["reused"] == first["id"]
    _, secret = service.key()
    stranger = service.client_at("192.168.1.8", X_API_Key=secret)
    assert asked(stranger)["reused"] is None
    _, secret = service.key("use", "admin")
    admin = service.client_at("192.168.1.9", X_API_Key=secret)
    again = asked(admin)
    assert again["reused"] is not None
    assert admin.get(again["outputs"][0]["url"]).status_code == 200
    assert stranger.get(again["outputs"][0]["url"]).status_code == 404


def test_a_song_that_was_deleted_is_made_again_and_one_that_was_reused_stays(
    service: Service,
) -> None:
    client = service.client
    first = made(client)
    again = asked(client)
    assert client.delete(f"/v1/jobs/{first['id']}").status_code == 204
    assert client.get(again["outputs"][0]["url"]).status_code == 200
    assert asked(client)["reused"] == again["id"]  # it has the song
    for job in client.get("/v1/jobs").json()["jobs"]:
        assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert list(service.doors.files.storage.stored()) == []
    second = made(client)
    (song,) = client.get("/v1/library/songs").json()["songs"]
    assert client.delete(f"/v1/library/songs/{song['id']}").status_code in (200, 204)
    assert asked(client)["reused"] is None  # it is in the bin
    assert second["reused"] is None


def test_an_idempotency_key_comes_first(service: Service) -> None:
    made(service.client)
    ask = {"json": TONE, "params": {"reuse": True}, "headers": {"Idempotency-Key": "k"}}
    one, two = (service.client.post("/v1/jobs", **ask) for _ in range(2))
    assert one.json()["id"] == two.json()["id"] and one.status_code == 200
    ask["json"] = TONE | {"seed": 9}
    assert service.client.post("/v1/jobs", **ask).status_code == 409


def test_times_that_took_nothing_are_no_mean_time(service: Service) -> None:
    made(service.client)
    before = service.doors.queue.stats()
    asked(service.client)
    after = service.doors.queue.stats()
    assert after.seconds == before.seconds and after.counts["done"] == before.counts["done"] + 1


def test_a_stored_song_is_no_way_around_what_a_job_may_say(service: Service) -> None:
    made(service.client)
    for name, value in (("within", -1), ("priority", 1000)):
        params: dict[str, object] = {"reuse": True, name: value}
        answer = service.client.post("/v1/jobs", json=TONE, params=params)
        assert (answer.status_code, answer.json()["values"]["field"]) == (422, name)
