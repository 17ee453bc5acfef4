"""The service answers as its OpenAPI document says, whatever it is asked, and never with a fault.

Thousands of requests that the document describes and that it forbids, one by one and in sequences
in which one answer leads to the next request; a simulated engine process ends the jobs meanwhile.
Takes minutes (`--examples N`, of each operation).
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

# In place of this folder, whose requests.py would be taken for the library.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from headroom.hardware.machine import card
from headroom.service import stream
from headroom.service.app import create_app
from headroom.service.config import from_settings
from headroom.settings import load
from support.api_fuzz import KEY, PHASES, explore


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=100, help="of each operation")
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--family", default="acestep", help="of models that requests are for")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    stream.LIFE_SECONDS = 0.0  # a stream of a job that waits ends after what there is
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        config = from_settings(load({"HEADROOM_DATA_DIR": folder}), args.family)
        config = replace(config, key=KEY, waiting=10**6, free_bytes=0)
        app = create_app(config, lambda: card(8))
        found = explore(app, args.examples, args.phases.split(","), args.seed)
    for fault in dict.fromkeys(found.faults):
        print(fault, end="\n\n")
    counts = Counter[int]()
    for (_, status), times in found.statuses.items():
        counts[status] += times
    print(f"{counts.total()} requests to {len({one for one, _ in found.statuses})} operations in "
          f"{time.monotonic() - began:.0f} s: {dict(sorted(counts.items()))}; "
          f"{len(found.faults)} faults")  # fmt: skip
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
