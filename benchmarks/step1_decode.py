"""Audio codes a second of Step1, the language model of speech: ours, transformers', the floor.

The real sizes with random weights, the same tensors in both, in one process and in turn, a few
layers: the time of a layer is the difference between two numbers of layers, and 32 of them and the
head are the model. The peer is transformers' Llama over its dynamic cache without rotation, whose
attention adds the bias as the published model code does: for every layer at every step the whole
matrix of all heads is made, and keys are repeated for each query head. Logits are compared first.
The floor is the weights that a code needs over a measured copy.

    python benchmarks/step1_decode.py [--context 1000] [--steps 8] [--repeats 5] [--save]
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace

import common
import torch
from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.modeling_utils import AttentionInterface

from headroom.lm.decode import CachedRows
from headroom.models.stepaudio.networks.config import RELEASED, Step1Sizes
from headroom.models.stepaudio.networks.step1 import Step1, slopes
from headroom.models.stepaudio.text.audio_ids import AUDIO_START, AUDIO_STOP, GROUP, GROUP_SECONDS
from headroom.weights.meta_modules import shapes_only

LAYERS = (1, 3)
WORDS = slice(0, AUDIO_STOP)
NEAR = 1e-3  # of logits of about 1
CPU = torch.device("cpu")


def ours(sizes: Step1Sizes) -> Step1:
    """The network with drawn weights."""
    with shapes_only():
        model = Step1(sizes)
    model = model.to_empty(device=CPU).requires_grad_(False).eval()
    draw = torch.Generator().manual_seed(0)
    for tensor in model.parameters():
        if tensor.dim() == 1:
            tensor.fill_(1)
        else:
            tensor.normal_(0, 0.02, generator=draw)
    return model


def published(
    module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **more: object
) -> tuple[Tensor, None]:
    """Attention [1, heads, n, D] over all keys, with the bias made anew as published."""
    heads, seen, count = q.shape[1], k.shape[2], q.shape[2]
    k, v = (one.repeat_interleave(heads // one.shape[1], dim=1) for one in (k, v))
    place = torch.arange(seen)
    distance = place[:, None] - place[None]
    steep = torch.tensor(slopes(heads))[:, None, None]
    bias = -steep * distance.clamp(min=0).float().sqrt()
    bias = bias.masked_fill(distance < 0, float("-inf"))[:, seen - count :]
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5 + bias
    out = torch.softmax(scores.float(), -1).to(q.dtype) @ v
    return out.transpose(1, 2).contiguous(), None


class Unrotated(nn.Module):
    """A rotation by nothing."""

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        shape = (*position_ids.shape, RELEASED.head_dim)
        return torch.ones(shape), torch.zeros(shape)


def peer(model: Step1) -> LlamaForCausalLM:
    """transformers' network over the same tensors."""
    s = model.sizes
    AttentionInterface.register("published", published)
    config = LlamaConfig(
        hidden_size=s.width, intermediate_size=s.hidden, num_hidden_layers=s.layers,
        num_attention_heads=s.heads, num_key_value_heads=s.kv_heads, vocab_size=s.vocabulary,
        rms_norm_eps=s.eps, max_position_embeddings=s.most_tokens, tie_word_embeddings=False,
        attn_implementation="published",
    )  # fmt: skip
    with torch.device("meta"):
        made = LlamaForCausalLM(config)
    state = {n if n.startswith("lm_head") else f"model.{n}": t
             for n, t in model.state_dict().items()}  # fmt: skip
    made.load_state_dict(state, assign=True)
    made.model.rotary_emb = Unrotated()
    return made.eval()


def measured(layers: int, context: int, steps: int, repeats: int) -> dict[str, float]:
    """Seconds of a step behind a context, ours and the peer's."""
    model = ours(replace(RELEASED, layers=layers))
    other = peer(model)
    draw = torch.Generator().manual_seed(1)
    prompt = torch.randint(AUDIO_START, AUDIO_STOP, (context,), generator=draw)
    token = torch.tensor([AUDIO_START])
    most = steps * (repeats + 2)
    rows = CachedRows(model, (prompt.tolist(),), most, CPU)
    hidden = rows.read((prompt.tolist(),))
    cache = DynamicCache()
    with torch.inference_mode():
        theirs = other(prompt[None], past_key_values=cache, logits_to_keep=1).logits[0, -1]
    difference = float((model.logits(hidden, WORDS)[0] - theirs[WORDS]).abs().max())
    assert difference < NEAR, f"logits differ by {difference}"

    def our_steps() -> None:
        for _ in range(steps):
            model.logits(rows.feed(token), WORDS)

    def their_steps() -> None:
        with torch.inference_mode():
            for _ in range(steps):
                other(token[None], past_key_values=cache, logits_to_keep=1)

    took = common.alternate({"ours": our_steps, "transformers": their_steps}, repeats)
    return {name: one.median / steps for name, one in took.items()} | {"difference": difference}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--context", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    few, many = (measured(n, args.context, args.steps, args.repeats) for n in LAYERS)
    ceiling = common.ceiling(torch.float32)
    whole: dict[str, float] = {}
    for name in ("ours", "transformers"):
        layer = (many[name] - few[name]) / (LAYERS[1] - LAYERS[0])
        whole[name] = few[name] + (RELEASED.layers - LAYERS[0]) * layer
    with shapes_only():
        each = sum(p.numel() for p in Step1(replace(RELEASED, layers=1)).layers.parameters())
    read = 4 * (RELEASED.layers * each + AUDIO_STOP * RELEASED.width)
    floor = read / (ceiling.copy_gb_s * 1e9 / 2)  # a host copies both ways
    real_time = GROUP / GROUP_SECONDS
    common.finish(
        "step1_decode",
        {
            "context": args.context,
            "codes_a_second": {n: round(1 / t, 3) for n, t in whole.items()},
            "of_real_time": {n: round(1 / t / real_time, 4) for n, t in whole.items()},
            "times_the_peer": round(whole["transformers"] / whole["ours"], 2),
            "share_of_the_floor": round(floor / whole["ours"], 3),
            "seconds_of_few_layers": {str(n): m for n, m in zip(LAYERS, (few, many), strict=True)},
            "ceiling": asdict(ceiling),
        },
        args.save,
    )


if __name__ == "__main__":
    main()
