"""How our kernels of a decoding step are best cut on this card (`FEW_SHAPES` of `lm/fused.py`).

Whole steps of a real size with random weights, recorded in a graph and replayed: as the product
cuts them, and with each of the four products cut otherwise. Kernels are compiled beforehand by
several processes.

    python benchmarks/lm_kernels.py [--size 1.7B] [--save]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
from dataclasses import asdict

import common
import torch

from headroom.device import Device, open_device
from headroom.lm import fused
from headroom.lm.cache import Cache
from headroom.lm.fused import Fused, Shape, faults
from headroom.models.acestep.cost.lm_cost import CODEBOOK
from headroom.models.acestep.networks.encoders import layer_sizes
from headroom.models.acestep.networks.released import LMS, released_lm
from headroom.nn.causal import CausalLM
from headroom.runtime.prepare import bring
from headroom.runtime.quantize import quantize
from headroom.weights.meta_modules import shapes_only

OTHERS = (
    Shape(2, 1024, 1, 2),
    Shape(2, 2048, 1, 4),
    Shape(4, 1024, 1, 2),
    Shape(4, 1024, 1, 4),
    Shape(4, 2048, 1, 4),
    Shape(8, 1024, 1, 4),
    Shape(8, 2048, 1, 8),
)
PRODUCT = dict(fused.FEW_SHAPES)
CUTS = {"product": PRODUCT} | {
    f"{kind} {cut}": {**PRODUCT, kind: cut}
    for kind, cut in itertools.product(PRODUCT, OTHERS)
    if PRODUCT[kind] != cut
}
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


def kernels(model: CausalLM, device: torch.device) -> tuple[Fused, torch.Tensor, torch.Tensor]:
    """Ready to step behind a cache of some length."""
    cache = Cache(model, ROWS, WHERE + 2 * STEPS, device)
    rope = model.rope(cache.capacity, device)
    at = torch.tensor([WHERE, WHERE // 4], device=device)
    ids = torch.tensor([17, 17], device=device)
    return Fused(model, cache, rope), ids, at


def compiled(size: str, stored: str, cut: dict[str, Shape]) -> None:
    """One step of one layer, so that its kernels lie in Triton's cache."""
    device = torch.device("cuda")
    fused.FEW_SHAPES.update(cut)
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
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    if args.processes:
        ways = list(itertools.product((args.size,), STORED, CUTS.values()))
        with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
            pool.starmap(compiled, ways, chunksize=1)
    device = open_device("cuda")
    ceiling = common.ceiling(torch.bfloat16, device.torch)
    figures = []
    with torch.inference_mode():
        for stored in STORED:
            model = network(args.size, stored, released_lm(args.size).layers, device.torch)
            read = sum(p.nbytes for p in model.parameters())
            took: dict[str, float] = {}
            for name, cut in CUTS.items():
                fused.FEW_SHAPES.update(cut)
                took[name] = milliseconds(device, model)
            for name, ms in sorted(took.items(), key=lambda item: item[1]):
                share = read / (ceiling.copy_gb_s * 1e6) / ms
                row = {"stored": stored, "cut": name, "ms": round(ms, 4)}
                figures.append({**row, "share_of_copy": round(share, 3)})
                print(figures[-1], flush=True)
            del model
    result = {"size": args.size, "ceiling": asdict(ceiling), "figures": figures}
    common.finish(f"lm_kernels_{args.size}", result, args.save)


if __name__ == "__main__":
    main()
