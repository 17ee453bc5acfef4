"""A decoding step of a few rows through kernels of our own, where Triton is found.

The step is `CausalLM.step` over the same weights and the same cache; what is rounded in between
differs. Rows of different lengths each see their own row and no more, so one recording serves a
whole cache.
"""

from __future__ import annotations

import importlib.util
import subprocess
from dataclasses import dataclass
from importlib import metadata

import torch
from torch import Tensor

from headroom.lm.cache import Cache
from headroom.lm.cost import SPLIT
from headroom.nn.causal import CausalLM
from headroom.nn.qwen3 import Layer
from headroom.nn.rope import Rope

MOST_ROWS = 64
FEW_ROWS = 4  # up to so many, reading the weights hides the arithmetic
BLOCK = 64  # positions in a split of attention, attended to together
TILE = 16  # the fewest rows of a matrix product
STORED = (torch.bfloat16, torch.int8, torch.float8_e4m3fn)
OLDEST = (3, 4)  # the first Triton whose kernels can start early


@dataclass(frozen=True, slots=True)
class Shape:
    """How a product is tiled: rows of the weight a program, columns at a time (at most), loads in
    flight, warps. `benchmarks/lm_kernels.py` measures them."""

    block_n: int
    block_k: int
    stages: int
    warps: int


SHAPES = {
    "joined": Shape(32, 256, 3, 4),
    "out": Shape(16, 256, 5, 4),
    "gated": Shape(64, 256, 3, 4),
    "down": Shape(16, 256, 5, 4),
}
FEW_SHAPES = {
    "joined": Shape(4, 1024, 1, 2),
    "out": Shape(4, 2048, 1, 4),
    "gated": Shape(2, 1024, 1, 2),
    "down": Shape(2, 2048, 1, 4),
}


def unfit(model: CausalLM, rows: int, device: torch.device) -> str | None:
    """Why the kernels cannot be used here; None: they can."""
    if device.type != "cuda" or torch.version.hip is not None:
        return "they are CUDA's"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    version = metadata.version("triton")
    if tuple(int(n) for n in version.split(".")[:2]) < OLDEST:
        return f"Triton {version} is too old"
    if rows > MOST_ROWS:
        return f"{rows} rows are more than {MOST_ROWS}"
    if model.norm.weight.dtype != torch.bfloat16:
        return "they compute in bfloat16"
    for layer in layers_of(model):
        attention, mlp = layer.self_attn, layer.mlp
        if attention.qkv is None or mlp.gate_up is None:
            return "projections are not joined"
        for weight in (attention.qkv, attention.o_proj.weight, mlp.gate_up, mlp.down_proj.weight):
            if weight.dtype not in STORED or attention.q_proj.dynamic:
                return f"weights are stored as {weight.dtype}"
    return None


def faults() -> tuple[type[Exception], ...]:
    """What is raised where kernels cannot be compiled or launched (Triton calls a host compiler).

    Call it only after `unfit` returned None.
    """
    from triton.errors import TritonError

    return TritonError, RuntimeError, OSError, subprocess.CalledProcessError


def width_at_once(width: int, most: int) -> int:
    """Columns of a weight that are read together: a power of two that divides its width."""
    return min(most, width & -width)


def layers_of(model: CausalLM) -> list[Layer]:
    """Its layers."""
    return [layer for layer in model.layers if isinstance(layer, Layer)]


