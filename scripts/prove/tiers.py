"""Every published tier keeps its promise at its size of card: sizes, variants, batches.

All seven sizes as `profile_inference.py --mode tier-test` tries them: as they are, with a language
model, without conversion and offload, and in batches of 1 to 8. Where there is no card so large the
real sizes run over fake tensors, and every peak must be the planned one to the byte. `--whole` goes
through all turns of every loop, in this process, instead of through the first two. Takes minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from headroom.engine.opening import Opening
from headroom.models.acestep import synthetic
from headroom.profiler.options import Options
from headroom.profiler.tiers import run
from headroom.profiler.tiers.case import rows_of
from headroom.profiler.tiers.report import printed
from headroom.profiler.tiers.rows import TierTest
from headroom.settings import load


def whole(options: Options) -> TierTest:
    """The rows of loops that are gone through to their ends."""
    synthetic.TURNS, began = sys.maxsize, time.perf_counter()
    rows = []
    for size in options.tiers:
        settings = load({"MAX_CUDA_VRAM": f"{size:g}"})
        rows += list(rows_of(run.work_of(size, options), settings))
    return TierTest(tuple(rows), time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whole", action="store_true", help="all turns of every loop")
    args = parser.parse_args()
    plain = Options(Opening(load()), mode="tier-test")
    if args.whole:
        found = whole(replace(plain, tier_with_lm=True))
        print(printed(found))
        return found.exit_code
    kinds = (
        plain,
        replace(plain, tier_with_lm=True, tier_boundary=True),
        replace(plain, tier_batch_boundary=True),
    )
    results = [run.run(options) for options in kinds]
    return max(result.exit_code for result in results)


if __name__ == "__main__":
    sys.exit(main())
