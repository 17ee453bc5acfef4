"""Music and speech share a card through one service: none runs out of memory, both have turns.

Two keys ask for as many songs as pieces of speech, all at once and in random order. The card is
simulated, its bytes are counted, and its budget holds either model with its work, but not the parts
of both. The models are the bundled one for music, and a tiny one for speech with random weights.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import torch

from support.mixed_jobs import GIBIBYTES, faults, mixed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--gibibytes", type=float, default=GIBIBYTES)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        told = mixed(Path(folder), args.requests, args.gibibytes, args.seed)
    told["wrong"] = faults(told)
    print(json.dumps(told))
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
