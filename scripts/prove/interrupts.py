"""Interrupted at any line of the engine, the pool or the device, the next song is the same one.

A small song is made resident, swapped and streamed, and an exception is raised at every line that
it reaches below `runtime`, `engine` and `device`: at the first visit of the line, at one between
and at the last. So are offload, release, prefetch and close. What was raised is kept, as a notebook
keeps it. After each: no lease is left, every byte on the device is in the book, another thread can
move parts, torch is as it was, and the next song has the bytes of an undisturbed one. `--nano N`
does the same with the bundled model at one of N lines. Exit code 0 where nothing is wrong; the last
line is JSON.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headroom.engine.engine import Engine
    from support.interrupts import Report

ROOT = Path(__file__).resolve().parents[2]
STUCK = 1800  # seconds for one sweep


def sweeps(one_of: int, nano: int) -> dict[str, Callable[[], Report]]:
    """Each sweep by its name."""
    from headroom.engine.engine import Engine
    from headroom.memory.plan import Residency, Wishes
    from headroom.models.acestep.requests.songs import Text2Music
    from headroom.settings import load
    from support.interrupts import swept
    from support.woven import ASKED, woven

    def told(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def song(engine: Engine) -> object:
        return engine.generate(ASKED)

    found: dict[str, Callable[[], Report]] = {}
    ways = (Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED)
    for way in ways:
        for error in (KeyboardInterrupt, MemoryError):
            title = f"song, {way.name.lower()}, {error.__name__}"
            found[title] = lambda way=way, error=error: swept(
                lambda: woven(way), song, one_of=one_of, more=error is KeyboardInterrupt,
                error=error, told=told,
            )  # fmt: skip
        acts = {"offload": Engine.offload, "release": Engine.release, "close": Engine.close}
        for name, act in acts.items():
            found[f"{name}, {way.name.lower()}"] = lambda way=way, act=act, name=name: swept(
                lambda: woven(way), act, warm=True, ends=name == "close", more=True, told=told
            )
        found[f"prefetch, {way.name.lower()}"] = lambda way=way: swept(
            lambda: woven(way), lambda engine: engine.prefetch(ASKED), one_of=one_of, told=told
        )
        if nano:
            short = Text2Music(caption="slow", duration=10, seed=3, inference_steps=1)

            def small(way: Residency = way) -> Engine:
                wishes = Wishes(way)
                return Engine(
                    "simulated", "float32", wishes=wishes, quantization="none", settings=load({})
                )

            found[f"nano, {way.name.lower()}"] = lambda small=small, short=short: swept(
                small, lambda e: e.generate(short), one_of=nano, song=lambda e: e.generate(short),
                told=told,
            )  # fmt: skip
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one-of", type=int, default=1, help="interrupt at one of so many lines")
    parser.add_argument("--nano", type=int, default=0, help="the bundled model, at one of N lines")
    args = parser.parse_args()
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples")]
    began, interrupts, faults, lines = time.perf_counter(), 0, 0, 0
    for name, sweep in sweeps(args.one_of, args.nano).items():
        faulthandler.dump_traceback_later(STUCK, exit=True)
        report = sweep()
        faulthandler.cancel_dump_traceback_later()
        print(f"{name}: {report.lines} lines, {report.visits} visits, {report.interrupts} "
              f"interrupts, {len(report.faults)} faults", flush=True)  # fmt: skip
        print(*(f"  {fault}" for fault in report.faults[:20]), sep="\n", end="", flush=True)
        interrupts, faults = interrupts + report.interrupts, faults + len(report.faults)
        lines = max(lines, report.lines)
    seconds = round(time.perf_counter() - began)
    print(
        json.dumps({"lines": lines, "interrupts": interrupts, "faults": faults, "seconds": seconds})
    )
    return 0 if interrupts and not faults else 1


if __name__ == "__main__":
    sys.exit(main())
