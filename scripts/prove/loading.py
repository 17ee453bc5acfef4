"""Loading takes no more memory than the parts in use, 5 %, and an interpreter with torch.

The run of `benchmarks/loading.py`, at the real 2B sizes, in the files' own precision and converted:
ours and diffusers as fresh processes, in turn. Held to: the peak resident set, and that both
computed the same velocity. Seconds are printed and never judged: they are the machine's too.
It writes about 10 GB of weights (`--folder`), needs 10 GB of memory, and takes minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import loading

# Relative difference of the two velocities: rounding of 24 layers in each precision.
ALIKE = {"bfloat16": 0.03, "float32": 1e-3}


def faults(result: Mapping[str, object]) -> list[str]:
    """What does not hold, a sentence each."""
    found = []
    dtype, gap = result["dtype"], result["relative_difference"]
    peak, allowed = result["resident_bytes"]["ours"]["peak"], result["allowed_resident_bytes"]
    if peak > allowed:
        found.append(f"{dtype}: the peak resident set is {peak:,} bytes, allowed are {allowed:,}")
    if not gap < ALIKE[dtype]:
        found.append(f"{dtype}: the velocities differ by {gap}, allowed are {ALIKE[dtype]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the weights are written (about 10 GB)")
    parser.add_argument("--keep", action="store_true", help="leave the weights there")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtype", choices=tuple(ALIKE), nargs="+", default=list(ALIKE))
    args = parser.parse_args()
    found = []
    with loading.weights(args.folder, args.keep) as folder:
        for dtype in args.dtype:
            result = loading.report(folder, args.repeats, dtype)
            loading.show(result)
            found += faults(result)
    print("\n" + ("\n".join(found) if found else "holds"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
