"""A process that has the weights of a file in host memory: `python -m support.shared_map`.

The first argument is a `Task` as JSON, whose folder has the file; it tells what the file takes of
the memory of this process, in bytes.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import torch
from torch import nn

from headroom.device.simulated import SimulatedDevice
from headroom.memory.plan import Placement, Residency
from headroom.runtime.pool import Pool
from headroom.weights.checkpoint import Checkpoint
from headroom.weights.load import load_weights

FILE = "model.safetensors"


class Net(nn.Module):
    """Some matrices."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(count))


def net(folder: Path, count: int, width: int) -> Net:
    """The network with the weights of the file."""
    with torch.device("meta"):
        made = Net(count, width)
    load_weights(made, Checkpoint.open(folder))
    return made


def mapped(file: Path) -> dict[str, int]:
    """Bytes of a mapped file: in memory (`rss`), this process's share of them (`pss`), and those
    that it has alone because it wrote to them (`private`)."""
    found = {"rss": 0, "pss": 0, "private": 0}
    fields = {"Rss": "rss", "Pss": "pss", "Private_Dirty": "private"}
    here = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            here = line.endswith(str(file))
        elif here and (match := re.match(r"(\w+):\s+(\d+) kB", line)) and match[1] in fields:
            found[fields[match[1]]] += int(match[2]) * 1024
    return found


def main() -> None:
    """Load, bring to the card, take off it, and tell."""
    task = json.loads(sys.argv[1])
    folder = Path(task["folder"])
    count, width = task["parts"][:2]
    pool = Pool(SimulatedDevice(task["total"]), {"net": lambda: net(folder, count, width)})
    place = [Placement("net", Residency.RESIDENT, "float32", 0)]
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    with pool._device.inside(), torch.inference_mode():
        pool.lease(place)
    pool.give_back(place)
    print(json.dumps({"there": pool.bytes()}), flush=True)
    sys.stdin.readline()  # until all have it
    print(json.dumps(mapped(folder / FILE)), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
