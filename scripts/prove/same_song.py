"""The same song to the byte: resident, streamed, in part, mixed, restored, and retried.

Random requests of the bundled model on the simulated card, real tensors, unconverted fp32. Each is
rendered with everything resident, and then in five other ways with the same tiles: streamed; with
some of the DiT's blocks staying; each part somewhere else, drawn; restored after it left as idle;
and retried after an allocation that failed. `--requests N` makes 5 N pairs. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from headroom.engine.engine import Engine
from headroom.memory.plan import Cut, Plan, Residency, Wish, Wishes
from headroom.memory.planner import plan
from headroom.models.acestep.requests.songs import Text2Music
from headroom.runtime.events import Event, Replanned
from headroom.runtime.recovery import Ladder
from headroom.runtime.run import Run
from headroom.settings import load

TILE = Cut("decode", 1, 256)
PLACES = (Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED)


class Card:
    """The engine's parts on its simulated card, and songs rendered under any plan."""

    def __init__(self) -> None:
        self.engine = Engine("simulated", "float32", settings=load({}))
        self.pool, self.device = self.engine._pool, self.engine.device
        self.songs: tuple[object, ...] = ()

    def take(self, request: Text2Music) -> None:
        self.songs = self.engine._compose(self.engine._settle(request)).songs
        self.needs = self.engine.model.footprint(self.songs)

    def planned(self, wishes: Wishes) -> Plan:
        exact = replace(wishes, cuts=(TILE,), precision="float32")
        return plan(self.needs, self.engine.machine, exact)

    def digest(self, made: Plan, heard: Callable[[Event], None] = lambda event: None) -> str:
        ladder = Ladder(self.needs, self.engine.machine, Wishes(cuts=(TILE,)))  # keeps precisions
        run = Run(made, self.pool, self.device, heard, ladder=ladder)
        audios = self.engine.model.render(self.songs, run)
        whole = hashlib.sha256()
        for audio in audios:
            whole.update(audio.samples.contiguous().numpy().tobytes())
        self.pool.check_integrity()
        return whole.hexdigest()


def ways(card: Card, rng: random.Random) -> dict[str, Callable[[], str]]:
    """How else the songs at hand are rendered."""
    streamed = card.planned(Wishes(Residency.STREAMED))
    kept = rng.randint(1, 3)

    def placed(made: Plan) -> Plan:
        placements = tuple(
            replace(p, kept=kept) if p.component == "dit" else p for p in made.placements
        )
        return replace(made, placements=placements)

    def mixed() -> str:
        wishes = tuple(Wish(c.name, (rng.choice(PLACES),)) for c in card.needs.components)
        return card.digest(card.planned(Wishes(components=wishes)))

    def restored() -> str:
        resident = card.planned(Wishes(Residency.RESIDENT))
        card.digest(resident)
        assert card.pool.on_device
        card.pool.expire(0.0)
        assert not card.pool.on_device and card.device.memory_allocated() == card.pool.floor
        return card.digest(resident)

    def retried() -> str:
        swapped = card.planned(Wishes(Residency.SWAPPED))
        before = card.device.allocations  # type: ignore[attr-defined]
        card.digest(swapped)
        count = card.device.allocations - before  # type: ignore[attr-defined]
        heard: list[Event] = []
        at = card.device.allocations + rng.randint(1, count)  # type: ignore[attr-defined]
        card.device.fail_at = at  # type: ignore[attr-defined]
        found = card.digest(swapped, heard.append)
        assert sum(isinstance(event, Replanned) for event in heard) == 1
        return found

    return {
        "streamed": lambda: card.digest(streamed),
        "in part": lambda: card.digest(placed(streamed)),
        "mixed": mixed,
        "restored": restored,
        "retried": retried,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, card = random.Random(args.seed), Card()
    pairs: Counter[str] = Counter()
    differ = 0
    songs = set()
    began = time.perf_counter()
    for number in range(args.requests):
        codes = "".join(f"<|audio_code_{rng.randrange(64_000)}|>" for _ in range(50))
        request = Text2Music(
            caption="slow " * rng.randint(1, 9), lyrics="la\n" * rng.randint(0, 9),
            duration=rng.uniform(10, 14), inference_steps=rng.randint(1, 3),
            seeds=tuple(rng.randrange(1 << 32) for _ in range(rng.choice((1, 1, 2)))),
            audio_codes=rng.choice(("", codes)),
        )  # fmt: skip
        card.take(request)
        expected = card.digest(card.planned(Wishes(Residency.RESIDENT)))
        songs.add(expected)
        for name, way in ways(card, rng).items():
            pairs[name] += 1
            if way() != expected:
                differ += 1
                print(f"request {number}, {name}: another song", flush=True)
    card.pool.release()
    print(
        json.dumps(
            {"pairs": sum(pairs.values()), "by_way": dict(pairs), "songs": len(songs),
             "differ": differ, "seconds": round(time.perf_counter() - began, 1)}
        )
    )  # fmt: skip
    return 1 if differ or len(songs) < args.requests else 0


if __name__ == "__main__":
    sys.exit(main())
