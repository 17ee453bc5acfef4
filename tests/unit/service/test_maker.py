"""Jobs are made, fail and are stopped; here in the process of the test, with a quick family."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
from sqlalchemy import event

from headroom.audio.tags import read_tags
from headroom.engine import wire
from headroom.engine.engine import Engine
from headroom.errors import (
    InternalFault,
    InvalidRequest,
    InvalidSource,
    RenderFailed,
    StorageFull,
    UnknownId,
)
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.roster import Roster
from headroom.jobs.values import Asked
from headroom.jobs.watch import Watch
from headroom.jobs.worker import Worker
from headroom.models.outputs import SongSheet
from headroom.params.request import Request
from headroom.runtime.events import Started
from headroom.service import maker
from headroom.service.maker import Engines, Maker
from headroom.service.orders import read_order
from headroom.service.work import Work
from support.clock import Clock as StoppedClock
from support.service_place import Place


def made(place: Place, holder: str = "w", clock: Clock = SYSTEM) -> Maker:
    start = place.start(holder)
    engines = Engines(start.options, start.settings)
    worker = Worker(place.database, holder, clock)
    return Maker(worker, place.files, engines, start.settings, Event())


@contextmanager
def at_work(one: Maker) -> Iterator[None]:
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield
    finally:
        one.stop.set()
        thread.join()
        one.engines.close()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def error_of(place: Place, job: str) -> Exception:
    now = place.queue.get(job)
    assert now.state == "failed" and now.error is not None and now.result is None
    return wire.error_from(json.loads(now.error))


def test_a_job_is_made_and_its_songs_are_kept(place: Place) -> None:
    job = place.submit(duration=0.5, seeds=[3, 4])
    with at_work(made(place)):
        wait_for(lambda: place.queue.get(job).has_ended)
    now = place.queue.get(job)
    assert now.state == "done" and now.error is None
    outputs = place.library.of_job(job)
    assert [one.number for one in outputs] == [1, 2]
    assert {one.kind for one in outputs} == {"audio/flac"}
    outcome = wire.result_from(json.loads(now.result or ""))
    songs = outcome.output.songs
    assert [(one.seed, one.file) for one in songs] == [(3, outputs[0].file), (4, outputs[1].file)]
    for one, song in zip(outputs, songs, strict=True):
        samples, rate = soundfile.read(io.BytesIO(b"".join(place.files.read(one.file))))
        assert len(samples) == round(song.seconds * rate) > 20_000
        assert one.seconds == song.seconds
        assert json.loads(one.tags)["provenance"] == song.provenance.model_dump(mode="json")
    events = [wire.event_from(json.loads(one.event)) for one in place.queue.story(job).events]
    assert isinstance(events[0], Started)
    assert "StageDone" in {type(one).__name__ for one in events}


def test_a_file_is_named_by_its_id_and_no_path_is_shown(place: Place, tmp_path: Path) -> None:
    pitches = tmp_path / "pitches.txt"
    pitches.write_text("220\n330\n")
    file = place.files.add(pitches, "", "pitches.txt", "text/plain")
    good = place.submit(duration=0.2, melody=file.id)
    pitches.write_text("no pitch")
    other = place.files.add(pitches, "", "bad.txt", "text/plain")
    bad = place.submit(duration=0.2, melody=other.id)
    with at_work(made(place)):
        wait_for(lambda: place.queue.get(bad).has_ended)
    now = place.queue.get(good)
    (output,) = place.library.of_job(good)
    assert output.parent == file.id
    assert now.result is not None and file.id in now.result and file.id in output.tags
    with place.files.local(output.file) as path:
        tags = json.dumps(read_tags(path))
    failed = error_of(place, bad)
    assert isinstance(failed, InvalidRequest | InvalidSource) and other.id in str(failed)
    story = json.dumps([one.event for one in place.queue.story(good).events])
    for text in (now.result, output.tags, tags, str(place.queue.get(bad).error), story):
        assert str(tmp_path) not in text


@pytest.mark.parametrize("given", ["nothing", "/etc/hostname", "../jobs.db"])
def test_a_path_is_no_file_of_the_service(place: Place, given: str) -> None:
    job = place.submit(melody=given)
    one = made(place)
    with at_work(one):
        wait_for(lambda: place.queue.get(job).has_ended)
    assert isinstance(error_of(place, job), UnknownId)


def test_a_file_of_another_key_is_not_there(place: Place, tmp_path: Path) -> None:
    file = place.files.add(Path(__file__), "bob", "a.txt", "text/plain")
    job = place.submit(melody=file.id)
    with at_work(made(place)):
        wait_for(lambda: place.queue.get(job).has_ended)
    assert isinstance(error_of(place, job), UnknownId)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[]", "request"),
        ("{}", "request"),
        ('{"family": "nobody", "request": {}}', "family"),
        ('{"family": "tone", "request": {"pitch": 7}}', "pitch"),
        ('{"family": "tone", "model": "../x", "request": {}}', "model"),
        ('{"family": "tone", "path": "x", "request": {}}', "path"),
    ],
)
def test_a_request_that_cannot_be_read_fails_with_its_reason(
    place: Place, text: str, field: str
) -> None:
    bad = place.queue.submit(Asked(text)).id
    good = place.submit(duration=0.1)
    with at_work(made(place)):
        wait_for(lambda: place.queue.get(good).has_ended)
    failed = error_of(place, bad)
    assert isinstance(failed, InvalidRequest) and failed.field == field
    assert place.queue.get(good).state == "done"


def test_a_fault_of_the_program_fails_one_job_and_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine.perform
    faults = [ZeroDivisionError("secret")]

    def perform(self: Engine, *args: object) -> object:
        if faults:
            raise faults.pop()
        return real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "perform", perform)
    bad, good = place.submit(duration=0.1), place.submit(duration=0.1)
    with at_work(made(place)):
        wait_for(lambda: place.queue.get(good).has_ended)
    failed = error_of(place, bad)
    assert isinstance(failed, InternalFault) and failed.kind == "ZeroDivisionError"
    assert "secret" not in str(place.queue.get(bad).error)
    assert place.queue.get(good).state == "done"


class Slow:
    """`Engine.perform` in small steps for as long as nobody stops it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.stopped = Event(), Event()
        monkeypatch.setattr(Engine, "perform", lambda engine, *args: self(engine, *args))
        self._real = Engine.generate

    def __call__(self, engine: Engine, request: object, tell: object, cancel: object) -> object:
        def hear(event: object) -> None:
            self.began.set()
            while not cancel():  # type: ignore[operator]
                time.sleep(0.01)
            self.stopped.set()

        return self._real(engine, request, hear, cancel)  # type: ignore[arg-type]


