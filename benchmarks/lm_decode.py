"""Audio codes a second of a planner language model, ours and transformers', beside the ceiling.

The real sizes with random weights, the same in both, in one process and in turn: codes written
behind a cache of some length, with guidance (ours as two rows of one forward, transformers' own as
two forwards) and without. A ceiling is what must be read for a code over a rate: weights and cache
over a measured copy, and the weights over torch's own product of one vector with matrices as large.
Ours is the eager loop (`pt`), and on a card the recorded one with torch's kernels (`graphs`) and
with our own (`vllm`); transformers' is `generate` over a dynamic cache, a static one, and on a card
a static one compiled.

    python benchmarks/lm_decode.py [--size 0.6B] [--lengths 150 1200] [--batch 1] [--save]
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from dataclasses import asdict

import common
import torch
from torch import Tensor
from torch.nn import functional as F

from headroom.device import Device, open_device
from headroom.lm import graphed
from headroom.lm.decode import Writing, generate
from headroom.lm.sample import Sampling
from headroom.models.acestep.cost.lm_cost import CODEBOOK, FRAME, TEXT_WORDS, component
from headroom.models.acestep.networks.encoders import layer_sizes
from headroom.models.acestep.networks.released import LMS, released_lm
from headroom.nn.causal import CausalLM
from headroom.runtime.prepare import bring
from headroom.runtime.quantize import quantize
from headroom.weights.meta_modules import shapes_only

BACKENDS, PEERS = ("pt", "graphs", "vllm"), ("dynamic", "static", "compiled")
SCALE, SAMPLING = 2.0, Sampling(0.85, 0, 0.9, 1.0)
WORDS = slice(TEXT_WORDS, TEXT_WORDS + CODEBOOK)


def ours(size: str, dtype: torch.dtype, device: torch.device) -> CausalLM:
    """The network with drawn weights."""
    config = released_lm(size)
    with shapes_only():
        model = CausalLM(layer_sizes(config.sizes), config.layers, config.vocabulary)
    model = model.to(dtype).to_empty(device=device).requires_grad_(False).eval()
    draw = torch.Generator(device=device).manual_seed(0)
    for tensor in model.parameters():
        if tensor.dim() == 1:
            tensor.fill_(1)
        else:
            tensor.normal_(0, 0.02, generator=draw)
    return model


def converted(model: CausalLM, size: str, precision: str) -> CausalLM:
    """A copy of the same weights, converted; what is not converted is shared."""
    config = released_lm(size)
    with shapes_only():
        other = CausalLM(layer_sizes(config.sizes), config.layers, config.vocabulary)
    other.load_state_dict(dict(model.named_parameters()), assign=True)
    quantize(other, precision)
    return other.requires_grad_(False).eval()


def writing(
    model: CausalLM, length: int, batch: int, guided: bool, count: int, backend: str, device: Device
) -> Tensor:
    """Ours."""
    prompt = tuple(range(1000, 1000 + length))
    against = tuple(range(500, 500 + FRAME)) if guided else None
    work = Writing((prompt,) * batch, against, count, WORDS, SAMPLING, SCALE)
    chances = torch.rand(batch, count, generator=torch.Generator().manual_seed(1))
    if backend == "pt":
        return generate(model, work, chances, device.torch, lambda done, of: None)
    kernels = graphed.unfit
    if backend == "graphs":
        graphed.unfit = lambda model, rows, device: "not asked for"
    try:
        return graphed.write_graphed(
            model, work, chances, device.torch, lambda done, of: None, device.capture
        )
    finally:
        graphed.unfit = kernels


def theirs(model: CausalLM, size: str) -> Callable[[int, int, bool, int, str], Tensor] | None:
    """transformers' `generate` over the same weights; None where it is not installed."""
    try:
        from transformers import Qwen3Config, Qwen3ForCausalLM
    except ImportError:
        return None
    sizes, layers = model.sizes, len(model.layers)
    config = Qwen3Config(
        vocab_size=released_lm(size).vocabulary, hidden_size=sizes.width,
        intermediate_size=sizes.hidden, num_hidden_layers=layers, num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads, head_dim=sizes.head_dim, rope_theta=sizes.theta,
        max_position_embeddings=40_960, tie_word_embeddings=True, eos_token_id=None,
        pad_token_id=0,
    )  # fmt: skip
    with torch.device("meta"):
        network = Qwen3ForCausalLM(config)
    network.model.load_state_dict(dict(model.named_parameters()), assign=True)
    network.tie_weights()
    network.model.rotary_emb = type(network.model.rotary_emb)(config)
    network.eval()
    device = model.norm.weight.device

    def generate(length: int, batch: int, guided: bool, count: int, cache: str) -> Tensor:
        ids = torch.arange(1000, 1000 + length, device=device).expand(batch, -1)
        more: dict[str, object] = {}
        if guided:
            negative = torch.arange(500, 500 + FRAME, device=device).expand(batch, -1)
            more = {"guidance_scale": SCALE, "negative_prompt_ids": negative}
        return network.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count,
            do_sample=True, temperature=SAMPLING.temperature, top_p=SAMPLING.top_p, top_k=0,
            cache_implementation=None if cache == "dynamic" else "static",
            disable_compile=cache != "compiled", **more,
        )  # fmt: skip

    return generate


