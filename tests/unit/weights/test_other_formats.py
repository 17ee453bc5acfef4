"""Torch's pickles and numpy's arrays: plain numbers are read, nothing is ever run."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from headroom.errors import InvalidCheckpoint
from headroom.weights.load import Checkpoint
from headroom.weights.other_formats import (
    is_made_of,
    read_array,
    read_torch_file,
    stamp_of,
    write_folder,
)


class Poison:
    """Writes a file when it is unpickled."""

    def __init__(self, into: Path) -> None:
        self.into = into

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.into,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_tensors_are_read_by_name(tmp_path: Path, zipped: bool, wrapped: bool) -> None:
    tensors = {"a.weight": torch.randn(3, 2), "b": torch.arange(4)}
    path = tmp_path / "flow.pt"
    value = {"state_dict": tensors, "epoch": 3} if wrapped else tensors
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    read = read_torch_file(path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_poisoned_pickle_is_refused_and_does_nothing(tmp_path: Path, zipped: bool) -> None:
    path, trace = tmp_path / "flow.pt", tmp_path / "trace"
    torch.save({"a": Poison(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InvalidCheckpoint, match=r"flow\.pt: holds more than plain tensors"):
        read_torch_file(path)
    path.write_bytes(pickle.dumps(Poison(trace), protocol=2))
    with pytest.raises(InvalidCheckpoint, match=r"flow\.pt"):
        read_torch_file(path)
    assert not trace.exists()


def test_what_holds_no_tensors_by_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hift.pt"
    with pytest.raises(InvalidCheckpoint, match=r"hift\.pt: No such file"):
        read_torch_file(path)
    for value, why in (
        (torch.ones(2), "holds a Tensor"),
        ({"a": 1}, "a is a int"),
        ({"a": torch.ones(1).expand(9)}, "a has fewer values than its shape"),
    ):
        torch.save(value, path)
        with pytest.raises(InvalidCheckpoint, match=why):
            read_torch_file(path)


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flow.pt"
    torch.save({"a": torch.randn(100)}, path)
    whole = path.read_bytes()
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(InvalidCheckpoint):
            read_torch_file(path)


def test_a_table_of_numbers_is_read_without_pickles(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    table = np.random.default_rng(1).standard_normal((5, 3))
    np.save(path, table)
    assert np.allclose(read_array(path, 3).numpy(), table)
    for bad, why in (
        (table[:, :2], r"\[rows, 3\] is needed"),
        (np.arange(6).reshape(2, 3), "int64"),
        (np.array([[1.0, np.nan, 0.0]]), "not finite"),
        (np.array([[Poison(tmp_path / "trace")] * 3]), "cannot be read"),
    ):
        np.save(path, bad, allow_pickle=True)
        with pytest.raises(InvalidCheckpoint, match=why):
            read_array(path, 3)
    assert not (tmp_path / "trace").exists()


def test_converted_weights_are_known_by_the_stamp_of_their_source(tmp_path: Path) -> None:
    source = tmp_path / "flow.pt"
    source.write_bytes(b"one")
    stamp, into = stamp_of(source), tmp_path / "converted"
    assert not is_made_of(into, stamp)
    write_folder(into, {"w": torch.randn(4, 2).t()}, stamp)
    assert is_made_of(into, stamp)
    assert Checkpoint.open(into).tensor("w").shape == (2, 4)
    source.write_bytes(b"other")
    assert not is_made_of(into, stamp_of(source))
    (into / "model.safetensors").write_bytes(b"torn")
    assert not is_made_of(into, stamp)
    with pytest.raises(InvalidCheckpoint, match=r"flow\.pt"):
        source.unlink()
        stamp_of(source)