def test_a_running_job_is_cancelled(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "BEAT_SECONDS", 0.05)
    slow, job = Slow(monkeypatch), place.submit(duration=0.5)
    with at_work(made(place)):
        assert slow.began.wait(60)
        place.queue.cancel(job)
        wait_for(lambda: place.queue.get(job).has_ended)
    assert place.queue.get(job).state == "cancelled"
    assert place.library.of_job(job) == ()


def test_a_job_is_stopped_at_its_deadline(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "BEAT_SECONDS", 0.05)
    slow = Slow(monkeypatch)
    text = json.dumps({"family": "tone", "request": {}})
    job = place.queue.submit(Asked(text, within=3600)).id
    late = 0.0
    with at_work(made(place, clock=Clock(lambda: time.time() + late))):
        assert slow.began.wait(60)
        late = 3600.0
        wait_for(lambda: place.queue.get(job).has_ended)
    assert place.queue.get(job).state == "expired"


def test_a_process_that_ends_gives_its_job_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, job = Slow(monkeypatch), place.submit(duration=0.5)
    with at_work(made(place)):
        assert slow.began.wait(60)
    now = place.queue.get(job)
    assert (now.state, now.attempt, now.deaths) == ("queued", 1, 0)


def test_a_job_that_was_taken_away_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "BEAT_SECONDS", 0.05)
    slow, job = Slow(monkeypatch), place.submit(duration=0.5)
    with at_work(made(place)):
        assert slow.began.wait(60)
        monkeypatch.setattr(Worker, "claim", lambda *given: None)  # it does not claim it again
        Watch(place.database).take_back("w")
        assert slow.stopped.wait(60)
    now = place.queue.get(job)
    assert (now.state, now.deaths) == ("queued", 1)


def test_a_full_disk_at_the_end_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "_PAUSES", (0.01,) * 8)
    real, faults = Worker.finish, [StorageFull(0, 0)] * 3

    def finish(*args: object) -> None:
        if faults:
            raise faults.pop()
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Worker, "finish", finish)
    job = place.submit(duration=0.1)
    with at_work(made(place)):
        wait_for(lambda: place.queue.get(job).has_ended)
    assert place.queue.get(job).state == "done" and len(place.library.of_job(job)) == 1


def test_engines_are_kept_and_the_one_used_longest_ago_is_closed(place: Place) -> None:
    start = place.start()
    engines = Engines(start.options, start.settings)
    tone = Work(family="tone", request={})
    first = engines.of(tone)
    assert engines.of(tone) is first
    other = engines.of(Work(request={}))
    assert other is not first and engines.of(tone) is first
    third = engines.of(Work(model="acestep-v15-nano", request={}))
    assert engines.of(tone) is first and third is not other
    engines.close()