class Fused:
    """Steps over the rows of a cache. `step` reads and writes tensors that stay where they are."""

    def __init__(self, model: CausalLM, cache: Cache, rope: Rope) -> None:
        from headroom.nn import decode_kernels  # Triton is installed: `unfit` checked

        self._kernels, self._model, self._cache = decode_kernels, model, cache
        self._layers = layers_of(model)
        self._cos, self._sin = (t.squeeze(1).contiguous() for t in (rope.cos, rope.sin))
        s, rows = model.sizes, cache.rows
        # From Hopper on a kernel may begin while the one before it ends.
        early = torch.cuda.get_device_capability(cache.memory.device) >= (9, 0)
        self._launch = {"EARLY": early, "launch_pdl": early}
        self._tile = max(TILE, 1 << (rows - 1).bit_length())
        self._splits = -(-cache.capacity // SPLIT)

        def room(*shape: int, dtype: torch.dtype = model.norm.weight.dtype) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=cache.memory.device)

        self._x = room(rows, s.width)
        self._qkv = room(rows, (s.heads + 2 * s.kv_heads) * s.head_dim)
        self._seen = room(rows, s.heads * s.head_dim)
        self._inner = room(rows, s.hidden)
        self._partial = room(rows, s.heads, self._splits, s.head_dim, dtype=torch.float32)
        self._sizes = room(rows, s.heads, self._splits, 2, dtype=torch.float32)
        self._done = room(rows, s.kv_heads, dtype=torch.int32).zero_()

    def step(self, ids: Tensor, at: Tensor) -> Tensor:
        """One token [R] of every row, at positions [R] → final-norm hidden states [R, width]."""
        torch.index_select(self._model.embed_tokens.weight, 0, ids, out=self._x)
        for layer, past in zip(self._layers, self._cache.past, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            assert attention.qkv is not None and mlp.gate_up is not None  # `unfit` checked
            norm = layer.input_layernorm.weight
            self._product("joined", self._x, attention.qkv, attention.qkv_scale, self._qkv, norm)
            self._attend(layer, past.keys, past.values, at)
            out = attention.o_proj
            self._product("out", self._seen, out.weight, out.scale, self._x)
            norm = layer.post_attention_layernorm.weight
            self._product("gated", self._x, mlp.gate_up, mlp.gate_up_scale, self._inner, norm)
            down = mlp.down_proj
            self._product("down", self._inner, down.weight, down.scale, self._x)
        y: Tensor = self._model.norm(self._x)
        return y

    def _product(
        self,
        kind: str,
        x: Tensor,
        weight: Tensor,
        scale: Tensor | None,
        y: Tensor,
        norm: Tensor | None = None,
    ) -> None:
        width, outputs, eps = x.shape[1], y.shape[1], self._model.sizes.eps
        fixed = {
            "WIDTH": width, "OUTPUTS": outputs, "NORMED": norm is not None,
            "GATED": kind == "gated", "ADDED": kind in ("out", "down"),
            "SCALED": scale is not None,
        }  # fmt: skip
        rows = len(x)
        few = rows <= FEW_ROWS
        shape = (FEW_SHAPES if few else SHAPES)[kind]
        grid, at_once = (outputs // shape.block_n,), width_at_once(width, shape.block_k)
        if few:
            self._kernels.product_few[grid](
                x, norm, weight, scale, y, eps, **fixed, ROWS=rows,
                PADDED=1 << (rows - 1).bit_length(), BLOCK_N=shape.block_n, BLOCK_K=at_once,
                num_warps=shape.warps, **self._launch,
            )  # fmt: skip
        else:
            self._kernels.product_kernel[grid](
                x, norm, weight, scale, y, rows, eps, **fixed, ROWS=self._tile,
                BLOCK_N=shape.block_n, BLOCK_K=at_once, STAGES=shape.stages,
                num_warps=shape.warps, **self._launch,
            )  # fmt: skip

    def _attend(self, layer: Layer, keys: Tensor, values: Tensor, at: Tensor) -> None:
        s, attention = self._model.sizes, layer.self_attn
        group = s.heads // s.kv_heads
        self._kernels.attend_kernel[(len(self._x) * s.kv_heads, self._splits)](
            self._qkv, attention.q_norm.weight, attention.k_norm.weight, self._cos, self._sin, at,
            keys, values, self._seen, self._partial, self._sizes, self._done, s.eps,
            self._cache.capacity, self._splits,
            HEADS=s.heads, KV_HEADS=s.kv_heads, HALF=s.head_dim // 2, GROUP=group,
            QUERIES=max(TILE, group), CHUNK=SPLIT, BLOCK=BLOCK, num_warps=4, **self._launch,
        )  # fmt: skip
