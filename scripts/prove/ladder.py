"""A failure at every single allocation of a request: each ends in the same song, or a clear error.

A small model on the simulated device; allocation after allocation is refused once. Held to: at
least 99.9 % end in the reference's very bytes after one retry in which no finished stage was
repeated; after each, the device holds what it held before. Takes minutes (`--every N` looks at
every Nth allocation).
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

from headroom.engine.engine import Engine
from headroom.errors import HeadroomError
from headroom.memory.plan import Cut, Residency, Wishes
from headroom.models.acestep.requests.songs import Text2Music
from headroom.runtime.events import Event, Replanned, StageStarted
from headroom.settings import load

ASKED = Text2Music(caption="slow", lyrics="la", duration=10, seed=3, inference_steps=1)
ENOUGH = 0.999


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    wishes = Wishes(Residency.SWAPPED, (Cut("decode", 1, 256),))
    engine = Engine(
        "simulated",
        "float32",
        wishes=wishes,
        quantization="none",
        settings=load({}),
    )
    device = engine.device
    reference = engine.generate(ASKED).audio.samples
    before = device.allocations
    engine.generate(ASKED)
    count = device.allocations - before
    engine.offload()
    floor = device.memory_allocated()
    print(f"{count} allocations", flush=True)
    good, errors, faults, began = 0, 0, [], time.perf_counter()
    tried = range(1, count + 1, args.every)
    for number in tried:
        heard: list[Event] = []
        device.fail_at = device.allocations + number
        try:
            samples = engine.generate(ASKED, heard.append).audio.samples
        except HeadroomError as error:
            errors += 1
            print(f"allocation {number}: {error}")
            samples = None
        again = [event.stage for event in heard if isinstance(event, Replanned)]
        started = [event.stage for event in heard if isinstance(event, StageStarted)]
        repeated = {s for s in started if started.count(s) > 1} - set(again)
        if samples is not None:
            same = torch.equal(samples, reference)
            good += same and len(again) == 1 and not repeated
            if not same or len(again) != 1 or repeated:
                faults.append(f"allocation {number}: same {same}, retried {again}, {repeated}")
        engine.offload()
        if device.memory_allocated() != floor:
            faults.append(f"allocation {number}: {device.memory_allocated() - floor} bytes remain")
    share = good / len(tried)
    took = time.perf_counter() - began
    print(f"{good} of {len(tried)} ({share:.4%}) the same song after one retry, {took:.0f} s")
    print(f"{errors} clear errors")
    print("\n".join(faults[:20]))
    return 0 if share >= ENOUGH and not any("remain" in fault for fault in faults) else 1


if __name__ == "__main__":
    sys.exit(main())
