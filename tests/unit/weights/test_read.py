"""What is kept as it is stored is mapped; what something else is made of is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from headroom.errors import InvalidCheckpoint
from headroom.weights import load
from headroom.weights.load import Checkpoint, Recipe, load_weights

STORED = torch.bfloat16


@pytest.fixture
def values() -> dict[str, Tensor]:
    torch.manual_seed(2)
    return {"weight": torch.randn(4, 3).to(STORED), "bias": torch.randn(4).to(STORED)}


@pytest.fixture
def checkpoint(tmp_path: Path, values: dict[str, Tensor]) -> Checkpoint:
    save_file(values, tmp_path / "model.safetensors")
    return Checkpoint.open(tmp_path)


def linear() -> nn.Linear:
    with torch.device("meta"):
        return nn.Linear(3, 4)


def mapped(checkpoint: Checkpoint) -> bool:
    return bool(checkpoint._maps)


@pytest.mark.parametrize("dtype", [None, STORED, torch.float32, torch.float16])
def test_the_file_is_mapped_only_where_its_own_precision_is_kept(
    checkpoint: Checkpoint, values: dict[str, Tensor], dtype: torch.dtype | None
) -> None:
    net = linear()
    load_weights(net, checkpoint, dtype=dtype)
    assert mapped(checkpoint) == (dtype in (None, STORED))
    for name, value in values.items():
        assert torch.equal(net.get_parameter(name), value.to(dtype or STORED))


def test_whole_numbers_are_not_converted_and_stay_mapped(tmp_path: Path) -> None:
    save_file({"count": torch.tensor([3, 5])}, tmp_path / "model.safetensors")
    checkpoint = Checkpoint.open(tmp_path)
    net = nn.Module()
    net.register_buffer("count", torch.empty(2, dtype=torch.int64, device="meta"))
    load_weights(net, checkpoint, dtype=torch.float32)
    assert mapped(checkpoint) and net.get_buffer("count").tolist() == [3, 5]


def test_what_a_recipe_is_made_of_is_read(
    checkpoint: Checkpoint, values: dict[str, Tensor]
) -> None:
    net = linear()
    load_weights(net, checkpoint, recipes=lambda name: Recipe((name,), lambda value: value * 2))
    assert not mapped(checkpoint) and torch.equal(net.weight, values["weight"] * 2)


def test_an_empty_tensor_is_read(tmp_path: Path) -> None:
    save_file({"none": torch.empty(0, 3), "one": torch.ones(1)}, tmp_path / "model.safetensors")
    assert Checkpoint.open(tmp_path).read("none").shape == (0, 3)


def test_a_file_that_became_shorter_or_went_away_is_named(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    file = tmp_path / "model.safetensors"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 3)
    with pytest.raises(InvalidCheckpoint, match=r"model\.safetensors: has become shorter"):
        load_weights(linear(), checkpoint, dtype=torch.float32)
    file.unlink()
    with pytest.raises(InvalidCheckpoint, match=r"model\.safetensors: "):
        checkpoint.read("bias")
    with pytest.raises(InvalidCheckpoint, match="other: missing"):
        checkpoint.read("other")


@pytest.mark.parametrize("piece", [8, 64, 4096])
def test_a_tensor_that_is_converted_piece_by_piece_is_whole(
    tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PIECE", piece)
    torch.manual_seed(3)
    values = {
        "weight": torch.randn(37, 29).to(STORED),
        "bias": torch.randn(37, dtype=torch.float64),
    }
    save_file(values, tmp_path / "model.safetensors")
    with torch.device("meta"):
        net = nn.Linear(29, 37)
    load_weights(net, Checkpoint.open(tmp_path), dtype=torch.float32)
    for name, value in values.items():
        assert torch.equal(net.get_parameter(name), value.float())


def test_converting_holds_a_piece_beside_the_result(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(1 << 20, dtype=STORED)}, tmp_path / "model.safetensors")
    checkpoint, room = Checkpoint.open(tmp_path), torch.empty(4096, dtype=torch.uint8)
    sizes: list[int] = []

    class Allocated(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.empty.memory_format or "_to_copy" in str(func):
                sizes.append(out.nbytes)
            return out

    with Allocated():
        made = checkpoint.read_as("weight", torch.float32, room)
    assert sizes == [made.nbytes] == [4 << 20] and bool((made == 1).all())
