"""The peak resident set of a whole song on the host, at the real 2B sizes, beside what it may be.

Random weights in memory, the product's own path, nothing else in the process. Allowed are the
weights of the parts in use plus 15 %, the planned workspace, and the interpreter with torch.

    python benchmarks/song_memory.py [--seconds 30] [--dtype bfloat16] [--save]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import common
import psutil
import torch
from peers import Weights

from headroom.device import open_device
from headroom.hardware.probe import probe_device
from headroom.memory.planner import plan
from headroom.models.acestep.blueprint import Blueprint
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.song.compose import compose
from headroom.models.base import Setup
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run

MARGIN = 0.15
STATUS = Path("/proc/self/status")


def peak_resident() -> int:
    """Bytes; Linux tells it exactly, elsewhere what is resident now."""
    if STATUS.is_file():
        lines = STATUS.read_text("ascii").splitlines()
        return next(int(n.split()[1]) * 1024 for n in lines if n.startswith("VmHWM"))
    return int(psutil.Process().memory_info().rss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    bare = psutil.Process().memory_info().rss
    device = open_device("cpu")
    model = Blueprint("acestep-v15-turbo", Setup(device, probe_device(device), dtype=args.dtype))
    weights = Weights(getattr(torch, args.dtype))

    def filled(load):
        def made():
            part = load()
            weights.fill(part)
            return part

        return made

    loaders = {name: filled(load) for name, load in model.loaders().items()}
    request = Text2Music(caption="slow bossa nova", lyrics="la la la\n" * 12, duration=args.seconds)
    songs = compose(request, model.variant, (1,)).songs
    needs = model.footprint(songs)
    made = plan(needs, probe_device(device))
    run = Run(made, Pool(device, loaders), device)
    model.render(songs, run)
    stored = sum(component.bytes for component in needs.components)
    work = max(stage.peak for stage in made.stages) - stored
    peak = peak_resident() - weights.block.nbytes
    allowed = int(stored * (1 + MARGIN)) + work + bare
    result = {
        "dtype": args.dtype,
        "seconds_of_audio": args.seconds,
        "weights_bytes": stored,
        "planned_workspace_bytes": work,
        "interpreter_and_torch_bytes": bare,
        "peak_resident_bytes": peak,
        "allowed_bytes": allowed,
        "peak_over_allowed": round(peak / allowed, 4),
        "peak_less_interpreter_over_weights": round((peak - bare) / stored, 4),
    }
    print(
        f"peak {peak / 1e9:.3f} GB, allowed {allowed / 1e9:.3f} GB, weights {stored / 1e9:.3f} GB"
    )
    common.finish(f"song_memory_{args.dtype}", result, args.save)


if __name__ == "__main__":
    main()
