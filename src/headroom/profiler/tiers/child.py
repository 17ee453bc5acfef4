"""The child process for one size of a tier test: reads work as JSON, writes rows as lines.

    python -m headroom.profiler.tiers.child < work.json

An error that no case caused ends the process, and its last line of output goes into the row.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict

from headroom.profiler.tiers.rows import Work
from headroom.settings import load

MARK = "tier test: "  # lines without it come from other code
CORES = 4  # host cores for a process on a real card; several run in parallel
# Settings that limit a card's memory; a process has exactly one, for its size.
LIMITS = ("HEADROOM_MAX_VRAM", "HEADROOM_MEMORY_LIMIT", "ACESTEP_MEMORY_LIMIT_GB")
SIZE = "MAX_CUDA_VRAM"


def environment(vram: float, around: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process for a size."""
    kept = {name: value for name, value in around.items() if name not in LIMITS}
    size = f"{vram:g}"
    # `.env` may set another limit; the environment takes precedence over it.
    return {**kept, SIZE: size, LIMITS[1]: size, "PYTHONIOENCODING": "utf-8"}


def main() -> int:
    work = Work.of(json.load(sys.stdin))
    import torch  # slow to import, and useless if the work cannot be read

    from headroom.device import prepare_allocator
    from headroom.profiler.tiers.case import rows_of
    from headroom.profiler.tiers.engine import card_for

    settings = load()
    prepare_allocator(settings.alloc_conf)  # before anything uses CUDA
    card = card_for(work)
    free = torch.cuda.mem_get_info(card.word)[0] if card.real else 0
    _say("card", {"name": card.name, "real": card.real, "free": free})
    torch.set_num_threads(work.threads or CORES if card.real else 1)
    for row in rows_of(work, settings, card):
        _say("row", asdict(row))
    return 0


def _say(what: str, value: object) -> None:
    sys.stdout.write(f"{MARK}{json.dumps({what: value})}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
