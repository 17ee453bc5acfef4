"""A planner language model with drawn weights that a CPU runs in no time, and its folder.

Two layers, 64 wide, and the vocabulary of
`support.lm_tokenizer`, whose last three audio codes stand for nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from headroom.nn.causal import CausalLM
from headroom.nn.qwen3 import LayerSizes
from support.lm_tokenizer import CODES, lm_tokenizer

SIZES = LayerSizes(width=64, hidden=128, heads=4, kv_heads=2, head_dim=16, eps=1e-6, theta=1e6)
LAYERS = 2
WORDS = lm_tokenizer().get_vocab_size()
FIRST = WORDS - CODES  # the id of the first code
Layout = Literal["flat", "prefixed", "sharded"]


def draw_weights(module: nn.Module, seed: int) -> None:
    """Products keep the size of what goes through them, words weigh little beside what layers
    add to them, and some are likelier than others."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.named_parameters():
        if tensor.dim() == 1:
            tensor.data.normal_(1, 0.2, generator=generator)
            if name == "norm.weight":
                tensor.data *= 2
        else:
            reach = 0.4 if "embed_tokens" in name else 1.0
            tensor.data.normal_(0, reach * tensor.shape[-1] ** -0.5, generator=generator)


def tiny_network(seed: int = 0) -> CausalLM:
    """The network, in fp32."""
    made = CausalLM(SIZES, LAYERS, WORDS).requires_grad_(False).eval()
    draw_weights(made, seed)
    return made


def random_ids(count: int, seed: int, words: int = WORDS) -> tuple[int, ...]:
    """Tokens of a text nobody wrote."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, words, (count,), generator=generator).tolist())


def write_folder(folder: Path, layout: Layout, seed: int = 0) -> Path:
    """A model folder as transformers saves it: without the prefix `model.` and without a head, as
    the released ones are; or with the prefix; or with it and in several files."""
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    tokenizer = lm_tokenizer()
    config = Qwen3Config(
        vocab_size=WORDS, hidden_size=SIZES.width, intermediate_size=SIZES.hidden,
        num_hidden_layers=LAYERS, num_attention_heads=SIZES.heads,
        num_key_value_heads=SIZES.kv_heads, head_dim=SIZES.head_dim, max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": SIZES.theta},
        tie_word_embeddings=True, eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).eval()
    draw_weights(model.model, seed)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    wrapped.save_pretrained(folder)
    if layout == "flat":
        model.model.save_pretrained(folder)
    else:
        size = "60KB" if layout == "sharded" else "1GB"
        model.save_pretrained(folder, max_shard_size=size)
    return folder
