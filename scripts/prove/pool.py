"""A pool's book balances after each of 10^5 random operations, and nothing idle stays a second.

Loads, leases, work and cancelled work, memory that runs out (told to, for want of room, in the
middle of work), idleness on a virtual clock, offload and release, in every residency and in
released and converted precisions, from a seed: `support.pool_driver`. After each operation the
pool, its book, the device's bytes and the bytes copied are compared with a model of the pool, and
what leased parts compute with what it should be, to the bit. Then parts that nobody uses leave a
real device under a real clock. Exit code 0 where nothing differs and nothing hangs: a watchdog
prints where every thread is and ends the proof. The last line is JSON.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

from headroom.device.simulated import SimulatedDevice
from headroom.errors import LedgerMismatch
from headroom.memory.plan import Placement, Residency
from headroom.runtime.idle import IdleWatch
from headroom.runtime.pool import Pool
from headroom.units import MIB

TESTS = Path(__file__).resolve().parents[2] / "tests"
EACH = 2000  # operations from one seed
STUCK = 120  # seconds for those: a hundred times what they take
IDLE = 0.1  # seconds
LATE = 1.0  # second


def driven(operations: int, seed: int) -> tuple[Counter[str], dict[str, int], list[str]]:
    """Operations by kind, other counts, and what was wrong, `EACH` operations a seed."""
    from support.pool_driver import Driver

    done: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    faults = []
    for begin in range(0, operations, EACH):
        faulthandler.dump_traceback_later(STUCK, exit=True)
        driver = Driver(seed)
        try:
            for _ in range(min(EACH, operations - begin)):
                driver.step()
            driver.finish()
        except (AssertionError, LedgerMismatch) as fault:
            where = f"seed {seed}, operation {driver.done.total()}"
            faults.append(f"{where}: {type(fault).__name__} {fault}")
        done += driver.done
        counts += Counter({f"oom_{why}": n for why, n in driver.out_of_memory.items()})
        counts += Counter(loads=driver.loads.total(), results_compared=driver.computed)
        counts += Counter(balanced=driver.balanced)
        seed += 1
        print(f"{done.total()} operations, {len(faults)} faults", file=sys.stderr, flush=True)
    faulthandler.cancel_dump_traceback_later()
    return done, dict(counts), faults


def lateness(rounds: int, seed: int) -> list[float]:
    """Seconds that idle parts stayed on the device beyond their time, in rising order."""
    from support.pool_model import NAMES, part_of, placed

    rng, device, late = random.Random(seed), SimulatedDevice(MIB), []
    pool = Pool(device, {name: partial(part_of, name) for name in NAMES})
    watch = IdleWatch(pool, IDLE)
    try:
        for _ in range(rounds):
            wanted: list[Placement] = [placed(name, Residency.RESIDENT) for name in NAMES]
            with device.inside():
                pool.lease(wanted)
            time.sleep(rng.uniform(0, 2 * IDLE))
            pool.give_back(wanted)
            due = time.monotonic() + IDLE
            while device.memory_allocated() and time.monotonic() < due + 10 * LATE:
                time.sleep(0.001)
            late.append(time.monotonic() - due)
    finally:
        watch.close()
    return sorted(late)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    began = time.perf_counter()
    done, counts, faults = driven(args.operations, args.seed)
    late = lateness(50, args.seed)
    print("\n".join(faults[:20]) or f"{done.total()} operations: nothing differs")
    print(
        json.dumps(
            {"operations": done.total(), "by_kind": dict(sorted(done.items())),
             "out_of_memory": sum(n for what, n in counts.items() if what.startswith("oom_")),
             **dict(sorted(counts.items())), "mismatches": len(faults),
             "idle_rounds": len(late), "latest_s": round(late[-1], 3),
             "seconds": round(time.perf_counter() - began, 1)}
        )
    )  # fmt: skip
    return 0 if not faults and done.total() >= args.operations and late[-1] <= LATE else 1


if __name__ == "__main__":
    sys.exit(main())
