"""What is planned is what is alive, to the byte: random plain works at the released sizes.

2B and XL, guided and not, bf16 and int8, 10 to 600 s, 1 to 8 songs, in pieces, every decode tile;
real modules over fake tensors. Held to: no difference at all. Takes minutes (`--works N`).
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from footprint.traces import model, songs, trace

from headroom.models.acestep.requests.songs import Text2Music


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--works", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    faults = compared = 0
    for number in range(args.works):
        size, guided = rng.choice(("2b", "xl")), rng.random() < 0.5
        precision = rng.choice(("bfloat16", "int8"))
        made, device, pool = model(size, guided, "bfloat16")
        count = rng.randint(1, 8)
        asked = Text2Music(
            caption="slow " * rng.randint(1, 60),
            lyrics="la la la\n" * rng.randint(0, 150),
            duration=round(rng.uniform(10, 600), 2),
            inference_steps=2,
        )
        batch = songs(made, [asked], count)
        needs = {stage.name: stage for stage in made.footprint(batch).stages}
        denoise = [w for w in needs["denoise"].ways if w.precision == precision]
        way = rng.choice(denoise)
        decode = number % 4 == 0
        tile = rng.choice([w for w in needs["decode"].ways if w.leaves])
        found = trace(
            made, device, pool, batch, until="decode" if decode else "denoise",
            pieces=way.pieces, precision=precision, tile=tile.tile,
        )  # fmt: skip
        planned = {name: stage.ways[0].workspace for name, stage in needs.items()}
        planned |= {"denoise": way.workspace, "decode": tile.workspace}
        for name, seen in found.items():
            compared += 1
            if planned[name] != seen.peak or needs[name].result != seen.left:
                faults += 1
                print(f"{size} {precision} guided={guided} {count} x {asked.duration} s, {name}: "
                      f"planned {planned[name]}, seen {seen.peak}", flush=True)  # fmt: skip
    print(f"{args.works} works, {compared} stages compared, {faults} differ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
