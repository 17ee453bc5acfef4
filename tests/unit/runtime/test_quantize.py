from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.memory.precision import CONVERTED, PRECISIONS, matrix_bytes
from headroom.models.acestep.networks.dit import DiT
from headroom.nn.blocks import Blocks
from headroom.nn.linear import Linear
from headroom.nn.qwen3 import LayerSizes, Qwen3, pack
from headroom.runtime.prepare import bring, cells, enter, leave, piece, slots, twins
from headroom.runtime.quantize import convert, precision_of, quantize
from headroom.weights.load import Checkpoint, load_weights
from support.random_dit import drawn, inputs, random_dit, small_config, velocity

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
CPU, META = torch.device("cpu"), torch.device("meta")
# Of a small network's whole output with random weights.
CLOSE = {"int8": 0.999, "fp8": 0.99, "w8a8": 0.999, "int4": 0.95}


def qwen3() -> Qwen3:
    sizes = LayerSizes(64, 96, 4, 2, 16, 1e-6, 1e6)
    network = Qwen3(sizes, 2, 50).requires_grad_(False)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.15)
    return network


def linears(part: nn.Module) -> list[Linear]:
    return [module for module in part.modules() if isinstance(module, Linear)]


def cosine(a: Tensor, b: Tensor) -> float:
    return float(F.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))


def single(rows: int, columns: int, dtype: torch.dtype) -> Linear:
    layer = Linear(columns, rows).to(dtype)
    nn.init.normal_(layer.weight)
    return layer


