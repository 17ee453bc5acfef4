"""The service on a cluster: what it refuses, how it scales, when a replica is to be replaced.

Here mostly without Ray; `tests/e2e/test_cluster.py` has the whole.
"""

from __future__ import annotations

import asyncio
import importlib.machinery
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from headroom.cli.main import main
from headroom.engine.options import EngineOptions
from headroom.errors import DatabaseFailed, InvalidRequest
from headroom.hardware.machine import Machine, card
from headroom.jobs.database import Database
from headroom.jobs.values import Asked, Load
from headroom.jobs.watch import Watch
from headroom.service import upkeep
from headroom.service.cluster import run
from headroom.service.cluster.replicas import EngineReplica, WebReplica
from headroom.service.cluster.run import of_cluster
from headroom.service.cluster.scaling import engines_wanted
from headroom.service.config import ServiceConfig, from_settings
from headroom.service.first_key import first_key
from headroom.service.maker import Engines
from headroom.service.upkeep import Upkeep
from headroom.settings import load
from headroom.storage.folder import Folder
from support.needed import require_packages
from support.service_place import Place
from support.web import Start

SHARED = {"database": "postgresql://db/songs", "storage": "s3://songs"}


@pytest.fixture
def with_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray seems to be installed."""
    found = importlib.machinery.ModuleSpec("ray", None)
    monkeypatch.setattr(run, "find_spec", lambda name: found)


@pytest.mark.usefixtures("with_ray")
def test_what_one_machine_alone_can_reach_is_no_place_for_several(config: ServiceConfig) -> None:
    assert of_cluster(replace(config, **SHARED)).database == SHARED["database"]
    with pytest.raises(InvalidRequest, match=r"DATABASE.*jobs\.db.*postgresql://"):
        of_cluster(replace(config, database="jobs.db"))
    with pytest.raises(InvalidRequest, match=r"DATABASE.*sqlite:///x.*postgresql://"):
        of_cluster(replace(config, database="sqlite:///x"))
    with pytest.raises(InvalidRequest, match=r"STORAGE.*files.*s3://"):
        of_cluster(replace(config, database=SHARED["database"], storage="files"))


@pytest.mark.usefixtures("with_ray")
def test_ray_chooses_the_card(config: ServiceConfig) -> None:
    settings = config.settings.model_copy(update={"device": "cuda:1"})
    with pytest.raises(InvalidRequest, match=r"device.*cuda:1.*kind of card"):
        of_cluster(replace(config, **SHARED, settings=settings))


def test_without_ray_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    assert main(["serve", "--cluster", "auto"]) == 2
    assert "pip install 'headroom-audio[cluster]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "right"),
    [("4", "4-4"), ("1-8", "1-8"), ("0", ""), ("3-2", ""), ("-2", ""), ("2-", ""), ("a", "")],
)
def test_how_many_engines_is_a_number_or_two(words: str, right: str) -> None:
    given = {"HEADROOM_SERVICE_ENGINES": words}
    if right:
        assert load(given).service_engines == right
    else:
        with pytest.raises(InvalidRequest, match="1-8"):
            load(given)


@pytest.mark.usefixtures("with_ray")
def test_on_a_cluster_everybody_needs_a_key(
    start: Start, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind proxies nobody can tell who is on this machine."""
    assert config.is_local
    changed = of_cluster(replace(config, **SHARED))
    assert not changed.trusts_here
    service = start(trusts_here=False)
    assert service.client.get("/v1/jobs").status_code == 401
    secret = first_key(replace(config, trusts_here=False))
    assert secret is not None
    assert service.client.get("/v1/jobs", headers={"X-API-Key": secret}).status_code == 200


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("AUTO", "auto"),
        ("Head.lan:6379", "head.lan:6379"),
        ("head", ""),
        (":6379", ""),
        ("a:b", ""),
    ],
)
def test_a_cluster_is_an_address_with_a_port(word: str, right: str) -> None:
    given = {"HEADROOM_SERVICE_CLUSTER": word}
    if right:
        assert load(given).service_cluster == right
    else:
        with pytest.raises(InvalidRequest, match=r"10\.0\.0\.1:6379"):
            load(given)


@pytest.mark.cluster
def test_an_address_at_which_nobody_listens_is_a_sentence() -> None:
    require_packages("ray")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(InvalidRequest, match=r"cluster.*127\.0\.0\.1.*answers"):
            run._join(address)


def wanted(*told: tuple[float, float], now: int = 1) -> int:
    """What the policy answers when replicas have told of (waiting, running) jobs."""
    metrics = {
        "waiting": {n: waiting for n, (waiting, _) in enumerate(told)},
        "running": {n: running for n, (_, running) in enumerate(told)},
    }
    context = SimpleNamespace(aggregated_metrics=metrics, target_num_replicas=now)
    return engines_wanted(context)[0]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([(0, 0)], 0),
        ([(0, 3)], 3),  # none that is at work is ended
        ([(1, 3)], 4),
        ([(10, 3)], 8),
        ([(9.5, 2.5), (10, 3)], 8),  # means over a while, of each replica
    ],
)
def test_as_many_engines_as_the_jobs_that_wait_need(
    told: list[tuple[float, float]], expected: int
) -> None:
    assert wanted(*told) == expected


def test_while_nobody_has_told_of_the_queue_nothing_changes() -> None:
    assert wanted(now=5) == 5


