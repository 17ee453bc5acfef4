"""How our kernels of a decoding step are best cut on this card, and how much they ask for ahead.

Whole steps of a real size with random weights, recorded in a graph and replayed, every way in turn:
a cut of all four products (`FEW_SHAPES` of `lm/fused.py`) with so many bytes of the next weights
(`AHEAD`). Kernels are compiled beforehand by several processes. `--best FILE` keeps the fastest way
for `lm_decode.py --kernels FILE`.

    python benchmarks/lm_kernels.py [--size 1.7B] [--save] [--best FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import statistics
from dataclasses import asdict
from pathlib import Path

import common
import torch

from headroom.device import Device, open_device
from headroom.lm import fused
from headroom.lm.cache import Cache
from headroom.lm.fused import Fused, Shape, faults
from headroom.models.acestep.encoders import layer_sizes
from headroom.models.acestep.released import LMS, released_lm
from headroom.models.acestep.thinking_cost import CODEBOOK
from headroom.nn.causal import CausalLM
from headroom.runtime.prepare import bring
from headroom.runtime.quantize import quantize
from headroom.weights.blank import shapes_only

CUTS = (Shape(16, 256, 1, 16), Shape(32, 256, 1, 16), Shape(16, 128, 1, 8), Shape(16, 64, 1, 4))
AHEADS = (0, 8 << 20, 16 << 20)
STORED = ("bfloat16", "int8")
ROWS, WHERE, STEPS, TURNS = 2, 600, 20, 3


def network(size: str, stored: str, layers: int, device: torch.device) -> CausalLM:
    """Drawn weights, joined as on any card."""
    config = released_lm(size)
    with shapes_only():
        model = CausalLM(layer_sizes(config.sizes), layers, CODEBOOK)
    model = model.to(torch.bfloat16).to_empty(device=device).requires_grad_(False).eval()
    for tensor in model.parameters():
        tensor.fill_(1) if tensor.dim() == 1 else tensor.normal_(0, 0.02)
    if stored != "bfloat16":
        quantize(model, stored)
    bring(model, device)
    return model


def use(cut: Shape, ahead: int) -> None:
    """Let all products be cut so."""
    fused.AHEAD = ahead
    for kind in fused.FEW_SHAPES:
        fused.FEW_SHAPES[kind] = cut


def kernels(model: CausalLM, device: torch.device) -> tuple[Fused, torch.Tensor, torch.Tensor]:
    """Ready to step behind a cache of some length."""
    cache = Cache(model, ROWS, WHERE + 2 * STEPS, device)
    rope = model.rope(cache.capacity, device)
    at = torch.tensor([WHERE, WHERE // 4], device=device)
    ids = torch.tensor([17, 17], device=device)
    return Fused(model, cache, rope, slice(0, CODEBOOK)), ids, at


def compiled(size: str, stored: str, cut: Shape, ahead: int) -> None:
    """One step of one layer, so that its kernels lie in Triton's cache."""
    device = torch.device("cuda")
    use(cut, ahead)
    with torch.inference_mode():
        step, ids, at = kernels(network(size, stored, 2, device), device)
        try:
            step.step(ids, at)
        except faults() as error:  # a cut that does not fit is no result
            print(f"{stored} {cut}: {type(error).__name__}", flush=True)


def milliseconds(device: Device, model: CausalLM) -> float:
    """Of a step and its logits, replayed."""
    step, ids, at = kernels(model, device.torch)

    def work() -> None:
        for _ in range(STEPS):
            model.logits(step.step(ids, at), slice(0, CODEBOOK))

    graph = device.capture(work)
    found = []
    for _ in range(TURNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        found.append(begin.elapsed_time(end) / STEPS)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=tuple(LMS), default="1.7B")
    parser.add_argument("--processes", type=int, default=12, help="that compile; 0: none does")
    parser.add_argument("--compile-only", action="store_true", help="leave kernels in the cache")
    parser.add_argument("--best", type=Path, metavar="FILE", help="keep the fastest way")
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    ways = list(itertools.product(STORED, CUTS, AHEADS))
    if args.processes:
        with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
            pool.starmap(compiled, [(args.size, *way) for way in ways], chunksize=1)
    if args.compile_only:
        return
    device = open_device("cuda")
    ceiling = common.ceiling(torch.bfloat16, device.torch)
    figures, best = [], {}
    with torch.inference_mode():
        for stored in STORED:
            model = network(args.size, stored, released_lm(args.size).layers, device.torch)
            read = sum(p.nbytes for p in model.parameters())
            took: dict[tuple[Shape, int], float] = {}
            for cut, ahead in itertools.product(CUTS, AHEADS):
                use(cut, ahead)
                took[cut, ahead] = milliseconds(device, model)
            for (cut, ahead), ms in sorted(took.items(), key=lambda item: item[1]):
                share = read / (ceiling.copy_gb_s * 1e6) / ms
                row = {"stored": stored, **asdict(cut), "ahead_mb": ahead >> 20, "ms": round(ms, 4)}
                figures.append({**row, "share_of_copy": round(share, 3)})
                print(figures[-1], flush=True)
            cut, ahead = min(took, key=lambda way: took[way])
            best[stored] = {**asdict(cut), "ahead": ahead}
            del model
    if args.best is not None:
        args.best.write_text(json.dumps(best), encoding="utf-8")
    result = {"size": args.size, "ceiling": asdict(ceiling), "figures": figures}
    common.finish(f"lm_kernels_{args.size}", result, args.save)


if __name__ == "__main__":
    main()
