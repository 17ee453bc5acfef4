from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from headroom.memory.precision import CONVERTED
from headroom.nn import linear
from headroom.nn.attention import MLP, Attention
from headroom.nn.linear import FEW_ROWS, Linear
from headroom.runtime.prepare import bring
from headroom.runtime.quantize import convert

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
CPU, META = torch.device("cpu"), torch.device("meta")
# Of a product of random numbers with weights as they were; measured 0.99997, 0.9997, 0.99995 and
# 0.994 (rounding to 4 bits with the largest of 128 at 7: a step is 0.37 standard deviations).
CLOSE = {"int8": 0.9999, "fp8": 0.999, "w8a8": 0.9999, "int4": 0.99}


def made(columns: int, rows: int, dtype: torch.dtype, seed: int = 0) -> Linear:
    layer = Linear(columns, rows).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(layer.weight, std=columns**-0.5, generator=generator)
    return layer


def drawn(*shape: int, dtype: torch.dtype = FP32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7)).to(dtype)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(F.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))


def restored(layer: Linear) -> Tensor:
    """The matrix that converted weights stand for, in float64."""
    assert layer.scale is not None
    scale = layer.scale.double()
    if layer.weight.dtype != torch.uint8:
        return layer.weight.double() * scale[:, None]
    rows, half = layer.weight.shape
    whole = torch.empty(rows, 2 * half, dtype=torch.float64)
    for byte in range(half):
        whole[:, 2 * byte] = (layer.weight[:, byte] % 16).double() - 8
        whole[:, 2 * byte + 1] = (layer.weight[:, byte] // 16).double() - 8
    return whole * scale.repeat_interleave(2 * half // scale.shape[1], 1)


@pytest.mark.parametrize("dtype", [BF16, FP16, FP32], ids=str)
@pytest.mark.parametrize("precision", CONVERTED)
def test_a_converted_product_stays_close_to_the_one_it_stands_for(
    precision: str, dtype: torch.dtype
):
    layer = made(256, 96, dtype)
    for rows in (1, FEW_ROWS, FEW_ROWS + 1, 40):
        x = drawn(rows, 256, dtype=dtype)
        plain = F.linear(x, layer.weight)
        converted = made(256, 96, dtype)
        convert(converted, precision)
        y = converted(x)
        assert y.dtype == dtype and y.shape == plain.shape
        assert cosine(y, plain) >= CLOSE[precision]


@pytest.mark.parametrize("dtype", [BF16, FP16, FP32], ids=str)
@pytest.mark.parametrize("precision", ["int8", "fp8", "int4"])
def test_a_product_is_one_with_the_matrix_its_tensors_stand_for(precision: str, dtype: torch.dtype):
    layer = made(256, 80, dtype)
    convert(layer, precision)
    for rows in (2, 30):
        x = drawn(rows, 256, dtype=dtype)
        exact = F.linear(x.double(), restored(layer))
        error = (layer(x).double() - exact).norm() / exact.norm()
        assert error <= 4 * torch.finfo(dtype).eps


def test_rounded_activations_give_exact_sums_and_rows_that_stand_alone():
    layer = made(200, 60, FP32)
    convert(layer, "w8a8")
    x = drawn(30, 200)
    x[3] = 0
    steps = x.double().abs().amax(1, keepdim=True) / 127
    rounded = (x.double() / steps.clamp_min(1e-300)).round() * steps
    exact = F.linear(rounded, restored(layer))
    y = layer(x)
    assert (y.double() - exact).norm() <= 4 * torch.finfo(FP32).eps * exact.norm()
    assert not y[3].any()
    for row in range(len(x)):
        assert torch.equal(layer(x[row : row + 1])[0], y[row])


class WrittenOut(TorchDispatchMode):
    """The largest matrix that is written out in floating point, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and not args[0].is_floating_point():
            self.most, self.count = max(self.most, out.nbytes), self.count + 1
        return out


@pytest.mark.parametrize("precision", CONVERTED)
def test_joined_projections_are_the_single_ones_on_top_of_each_other(precision: str):
    torch.manual_seed(2)
    attention, mlp = Attention(64, 4, 2, 16, 1e-6).to(BF16), MLP(64, 48).to(BF16)
    for norm in (attention.q_norm, attention.k_norm):
        nn.init.ones_(norm.weight)
    for part in (attention, mlp):
        for module in part.modules():
            if isinstance(module, Linear):
                convert(module, precision)
    few, many = drawn(5, 64, dtype=BF16), drawn(40, 64, dtype=BF16)
    single = [(attention.query(x), *attention.key_value(x), mlp(x)) for x in (few, many)]
    q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
    weights = torch.cat([each.weight.view(torch.uint8) for each in (q, k, v)])
    scales = torch.cat([each.scale for each in (q, k, v)])
    bring(attention, CPU)
    bring(mlp, CPU)
    assert attention.qkv is not None and attention.qkv_scale is not None
    assert mlp.gate_up is not None and mlp.gate_up_scale is not None
    assert torch.equal(attention.qkv.view(torch.uint8), weights)
    assert torch.equal(attention.qkv_scale, scales)
    for x, before in zip((few, many), single, strict=True):
        parts = (attention.query(x), *attention.key_value(x), mlp(x))
        assert_same(parts, before, precision)
        assert_same(attention.query_key_value(x), before[:3], precision)


def assert_same(ours: tuple[Tensor, ...], singles: tuple[Tensor, ...], how: str) -> None:
    """To the bit where sums are of integers; others may sum in another order."""
    for a, b in zip(ours, singles, strict=True):
        if how == "w8a8":
            assert torch.equal(a, b)
        else:
            off = (a.double() - b.double()).norm() / b.double().norm()
            assert off <= 4 * torch.finfo(BF16).eps


def test_a_matrix_that_was_not_converted_is_multiplied_as_ever():
    layer, x = made(48, 30, BF16), drawn(9, 48, dtype=BF16)
    assert torch.equal(layer(x), F.linear(x, layer.weight))
    assert list(layer.state_dict()) == ["weight"]
    convert(layer, "int8")
    assert list(layer.state_dict()) == ["weight", "scale"]


@pytest.mark.parametrize("precision", CONVERTED)
def test_shapes_are_known_without_values(precision: str):
    layer = Linear(256, 40).to(BF16).to(META)
    convert(layer, precision)
    assert layer.weight.is_meta and layer.scale is not None and layer.scale.is_meta
    for rows in (3, 20):
        y = layer(torch.empty(rows, 256, dtype=BF16, device=META))
        assert y.is_meta and y.shape == (rows, 40) and y.dtype == BF16


class Integers(TorchDispatchMode):
    """Rows of every integer product."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._int_mm.default:
            self.rows.append(args[0].shape[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1, 40])
def test_many_rows_are_multiplied_in_float32_where_bfloat16_is_emulated(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = made(256, 96, BF16), drawn(rows, 256, dtype=BF16)
    kinds: list[torch.dtype] = []

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func in (torch.ops.aten.mm.default, torch.ops.aten.linear.default):
                kinds.append(args[0].dtype)
            return func(*args, **(kwargs or {}))

    exact = F.linear(x.double(), layer.weight.double())
    for fast, many in ((True, BF16), (False, FP32)):
        monkeypatch.setattr(linear, "_multiplies_bfloat16", lambda fast=fast: fast)
        kinds.clear()
        with Seen():
            y = layer(x)
        assert kinds == [many if rows > FEW_ROWS else BF16] and y.dtype == BF16
        assert (y.double() - exact).norm() <= torch.finfo(BF16).eps * exact.norm()
