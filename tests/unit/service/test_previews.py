"""Songs are heard while they are decoded, by who asked for them, and nothing is left afterwards."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from headroom.audio.wave import Audio
from headroom.errors import StorageFailed
from headroom.jobs.values import Asked, Claim
from headroom.jobs.worker import Worker
from headroom.runtime.events import AudioReady, Progress
from headroom.service import previews as previews_module
from headroom.service.previews import Previews
from support.service_place import Place
from support.tone_gate import TILE, Gate, gated
from support.web import Service, Start, tones_made
from tone_model import model as tone


@contextmanager
def making(service: Service) -> Iterator[Gate]:
    """Tones are made meanwhile, as far as a gate lets them."""
    with tones_made(service.doors), gated() as gate:
        yield gate


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def told(service: Service, job: str) -> list[dict[str, Any]]:
    """What the stream of events tells of the sound, as far as it goes."""
    with service.client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        lines = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines]
    return [event for event in events if event.get("event") == "audio_ready"]


def blobs(service: Service) -> int:
    return len(list(service.doors.files.storage.stored()))


def test_a_song_is_heard_as_far_as_it_is_decoded(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.service.stream.LIFE_SECONDS", 0.0)
    service = start(family="tone")
    client = service.client
    with making(service) as gate:
        job = client.post("/v1/jobs", json={"task": "tone", "duration": 3}).json()["id"]
        path = f"/v1/jobs/{job}/outputs/1/preview"
        wait_for(lambda: client.get(path).status_code == 200)
        wait_for(lambda: told(service, job))
        (event,) = told(service, job)
        assert (event["song"], event["start"], event["frames"]) == (0, 0, TILE)
        assert (event["file"], event["rate"], event["channels"]) == (path, tone.RATE, 2)
        first = client.get(path)
        assert first.headers["content-type"] == "audio/wav"
        assert first.headers["cache-control"] == "no-store"
        samples, rate = soundfile.read(io.BytesIO(first.content), dtype="int16")
        assert samples.shape == (TILE, 2) and rate == tone.RATE
        same = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert same.status_code == 304
        for begin, end in ((0, 10), (40, 60), (44, 48), (1000, len(first.content) - 1)):
            part = client.get(path, headers={"Range": f"bytes={begin}-{end}"})
            assert part.status_code == 206
            assert part.content == first.content[begin : end + 1]
        later, _ = soundfile.read(
            io.BytesIO(client.get(path, params={"start": 5}).content), dtype="int16"
        )
        assert np.array_equal(later, samples[5:])
        for wrong in (-1, TILE):
            answer = client.get(path, params={"start": wrong})
            assert (answer.status_code, answer.json()["values"]["field"]) == (422, "start")
        for number in (0, 2):
            assert client.get(f"/v1/jobs/{job}/outputs/{number}/preview").status_code == 404
        _, secret = service.key()
        stranger = service.client_at("192.168.1.7", X_API_Key=secret)
        assert stranger.get(path).status_code == 404
        assert client.get(f"/v1/jobs/{job}").json()["state"] == "running"

        gate.open(2)
        wait_for(lambda: client.get(path).headers["etag"] != first.headers["etag"])
        wait_for(lambda: [event["start"] for event in told(service, job)] == [0, TILE])
        more, _ = soundfile.read(io.BytesIO(client.get(path).content), dtype="int16")
        assert np.array_equal(more[:TILE], samples)

        gate.open(3)
        wait_for(lambda: client.get(f"/v1/jobs/{job}").json()["state"] == "done")
        assert client.get(path).status_code == 404
        wait_for(lambda: blobs(service) == 1)  # the song
        assert told(service, job) == []
    song, _ = soundfile.read(io.BytesIO(client.get(f"/v1/jobs/{job}/outputs/1").content))
    assert len(song) == 3 * TILE
    assert np.abs(more / (1 << 15) - song[: 2 * TILE]).max() < 1e-4


def test_a_cancelled_job_leaves_nothing(start: Start) -> None:
    service = start(family="tone")
    with making(service) as gate:
        job = service.client.post("/v1/jobs", json={"task": "tone", "duration": 90}).json()["id"]
        path = f"/v1/jobs/{job}/outputs/1/preview"
        wait_for(lambda: service.client.get(path).status_code == 200)
        assert blobs(service) == 1
        assert service.client.delete(f"/v1/jobs/{job}").status_code == 202
        while not service.doors.queue.get(job).has_ended:
            gate.open(gate.opened + 1)
            time.sleep(0.02)
        assert service.doors.queue.get(job).state == "cancelled"
        wait_for(lambda: blobs(service) == 0)
    assert service.client.get(path).status_code == 404
    assert list(service.doors.files.storage.staging.iterdir()) == []


@dataclass
class Work:
    """A job of a place that is at work, and what listens to it."""

    place: Place
    worker: Worker
    claim: Claim

    def previews(self, tell: Callable[[Any], None] = lambda event: None) -> Previews:
        return Previews(self.worker, self.place.files.pieces, self.claim, tell)

    def frames(self, song: int = 0) -> int:
        return self.place.files.pieces.heard(self.claim.job, song).frames

    def told(self) -> list[Any]:
        events = self.place.queue.story(self.claim.job).events
        return [json.loads(one.event) for one in events]


@pytest.fixture
def work(place: Place, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setattr(previews_module, "KEEP_SECONDS", 0.01)
    place.queue.submit(Asked("{}"))
    worker = Worker(place.database, "one")
    claim = worker.claim()
    assert claim is not None
    return Work(place, worker, claim)


def decoded(song: int, start: int, frames: int, level: float = 0.5) -> AudioReady:
    return AudioReady(song, start, Audio(torch.full((2, frames), level), 48_000))


def test_sound_beyond_full_scale_is_kept_as_full_scale(work: Work) -> None:
    with work.previews() as previews:
        previews(AudioReady(0, 0, Audio(torch.tensor([[2.0, 0.5], [-2.0, 0.0]]), 48_000)))
        wait_for(lambda: work.told())
        pieces = work.place.files.pieces
        data = b"".join(pieces.read(pieces.heard(work.claim.job, 0), 0, 8))
    assert np.frombuffer(data, "<i2").tolist() == [32767, -32767, 16384, 0]


def test_other_events_pass_and_sound_does_not(work: Work) -> None:
    heard: list[object] = []
    with work.previews(heard.append) as previews:
        previews(Progress("decode", 1, 2))
        previews(decoded(0, 0, 10))
        previews(Progress("decode", 2, 2))
        assert heard == [Progress("decode", 1, 2), Progress("decode", 2, 2)]


def test_one_job_keeps_no_more_than_its_share(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews_module, "MOST_BYTES", 100)
    with work.previews() as previews:
        previews(decoded(0, 0, 20))
        wait_for(lambda: len(work.told()) == 1)
        previews(decoded(0, 20, 20))  # 160 bytes together
        wait_for(lambda: not previews.is_listening)
        previews(decoded(0, 40, 1))
        assert work.frames() == 20 and len(work.told()) == 1
    assert list(work.place.files.storage.stored()) == []


def test_a_storage_that_fails_ends_the_listening_and_not_the_work(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: object) -> str:
        raise StorageFailed("it is away")

    monkeypatch.setattr(work.place.files.storage, "take", fail)
    heard: list[object] = []
    with work.previews(heard.append) as previews:
        previews(decoded(0, 0, 10))
        wait_for(lambda: not previews.is_listening)
        previews(decoded(0, 10, 10))
        previews(Progress("decode", 1, 1))
    assert heard == [Progress("decode", 1, 1)] and work.told() == []


def test_a_job_that_was_taken_back_is_left_to_who_has_it_now(work: Work) -> None:
    with work.previews() as previews:
        previews(decoded(0, 0, 10))
        wait_for(lambda: work.told())
        work.worker.give_back(work.claim)
        again = Worker(work.place.database, "two").claim()
        assert again is not None and again.job == work.claim.job
        previews(decoded(0, 10, 10))
        wait_for(lambda: not previews.is_listening)
        other = Work(work.place, Worker(work.place.database, "two"), again)
        with other.previews() as theirs:
            theirs(decoded(0, 0, 7))
            wait_for(lambda: len(work.told()) == 2)
            assert other.frames() == 7
            work.place.files.pieces.remove(work.claim)
            assert other.frames() == 7
    assert list(work.place.files.storage.stored()) == []