def test_a_process_that_comes_later_uses_the_model_that_was_loaded(place: Place) -> None:
    roster = Roster(place.database)
    roster.choose("acestep", "acestep-v15-nano")
    later = made(place)
    assert later.engines.status()["chosen"] is None
    with at_work(later):
        wait_for(lambda: roster.members())
        status = later.engines.status()
    assert (status["chosen"], status["model"]) == ("acestep-v15-nano", "acestep-v15-nano")
    assert roster.chosen("acestep") == "acestep-v15-nano"  # no process works any more


def sheet_maker(monkeypatch: pytest.MonkeyPatch, sheet: object) -> list[Request]:
    """Engines that answer any request for a song sheet with `sheet` and fail at songs; what they
    were asked for."""
    asked: list[Request] = []

    class Pretended:
        def perform(self, request: Request, *_: object) -> object:
            asked.append(request)
            if request.makes == "songs":
                raise RenderFailed("no sound")
            return SimpleNamespace(output=sheet, notes=())

    monkeypatch.setattr(Engines, "of", lambda engines, work: Pretended())
    return asked


def test_a_song_sheet_is_written_first_and_fills_what_the_request_leaves_open(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = SongSheet("a waltz", "la", 90, "C major", "3", "bn", 40, "waltz", False)
    asked = sheet_maker(monkeypatch, sheet)
    work, _ = read_order(
        {"task": "text2music", "duration": 20, "seeds": [5]}, "acestep", None,
        {"task": "create_sample", "query": "a soft waltz"},
    )  # fmt: skip
    job = place.queue.submit(Asked(work.model_dump_json())).id
    with at_work(made(place)):
        wait_for(lambda: place.queue.get(job).has_ended)
    assert isinstance(error_of(place, job), RenderFailed)
    assert [(one.makes, one.caption) for one in asked] == [
        ("song_sheet", "a soft waltz"), ("songs", "a waltz"),
    ]  # fmt: skip
    song: Any = asked[1]
    assert (song.lyrics, song.bpm, song.keyscale, song.timesignature) == ("la", 90, "C major", "3")
    assert (song.vocal_language, song.duration, song.seeds) == ("bn", 20, (5,))


def test_only_a_song_sheet_may_come_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="first"):
        read_order({"caption": "x"}, "acestep", None, {"task": "text2music", "caption": "y"})
    sheet_maker(monkeypatch, object())
    first = {"task": "create_sample", "caption": "x"}
    work = Work(request={"task": "text2music"}, first=first)
    job = place.queue.submit(Asked(work.model_dump_json())).id
    with at_work(made(place)):
        wait_for(lambda: place.queue.get(job).has_ended)
    assert isinstance(error_of(place, job), InvalidRequest)


def test_an_engine_that_is_open_is_known_by_the_request(place: Place) -> None:
    one = made(place)
    text = place.queue.get(place.submit(duration=0.2)).request
    assert not one.engines.has(text)
    one.engines.of(Work.of(text))
    assert one.engines.has(text)
    assert not one.engines.has(json.dumps({"family": "tone", "model": "other", "request": {}}))
    assert one.engines.has("{}")  # needs none to fail
    one.engines.close()


def test_a_job_goes_to_the_worker_that_has_its_model_open(place: Place) -> None:
    one, other = made(place), made(place, "x")
    other.engines.of(Work(family="tone", request={}))
    first, second = place.submit("acestep", caption="x"), place.submit(duration=0.2)
    claim = other.worker.claim(other.engines.has)
    assert claim is not None and claim.job == second
    claim = one.worker.claim(one.engines.has)
    assert claim is not None and claim.job == first
    other.engines.close()


def test_how_often_a_song_is_written_to_the_database(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted, claimed, its file recorded, ended; each batch of events; heartbeats."""
    monkeypatch.setattr("headroom.service.teller.time", StoppedClock())  # progress at ends alone
    monkeypatch.setattr("headroom.service.maker.BEAT_SECONDS", 3600.0)
    monkeypatch.setattr("headroom.service.previews.KEEP_SECONDS", 3600.0)
    one, wrote = made(place), Counter[str]()

    def executed(connection: object, cursor: object, statement: str, *_: object) -> None:
        wrote[" ".join(statement.split()[:3])] += 1

    event.listen(place.database.engine, "before_cursor_execute", executed)
    job = place.submit(duration=0.5)
    claim = one.worker.claim()
    assert claim is not None
    one.work(claim)
    one.engines.close()
    batches = wrote["INSERT INTO events"]
    assert batches == 1 + 2 * 3 + 1  # started; of two stages the start, progress and the end; steps
    assert wrote["BEGIN IMMEDIATE"] == 4 + batches
    assert place.queue.get(job).state == "done"
