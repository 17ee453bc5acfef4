"""A process that makes requests on a card which others use too: `python -m support.shared_work`.

The first argument is a `Task` as JSON; standard output has a line of JSON for each request, and one
at the end. The card is the simulated one of a name, with tensors that have shapes only: gigabytes
of weights and of workspace cost nothing but the account of them.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from headroom.audio.wave import Audio
from headroom.device.shared import SharedDevice
from headroom.engine.engine import Engine
from headroom.errors import HeadroomError
from headroom.memory.footprint import Component, Footprint, Stage, Way
from headroom.models.base import Loader
from headroom.runtime.card import Card
from headroom.runtime.events import Event, Queued, Replanned, Started
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step
from headroom.settings import load
from headroom.units import GIB, MIB
from tone_model.model import ToneModel, ToneSong
from tone_model.requests import Tone

NAME = "lab"
FOREVER = 3600.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a process does.

    parts    MiB of each of its parts; workspace: most MiB of the work of a request
    work     longest seconds of a stage; pause: longest between two requests
    hold     the first request never ends
    """

    folder: str
    total: int = 4 * GIB
    requests: int = 10
    seed: int = 0
    parts: tuple[int, ...] = (300, 900, 200)
    workspace: int = 1200
    work: float = 0.004
    pause: float = 0.01
    managed: bool = False
    hold: bool = False


class Weights(nn.Module):
    """So many MiB without values."""

    def __init__(self, size: int) -> None:
        super().__init__()
        empty = torch.empty(size * MIB, dtype=torch.uint8, device="meta")
        self.weight = nn.Parameter(empty, requires_grad=False)


class Heavy(ToneModel):
    """Three stages, each with a part of its own and a workspace that can be cut."""

    name = "heavy"

    def __init__(self, task: Task) -> None:
        self.task, self.rng = task, random.Random(task.seed)
        self.size = MIB

    def footprint(self, songs: tuple[ToneSong, ...]) -> Footprint:
        ways = tuple(Way(self.size // n, n) for n in (1, 2, 4))
        names = [f"part {n}" for n in range(len(self.task.parts))]
        parts = zip(names, self.task.parts, strict=True)
        return Footprint(
            tuple(Component(name, (), size * MIB, "float32") for name, size in parts),
            tuple(Stage(name, (name,), ways, flops=1e12) for name in names),
        )

    def loaders(self) -> Mapping[str, Loader]:
        return {
            f"part {n}": lambda size=size: Weights(size) for n, size in enumerate(self.task.parts)
        }

    def render(self, songs: tuple[ToneSong, ...], run: Run) -> tuple[Audio, ...]:
        def work(step: Step, parts: Parts) -> None:
            for _ in range(step.pieces):
                size = self.size // step.pieces
                held = torch.empty(size, dtype=torch.uint8, device=step.device)
                time.sleep(FOREVER if self.task.hold else self.rng.uniform(0, self.task.work))
                del held

        for stage in run.plan.stages:
            run.stage(stage.stage, work)
        return tuple(Audio(torch.zeros(2, 10), 48_000) for _ in songs)


def engine_of(task: Task, device: SharedDevice | None = None) -> Engine:
    """An engine of the heavy model on the card that all share."""
    settings = load(
        {"HEADROOM_CARDS_DIR": task.folder, "HEADROOM_GPU_MANAGEMENT": str(task.managed).lower()}
    )
    device = device or SharedDevice(NAME, Path(task.folder), task.total, fake=True)
    engine = Engine(family="tone", settings=settings, card=Card.of(device), quantization="none")
    vars(engine)["model"] = Heavy(task)
    return engine


def made(engine: Engine) -> dict[str, object]:
    """One request, and what became of it: seconds by the wall clock, bytes."""
    model = engine.model
    assert isinstance(model, Heavy)
    task = model.task
    model.size = model.rng.randint(task.workspace * MIB // 4, task.workspace * MIB)
    told: list[tuple[float, Event]] = []
    began, error = time.time(), None
    cpu = time.thread_time()
    try:
        engine.generate(
            Tone(duration=0.1, seed=1, steps=1), lambda event: told.append((time.time(), event))
        )
    except HeadroomError as failed:
        error = f"{type(failed).__name__}: {failed}"
    ended = time.time()
    started = next((when for when, event in told if isinstance(event, Started)), ended)
    assert engine.card.sharing is not None
    spent = engine.card.sharing.arbiter.spent
    return {
        "began": began, "started": started, "ended": ended, "error": error,
        "own": spent.own, "own_cpu": spent.cpu, "waiting": spent.waiting,
        "queued": sum(isinstance(event, Queued) for _, event in told),
        "out_of_memory": sum(isinstance(event, Replanned) for _, event in told),
        "peak": max((e.plan.peak for _, e in told if isinstance(e, Started)), default=0),
        "cpu": time.thread_time() - cpu,
    }  # fmt: skip


def main() -> None:
    """Do a task."""
    given = json.loads(sys.argv[1])
    task = Task(**{**given, "parts": tuple(given["parts"])})
    engine = engine_of(task)
    pauses = random.Random(task.seed)
    alone = SharedDevice(NAME, Path(task.folder) / str(task.seed), task.total, fake=True)
    made(engine_of(replace(task, hold=False), device=alone))  # what torch does once only
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    for _ in range(task.requests):
        print(json.dumps(made(engine)), flush=True)
        time.sleep(pauses.uniform(0, task.pause))
    print(json.dumps({"copied": engine.device.bytes_to_device, "task": asdict(task)}), flush=True)
    sys.stdin.readline()
    engine.close()


if __name__ == "__main__":
    main()