def product_rate(size: str, dtype: torch.dtype, rounds: int, device: torch.device) -> float:
    """Bytes a second of torch's product of one vector with matrices as large as the model's."""
    s = released_lm(size).sizes
    count = max(2, (600 << 20) // (2 * s.width * s.hidden * dtype.itemsize))
    matrices = [torch.randn(s.hidden, s.width, device=device).to(dtype) for _ in range(count)]
    x = torch.randn(1, s.width, device=device).to(dtype)
    took = min(
        common.seconds(lambda: [F.linear(x, m) for m in matrices], device) for _ in range(rounds)
    )
    return sum(m.nbytes for m in matrices) / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=tuple(LMS), default="0.6B")
    parser.add_argument("--lengths", type=int, nargs="+", default=[150, 1200])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, help="timed; by default 48, on a card 400")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--plain", action="store_true", help="without guidance too")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, help="of ours")
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="caches of transformers")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    args = parser.parse_args()
    opened = open_device("cuda" if torch.cuda.is_available() else "cpu")
    device, records = opened.torch, opened.can_capture()
    args.backends = args.backends or (BACKENDS if records else BACKENDS[:1])
    args.tokens = args.tokens or (400 if records else 48)
    args.peers = (PEERS if records else PEERS[:2]) if args.peers is None else args.peers
    dtype = getattr(torch, args.dtype)
    ceiling = common.ceiling(dtype, device)
    figures = []
    with torch.inference_mode():
        rate = product_rate(args.size, dtype, 5, device)
        model = ours(args.size, dtype, device)
        small = converted(model, args.size, "int8")
        generate = theirs(model, args.size) if args.peers else None
        if records:  # as the product has them on a card: projections joined
            bring(model, device)
            bring(small, device)
        for length in args.lengths:
            for guided in (True, False) if args.plain else (True,):
                figures.append(
                    measured(args, model, small, generate, length, guided, opened, ceiling, rate)
                )
                gc.collect()
    name = f"lm_decode_{args.size}_{args.dtype}" + (f"_batch{args.batch}" if args.batch > 1 else "")
    result = {"dtype": args.dtype, "ceiling": asdict(ceiling), "figures": figures}
    common.finish(name, result, args.save)


def measured(
    args: argparse.Namespace,
    model: CausalLM,
    small: CausalLM,
    generate: Callable[[int, int, bool, int, str], Tensor] | None,
    length: int,
    guided: bool,
    device: Device,
    ceiling: common.Ceiling,
    rate: float,
) -> dict[str, object]:
    """One case: seconds of a code, by the difference between many codes and few."""
    cases: dict[str, Callable[[], object]] = {}
    batch, count = args.batch, args.tokens
    # On a card a graph is recorded in both, which takes as long as a hundred codes and varies.
    few = 8 if device.can_capture() else 1

    def add(name: str, run: Callable[[int], object]) -> None:
        cases[name] = lambda: run(count + few)
        cases[f"{name}, few"] = lambda: run(few)

    for backend in args.backends:
        for kind, network in (("", model), (" int8", small)):
            add(
                f"ours {backend}{kind}",
                lambda n, network=network, backend=backend: writing(
                    network, length, batch, guided, n, backend, device
                ),
            )
    if generate is not None:
        for cache in args.peers:
            add(
                f"transformers {cache}",
                lambda n, cache=cache: generate(length, batch, guided, n, cache),
            )
    for work in list(cases.values())[1::2]:
        work()  # once, so that nothing is first
    took = common.alternate(cases, args.repeats, device.torch)
    names = [name for name in cases if not name.endswith(", few")]
    each = {n: (took[n].median - took[f"{n}, few"].median) / count for n in names}
    weights = component(released_lm(args.size), args.dtype)
    head = CODEBOOK * model.sizes.width * model.norm.weight.element_size()
    read = sum(weights.blocks) + head
    read8 = sum(weights.form("int8").blocks) + head
    rows = batch * (1 + guided)
    cache = 2 * len(model.layers) * model.sizes.kv_heads * model.sizes.head_dim * 2
    seen = cache * (batch * (length + count / 2) + (rows - batch) * (FRAME + count / 2))
    # A card reads as fast as it copies, both ways counted; a host half of that.
    copy = ceiling.copy_gb_s * 1e9 / (1 if device.torch.type == "cuda" else 2)
    mine = [n for n in names if n.startswith("ours")]
    peer = min((each[n] for n in names if n.startswith("transformers")), default=None)
    return {
        "length": length,
        "guided": guided,
        "batch": batch,
        "codes_a_second": {n: round(batch / t, 2) for n, t in each.items()},
        "ms_a_step": {n: round(t * 1e3, 2) for n, t in each.items()},
        "times_the_best_peer": {
            n: None if peer is None else round(peer / each[n], 2) for n in mine
        },
        "gb_read_a_step": round((read + seen) / 1e9, 3),
        "share_of_copy": {
            n: round(((read8 if n.endswith("int8") else read) + seen) / copy / each[n], 3)
            for n in mine
        },
        "share_of_torchs_product": {
            n: round(read / rate / each[n], 3) for n in mine if not n.endswith("int8")
        },
        "torchs_product_gb_s": round(rate / 1e9, 2),
    }


if __name__ == "__main__":
    main()
