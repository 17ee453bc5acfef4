"""One denoising step of the real 2B DiT: ours and diffusers in turn, same weights, one process.

What bounds it: matrix products. A step at 30 s is 1.30 TFLOP as the reference computes it; ours
leaves out the keys and values of cross-attention, the time path and two thirds of the input
projection, which are computed once a song. The floor is what remains over the measured rate of a
matrix product of this shape; windowed and full attention come on top.

    python benchmarks/dit_step.py [--seconds 30 60] [--repeats 5] [--guided] [--compile]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import common
import torch
from peers import networks
from torch.nn import functional as F

from headroom.models.acestep.networks.dit import DiT
from headroom.runtime.compiled import compile_calls

CONDITION_ROWS = 800
RATE = 25
CACHE = Path(tempfile.gettempdir()) / "headroom-benchmarks"


def products(tokens: int, rows: int, layers: int) -> tuple[float, float]:
    """FLOPs of a step's matrix products: as diffusers does it, and ours, for the 2B sizes."""
    h, q, kv, inner = 2048, 2048, 1024, 6144
    own = h * (q + 2 * kv) + q * h + h * q + q * h + 3 * h * inner
    cached = h * 2 * kv
    attention = 2 * tokens * (tokens + rows) * q
    ours = 2 * layers * (tokens * own + attention)
    return ours + 2 * layers * rows * cached, ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0, 60.0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--guided", action="store_true", help="with guidance, as base does it")
    parser.add_argument("--compile", action="store_true", help="also our blocks compiled")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    torch.set_grad_enabled(False)
    pair = networks(dtype, whole=False)
    peer, ours, time = pair["dit"].peer, pair["dit"].ours, pair["time"].ours
    rows = torch.randn(CONDITION_ROWS, 2048).to(dtype)
    null = torch.randn(1, 1, 2048).to(dtype)
    modulation = ours.modulation(*time([0.7, 0.3]))
    cross = ours.condition(rows, [CONDITION_ROWS], null if args.guided else None)
    halves = 2 if args.guided else 1
    figures = []
    for seconds in args.seconds:
        frames = int(seconds * RATE)
        tokens = -(-frames // 2)
        x = torch.randn(1, frames, 64).to(dtype)
        source, mask = torch.randn(2, 1, frames, 64).to(dtype)
        layout = ours.layout([frames])
        context = ours.context(source, mask, layout)
        t = torch.full((halves,), 0.7, dtype=dtype)
        wide = torch.cat((source, mask), -1).expand(halves, -1, -1).contiguous()
        condition = torch.stack((rows, null.expand(1, CONDITION_ROWS, -1)[0])[:halves])

        def theirs(x=x, t=t, wide=wide, condition=condition) -> torch.Tensor:
            return peer(
                hidden_states=x.expand(halves, -1, -1),
                timestep=t,
                timestep_r=t,
                encoder_hidden_states=condition,
                context_latents=wide,
                return_dict=False,
            )[0]

        def eager(x=x, context=context, layout=layout) -> torch.Tensor:
            return ours(x, context, modulation.at(0), cross, layout, args.guided)

        gap = (theirs() - eager().view(halves, frames, 64)).norm() / theirs().norm()
        theirs_s, eager_s = "diffusers", "ours"
        took = common.alternate({theirs_s: theirs, eager_s: eager}, args.repeats)
        compiling = None
        if args.compile:
            with torch.device("meta"):
                compiled = DiT(ours.config)  # a second module over the same tensors
            compiled.load_state_dict(ours.state_dict(), assign=True)
            compile_calls(compiled.pieces(), torch.device("cpu"), CACHE)

            def fast(x=x, context=context, layout=layout, fast=compiled) -> torch.Tensor:
                return fast(x, context, modulation.at(0), cross, layout, args.guided)

            compiling = common.seconds(fast)
            again = common.alternate({theirs_s: theirs, "ours compiled": fast}, args.repeats)
            took["ours compiled"] = again["ours compiled"]
            ratio_compiled = again[theirs_s].median / again["ours compiled"].median
        weight = torch.randn(6144, 2048).to(dtype)
        packed = torch.randn(tokens * halves, 2048).to(dtype)
        product = partial(F.linear, packed, weight)
        best = min(common.seconds(product) for _ in range(9))
        rate = 2 * tokens * halves * 2048 * 6144 / best
        whole, lean = (n * halves for n in products(tokens, CONDITION_ROWS, 24))
        figure = {
            "seconds_of_audio": seconds,
            "timing_s": {name: asdict(t) for name, t in took.items()},
            "ratio": {"ours": round(took[theirs_s].median / took[eager_s].median, 3)},
            "relative_difference": float(f"{gap:.2g}"),
            "gflops_of_a_product": round(rate / 1e9, 1),
            "floor_s": round(lean / rate, 4),
            "floor_of_diffusers_s": round(whole / rate, 4),
            "first_call_with_compiling_s": compiling,
        }
        if args.compile:
            figure["ratio"]["ours compiled"] = round(ratio_compiled, 3)
        figure["over_floor"] = {n: round(t.median * rate / lean, 3) for n, t in took.items()}
        figures.append(figure)
        print(f"{seconds:g} s of audio, {tokens} tokens, {CONDITION_ROWS} condition rows")
        for name, timing in took.items():
            print(
                f"  {name:<14} {timing.median:8.3f} s, {figure['over_floor'][name]:.2f} x the floor"
            )
        print(f"  floor          {figure['floor_s']:8.3f} s; ratios {figure['ratio']}")
    name = "dit_step" + "_guided" * args.guided + "_compiled" * args.compile
    common.finish(name, {"dtype": args.dtype, "figures": figures}, args.save)


if __name__ == "__main__":
    main()
