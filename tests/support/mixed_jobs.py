"""Music and speech as jobs of one service on one simulated card, which holds only one of them."""

from __future__ import annotations

import io
import json
import math
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from starlette.testclient import TestClient

from headroom.engine.options import EngineOptions
from headroom.hardware.machine import card
from headroom.jobs.order import OVERTAKING_SECONDS
from headroom.jobs.values import Claim, Job
from headroom.jobs.worker import Worker
from headroom.service.app import create_app
from headroom.service.config import from_settings
from headroom.service.doors import Doors
from headroom.service.maker import Engines, Maker
from headroom.settings import load
from support import speech_checkpoint
from support.web import HERE

MUSIC, SPEECH = "acestep", "stepaudio"
GIBIBYTES = 0.797  # a budget of 48 MiB
WIDE = replace(speech_checkpoint.LANGUAGE, width=128, hidden=128)  # 36 MB: more than fits beside
SONG = {"task": "text2music", "caption": "a tune", "duration": 10, "inference_steps": 1}


@dataclass
class Seen:
    """What was seen of the card after each job.

    order     families of the jobs, in the order in which they were worked on
    resident  most bytes of each family's parts on the card at a time
    peak      most bytes on the card while a job of each family was worked on
    together  most bytes of all on it at a time
    """

    order: list[str] = field(default_factory=list)
    resident: dict[str, int] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    together: int = 0
    budget: int = 0


@dataclass(frozen=True)
class Watched(Maker):
    """A maker that looks at the card after each job."""

    seen: Seen = field(default_factory=Seen)

    def work(self, claim: Claim) -> None:
        family = json.loads(claim.request)["family"]
        for engine in self.engines.opened():
            engine.device.reset_peak()
        super().work(claim)
        self.seen.order.append(family)
        device = self.engines.opened()[-1].device
        peak = device.max_memory_allocated()
        self.seen.peak[family] = max(peak, self.seen.peak.get(family, 0))
        sizes = {
            engine.family: sum(part.device_bytes for part in engine.status())
            for engine in self.engines.opened()
        }
        for engine in self.engines.opened():
            self.seen.budget = engine.machine.budget
        for family, size in sizes.items():
            self.seen.resident[family] = max(size, self.seen.resident.get(family, 0))
        self.seen.together = max(self.seen.together, sum(sizes.values()))


