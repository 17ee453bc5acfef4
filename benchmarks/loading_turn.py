"""One turn of `loading.py`: a fresh process up to the end of its first denoising step.

    python benchmarks/loading_turn.py ours|diffusers|torch FOLDER STAMP DTYPE VELOCITY

STAMP is the parent's time.time() just before it started this process; VELOCITY is the file the
step's answer goes to. Nothing heavy is imported before the competitor's own imports, whose time
is a figure. The last line of output is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

FRAMES, ROWS, WIDTH, CHANNELS = 250, 200, 2048, 64  # 10 s of audio, rows of condition
NAME = "acestep-v15-turbo"
STATUS = Path("/proc/self/status")


def memory() -> dict[str, int]:
    """Bytes: peak and present resident set, and its parts that are a file's pages and that are not.

    Pages of mapped files count. Linux tells the peak of this program alone; what getrusage tells
    there may be the parent's. Elsewhere psutil or getrusage answers, and the parts are left out.
    """
    if STATUS.is_file():
        names = {"VmHWM": "peak", "VmRSS": "now", "RssAnon": "own", "RssFile": "file"}
        pairs = (line.split(":") for line in STATUS.read_text("ascii").splitlines())
        return {names[k]: int(v.split()[0]) * 1024 for k, v in pairs if k in names}
    import psutil

    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):
        return {"peak": info.peak_wset, "now": info.rss}
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "now": info.rss}


def disk_bytes() -> int:
    """Bytes this process had to fetch from the disk: 0 where the files were in memory."""
    counters = Path("/proc/self/io")
    if not counters.is_file():
        return 0
    lines = counters.read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


class Turn:
    """Stamps on the way from the start of the process to the first step."""

    def __init__(self, stamp: float) -> None:
        self.begun = self.last = stamp
        self.figures: dict[str, float | int] = {}
        self.mark("start")

    def mark(self, name: str) -> None:
        """Seconds since the last mark, and the resident set here."""
        now = time.time()
        self.figures[f"{name}_s"] = round(now - self.last, 4)
        self.figures["total_s"] = round(now - self.begun, 4)
        self.figures[f"rss_after_{name}"] = memory()["now"]
        self.last = time.time()


def inputs(dtype):
    """Noise, source, mask [1, T, C] and condition rows [L, E], the same for everybody."""
    import torch

    generator = torch.Generator().manual_seed(1)
    x, source, mask = torch.randn(3, 1, FRAMES, CHANNELS, generator=generator).to(dtype)
    return x, source, mask, torch.randn(ROWS, WIDTH, generator=generator).to(dtype)


def ours(turn: Turn, folder: Path, word: str):
    """The product's own way: the model found and checked, two of its parts, a step."""
    import torch

    from headroom.device import open_device
    from headroom.diffusion.schedule import turbo
    from headroom.hardware.probe import probe_device
    from headroom.models.acestep.model import open_model
    from headroom.models.acestep.networks.component_names import DIT, TIME
    from headroom.models.acestep.networks.dit import DiT, TimePath
    from headroom.models.base import Setup

    turn.mark("import")
    device = open_device("cpu")
    setup = Setup(device, probe_device(device), NAME, folder, word)
    model = open_model(setup)
    turn.mark("open")
    loaders = model.loaders()
    dit, times = loaders[DIT](), loaders[TIME]()
    assert isinstance(dit, DiT) and isinstance(times, TimePath)
    turn.mark("load")
    with torch.inference_mode():
        x, source, mask, rows = inputs(getattr(torch, word))
        modulation = dit.modulation(*times(turbo(8, 3.0).times[:-1]))
        cross, layout = dit.condition(rows, [ROWS]), dit.layout([FRAMES])
        context = dit.context(source, mask, layout)
        velocity = dit(x, context, modulation.at(0), cross, layout)
    turn.mark("step")
    return velocity


def diffusers(turn: Turn, folder: Path, word: str):
    """diffusers' module as it comes, from its own layout of the same weights."""
    import torch
    from diffusers import AceStepTransformer1DModel

    turn.mark("import")
    turn.mark("open")
    dtype = getattr(torch, word)
    dit = AceStepTransformer1DModel.from_pretrained(folder / "transformer", torch_dtype=dtype)
    turn.mark("load")
    with torch.inference_mode():
        x, source, mask, rows = inputs(dtype)
        t = torch.ones(1, dtype=dtype)
        velocity = dit(
            hidden_states=x,
            timestep=t,
            timestep_r=t,
            encoder_hidden_states=rows.unsqueeze(0),
            context_latents=torch.cat((source, mask), -1),
            return_dict=False,
        )[0]
    turn.mark("step")
    return velocity


def main(who: str, folder: str, stamp: str, dtype: str, answer: str) -> None:
    turn = Turn(float(stamp))
    import torch

    if who == "torch":
        turn.mark("import")
    else:
        velocity = (ours if who == "ours" else diffusers)(turn, Path(folder), dtype)
    turn.figures |= {f"rss_{name}": size for name, size in memory().items()}
    if who != "torch":
        torch.save(velocity.float(), answer)
    print(json.dumps({**turn.figures, "disk_bytes": disk_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
