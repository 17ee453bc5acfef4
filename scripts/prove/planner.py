"""No plan is better than the one found, none is missed, and planning takes 10 ms at most.

The planner is timed, alone in a fresh process, on cases of the size of a real act with a language
model: 8 components in two precisions each, 7 stages, 10 ways in each precision. Then it is compared
with an exhaustive search on 300 small cases: seconds within 2 %, and a refusal only where no plan
fits, with the smallest peak there is. Exit code 0 where all of it holds, times at the 99th
percentile. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine, card
from headroom.memory.footprint import Component, Footprint, Form, Stage, Way
from headroom.memory.planner import plan
from headroom.units import MIB

TESTS = Path(__file__).resolve().parents[2] / "tests"
NEAR = 0.02  # of the seconds of the best plan
MOST = 0.010  # s
SIZES = (4, 6, 8, 12, 16, 24)  # GiB
USES = (("p0", "p1"), ("p2",), ("p3",), ("p4", "p5"), ("p6",), ("p7",), ())


def large(rng: random.Random) -> tuple[Footprint, Machine]:
    """Eight parts, half as large in int8, up to 36 blocks; seven stages."""
    parts = []
    for number in range(8):
        blocks = (rng.randrange(5, 60) * MIB,) * rng.choice((0, 24, 28, 36))
        rest = rng.randrange(10, 400) * MIB
        half = Form("int8", tuple(block // 2 for block in blocks), rest // 2)
        parts.append(Component(f"p{number}", blocks, rest, "bfloat16", (half,)))
    stages = []
    for number, uses in enumerate(USES):
        ways = []
        for pieces in range(1, 11):
            room = rng.randrange(200, 4000) * MIB // pieces
            for precision, more in (("bfloat16", 0), ("int8", 5 * MIB)):
                form = precision if uses else None
                ways.append(Way(room + more, pieces, more=0.03 * (pieces - 1), precision=form))
        passes = rng.choice((1, 8, 30))
        stages.append(Stage(f"s{number}", uses, tuple(ways), passes, rng.random() * 1e14))
    return Footprint(tuple(parts), tuple(stages)), card(rng.choice(SIZES))


def compared(seed: int) -> str | None:
    """What is wrong with the plan of one small case; None where nothing is."""
    from support.exhaustive import coarse, exhaustive

    footprint, where = coarse(random.Random(seed))
    best = exhaustive(footprint, where)
    try:
        found = plan(footprint, where)
    except DoesNotFit as refusal:
        if best.seconds is not None:
            return f"case {seed}: refused, and there is a plan of {best.seconds:.3f} s"
        if refusal.least != best.least:
            return f"case {seed}: {refusal.least} bytes said to be the least, not {best.least}"
        return None
    if best.seconds is None:
        return f"case {seed}: a plan of {found.peak} bytes, and none fits"
    if not abs(found.seconds - best.seconds) <= NEAR * best.seconds:
        return f"case {seed}: {found.seconds:.6f} s, the best is {best.seconds:.6f} s"
    return None


def timed(count: int) -> list[float]:
    """Seconds that planning took, in rising order."""
    took = []
    for seed in range(count):
        footprint, where = large(random.Random(seed))
        began = time.perf_counter()
        try:
            plan(footprint, where)
        except DoesNotFit:
            pass
        took.append(time.perf_counter() - began)
    return sorted(took)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=300, help="small ones, beside all plans")
    parser.add_argument("--large", type=int, default=300, help="large ones, timed")
    args = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    took = timed(args.large)  # first, while the process is small
    faults = [fault for seed in range(args.cases) if (fault := compared(seed)) is not None]
    print("\n".join(faults[:20]) or f"{args.cases} cases: no plan is better, none is missed")
    median, late, most = took[len(took) // 2], took[int(0.99 * (len(took) - 1))], took[-1]
    print(f"planning took {median * 1e3:.1f} ms in the median, {late * 1e3:.1f} ms at the 99th")
    print(
        json.dumps(
            {"cases": args.cases, "faults": len(faults), "timed": args.large,
             "median_ms": round(median * 1e3, 2), "p99_ms": round(late * 1e3, 2),
             "most_ms": round(most * 1e3, 2)}
        )
    )  # fmt: skip
    return 0 if not faults and late <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