@pytest.mark.parametrize("dtype", [BF16, FP32], ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", [(1, 2), (3, 10), (7, 96), (5, 128), (48, 200), (2, 2560)])
def test_stored_bytes_are_as_stated(shape: tuple[int, int], precision: str, dtype: torch.dtype):
    layer = single(*shape, dtype)
    if precision in CONVERTED:
        convert(layer, precision)
    stored, scales = matrix_bytes(*shape, precision, dtype.itemsize)
    assert layer.weight.nbytes == stored
    assert (0 if layer.scale is None else layer.scale.nbytes) == scales
    assert layer.scale is None or layer.scale.dtype == dtype


def test_int8_halves_what_the_blocks_of_a_network_take():
    dit = random_dit(dtype=BF16)

    def held() -> int:
        return sum(t.nbytes for m in linears(dit) for t in m.parameters())

    before, rows = held(), sum(m.weight.shape[0] for m in linears(dit))
    quantize(dit, "int8")
    assert held() == before // 2 + 2 * rows


@pytest.mark.parametrize("dtype", [BF16, FP16, FP32], ids=str)
@pytest.mark.parametrize("precision", CONVERTED)
def test_no_weight_is_further_off_than_its_precision_allows(precision: str, dtype: torch.dtype):
    torch.manual_seed(3)
    layer = single(300, 256, dtype)
    layer.weight.data *= torch.logspace(-4, 1, 300)[:, None].to(dtype)
    layer.weight.data[5] = 0
    plain = layer.weight.double()
    convert(layer, precision)
    assert layer.scale is not None and bool((layer.scale > 0).all())
    if precision == "int4":
        scale = layer.scale.double().repeat_interleave(128, 1)
        low, high = layer.weight % 16, layer.weight // 16
        value = torch.stack((low, high), -1).flatten(1).double() - 8
    else:
        scale, value = layer.scale.double()[:, None], layer.weight.double()
    # Half a step; one more eighth of it where the scale was rounded down and the largest is cut.
    allowed = value.abs() * 2**-4 + 2**-10 if precision == "fp8" else torch.tensor(0.5)
    assert bool(((value * scale - plain).abs() <= scale * (allowed + 0.51 - 0.38)).all())
    assert not value[5].any()
    steps = {"int8": 127, "w8a8": 127, "fp8": 448, "int4": 7}[precision]
    assert float(value.abs().max()) == steps


def test_only_products_of_repeated_blocks_are_converted():
    dit = random_dit(dtype=BF16)
    before = {name: (t.dtype, t.data_ptr()) for name, t in dit.named_parameters()}
    quantize(dit, "int8")
    changed = {n for n, t in dit.named_parameters() if (t.dtype, t.data_ptr()) != before.get(n)}
    blocks = [n for n, m in dit.named_modules() if isinstance(m, Blocks)]
    assert blocks and changed == {
        f"{name}.{leaf}"
        for name, module in dit.named_modules()
        if isinstance(module, Linear)
        for leaf in ("weight", "scale")
    }
    assert all(name.startswith(tuple(blocks)) for name in changed)
    outside = Linear(8, 8)
    quantize(outside, "int8")
    quantize(object(), "int8")
    assert outside.scale is None


@pytest.mark.parametrize("precision", CONVERTED)
def test_converting_again_changes_nothing_and_to_another_is_refused(precision: str):
    network = qwen3()
    quantize(network, precision)
    held = {name: (id(t), t.clone()) for name, t in network.named_parameters()}
    quantize(network, precision)
    assert {name: id(t) for name, t in network.named_parameters()} == {
        name: key for name, (key, _) in held.items()
    }
    assert {precision_of(m) for m in linears(network)} == {precision}
    other = next(name for name in CONVERTED if name != precision)
    with pytest.raises(ValueError, match=f"in {precision} cannot become {other}"):
        quantize(network, other)


def test_a_refusal_leaves_everything_as_it_was():
    network = qwen3()
    convert(linears(network)[-1], "fp8")
    with pytest.raises(ValueError, match="fp8"):
        quantize(network, "int8")
    assert all(m.scale is None for m in linears(network)[:-1])
    with pytest.raises(ValueError, match="int3"):
        quantize(network, "int3")


@pytest.mark.parametrize("precision", CONVERTED)
def test_networks_stay_close_to_themselves(precision: str):
    torch.manual_seed(4)
    dit, text = random_dit(), qwen3()
    ids, lengths = pack([[1, 2, 3, 4, 5], [6, 7]], CPU)
    with torch.no_grad():
        before = velocity(dit, [20, 14]), text(ids, lengths)
        quantize(dit, precision)
        quantize(text, precision)
        after = velocity(dit, [20, 14]), text(ids, lengths)
    for plain, rounded in zip(before, after, strict=True):
        assert not torch.equal(plain, rounded)
        assert cosine(plain, rounded) >= CLOSE[precision]


@pytest.mark.parametrize("precision", CONVERTED)
def test_going_to_a_device_and_back_keeps_every_tensor(precision: str):
    dit = random_dit(dtype=BF16)
    quantize(dit, precision)
    where = {name: id(t) for name, t in dit.named_parameters()}
    with torch.no_grad():
        alone = velocity(dit, [20])
        places = slots(dit)
        made = cells(places)
        same = twins(places, made)
        for _ in range(2):
            enter(piece(made), same, CPU)
            attention = next(m.self_attn for m in dit.layers)
            assert attention.qkv is not None and attention.qkv_scale is not None
            joined = velocity(dit, [20])
            leave(made, same)
            assert attention.qkv is None and attention.qkv_scale is None
        assert cosine(alone, joined) > 0.9999
        assert {name: id(t) for name, t in dit.named_parameters()} == where
        assert torch.equal(velocity(dit, [20]), alone)


@pytest.mark.parametrize("precision", CONVERTED)
def test_a_network_without_values_has_the_same_tensors(precision: str):
    real, shape = random_dit(dtype=BF16), random_dit(device="meta", dtype=BF16)
    for dit in (real, shape):
        quantize(dit, precision)
    layout, modulation, cross, context = inputs(shape, [20])
    x = drawn(shape, 1, 20, 8)
    assert shape(x, context, modulation.at(0), cross, layout, False).shape == (1, 20, 8)

    def said(dit: DiT) -> dict[str, tuple[torch.Size, torch.dtype]]:
        return {name: (t.shape, t.dtype) for name, t in dit.named_parameters()}

    assert said(real) == said(shape)
    bring(shape, META)


def test_weights_mapped_from_a_file_are_converted_and_the_file_is_not(tmp_path: Path):
    dit = random_dit(dtype=BF16)
    file = tmp_path / "model.safetensors"
    save_file(dit.state_dict(), file)
    written = file.read_bytes()
    with torch.device("meta"):
        mapped = DiT(small_config())
    load_weights(mapped, Checkpoint.open(tmp_path))
    for network in (dit, mapped):
        quantize(network, "int8")
    for name, tensor in mapped.state_dict().items():
        assert torch.equal(tensor, dit.state_dict()[name])
    assert file.read_bytes() == written


def test_names_of_weights_as_released_are_those_of_plain_linears():
    plain = random_dit()
    names = set(plain.state_dict())
    assert not [name for name in names if "scale" in name and "scale_shift_table" not in name]
    quantize(plain, "int8")
    added = set(plain.state_dict()) - names
    assert len(added) == len(linears(plain)) and all(name.endswith(".scale") for name in added)


@pytest.fixture
def torchao_int8() -> Callable[[Tensor], tuple[Tensor, Tensor, nn.Module]]:
    """torchao's int8 weight-only form of a matrix: numbers, a step a row, and its module."""
    quantization = pytest.importorskip("torchao.quantization")

    def get(matrix: Tensor) -> tuple[Tensor, Tensor, nn.Module]:
        layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False, dtype=matrix.dtype)
        layer.weight = nn.Parameter(matrix.clone(), requires_grad=False)
        holder = nn.Sequential(layer)
        quantization.quantize_(holder, quantization.Int8WeightOnlyConfig())
        return layer.weight.qdata, layer.weight.scale, holder  # type: ignore[return-value]

    return get


@pytest.mark.parametrize("dtype", [BF16, FP32], ids=str)
def test_int8_agrees_with_torchao(
    torchao_int8: Callable[[Tensor], tuple[Tensor, Tensor, nn.Module]], dtype: torch.dtype
):
    torch.manual_seed(5)
    layer = single(96, 256, dtype)
    plain = layer.weight.detach().clone()
    theirs, steps, module = torchao_int8(plain)
    convert(layer, "int8")
    assert layer.scale is not None
    # The largest is 127 here and 127.5 there, so numbers differ by 1 at most.
    assert int((layer.weight.int() - theirs.int()).abs().max()) <= 1
    torch.testing.assert_close(
        layer.scale.float() * 127, steps.flatten() * 127.5, rtol=4e-3, atol=0
    )

    def error(value: Tensor, scale: Tensor) -> float:
        return float((value.double() * scale.double() - plain.double()).norm())

    assert error(layer.weight, layer.scale[:, None]) <= 1.02 * error(theirs, steps)
    for rows in (1, 30):
        x = torch.randn(rows, 256, dtype=dtype)
        assert cosine(layer(x), module(x)) >= 0.9999
