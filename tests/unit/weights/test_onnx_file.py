"""ONNX files as weights by name: what is whole is read, anything else is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from headroom.errors import InvalidCheckpoint
from headroom.weights.onnx_file import OnnxFile
from support import wire

TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)
HALVES = np.array([0.5, -1.5], dtype=np.float16)


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    return path


def made() -> bytes:
    nodes = (
        wire.node("MatMul", "/a/MatMul", ("x", "onnx::MatMul_7"), ("y",)),
        wire.constant("/c", "c_out", np.array([3.0], dtype=np.float32)),
        wire.node("Add", "/a/Add", ("bias", "y"), ("z",)),
    )
    return wire.onnx({"onnx::MatMul_7": TABLE, "bias": HALVES}, nodes)


def test_tensors_and_the_nodes_they_enter_are_read_by_name(tmp_path: Path) -> None:
    file = OnnxFile.open(written(tmp_path, made()))
    assert file.weights_of("/a/MatMul") == ("onnx::MatMul_7",)
    assert file.weights_of("/a/Add") == ("bias",)
    assert file.nodes["/a/Add"].kind == "Add"
    assert torch.equal(file.tensor("onnx::MatMul_7"), torch.from_numpy(TABLE))
    assert torch.equal(file.tensor("bias"), torch.from_numpy(HALVES))
    assert torch.equal(file.tensor("c_out"), torch.tensor([3.0]))


def test_a_tensor_is_a_mapping_of_the_file_that_never_writes_to_it(tmp_path: Path) -> None:
    path = written(tmp_path, made())
    OnnxFile.open(path).tensor("onnx::MatMul_7").zero_()
    assert torch.equal(OnnxFile.open(path).tensor("onnx::MatMul_7"), torch.from_numpy(TABLE))


def test_floats_in_a_list_of_their_own_are_the_same(tmp_path: Path) -> None:
    graph = wire.blob(5, wire.tensor("w", TABLE, floats=True))
    file = OnnxFile.open(written(tmp_path, wire.blob(7, graph)))
    assert torch.equal(file.tensor("w"), torch.from_numpy(TABLE))


def graph_with(tensor: bytes) -> bytes:
    return wire.blob(7, wire.blob(5, tensor))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\x00" * 64, "field of number 0"),
        (b"PK\x03\x04" + b"\xff" * 40, "no ONNX file"),
        (made()[:-5], "ends behind its message"),
        (wire.number(1, 8), "0 graphs"),
        (graph_with(wire.tensor("w", TABLE)[:-4]), "ends behind its message"),
        (graph_with(wire.number(1, 99) + wire.tensor("w", TABLE)), "24 bytes for the shape"),
        (graph_with(wire.number(1, -2) + wire.tensor("w", TABLE)), "has the shape"),
        (graph_with(wire.tensor("w", TABLE) + wire.number(2, 8)), "kind 8"),
        (graph_with(wire.tensor("w", TABLE) + wire.blob(13, b"\x0a\x01a")), "another file"),
        (wire.blob(7, 2 * wire.blob(5, wire.tensor("w", TABLE))), "there twice"),
    ],
)
def test_what_is_no_whole_file_is_refused_by_name(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(InvalidCheckpoint, match=rf"(?s)net\.onnx.*{why}"):
        OnnxFile.open(written(tmp_path, data))


def test_absent_tensors_and_nodes_are_refused_by_name(tmp_path: Path) -> None:
    file = OnnxFile.open(written(tmp_path, made()))
    with pytest.raises(InvalidCheckpoint, match="no tensor w"):
        file.tensor("w")
    with pytest.raises(InvalidCheckpoint, match="no node /b"):
        file.weights_of("/b")
