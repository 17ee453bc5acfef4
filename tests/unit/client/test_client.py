"""An engine elsewhere: the verbs, the events, and what becomes of a job when something breaks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from headroom import Client, Engine
from headroom.audio.wave import Audio
from headroom.client import client as client_module
from headroom.client.link import Away
from headroom.engine.provenance import read
from headroom.engine.wire import error_from, error_json, event_json
from headroom.engine.wire.events import AudioStored
from headroom.errors import (
    Cancelled,
    DoesNotFit,
    InvalidRequest,
    InvalidSource,
    QueueFull,
    RenderFailed,
    ServiceFailed,
    UnknownId,
)
from headroom.jobs.values import Claim, Told
from headroom.models.acestep.requests.songs import Cover, Text2Music
from headroom.runtime.events import (
    AudioReady,
    Event,
    Progress,
    Queued,
    StageDone,
    Started,
    Tell,
    WithAudio,
)
from headroom.service import previews as previews_module
from headroom.service.previews import Previews
from headroom.settings import load
from support.live import Live, live, wait_for
from support.web import wav
from tone_model.requests import Tone

Connect = Callable[..., Client]
LONG = Tone(duration=60, steps=100, overtones=16)


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service whose engine process works."""
    with live(tmp_path_factory.mktemp("live")) as one, one.working():
        yield one


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Live]:
    """A service whose engine process the test plays."""
    with live(tmp_path) as one:
        yield one


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Opens a client of a service, which is closed at the end."""
    with ExitStack() as held:

        def connected(to: Live, key: str | None = None, **more: Any) -> Client:
            known = load({})
            return held.enter_context(
                Client(to.url, key, settings=known, **{"family": "tone", **more})
            )

        yield connected


@pytest.fixture
def client(working: Live, connect: Connect) -> Client:
    return connect(working)


def test_the_result_is_that_of_an_engine(client: Client, tmp_path: Path) -> None:
    heard: list[Event] = []
    request = Tone(duration=0.5, seeds=(3, 4), steps=500)
    far = client.generate(request, heard.append)
    with Engine("cpu", threads=1, family="tone", settings=load({})) as engine:
        near = engine.generate(request)
    assert type(far) is type(near)
    assert (far.request, far.seeds, far.notes) == (near.request, near.seeds, near.notes)
    assert far.request.model_fields_set == near.request.model_fields_set
    assert far.plan.stages == near.plan.stages and far.plan.placements == near.plan.placements
    assert [one.stage for one in far.report.stages] == [one.stage for one in near.report.stages]
    assert [one.seconds for one in far.audios] == [one.seconds for one in near.audios]
    for one, other in zip(far.audios, near.audios, strict=True):
        assert one.rate == other.rate
        assert torch.allclose(one.samples, other.samples, atol=2**-23)  # as FLAC keeps it
    kinds = {type(event) for event in heard}
    assert {Started, StageDone} <= kinds  # progress is forgotten when a job has ended
    ours, theirs = far.save(tmp_path / "far.flac"), near.save(tmp_path / "near.flac")
    assert [one.name for one in ours] == ["far.flac", "far-2.flac"]
    for one, other in zip(ours, theirs, strict=True):
        samples = (soundfile.read(one)[0], soundfile.read(other)[0])
        assert (samples[0] == samples[1]).all()
        sidecar = json.loads(one.with_suffix(".json").read_text("utf-8"))
        assert sidecar["provenance"] == read(one).model_dump(mode="json")
    again = far.save(tmp_path / "far.flac", force=True)  # its own sidecar is known as such
    assert again[0] == ours[0]


def test_the_same_songs_are_not_made_twice_for_who_reuses(working: Live, connect: Connect) -> None:
    client, request = connect(working, reuse=True), Tone(duration=0.5, seed=77)
    first = client.submit(request)
    made = client.wait(first)
    again = client.submit(request)
    assert client.job(again)["reused"] == first
    assert client.wait(again).request == made.request
    other = connect(working).submit(request)
    assert client.job(other)["reused"] is None


def test_plan_and_limits_are_those_of_the_card_there(
    client: Client, connect: Connect, working: Live
) -> None:
    request = Tone(duration=0.5)
    with Engine("cpu", threads=1, family="tone", settings=load({})) as engine:
        near = engine.plan(request)
    far = client.plan(request)
    assert [one.stage for one in far.stages] == [one.stage for one in near.stages]
    assert far.budget > 7 << 30  # of the card of 8 GiB there
    assert client.limits(request)["duration"].maximum == 600
    assert client.limits()["steps"].maximum == 100
    assert client.models()["family"] == "tone"
    acestep = connect(working, family="acestep")
    with pytest.raises(DoesNotFit) as caught:
        plan = acestep.forecast(Text2Music(caption="a song"), vram=0.2)
        assert plan["fits"] is False
        raise error_from(plan["refusal"])
    assert caught.value.least > caught.value.budget


def test_what_is_refused_there_is_raised_here(
    client: Client, connect: Connect, working: Live
) -> None:
    with pytest.raises(InvalidRequest, match="overtones"):
        client.perform(Tone.model_construct(overtones=-3))
    with pytest.raises(UnknownId):
        client.wait("a" * 20)
    with pytest.raises(InvalidRequest, match="model"):
        connect(working, model="../x").submit(Tone())
    with pytest.raises(InvalidSource) as caught:
        connect(working, family="acestep").submit(
            Cover(source_audio=Path("nowhere.wav"), caption="x")
        )
    assert caught.value.field == "source_audio"


def test_cancel_reaches_the_work(client: Client) -> None:
    begun = threading.Event()

    def hear(event: Event) -> None:
        if isinstance(event, Started):
            begun.set()

    with pytest.raises(Cancelled):
        client.perform(LONG, hear, begun.is_set)
    assert begun.is_set()


def test_a_listener_that_fails_ends_the_job(idle: Live, connect: Connect) -> None:
    client = connect(idle)
    worker = idle.worker()

    def fail(event: Event) -> None:
        raise ZeroDivisionError

    def work() -> None:
        wait_for(lambda: (claimed.append(worker.claim()) or claimed[-1]) is not None)
        worker.tell(claimed[-1], [Told(json.dumps(event_json(Progress("a", 1, 2))))])

    claimed: list[Claim | None] = []
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with pytest.raises(ZeroDivisionError):
        client.perform(Tone(), fail)
    thread.join()
    assert worker.beat(claimed[-1]) == "cancel"


def test_a_restart_of_the_service_is_survived_and_no_event_comes_twice(
    idle: Live, connect: Connect
) -> None:
    client = connect(idle)
    heard: list[Event] = []
    job = client.submit(Tone())
    worker = idle.worker()
    claim = worker.claim()
    assert claim is not None

    def tell(done: int) -> None:
        event = event_json(Progress("a", done, 9))
        idle.worker().tell(claim, [Told(json.dumps(event))])

    def hear(event: Event) -> None:
        heard.append(event)
        arrived.set()

    arrived = threading.Event()
    failed: list[Exception] = []

    def follow() -> None:
        try:
            client.wait(job, hear)
        except RenderFailed as error:
            failed.append(error)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    tell(1)
    assert arrived.wait(20)
    idle.stop()
    idle.start()
    tell(2)
    wait_for(lambda: len(heard) >= 2)
    tell(3)
    idle.worker().fail(claim, json.dumps(error_json(RenderFailed("no sound"))))
    thread.join(30)
    assert [str(one) for one in failed] == ["no sound"]
    assert [event.done for event in heard if isinstance(event, Progress)] == [1, 2, 3]


def test_a_listener_for_sound_hears_songs_while_they_are_decoded(
    idle: Live, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews_module, "KEEP_SECONDS", 0.01)
    client, worker = connect(idle), idle.worker()
    job = client.submit(Tone())
    claim = worker.claim()
    assert claim is not None and idle.doors is not None
    sound = torch.linspace(-1, 1, 1000).repeat(2, 1)
    decoded: list[AudioReady] = []
    others: list[Event] = []

    def hear(event: Event) -> None:
        if isinstance(event, AudioReady):
            decoded.append(event)
        else:
            others.append(event)

    def follow(listen: Tell) -> None:
        with suppress(RenderFailed):
            client.wait(job, listen)

    listeners = (WithAudio(hear), others.append)  # the other one hears no sound
    threads = [threading.Thread(target=follow, args=(one,), daemon=True) for one in listeners]
    with Previews(worker, idle.doors.files.pieces, claim, lambda event: None) as previews:
        for thread in threads:
            thread.start()
        for song, start, stop in ((0, 0, 300), (0, 300, 1000), (1, 0, 400), (0, 0, 600)):
            before = len(decoded)
            previews(AudioReady(song, start, Audio(sound[:, start:stop].clone(), 48_000)))
            wait_for(lambda: len(decoded) > before)  # noqa: B023
            told = decoded[-1]
            assert (told.song, told.start, told.audio.rate) == (song, start, 48_000)
            assert torch.allclose(told.audio.samples, sound[:, start:stop], atol=2**-14)
        idle.worker().fail(claim, json.dumps(error_json(RenderFailed("no sound"))))
    for thread in threads:
        thread.join(30)
    assert len(decoded) == 4 and others == []
    late = client_module.EarlySound(client._link, job)
    assert late.fetched(AudioStored(0, 0, 2, 600, 48_000)) is None


def test_a_job_is_asked_for_once_although_the_connection_broke(
    idle: Live, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    client = connect(idle)
    client.models()
    ask, broke = client._link._asked, []

    def breaks(method: str, path: str, *more: object, **body: object) -> object:
        answer = ask(method, path, *more, **body)  # type: ignore[arg-type]
        if path == "/v1/jobs" and not broke:
            broke.append(answer)
            raise Away("broke off")
        return answer

    monkeypatch.setattr(client._link, "_asked", breaks)
    job = client.submit(Tone())
    assert broke and broke[0]["id"] == job  # type: ignore[index]
    assert idle.doors is not None and idle.doors.queue.stats().counts == {"queued": 1}


def test_who_waits_hears_the_position(
    idle: Live, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setattr(client_module, "_LOOK", 0.01)
    client = connect(idle)
    first = client.submit(Tone())
    heard: list[Event] = []
    with pytest.raises(Cancelled):
        client.perform(Tone(), heard.append, lambda: len(heard) == 2 or _over(idle, first, heard))
    assert heard == [Queued(2), Queued(1)]


def _over(idle: Live, first: str, heard: list[Event]) -> bool:
    if len(heard) == 1:
        assert idle.doors is not None
        idle.doors.queue.cancel(first)
    return False


def test_files_are_sent_and_named_as_here(idle: Live, tmp_path: Path, connect: Connect) -> None:
    song = tmp_path / "my song.wav"
    song.write_bytes(wav())
    client = connect(idle, family="acestep")
    job = client.submit(Cover(source_audio=song, caption="softer"))
    assert idle.doors is not None
    asked = json.loads(idle.doors.queue.get(job).request)["request"]
    file = idle.doors.files.get(asked["source_audio"])
    assert file.name == "my song.wav" and file.size == len(wav())
    thread_error: list[Exception] = []

    def perform() -> None:
        try:
            client.perform(Cover(source_audio=song, caption="louder"))
        except InvalidSource as error:
            thread_error.append(error)

    worker = idle.worker()
    assert worker.claim() is not None  # the first one
    thread = threading.Thread(target=perform, daemon=True)
    thread.start()
    claims: list[Claim | None] = []
    wait_for(lambda: (claims.append(worker.claim()) or claims[-1]) is not None)
    id = json.loads(claims[-1].request)["request"]["source_audio"]
    error = InvalidSource("source_audio", id, "is noise", "music")
    worker.fail(claims[-1], json.dumps(error_json(error)))
    thread.join(30)
    (caught,) = thread_error
    assert isinstance(caught, InvalidSource) and caught.path == str(song)
    assert str(song) in str(caught) and id not in str(caught)


def test_more_requests_than_may_wait(tmp_path: Path, connect: Connect) -> None:
    with live(tmp_path, waiting=2) as one, one.working():
        client = connect(one)
        made = client.generate_batch([Tone(duration=0.1, seed=n) for n in range(6)])
        assert [result.seeds for result in made] == [(n,) for n in range(6)]


def test_a_full_queue_is_told(tmp_path: Path, connect: Connect) -> None:
    with live(tmp_path, waiting=1) as one:
        client = connect(one)
        client.submit(Tone())
        with pytest.raises(QueueFull):
            client.submit(Tone())


@pytest.mark.parametrize("key", [None, "wrong" * 8])
def test_a_wrong_key(tmp_path: Path, key: str | None, connect: Connect) -> None:
    secret = "k" * 32
    with live(tmp_path, key=secret) as one:
        assert connect(one, secret).models()["family"] == "tone"
        with pytest.raises(ServiceFailed, match="wants a key" if key is None else "not know"):
            connect(one, key).models()


def test_a_service_that_is_away_and_one_that_is_none(
    idle: Live, tmp_path: Path, connect: Connect
) -> None:
    idle.stop()
    with pytest.raises(ServiceFailed, match=r"cannot be reached .*`acestep serve`"):
        connect(idle).perform(Tone())
    idle.start()
    client = connect(idle)
    with pytest.raises(ServiceFailed, match="has no /v2/models: it is older"):
        client._link.ask("GET", "/v2/models")


@pytest.mark.parametrize("url", ["cellar:8001", "ftp://cellar", "http://", "http://a:b@cellar", 7])
def test_a_url_that_is_none(url: object) -> None:
    with pytest.raises(InvalidRequest, match="url"):
        Client(url)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="URL"):
        Client(settings=load({}))


def test_a_client_imports_no_torch(working: Live) -> None:
    code = (
        "import sys\n"
        "from headroom import Client\n"
        "from tone_model.requests import Tone\n"
        f"client = Client({working.url!r}, family='tone')\n"
        "done = client.generate(Tone(duration=0.2, seed=3))\n"
        "done.save(sys.argv[1])\n"
        "client.plan(Tone())\n"
        "sys.exit('torch' in sys.modules)"
    )
    file = working.config.staging / "song.flac"
    run = subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    assert run.returncode == 0 and soundfile.info(file).duration == pytest.approx(0.2, abs=0.01)


def test_the_place_is_a_setting() -> None:
    settings = load({"HEADROOM_REMOTE": "http://cellar:8001/", "HEADROOM_REMOTE_KEY": "s3cret"})
    client = Client(settings=settings)
    assert client._link.url == "http://cellar:8001"
    assert client._link.http.headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(settings) + "".join(str(asdict(row)) for row in settings.rows())
    with pytest.raises(InvalidRequest, match="HEADROOM_REMOTE"):
        load({"HEADROOM_REMOTE": "cellar"})
