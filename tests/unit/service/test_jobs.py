"""Jobs over HTTP: accepted, shown, followed, fetched, cancelled, deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Timer
from typing import Any

import pytest
from starlette.testclient import TestClient

from headroom.jobs.values import Job, Story
from headroom.service import stream
from headroom.service.looks import Looks
from headroom.service.work import Work
from support.clock import Clock
from support.web import HERE, SONG, Engine, Service, Start, wav

Events = list[dict[str, str]]


def followed(client: TestClient, job: str, last: str | None = None) -> tuple[int, Events]:
    """The status of a stream, and its events until it ends."""
    headers = {} if last is None else {"Last-Event-ID": last}
    answer = client.get(f"/v1/jobs/{job}/events", headers=headers)
    parts = [part for part in answer.text.split("\n\n") if part.startswith("id: ")]
    return answer.status_code, [dict(line.split(": ", 1) for line in p.split("\n")) for p in parts]


def test_a_job_is_accepted_made_and_fetched(service: Service, engine: Engine) -> None:
    answer = service.client.post("/v1/jobs", json=SONG)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    assert (answer.json()["state"], answer.json()["position"]) == ("queued", 0)
    claim = engine.claim()
    assert Work.of(claim.request).read().model_dump()["caption"] == "a song"
    engine.finish(claim)
    done = service.client.get(answer.headers["location"]).json()
    assert (done["state"], [one["number"] for one in done["outputs"]]) == ("done", [1])
    sound = service.client.get(done["outputs"][0]["url"])
    assert (sound.content, sound.headers["content-type"]) == (wav(), "audio/wav")


@pytest.mark.parametrize(
    ("asked", "status", "part", "shown"),
    [
        ("bytes=0-3", 206, slice(0, 4), "bytes 0-3/{}"),
        ("bytes=10-", 206, slice(10, None), "bytes 10-{last}/{}"),
        ("bytes=-5", 206, slice(-5, None), "bytes {five}-{last}/{}"),
        ("bytes=0-1,4-5", 200, slice(None), None),
        ("bytes=5-2", 200, slice(None), None),
        ("lines=1-2", 200, slice(None), None),
    ],
)
def test_a_part_of_an_output(
    service: Service, engine: Engine, asked: str, status: int, part: slice, shown: str | None
) -> None:
    job = service.submit()
    engine.finish(engine.claim())
    answer = service.client.get(f"/v1/jobs/{job}/outputs/1", headers={"Range": asked})
    size = len(wav())
    assert (answer.status_code, answer.content) == (status, wav()[part])
    expected = shown and shown.format(size, last=size - 1, five=size - 5)
    assert answer.headers.get("content-range") == expected


def test_a_part_that_is_not_there_is_refused_with_the_size(
    service: Service, engine: Engine
) -> None:
    job = service.submit()
    engine.finish(engine.claim())
    url = f"/v1/jobs/{job}/outputs/1"
    answer = service.client.get(url, headers={"Range": "bytes=9999999-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(wav())}")
    tag = service.client.get(url).headers["etag"]
    assert service.client.get(url, headers={"If-None-Match": tag}).status_code == 304
    old = {"Range": "bytes=0-3", "If-Range": '"other"'}
    assert service.client.get(url, headers=old).status_code == 200


def test_asking_twice_with_one_key_is_one_job(service: Service) -> None:
    first = service.submit(**{"Idempotency-Key": "a"})
    assert service.submit(**{"Idempotency-Key": "a"}) == first
    assert service.submit(**{"Idempotency-Key": "b"}) != first
    other = {**SONG, "caption": "another"}
    answer = service.client.post("/v1/jobs", json=other, headers={"Idempotency-Key": "a"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_jobs_are_listed_from_the_newest_with_a_cursor(service: Service, engine: Engine) -> None:
    ids = [service.submit() for _ in range(5)]
    engine.finish(engine.claim())
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while cursor is not None:
        page = service.client.get("/v1/jobs", params={"most": 2, **cursor}).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = None if page["next"] is None else {"cursor": page["next"]}  # type: ignore[assignment]
    assert seen == ids[::-1]
    done = service.client.get("/v1/jobs", params={"state": "done"}).json()["jobs"]
    assert [job["id"] for job in done] == ids[:1]
    for wrong in ({"most": 0}, {"most": 1000}, {"state": "lost"}, {"cursor": "x"}, {"most": "x"}):
        answer = service.client.get("/v1/jobs", params=wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert answer.json()["values"]["field"] == next(iter(wrong))


def test_no_event_is_lost_or_doubled_over_a_reconnection(service: Service, engine: Engine) -> None:
    job = service.submit()
    claim = engine.claim()
    engine.tell(claim, 1, 2, 3)
    engine.tell(claim, 4, passing=True)
    engine.tell(claim, *range(5, 150))
    engine.finish(claim)
    _, whole = followed(service.client, job)
    numbers = [event["id"] for event in whole]
    assert numbers == ["1", "2", "3", *map(str, range(5, 150)), "149-end"]
    for last in ("0", "2", "4", "104", "149"):
        _, rest = followed(service.client, job, last)
        assert [e["id"] for e in rest] == [n for n in numbers if int(n.split("-")[0]) > int(last)
                                           or n.endswith("end")]  # fmt: skip
    end = json.loads(whole[-1]["data"])
    assert (end["state"], whole[-1]["event"], len(end["outputs"])) == ("done", "end", 1)
    told = json.loads(whole[0]["data"])
    assert (told["job"], told["number"], told["attempt"], told["done"]) == (job, 1, 1, 1)
    assert followed(service.client, job, "149-end") == (204, [])


def after_each_look(
    service: Service, monkeypatch: pytest.MonkeyPatch, acts: list[Callable[[], None]]
) -> None:
    """Each time that a stream has looked at a job, the next of the acts is done."""
    look = service.doors.queue.story

    def story(*args: Any) -> Story:
        seen = look(*args)
        if acts:
            acts.pop(0)()
        return seen

    monkeypatch.setattr(service.doors.queue, "story", story)


def test_a_job_that_is_deleted_before_its_end_was_sent_ends_the_stream(
    service: Service, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.submit()
    claim = engine.claim()
    engine.tell(claim, 1)
    engine.finish(claim)
    after_each_look(service, monkeypatch, [lambda: service.doors.library.delete(job)])
    service.client = TestClient(service.app, base_url=HERE, client=("127.0.0.1", 4000))
    _, events = followed(service.client, job)  # a fault would be raised here
    assert [event["id"] for event in events] == ["1"]


def test_a_stream_follows_a_job_while_it_runs(
    service: Service, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.submit()
    claim = engine.claim()
    engine.tell(claim, 1)
    acts: list[Callable[[], None]] = [lambda: engine.tell(claim, 2), lambda: engine.fail(claim)]
    after_each_look(service, monkeypatch, acts)
    _, events = followed(service.client, job)
    assert acts == []
    assert [event["id"] for event in events] == ["1", "2", "2-end"]
    end = json.loads(events[-1]["data"])
    assert (end["state"], end["error"]["code"]) == ("failed", "render_failed")


def test_every_ending_ends_the_stream(service: Service, engine: Engine) -> None:
    waiting = service.submit()
    assert service.client.delete(f"/v1/jobs/{waiting}").json()["state"] == "cancelled"
    assert json.loads(followed(service.client, waiting)[1][-1]["data"])["state"] == "cancelled"


def test_a_quiet_stream_sends_comments_and_does_not_last_for_ever(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()

    async def wait(looks: Looks, job: Job, seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(stream, "time", clock)
    monkeypatch.setattr(Looks, "wait", wait)
    job = service.submit()
    answer = service.client.get(f"/v1/jobs/{job}/events")
    most = stream.LIFE_SECONDS / stream.PING_SECONDS
    assert most / 2 < answer.text.count(": still here") <= most
    assert clock.now >= stream.LIFE_SECONDS
    assert "event: end" not in answer.text


def test_a_stream_ends_when_the_server_does(service: Service) -> None:
    job = service.submit()
    ends = Timer(0.3, service.doors.closing.set)
    ends.start()
    answer = service.client.get(f"/v1/jobs/{job}/events")
    ends.join()
    assert answer.status_code == 200 and "event: end" not in answer.text


def test_comments_come_every_fifteen_seconds() -> None:
    assert stream.PING_SECONDS == 15.0


def test_cancel_and_delete(service: Service, engine: Engine) -> None:
    job = service.submit()
    claim = engine.claim()
    answer = service.client.delete(f"/v1/jobs/{job}")
    assert (answer.status_code, answer.json()["cancelling"]) == (202, True)
    assert engine.worker.beat(claim) == "cancel"
    engine.worker.stopped(claim)
    assert service.client.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert service.client.delete(f"/v1/jobs/{job}").status_code == 204
    for path in ("", "/events", "/outputs/1"):
        answer = service.client.get(f"/v1/jobs/{job}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_id")


def test_a_replay_asks_for_what_was_carried_out(service: Service, engine: Engine) -> None:
    job = service.submit()
    assert service.client.post(f"/v1/jobs/{job}/replay").status_code == 409
    asked = {"kind": "Text2Music", "values": {"caption": "a song", "seed": 7, "lyrics": ""}}
    engine.finish(
        engine.claim(), json.dumps({"request": {**asked, "set_fields": ["caption", "seed"]}})
    )
    answer = service.client.post(f"/v1/jobs/{job}/replay")
    assert answer.status_code == 202
    assert answer.json()["asked"]["request"] == {**SONG, "seed": 7}


def test_the_clamped_numbers_of_a_request_are_accepted_as_asked(start: Start) -> None:
    service = start()
    answer = service.client.post("/v1/jobs", json={**SONG, "duration": 99999})
    assert answer.json()["asked"]["request"]["duration"] == 99999
