"""From the start of a process to its end, for the commands that compute nothing.

Each command is a fresh process, in turn with the floor below it: an interpreter that imports
nothing, one that imports pydantic (which declares every request and setting), and one that imports
torch. The files are in the cache of the operating system, bytecode included; the first round of
each is not counted.

    python benchmarks/starting.py [--rounds 7] [--save]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import common

AIM = 0.5  # seconds
FLOORS = {
    "python": ("-c", "pass"),
    "import pydantic": ("-c", "import pydantic.main"),
    "import torch": ("-c", "import torch"),
}
COMMANDS = {
    "--help": ("--help",),
    "plan --help": ("plan", "--help"),
    "settings": ("settings",),
    "models list": ("models", "list"),
    "doctor": ("doctor",),
    "plan": ("plan", "slow bossa nova", "--device", "cpu"),
}


def one(words: tuple[str, ...], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, that a process takes."""
    before = os.times()
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, check=False
    )
    took = time.perf_counter() - began
    after = os.times()
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr.decode()}")
    used = after.children_user - before.children_user + after.children_system
    return took, used - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    args = parser.parse_args()
    module = ("-m", "headroom")
    cases = {**FLOORS, **{name: (*module, *words) for name, words in COMMANDS.items()}}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(args.rounds + 1):
            for name, words in cases.items():
                figures = one(words, environment)
                if turn:
                    taken[name].append(figures)
    seconds = {n: round(statistics.median(t for t, _ in each), 3) for n, each in taken.items()}
    used = {n: round(statistics.median(u for _, u in each), 3) for n, each in taken.items()}
    result = {
        "rounds": args.rounds,
        "median_s": seconds,
        "processor_s": used,
        "spread_s": {
            n: [round(min(t for t, _ in each), 3), round(max(t for t, _ in each), 3)]
            for n, each in taken.items()
        },
        "aim_s": AIM,
        "over_aim": [name for name in COMMANDS if seconds[name] > AIM],
    }
    for name in cases:
        mark = "  over the aim" if name in result["over_aim"] else ""
        print(f"  {name:<18}{seconds[name]:7.3f} s, {used[name]:6.3f} of the processor{mark}")
    common.finish("starting", result, args.save)


if __name__ == "__main__":
    main()
