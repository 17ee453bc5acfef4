"""The language model of the bundle while none is trained: every weight drawn from a fixed seed.

It answers in the right form, because the form is forced, and says nothing. Values are uniform, made
of the raw bits of NumPy's Philox generator by exact arithmetic, keyed by the seed and the tensor's
name, so they are the same on every machine and with every version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

SEED = 20260421
WIDTH, HIDDEN, HEADS, KV_HEADS, HEAD_DIM = 64, 128, 4, 2, 32

# Its marks are those of Qwen3, in their order, and the codes come last.
LM_SPECIAL = (
    "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start "
    "quad_end vision_start vision_end vision_pad image_pad video_pad"
).split()
LM_OTHERS = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> "
    "<|repo_name|> <|file_sep|> <tool_response> </tool_response> <think> </think>"
).split()
LM_CODES, LM_LAYERS = 512, 2
LM_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LM_MERGES = 1  # two line ends are one token, as they are in the released tokenizer
LM_VOCABULARY = 256 + LM_MERGES + len(LM_SPECIAL) + len(LM_OTHERS) + LM_CODES


@dataclass(frozen=True, slots=True)
class Draw:
    """A tensor of uniform values within center ± reach."""

    shape: tuple[int, ...]
    reach: float
    center: float = 0.0

    def values(self, name: str) -> npt.NDArray[np.float64]:
        digest = hashlib.sha256(f"{SEED} {name}".encode()).digest()
        bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
        raw = np.asarray(bits.random_raw(prod(self.shape)), dtype=np.uint64)
        unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1
        return (unit * self.reach).reshape(self.shape) + self.center


Draws = dict[str, Draw]


def matrix(out: int, fan_in: int) -> Draw:
    """A weight that keeps the variance of its input."""
    return Draw((out, fan_in), sqrt(3 / fan_in))


def norm(name: str, width: int) -> Draws:
    return {f"{name}.weight": Draw((width,), 0.1, 1.0)}


def attention(name: str, width: int) -> Draws:
    queries, keys = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    return {
        f"{name}.q_proj.weight": matrix(queries, width),
        f"{name}.k_proj.weight": matrix(keys, width),
        f"{name}.v_proj.weight": matrix(keys, width),
        f"{name}.o_proj.weight": matrix(width, queries),
        **norm(f"{name}.q_norm", HEAD_DIM),
        **norm(f"{name}.k_norm", HEAD_DIM),
    }


def mlp(name: str, width: int) -> Draws:
    return {
        f"{name}.gate_proj.weight": matrix(HIDDEN, width),
        f"{name}.up_proj.weight": matrix(HIDDEN, width),
        f"{name}.down_proj.weight": matrix(width, HIDDEN),
    }


def stack(prefix: str, layers: int, width: int) -> Draws:
    """Qwen3 layers and their final norm."""
    draws: Draws = {}
    for i in range(layers):
        layer = f"{prefix}layers.{i}"
        draws |= norm(f"{layer}.input_layernorm", width)
        draws |= norm(f"{layer}.post_attention_layernorm", width)
        draws |= attention(f"{layer}.self_attn", width) | mlp(f"{layer}.mlp", width)
    return draws | norm(f"{prefix}norm", width)


def language_model() -> Draws:
    # The head is this table too: large rows would make every token follow itself.
    table = {"embed_tokens.weight": Draw((LM_VOCABULARY, WIDTH), 0.4)}
    return table | stack("", LM_LAYERS, WIDTH)


def config() -> dict[str, object]:
    """config.json, by the names the released ones use."""
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu",
        "hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": LM_LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000, "rope_scaling": None, "attention_bias": False,
        "attention_dropout": 0.0, "max_position_embeddings": 32768, "use_sliding_window": False,
        "sliding_window": None, "tie_word_embeddings": True, "vocab_size": LM_VOCABULARY,
        "torch_dtype": "bfloat16",
    }  # fmt: skip


def letters() -> dict[int, str]:
    """What a byte-level tokenizer writes for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = {byte: chr(byte) for byte in printable}
    return symbols | {byte: chr(256 + i) for i, byte in enumerate(others)}


def tokenizer() -> dict[str, object]:
    """tokenizer.json: bytes, one merge, marks, and codes."""
    symbols = letters()
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    line = symbols[10]
    marks = [(f"<|{word}|>", True) for word in LM_SPECIAL]
    marks += [(text, False) for text in LM_OTHERS]
    marks += [(f"<|audio_code_{number}|>", False) for number in range(LM_CODES)]
    split = {"type": "Split", "pattern": {"Regex": LM_SPLIT}, "behavior": "Isolated"}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": 256 + LM_MERGES + i, "content": text, **flags, "special": special}
            for i, (text, special) in enumerate(marks)
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{**split, "invert": False}, {**level, "use_regex": False}],
        },
        "post_processor": None,
        "decoder": {**level, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {**{symbols[byte]: byte for byte in range(256)}, line * 2: 256},
            "merges": [f"{line} {line}"],
        },
    }


def rounded(draw: Draw, name: str) -> torch.Tensor:
    return torch.from_numpy(draw.values(name)).to(torch.float32).to(torch.bfloat16)


def safetensors(draws: Draws) -> bytes:
    """The file's bytes, all tensors bf16, in the order of their names."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name in sorted(draws):
        values = rounded(draws[name], name).view(torch.int16).numpy()
        start = len(data)
        data += values.astype("<i2").tobytes()
        offsets = [start, len(data)]
        shape = list(draws[name].shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)


def write(folder: Path) -> None:
    """The three files, in a folder that exists."""
    (folder / "model.safetensors").write_bytes(safetensors(language_model()))
    for name, told, indent in (("config", config(), 2), ("tokenizer", tokenizer(), 1)):
        text = json.dumps(told, indent=indent) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