def mixed(
    folder: Path, count: int, gibibytes: float, seed: int = 0, at_once: bool = True
) -> dict[str, Any]:
    """Figures of `count` jobs, half of them music, asked for by two keys in random order: all at
    once, or each when the one before has ended.

    `gibibytes`: what the card has.
    """
    place = folder / "cache" / "checkpoints"
    before, speech_checkpoint.LANGUAGE = speech_checkpoint.LANGUAGE, WIDE
    try:
        speech_checkpoint.write_checkpoint(place)
    finally:
        speech_checkpoint.LANGUAGE = before
    data = folder / "data"
    data.mkdir()
    settings = load({
        "HEADROOM_DATA_DIR": str(data), "HEADROOM_CACHE_DIR": str(folder / "cache"),
        "MAX_CUDA_VRAM": str(gibibytes),
    })  # fmt: skip
    config = replace(from_settings(settings), free_bytes=0, waiting=2 * count)
    app = create_app(config, lambda: card(8))
    seen = Seen()
    began = time.perf_counter()
    with TestClient(app, base_url=HERE, client=("127.0.0.1", 4000)) as client:
        doors: Doors = app.state.doors
        bodies = _bodies(client, doors, count, seed)
        with ExitStack() as work:
            if not at_once:
                work.enter_context(_working(doors, seen))
            asked = dict[str, str]()
            for family, key, body in bodies:
                id = _ask(client, family, key, body)
                asked[id] = family
                if not at_once:
                    _ended(doors, {id: family})
            if at_once:
                work.enter_context(_working(doors, seen))
            jobs = _ended(doors, asked)
        replanned = sum(
            json.loads(event.event)["event"] == "replanned"
            for id in asked for event in doors.queue.story(id).events
        )  # fmt: skip
    made = {f: [job for id, job in jobs.items() if asked[id] == f] for f in (MUSIC, SPEECH)}
    began_at = min(job.started or math.inf for job in jobs.values())
    lasted = [(job.ended or 0) - (job.started or 0) for job in jobs.values()]
    return {
        "jobs": len(jobs),
        "done": {family: sum(job.state == "done" for job in some) for family, some in made.items()},
        "failed": sorted({str(job.error) for job in jobs.values() if job.state != "done"}),
        "out_of_memory": replanned + sum("memory" in str(job.error) for job in jobs.values()),
        "switches": sum(a != b for a, b in zip(seen.order, seen.order[1:], strict=False)),
        "longest_run": _longest_run(seen.order),
        "first_half": {f: seen.order[: count // 2].count(f) for f in (MUSIC, SPEECH)},
        "first_after": {
            f: round(min(job.started or math.inf for job in some) - began_at, 1)
            for f, some in made.items()
        },
        "longest_job": round(max(lasted), 1),
        "resident": seen.resident,
        "peak": seen.peak,
        "together": seen.together,
        "budget": seen.budget,
        "seconds": round(time.perf_counter() - began, 1),
    }


def faults(told: dict[str, Any]) -> list[str]:
    """What is wrong with the figures of `mixed`."""
    most = OVERTAKING_SECONDS + 2 * told["longest_job"]
    wrong = {
        "a job was not done": bool(told["failed"]) or sum(told["done"].values()) < told["jobs"],
        "out of memory": told["out_of_memory"] > 0,
        "more than the budget": max(*told["peak"].values(), told["together"]) > told["budget"],
        "the card holds both": _together(told) <= told["budget"],
        "one family waits": max(told["first_after"].values()) > most,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def _together(told: dict[str, Any]) -> int:
    """The least bytes that working on one family takes while the parts of the other stay."""
    peak, resident = told["peak"], told["resident"]
    return min(int(peak[MUSIC] + resident[SPEECH]), int(peak[SPEECH] + resident[MUSIC]))


def _bodies(
    client: TestClient, doors: Doors, count: int, seed: int
) -> list[tuple[str, str, dict[str, Any]]]:
    """What is asked for: the family, the key, the body."""
    keys = {family: doors.keys.create(family, ("use",), 2 * count)[1] for family in (MUSIC, SPEECH)}
    headers = {"X-API-Key": keys[SPEECH], "Content-Type": "audio/wav"}
    voice = client.post("/v1/files", content=_voice(), headers=headers).json()["id"]
    clone = {"task": "clone", "text": "ab", "prompt_audio": voice, "prompt_text": "a",
             "max_seconds": 1}  # fmt: skip
    order = [MUSIC, SPEECH] * (count // 2)
    random.Random(seed).shuffle(order)
    bodies = {MUSIC: SONG, SPEECH: clone}
    return [(f, keys[f], {**bodies[f], "seed": number}) for number, f in enumerate(order)]


def _ask(client: TestClient, family: str, key: str, body: dict[str, Any]) -> str:
    """Ask for a job: its id."""
    headers = {"X-API-Key": key}
    answer = client.post("/v1/jobs", params={"family": family}, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@contextmanager
def _working(doors: Doors, seen: Seen) -> Iterator[None]:
    settings = doors.config.settings
    engines = Engines(EngineOptions(device="simulated", threads=1, policy="adaptive"), settings)
    worker = Worker(doors.database, "of a test")
    maker = Watched(worker, doors.files, engines, settings, threading.Event(), seen)
    thread = threading.Thread(target=maker.run)
    thread.start()
    try:
        yield
    finally:
        maker.stop.set()
        thread.join()
        engines.close()


def _ended(doors: Doors, asked: dict[str, str]) -> dict[str, Job]:
    """The jobs, when all have ended."""
    while True:
        jobs = {id: doors.queue.get(id) for id in asked}
        if all(job.has_ended for job in jobs.values()):
            return jobs
        time.sleep(0.2)


def _longest_run(order: list[str]) -> int:
    """How many jobs of one family were made one after another, while both had some waiting."""
    longest = run = 0
    left = {family: order.count(family) for family in set(order)}
    for place, family in enumerate(order):
        run = run + 1 if place and order[place - 1] == family else 1
        left[family] -= 1
        if all(left.values()):
            longest = max(longest, run)
    return longest


def _voice() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, 0.3 * np.sin(np.arange(16_000) / 12), 16_000, format="WAV")
    return out.getvalue()
