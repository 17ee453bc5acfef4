from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headroom.errors import InvalidCheckpoint, WeightsMissing
from headroom.weights.load import Checkpoint, Recipe, check_complete, load_weights


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(3, 4)
        self.inner = nn.Sequential(nn.Linear(4, 2, bias=False))
        self.register_buffer("count", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("table", torch.zeros(5), persistent=False)


def meta() -> Net:
    with torch.device("meta"):
        return Net()


def tensors(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        "proj.weight": torch.randn(4, 3).to(dtype),
        "proj.bias": torch.randn(4).to(dtype),
        "inner.0.weight": torch.randn(2, 4).to(dtype),
        "count": torch.tensor([3, 5]),
    }


def single(folder: Path, values: dict[str, Tensor], name: str = "model.safetensors") -> Path:
    folder.mkdir(exist_ok=True)
    save_file(values, folder / name)
    return folder


def sharded(folder: Path, values: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    where = {}
    for i, key in enumerate(values):
        name = f"model-{i % 2 + 1:05d}-of-00002.safetensors"
        where[key] = name
    for name in set(where.values()):
        save_file({k: v for k, v in values.items() if where[k] == name}, folder / name)
    index = {"metadata": {"total_size": 0}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_every_layout_loads_the_same_tensors(tmp_path: Path) -> None:
    values = tensors()
    folders = [
        single(tmp_path / "single", values),
        single(tmp_path / "vae", values, "diffusion_pytorch_model.safetensors"),
        sharded(tmp_path / "shards", values),
        single(tmp_path / "prefixed", {f"model.{k}": v for k, v in values.items()}),
        sharded(tmp_path / "both", {f"model.{k}": v for k, v in values.items()}),
    ]
    for folder in folders:
        net = meta()
        load_weights(net, Checkpoint.open(folder))
        assert not net.training
        state = net.state_dict()
        assert state.keys() == values.keys()
        for key, value in values.items():
            assert torch.equal(state[key], value) and state[key].dtype == value.dtype
        assert all(not p.requires_grad for p in net.parameters())


def test_a_language_model_with_its_head_outside_loses_its_prefix_too(tmp_path: Path) -> None:
    values = {"model.norm.weight": torch.ones(2), "lm_head.weight": torch.ones(3, 2)}
    checkpoint = Checkpoint.open(single(tmp_path / "lm", values))
    assert set(checkpoint.stored) == {"norm.weight", "lm_head.weight"}


def test_a_prefix_that_is_not_uniform_is_a_name_of_its_own(tmp_path: Path) -> None:
    values = {"model.a": torch.ones(2), "other.b": torch.ones(3)}
    checkpoint = Checkpoint.open(single(tmp_path / "x", values))
    assert set(checkpoint.stored) == {"model.a", "other.b"}


def test_conversion_touches_floating_point_only(tmp_path: Path) -> None:
    values = tensors()
    net = meta()
    load_weights(net, Checkpoint.open(single(tmp_path / "x", values)), dtype=torch.bfloat16)
    assert torch.equal(net.proj.weight, values["proj.weight"].bfloat16())
    assert net.count.dtype == torch.int64 and net.count.tolist() == [3, 5]


def test_the_same_precision_on_a_cpu_is_the_mapping_itself(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(single(tmp_path / "x", tensors(torch.bfloat16)))
    for dtype in (None, torch.bfloat16):
        net = meta()
        load_weights(net, checkpoint, dtype=dtype)
        assert net.proj.weight.data_ptr() == checkpoint.tensor("proj.weight").data_ptr()


def test_every_type_and_shape_reads_as_the_reference_reads_it(tmp_path: Path) -> None:
    torch.manual_seed(2)
    values = {
        "bool": torch.tensor([True, False, True]),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "fp8": torch.randn(5).to(torch.float8_e4m3fn),
        "half": torch.randn(3, 1).half(),
        "bf16": torch.randn(2, 3).bfloat16(),
        "long": torch.arange(4),
        "double": torch.randn(3, dtype=torch.float64),
        "scalar": torch.tensor(2.5),
        "nothing": torch.zeros(0, 4),
    }
    checkpoint = Checkpoint.open(single(tmp_path / "x", values))
    reference = load_file(tmp_path / "x" / "model.safetensors")
    assert set(checkpoint.stored) == set(values)
    for key, wanted in reference.items():
        got = checkpoint.tensor(key)
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        if got.numel():
            assert torch.equal(
                got.reshape(-1).view(torch.uint8), wanted.reshape(-1).view(torch.uint8)
            )


def test_numbers_that_lie_askew_are_read_all_the_same(tmp_path: Path) -> None:
    values = torch.tensor([1.5, -2.0])
    head = (
        b'{"flag":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"w":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}'
    )
    data = len(head).to_bytes(8, "little") + head + b"\7" + values.numpy().tobytes()
    (tmp_path / "model.safetensors").write_bytes(data)
    checkpoint = Checkpoint.open(tmp_path)
    assert torch.equal(checkpoint.tensor("w"), values)
    assert checkpoint.tensor("flag").tolist() == [7]


def test_tensors_outlive_their_checkpoint_and_never_write_to_the_file(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(single(tmp_path / "x", tensors()))
    before = (tmp_path / "x" / "model.safetensors").read_bytes()
    one, other = checkpoint.tensor("proj.weight"), checkpoint.tensor("proj.bias")
    assert one.untyped_storage().nbytes() == 48, "a storage of its own, for whoever counts bytes"
    checkpoint.close()
    del checkpoint
    gc.collect()
    one.fill_(9)
    assert torch.equal(other, tensors()["proj.bias"])
    assert (tmp_path / "x" / "model.safetensors").read_bytes() == before


def test_a_file_that_shrinks_after_it_was_opened_is_a_sentence(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(single(tmp_path / "x", tensors()))
    path = tmp_path / "x" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidCheckpoint, match="has become shorter"):
        checkpoint.tensor("proj.weight")


def test_every_fault_is_named_at_once_with_both_shapes(tmp_path: Path) -> None:
    values = tensors()
    del values["proj.bias"]
    values["inner.0.weight"] = torch.zeros(2, 5)
    values["stray"] = torch.zeros(7)
    net = meta()
    with pytest.raises(InvalidCheckpoint) as error:
        load_weights(net, Checkpoint.open(single(tmp_path / "x", values)))
    assert error.value.faults == (
        "proj.bias: missing, the network wants [4]",
        "inner.0.weight: [2, 5] in the file, the network wants [2, 4]",
        "stray: unexpected, [7] in the file",
    )
    assert all(p.is_meta for p in net.parameters()), "nothing is assigned before all is checked"


def test_unused_names_are_let_be(tmp_path: Path) -> None:
    folder = single(tmp_path / "x", tensors() | {"stray": torch.zeros(7)})
    load_weights(meta(), Checkpoint.open(folder), unused={"stray", "another"})


def two_parts(folder: Path) -> Path:
    values = {f"{p}.{k}": v for p in ("decoder", "encoder") for k, v in tensors().items()}
    return single(folder, values | {"null": torch.zeros(1, 1, 6)})


def test_a_component_is_judged_by_its_prefix_and_the_file_as_a_whole(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(two_parts(tmp_path / "x"))
    net = meta()
    load_weights(net, checkpoint, prefix="decoder.")
    assert torch.equal(net.proj.bias, tensors()["proj.bias"])
    modules = {"decoder.": meta(), "encoder.": meta()}
    check_complete(checkpoint, modules, tensors={"null": (1, 1, 6)})
    check_complete(checkpoint, modules, unused={"null"})
    assert checkpoint.expect("null", (1, 1, 6)).shape == (1, 1, 6)
    assert checkpoint.nbytes("encoder.") == (12 + 4 + 8) * 4 + 16


def test_the_whole_file_reports_what_no_part_reads(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(two_parts(tmp_path / "x"))
    with pytest.raises(InvalidCheckpoint) as error:
        check_complete(checkpoint, {"decoder.": meta()}, tensors={"null": (1, 1, 5), "gone": (2,)})
    faults = error.value.faults
    assert "null: [1, 1, 6] in the file, the network wants [1, 1, 5]" in faults
    assert "gone: missing, the network wants [2]" in faults
    assert sum("unexpected" in fault for fault in faults) == 4
    with pytest.raises(InvalidCheckpoint, match=r"null: \[1, 1, 6\] in the file"):
        checkpoint.expect("null", (2,))
    with pytest.raises(InvalidCheckpoint, match="gone: missing"):
        checkpoint.tensor("gone")


class Folded(nn.Module):
    def __init__(self, out: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, out, 2)


def fold(g: Tensor, v: Tensor) -> Tensor:
    return v * (g / v.norm(dim=(1, 2), keepdim=True))


def weight_norm(name: str) -> Recipe | None:
    stem, _, leaf = name.rpartition(".")
    return Recipe((f"{stem}.weight_g", f"{stem}.weight_v"), fold) if leaf == "weight" else None


def test_a_parameter_can_be_made_from_several_tensors(tmp_path: Path) -> None:
    g, v, bias = torch.rand(4, 1, 1), torch.randn(4, 3, 2), torch.randn(4)
    values = {"d.conv.weight_g": g, "d.conv.weight_v": v, "d.conv.bias": bias}
    checkpoint = Checkpoint.open(single(tmp_path / "x", values))
    with torch.device("meta"):
        net, wide = Folded(), Folded(5)
    load_weights(net, checkpoint, prefix="d.", recipes=weight_norm)
    assert torch.equal(net.conv.weight, fold(g, v)) and torch.equal(net.conv.bias, bias)
    check_complete(checkpoint, {"d.": net}, recipes={"d.": weight_norm})
    with pytest.raises(InvalidCheckpoint) as error:
        load_weights(wide, checkpoint, prefix="d.", recipes=weight_norm)
    assert error.value.faults[0] == (
        "d.conv.weight: d.conv.weight_g [4, 1, 1], d.conv.weight_v [4, 3, 2] make [4, 3, 2], "
        "the network wants [5, 3, 2]"
    )


def test_tensors_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    values = {
        "conv.weight_g": torch.rand(3, 1, 1),
        "conv.weight_v": torch.randn(4, 3, 2),
        "conv.bias": torch.randn(4),
    }
    checkpoint = Checkpoint.open(single(tmp_path / "x", values))
    with torch.device("meta"):
        net = Folded()
    with pytest.raises(InvalidCheckpoint, match=r"conv\.weight: cannot be made from"):
        load_weights(net, checkpoint, recipes=weight_norm)
    values.pop("conv.weight_g")
    checkpoint = Checkpoint.open(single(tmp_path / "y", values))
    with pytest.raises(InvalidCheckpoint, match=r"conv\.weight_g: missing"):
        load_weights(net, checkpoint, recipes=weight_norm)


def test_a_folder_that_is_not_there_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="acestep models download acestep-v15-base"):
        Checkpoint.open(tmp_path / "acestep-v15-base")


def corrupt(data: bytes, how: str) -> bytes:
    length = int.from_bytes(data[:8], "little")
    head = data[8 : 8 + length]
    rest = data[8 + length :]
    match how:
        case "empty":
            return b""
        case "no header":
            return data[:5]
        case "cut in header":
            return data[:40]
        case "cut by a byte":
            return data[:-1]
        case "a byte too long":
            return data + b"\0"
        case "length":
            return b"\xff" * 8 + data[8:]
        case "not JSON":
            return data[:8] + b"?" * length + rest
        case "a list":
            return data[:8] + b"[]".ljust(length) + rest
        case "unknown type":
            return data[:8] + head.replace(b'"F32"', b'"Q32"') + rest
        case "shape against bytes":
            return data[:8] + head.replace(b"[4,3]", b"[4,4]") + rest
        case "negative":
            return data[:8] + head.replace(b"[4,3]", b"[-12]") + rest
        case "web page":
            return b"<!DOCTYPE html><html><body>404: not found</body></html>"
    raise AssertionError(how)


HOW = [
    "empty", "no header", "cut in header", "cut by a byte", "a byte too long", "length",
    "not JSON", "a list", "unknown type", "shape against bytes", "negative", "web page",
]  # fmt: skip


@pytest.mark.parametrize("how", HOW)
def test_a_torn_file_is_a_sentence(tmp_path: Path, how: str) -> None:
    folder = single(tmp_path / "x", tensors())
    path = folder / "model.safetensors"
    before = path.read_bytes()
    path.write_bytes(corrupt(before, how))
    assert path.read_bytes() != before
    with pytest.raises(InvalidCheckpoint, match=r"model\.safetensors: ") as error:
        Checkpoint.open(folder)
    assert len(error.value.faults) == 1


def test_an_index_is_held_against_its_shards(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "x", tensors())
    index = folder / "model.safetensors.index.json"
    good = json.loads(index.read_text())
    second = "model-00002-of-00002.safetensors"

    def fault(text: str) -> str:
        index.write_text(text)
        with pytest.raises(InvalidCheckpoint) as error:
            Checkpoint.open(folder)
        return "; ".join(error.value.faults)

    assert "not JSON" in fault("{")
    assert "no weight_map" in fault("[]")
    assert "no weight_map" in fault('{"weight_map": {}}')
    assert "not in a shard here" in fault('{"weight_map": {"a": "../x/other.safetensors"}}')
    assert "not in a shard here" in fault('{"weight_map": {"a": 3}}')
    moved = good["weight_map"] | {"proj.weight": second}
    assert f"proj.weight: not in {second}" in fault(json.dumps({"weight_map": moved}))
    (folder / second).unlink()
    assert f"{second}: named by" in fault(json.dumps(good))


def test_pickled_weights_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InvalidCheckpoint, match=r"holds no weights; one of model\.safetensors"):
        Checkpoint.open(tmp_path)


RSS = """
import sys, psutil, torch
from torch import nn
from headroom.weights.checkpoint import Checkpoint
from headroom.weights.load import load_weights
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.big = nn.Parameter(torch.empty(100_000_000, dtype=torch.bfloat16))
process = psutil.Process()
def rss():
    return process.memory_info().rss
def mapped():  # pages of the file alone: the system takes back others meanwhile
    return sum(area.rss for area in process.memory_maps() if area.path.startswith(sys.argv[1]))
with torch.device("meta"):
    net = Net()
checkpoint = Checkpoint.open(sys.argv[1])
before = rss()
load_weights(net, checkpoint, dtype=torch.bfloat16)
loaded, untouched = rss(), mapped()
net.big[:50_000_000].max()
print(loaded - before, untouched, mapped(), rss() - before)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="resident pages are counted otherwise")
def test_loading_reads_nothing_and_using_reads_only_what_is_used(tmp_path: Path) -> None:
    folder = single(tmp_path / "x", {"big": torch.zeros(100_000_000, dtype=torch.bfloat16)})
    out = subprocess.run(
        [sys.executable, "-c", RSS, str(folder)], capture_output=True, text=True, check=True
    ).stdout.split()
    loaded, untouched, half, whole = (int(number) for number in out)
    size = 200_000_000
    assert max(loaded, untouched) < size / 20
    assert 0.45 < half / size < 0.65, "the pages that were read count"
    assert whole / size < 0.65, "and they count once"
