"""Numbers for Prometheus: exact figures after jobs that are known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headroom.engine.wire import event_from
from headroom.jobs.values import Asked
from headroom.reasons import Reason
from headroom.runtime.events import Loading, Replanned, StageDone
from headroom.service.teller import Teller
from support.live import wait_for
from support.web import Engine, Service, Start, tones_made

Numbers = dict[tuple[str, ...], float]


def numbers(service: Service) -> Numbers:
    """Each sample by its name and the values of its labels."""
    families = text_string_to_metric_families(service.client.get("/metrics").text)
    return {
        (one.name.removeprefix("headroom_"), *one.labels.values()): one.value
        for family in families
        for one in family.samples
    }


def tone(service: Service, **fields: object) -> str:
    asked = Asked(json.dumps({"family": "tone", "request": fields}))
    return service.doors.queue.submit(asked).id


def test_of_jobs_that_are_made(service: Service) -> None:
    ids = [
        tone(service, duration=0.1, brightness=3, steps=500),
        tone(service, duration=0.01, brightness=7),
        tone(service, duration=0.1, seed=4, batch_size=2),
        tone(service, melody="nothing"),
    ]
    queue = service.doors.queue
    with tones_made(service.doors):
        wait_for(lambda: all(queue.get(one).has_ended for one in ids))
    found = numbers(service)
    clamps = {key[1]: value for key, value in found.items() if key[0] == "clamps_total"}
    assert clamps == {"brightness": 2, "steps": 1, "duration": 1}
    ended = {key[1]: value for key, value in found.items() if key[0] == "jobs_ended_total"}
    assert ended == {"done": 3, "failed": 1, "cancelled": 0, "expired": 0}
    assert found["job_wait_seconds_count",] == found["job_wait_seconds_bucket", "+Inf"] == 4
    waits = [job.started - job.created for job in map(queue.get, ids) if job.started]
    assert found["job_wait_seconds_sum",] == pytest.approx(sum(waits))
    told = [event_from(json.loads(e.event)) for one in ids for e in queue.story(one).events]
    stages = [one for one in told if isinstance(one, StageDone)]
    assert {one.stage for one in stages} >= {"denoise"}
    for stage in {one.stage for one in stages}:
        own = [one for one in stages if one.stage == stage]
        assert found["stages_total", stage] == len(own) == 3
        seconds = found["stage_seconds_total", stage]
        assert seconds == pytest.approx(sum(one.seconds for one in own))
        loading = found["stage_loading_seconds_total", stage]
        assert loading == pytest.approx(sum(one.loading for one in own))


def test_of_work_that_is_told(service: Service, engine: Engine) -> None:
    service.submit()
    claim = engine.claim()
    teller = Teller(engine.worker, claim)
    teller(Loading("dit", 100))
    teller(Replanned("denoise", Reason("no room", "other", {}), True))
    teller(Loading("dit", 50))
    teller(StageDone("denoise", 10, 9, 2.5, 0.5))
    engine.fail(claim)
    found = numbers(service)
    assert found["loaded_bytes_total", "dit"] == 150
    assert found["recoveries_total", "denoise"] == 1
    assert found["stage_seconds_total", "denoise"] == 2.5
    assert found["stage_loading_seconds_total", "denoise"] == 0.5
    assert found["jobs_ended_total", "failed"] == found["jobs", "failed"] == 1


def test_of_a_service_that_was_started_again(start: Start) -> None:
    before = start()
    Engine(before.doors).finish(_claimed(before))
    again = start()
    assert again.doors is not before.doors
    found = numbers(again)
    assert (found["jobs_ended_total", "done"], found["job_wait_seconds_count",]) == (1, 1)


def _claimed(service: Service) -> Any:
    service.submit()
    return Engine(service.doors).claim()


def opened(model: str, *parts: tuple[str, str, int, int], free: int) -> dict[str, Any]:
    """The status of an open engine."""
    names = ("name", "state", "device_bytes", "leases")
    told = [dict(zip(names, part, strict=True)) for part in parts]
    return {
        "family": "acestep",
        "model": model,
        "allocated_bytes": 100,
        "free_bytes": free,
        "parts": told,
    }


def test_of_engines(service: Service) -> None:
    on, off = "on the device", "not loaded"
    first = opened("turbo", ("dit", on, 60, 1), ("vae", off, 0, 0), free=900)
    second = opened("base", ("dit", on, 30, 0), free=899)
    other = opened("turbo", ("dit", on, 60, 2), free=500)
    for name, job, engines in (("a", "j", [first, second]), ("b", None, [other]), ("c", None, [])):
        service.doors.roster.tell(name, json.dumps({"job": job, "engines": engines}))
    found = numbers(service)
    assert (found["engines", "working"], found["engines", "idle"]) == (1, 2)
    assert found["device_allocated_bytes",] == 200  # two engines of one process share its card
    assert found["device_free_bytes",] == 500
    parts = {key[1:]: value for key, value in found.items() if key[0] == "part_bytes"}
    assert parts == {
        ("acestep", "turbo", "dit", on): 120,
        ("acestep", "turbo", "vae", off): 0,
        ("acestep", "base", "dit", on): 30,
    }
    assert found["part_leases", "acestep", "turbo", "dit", on] == 3


def test_of_no_engine(service: Service) -> None:
    found = numbers(service)
    assert (found["engines", "working"], found["engines", "idle"]) == (0, 0)
    assert ("device_free_bytes",) not in found and found["job_wait_seconds_count",] == 0
    assert found["attempts_lost_total",] == 0


def test_no_id_and_no_text_of_a_user_is_shown(service: Service, engine: Engine) -> None:
    job = service.submit()
    claim = engine.claim()
    service.doors.roster.tell("a-holder", json.dumps({"job": job, "engines": []}))
    engine.finish(claim)
    text = service.client.get("/metrics").text
    assert job not in text and "a-holder" not in text and "a song" not in text
