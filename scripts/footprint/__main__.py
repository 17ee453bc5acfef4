"""Write what the stages of ACE-Step take (models/acestep/cost/workspaces.json).

Runs the real modules at the released sizes over fake tensors, in a handful of lengths for each kind
of work, and solves for the coefficients of `models.acestep.cost.measures`. Takes minutes, needs
no weights and no card. `--check` compares with what is there, and writes nothing; `--only KEY` does
one kind of work.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from footprint.kinds import KINDS, coefficients

TARGET = Path(__file__).resolve().parents[2] / "src/headroom/models/acestep/cost/workspaces.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--only", metavar="KEY", help="kinds of work whose name has this in it")
    args = parser.parse_args()
    random.seed(0)
    found: dict[str, list[list[int]]] = {}
    for name, kind in KINDS.items():
        if args.only is not None and args.only not in name:
            continue
        began = time.perf_counter()
        found[name] = [list(row) for row in coefficients(kind)]
        print(f"{name}: {len(found[name])} rows, {time.perf_counter() - began:.1f} s", flush=True)
    there = json.loads(TARGET.read_text("utf-8")) if TARGET.is_file() else {}
    if args.check:
        stale = [name for name, rows in found.items() if there.get(name) != rows]
        print("stale: " + ", ".join(stale) if stale else "as it is there")
        return 1 if stale else 0
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted({**there, **found}.items())]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
