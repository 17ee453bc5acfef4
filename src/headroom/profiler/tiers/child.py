"""One size of a tier test, in a process of its own: work as JSON comes in, rows go out as lines.

    python -m headroom.profiler.tiers.child < work.json

What cannot be blamed on a case ends the process, and its last words are the row's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict

from headroom.profiler.tiers.rows import Work
from headroom.settings import load

MARK = "tier test: "  # lines without it are somebody else's
CORES = 4  # of the host for a process on a real card; they work side by side
# Settings that limit a card's memory; a process has one, that of its size.
LIMITS = ("HEADROOM_MAX_VRAM", "HEADROOM_MEMORY_LIMIT", "ACESTEP_MEMORY_LIMIT_GB")
SIZE = "MAX_CUDA_VRAM"


def environment(vram: float, around: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process for a size."""
    kept = {name: value for name, value in around.items() if name not in LIMITS}
    size = f"{vram:g}"
    # `.env` may set another limit; what the environment says goes before it.
    return {**kept, SIZE: size, LIMITS[1]: size, "PYTHONIOENCODING": "utf-8"}


def main() -> int:
    work = Work.of(json.load(sys.stdin))
    import torch  # heavy, and of no use where the work cannot be read

    from headroom.device import prepare_allocator
    from headroom.profiler.tiers.case import rows_of
    from headroom.profiler.tiers.engine import card_for

    settings = load()
    prepare_allocator(settings.alloc_conf)  # before anybody asks CUDA for anything
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
