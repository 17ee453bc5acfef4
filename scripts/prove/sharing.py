"""Processes share one card: none runs out of memory, each has its turn, the dead let go at once.

First the account alone, through random operations with crashes between any two changes of its files
(`support.account_world`). Then 2 to 4 real processes on one simulated card, whose bytes are counted
across processes, make interleaved requests: each leases what its plan takes, and idle parts of the
others leave for it. Then holders of nearly all of the card are killed with -9 while another
process waits. Then host memory: what the mapped file of the weights takes of several processes
together. At last what leaves and comes within a process: idle parts in time, and a switch from one
model to another by copies of the other only. The arbiter's own time is told by the clock and of the
processor: on a machine that does other things, the clock also counts those. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import torch
from safetensors.torch import save_file

from headroom.device.shared import SharedDevice
from headroom.engine.engine import Engine
from headroom.units import GIB, MIB
from support.account_world import World
from support.shared_map import FILE, Net
from support.shared_run import fairness, quantile, reclaimed, requests, working
from support.shared_work import Heavy, Task, engine_of
from tone_model.requests import Tone

EACH = 500  # operations of one world
OWN = 0.005  # seconds of the arbiter, in 99 of 100 requests
RECLAIMED = 2.0  # seconds
SHARE = 2.0  # times the fair share that a request may wait
COPIES = 1.1  # of the weights, in host memory
LATE = 1.0  # seconds that idle parts may stay
LAYERS, WIDTH = 16, 2048  # of the file of weights: 256 MiB
ASKED = Tone(duration=0.1, seed=1, steps=1)


def account(operations: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Operations by kind, and what was wrong."""
    done: Counter[str] = Counter()
    faults = []
    while (
        sum(done[kind] for kind in done if kind not in ("granted", "crash", "drained")) < operations
    ):
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), seed)
            try:
                for _ in range(EACH):
                    world.step()
                world.finish()
            except AssertionError as fault:
                faults.append(f"world {seed}, operation {world.done.total()}: {fault}")
        done += world.done
        seed += 1
    return done, faults


def shared(count: int, processes: int, seed: int) -> dict[str, Any]:
    """Figures of so many requests of so many processes at a time."""
    parts = ((300, 900, 200), (500, 700, 400), (200, 1100, 100), (400, 400, 400))
    with tempfile.TemporaryDirectory() as folder:
        tasks = [
            Task(folder, requests=count // processes, seed=seed * 10 + n, parts=parts[n],
                 managed=n % 2 == 1)
            for n in range(processes)
        ]  # fmt: skip
        began = time.perf_counter()
        rows = requests(tasks)
    own = [row["own"] for row in rows]
    cpu = [row["own_cpu"] for row in rows]
    fair = fairness(rows)
    return {
        "processes": processes,
        "requests": len(rows),
        "out_of_memory": sum(row["out_of_memory"] for row in rows),
        "failed": [row["error"] for row in rows if row["error"]],
        "waited": sum(row["waiting"] > OWN for row in rows),
        "own_ms": [round(1e3 * quantile(own, q), 3) for q in (0.5, 0.99)],
        "own_cpu_ms": [round(1e3 * quantile(cpu, q), 3) for q in (0.5, 0.99)],
        "longest_wait_s": round(max(row["waiting"] for row in rows), 3),
        "fair_shares": [round(fair.works, 2), round(fair.time, 2)],
        "seconds": round(time.perf_counter() - began, 1),
    }


def host(processes: int) -> dict[str, Any]:
    """Bytes that the file of weights takes of processes that all have it on the card."""
    with tempfile.TemporaryDirectory() as folder:
        names = Net(LAYERS, 1).state_dict()
        save_file({name: torch.zeros(WIDTH, WIDTH) for name in names}, Path(folder) / FILE)
        size = LAYERS * WIDTH * WIDTH * 4
        task = Task(folder, total=GIB, parts=(LAYERS, WIDTH, 0))
        with working([task] * processes, "support.shared_map") as workers:
            for worker in workers:
                worker.go()
                assert worker.next()["there"] == size
            for worker in workers:
                worker.go()
            told = [worker.next() for worker in workers]
    together = sum(one["pss"] + one["private"] for one in told)
    return {"processes": processes, "copies": round(together / size, 3), "bytes": size}


def idle(rounds: int) -> dict[str, Any]:
    """Seconds that idle parts stay beyond their time, and the bytes that a switch copies."""
    with tempfile.TemporaryDirectory() as folder:
        task = Task(folder, managed=True, work=0.0)
        late = []
        with engine_of(task) as engine:
            engine.set_idle_timeout(0.2)
            for _ in range(rounds):
                engine.prefetch(ASKED)
                until = time.monotonic() + 0.2
                while engine.device.memory_allocated():
                    time.sleep(0.002)
                late.append(time.monotonic() - until)
        task = Task(str(Path(folder) / "switch"), work=0.0)
        first = engine_of(task)
        second = Engine(family="tone", settings=first.settings, card=first.card)
        vars(second)["model"] = Heavy(Task(folder, work=0.0, parts=(1000, 900, 400)))
        first.generate(ASKED)
        device = first.device
        assert isinstance(device, SharedDevice)
        before = device.bytes_to_device
        second.generate(ASKED)
        copied = device.bytes_to_device - before, device.bytes_to_host
        first.close()
        second.close()
    return {
        "latest_s": round(max(late), 3),
        "switch_copied": copied[0],
        "switch_needs": 2300 * MIB,
        "switch_copied_back": copied[1],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--processes", type=int, nargs="*", default=[2, 3, 4])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    began = time.perf_counter()
    told: dict[str, Any] = {}
    if args.processes:
        told["idle"] = idle(10)
        if Path("/proc/self/smaps").exists():  # where the share of a process in a file is known
            told["host"] = host(max(args.processes))
    share = args.requests // max(1, len(args.processes))
    told["requests"] = [shared(share, n, args.seed) for n in args.processes]
    with tempfile.TemporaryDirectory() as folder:
        task = Task(folder, parts=(1000, 1000, 1000), workspace=100)
        told["reclaimed_s"] = [round(reclaimed(task), 3) for _ in range(args.kills)]
    print(json.dumps(told), file=sys.stderr, flush=True)
    done, faults = account(args.operations, args.seed)
    told |= {"operations": dict(done), "faults": len(faults)}
    told["seconds"] = round(time.perf_counter() - began, 1)
    runs = told["requests"]
    wrong = {
        "out of memory": any(run["out_of_memory"] or run["failed"] for run in runs),
        "own time": any(run["own_cpu_ms"][1] > 1e3 * OWN for run in runs),
        "fair share": any(max(run["fair_shares"]) > SHARE for run in runs),
        "reclaimed": max(told["reclaimed_s"], default=0.0) > RECLAIMED,
        "host memory": told.get("host", {"copies": 1.0})["copies"] > COPIES,
        "idle": told.get("idle", {"latest_s": 0.0})["latest_s"] > LATE,
        "switch": "idle" in told
        and (told["idle"]["switch_copied"], told["idle"]["switch_copied_back"])
        != (told["idle"]["switch_needs"], 0),
        "account": bool(faults),
    }
    told["wrong"] = [name for name, is_wrong in wrong.items() if is_wrong]
    print("\n".join(faults[:20]) or "nothing is wrong with the account")
    print(json.dumps(told))
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