def test_the_load_counts_what_has_not_ended(place: Place) -> None:
    assert place.queue.load() == Load(0, 0)
    for _ in range(3):
        place.queue.submit(Asked("{}"))
    place.queue.cancel(place.submit())
    assert place.queue.load() == Load(3, 0)


@pytest.fixture
def engine_replica(place: Place) -> Iterator[EngineReplica]:
    replica = EngineReplica(config_at(place), EngineOptions(device="cpu", threads=1))
    yield replica
    replica.__del__()


def config_at(place: Place) -> ServiceConfig:
    made = from_settings(load({"HEADROOM_DATA_DIR": str(place.folder)}))
    return replace(made, storage=place.folder / "files", free_bytes=0)


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")


def test_a_replica_makes_jobs_and_tells_of_the_queue(
    place: Place, engine_replica: EngineReplica
) -> None:
    engine_replica.check_health()
    job = place.submit(duration=0.2)
    wait_for(lambda: place.queue.get(job).has_ended)
    assert place.queue.get(job).state == "done"
    told = asyncio.run(engine_replica.record_autoscaling_stats())
    assert told == {"waiting": 0, "running": 0}
    engine_replica.check_health()


def test_a_replica_whose_loop_has_ended_is_ill(engine_replica: EngineReplica) -> None:
    engine_replica.__del__()
    with pytest.raises(RuntimeError, match="has ended"):
        engine_replica.check_health()
    engine_replica.__del__()  # Python calls it once more


def test_a_replica_whose_device_is_lost_is_ill_and_ends_after_the_job(
    place: Place, engine_replica: EngineReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.submit(duration=0.2)
    wait_for(lambda: place.queue.get(first).has_ended)
    (engine,) = engine_replica._engines._open.values()

    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(type(engine.device), "free_memory", lost)
    with pytest.raises(RuntimeError, match="does not answer"):
        engine_replica.check_health()
    monkeypatch.setattr(engine, "perform", lost)
    second, third = place.submit(duration=0.2), place.submit(duration=0.2)
    wait_for(lambda: not engine_replica._thread.is_alive())
    assert place.queue.get(second).state == "failed"
    assert place.queue.get(third).state == "queued"  # is not burnt on the broken card


def test_engines_that_are_not_open_have_no_device_to_lose(place: Place) -> None:
    start = place.start()
    assert Engines(start.options, start.settings).have_a_device


class Handle:
    """Serve's handle of the engines; they answer the second time."""

    def __init__(self) -> None:
        self.asked = 0
        self.machine = SimpleNamespace(remote=lambda: self)

    def result(self, timeout_s: float) -> Machine:
        self.asked += 1
        if self.asked == 1:
            raise TimeoutError
        return card(8)


def test_a_web_replica_looks_after_the_jobs_and_asks_an_engine_for_its_machine(
    place: Place,
) -> None:
    replica, handle = None, Handle()
    replica = WebReplica(config_at(place), handle)
    replica.check_health()
    app = replica.__serve_build_asgi_app__()
    assert "/v1/jobs" in app.openapi()["paths"]
    assert replica._machine() is None
    assert replica._machine() == replica._machine() == card(8)
    assert handle.asked == 2
    replica.__del__()
    with pytest.raises(RuntimeError, match="has ended"):
        replica.check_health()


def test_upkeep_goes_on_when_the_database_fails_for_a_while(
    config: ServiceConfig, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Database] = []

    def look(self: Watch) -> list[str]:
        looks.append(self._database)
        raise DatabaseFailed("away")

    monkeypatch.setattr(upkeep, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(Watch, "look", look)
    one = Upkeep(config, place.database, Folder(place.folder / "files"))
    one.start()
    wait_for(lambda: len(looks) > 2)
    assert one.is_alive
    one.close()
    assert not one.is_alive


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own modules
def test_the_application_is_made_for_the_room_there_is(
    config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_packages("ray")
    from ray import serve

    given: dict[str, dict[str, Any]] = {}

    class Made:
        def __init__(self, of: object) -> None:
            pass

        def options(self, name: str, **options: Any) -> Made:
            given[name] = options
            return self

        def bind(self, *values: object) -> Made:
            return self

    monkeypatch.setattr(serve, "deployment", Made)

    def engines(device: str, engines: str | None, machines: int, cards: int) -> dict[str, Any]:
        update = {"device": device, "service_engines": engines}
        changed = replace(config, settings=config.settings.model_copy(update=update))
        run.deployed(changed, EngineOptions(), run.Room(machines, cards))
        return given["engines"]

    one = engines("auto", None, 3, 16)
    assert (one["num_replicas"], one["ray_actor_options"]["num_gpus"]) == (16, 1)
    assert "max_replicas_per_node" not in one and given["web"]["num_replicas"] == 3
    one = engines("auto", None, 9, 0)
    assert (one["num_replicas"], one["ray_actor_options"]["num_gpus"]) == (9, 0)
    assert one["max_replicas_per_node"] == 1 and given["web"]["num_replicas"] == 4
    one = engines("cuda", "1-100", 1, 0)  # machines come when they are needed
    assert one["ray_actor_options"]["num_gpus"] == 1 and "num_replicas" not in one
    scaling = one["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (1, 100)
    assert scaling["policy"] == {"policy_function": engines_wanted}
    assert engines("simulated", "2-2", 2, 8)["ray_actor_options"]["num_gpus"] == 0
