"""The planner language model on the card: graphs and what they take, steps beside the host's."""

from __future__ import annotations

from functools import partial

import torch

from gpu_check.bench import Bench, Row, drawn, near
from headroom.device.plain import Again
from headroom.lm import graphed
from headroom.lm.cache import Cache
from headroom.lm.decode import Writing, generate
from headroom.lm.fused import Fused, unfit
from headroom.lm.sample import Sampling
from headroom.models.acestep.networks.encoders import layer_sizes
from headroom.models.acestep.networks.released import released_lm
from headroom.nn.causal import CachePosition, CausalLM
from headroom.nn.qwen3 import LayerSizes
from headroom.nn.rope import Rope
from headroom.runtime.prepare import bring
from headroom.runtime.quantize import quantize

SIZE, LAYERS, WORDS = "1.7B", 3, 4000
DRY = LayerSizes(64, 96, 4, 2, 16, 1e-6, 1e6)
LENGTHS = (1, 127, 128, 129, 300, 640)  # at and around the ends of a split
SAMPLING = Sampling(0.9, 0, 0.95, 1.0)


def codes(bench: Bench) -> list[Row]:
    """What is written, what it takes, and what our own kernels say."""
    return [*_codes(bench), *_memory(bench), *_kernels(bench)]


def model(bench: Bench, dtype: torch.dtype, layers: int = LAYERS) -> CausalLM:
    """The real widths with few layers and a small vocabulary; small widths for a dry run."""
    real = bench.sizes.name != "nano"
    sizes = layer_sizes(released_lm(SIZE).sizes) if real else DRY
    return drawn(lambda: CausalLM(sizes, layers, WORDS), bench.where, dtype)


def _work(songs: int, count: int, guided: bool = True) -> tuple[Writing, torch.Tensor]:
    prompts = tuple(tuple(range(5 + n, 150 + 7 * n)) for n in range(songs))
    against = tuple(range(40, 73)) if guided else None
    uniforms = torch.rand(songs, count, generator=torch.Generator().manual_seed(3))
    return Writing(prompts, against, count, slice(1000, WORDS), SAMPLING, 2.0), uniforms


def _codes(bench: Bench) -> list[Row]:
    """In fp32 the recorded loop writes what the plain one writes."""
    network, rows = model(bench, torch.float32), list[Row]()
    record = bench.device.capture if bench.device.can_capture() else Again
    for songs in (1, 3):
        writing, chances = _work(songs, 200)
        told = partial(_nothing)
        plain = generate(network, writing, chances, bench.where, told)
        recorded = graphed.write_graphed(network, writing, chances, bench.where, told, record)
        same = bool(torch.equal(plain, recorded))
        rows.append({"check": f"codes of graphs in fp32, {songs} songs", "ok": same})
    return rows


def _kernels(bench: Bench) -> list[Row]:
    """One step of our own kernels, and of torch's, beside fp32 on the host."""
    rows: list[Row] = []
    if bench.where.type == "cpu":
        return rows
    for stored in ("bfloat16", "int8", "fp8"):
        network = model(bench, torch.bfloat16)
        if stored != "bfloat16":
            quantize(network, stored)
        bring(network, bench.where)
        exact = model(bench, torch.bfloat16)
        if stored != "bfloat16":
            quantize(exact, stored)
        why = unfit(network, 2, bench.where)
        if why is not None:
            return [{"check": "our own kernels", "ok": True, "skipped": why}]
        for count in (2, 6, 16):
            if bench.left() > 20:  # each is compiled anew
                rows.append(_step(bench, network, exact, stored, count))
    return rows


def _step(bench: Bench, network: CausalLM, exact: CausalLM, stored: str, count: int) -> Row:
    draw = torch.Generator().manual_seed(count)
    lengths = torch.tensor([LENGTHS[i % len(LENGTHS)] for i in range(count)])
    ids = torch.randint(0, WORDS, (count,), generator=draw)
    found: dict[str, torch.Tensor] = {}
    for name in ("ours", "torch's", "host"):
        where = torch.device("cpu") if name == "host" else bench.where
        net = exact.to("cpu").float() if name == "host" else network
        cache = Cache(net, count, max(LENGTHS) + 8, where)
        noise = torch.randn(cache.memory.shape, generator=draw.manual_seed(count))
        cache.memory.copy_(noise)
        at, rope = lengths.to(where), net.rope(cache.capacity, where)
        if name == "ours":
            found[name] = Fused(net, cache, rope).step(ids.to(where), at)
            continue
        seen = torch.arange(cache.capacity, device=where) <= at.unsqueeze(1)
        mask = torch.zeros(count, 1, 1, cache.capacity, dtype=cache.memory.dtype, device=where)
        mask.masked_fill_(~seen[:, None, None], float("-inf"))
        here = Rope(rope.cos[at], rope.sin[at])
        place = CachePosition(torch.arange(count, device=where), at, here, (mask,))
        found[name] = net.step(ids.to(where), cache.past, place)
    row = near(f"a step of ours, {stored}, {count} rows", found["ours"], found["host"], 3e-2)
    return {**row, "torchs_distance": near("", found["torch's"], found["host"], 1)["distance"]}


def _memory(bench: Bench) -> list[Row]:
    """What the loop holds beside its cache, by either loop: live at most, and in reserve."""
    if not bench.device.can_capture():
        return []
    network = model(bench, torch.bfloat16, 8)
    bring(network, bench.where)
    rows: list[Row] = []
    kernels = graphed.unfit
    for name in ("pt", "graphs", "vllm"):
        for songs in (1, 4):
            writing, chances = _work(songs, 300)
            bench.device.release()
            bench.device.reset_peak()
            live, reserve = bench.device.memory_allocated(), bench.device.memory_reserved()
            graphed.unfit = (lambda *_: "not asked for") if name == "graphs" else kernels
            try:
                if name == "pt":
                    generate(network, writing, chances, bench.where, _nothing)
                else:
                    graphed.write_graphed(
                        network, writing, chances, bench.where, _nothing, bench.device.capture
                    )
            finally:
                graphed.unfit = kernels
            rows.append(
                {
                    "loop": name,
                    "songs": songs,
                    "live_bytes": bench.device.max_memory_allocated() - live,
                    "reserved_bytes": bench.device.memory_reserved() - reserve,
                }
            )
    return rows


def _nothing(done: int, of: int) -> None:
    """Progress that nobody hears."""
