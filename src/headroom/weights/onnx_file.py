"""Read the weights of an ONNX file. Nothing in it is run, and no operation is interpreted.

The graph is read as names alone: which nodes there are, and which tensors enter them. Tensors stay
in the mapped file until they are taken. Source: ONNX, `onnx.proto`.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor

from headroom.errors import InvalidCheckpoint
from headroom.weights.header import name_of
from headroom.weights.protobuf import BYTES, VARINT, Field, TornMessage, fields, signed, varint

_GRAPH = 7  # field of a model
_NODE, _INITIALISER = 1, 5  # fields of a graph
_INPUT, _OUTPUT, _NAME, _KIND, _ATTRIBUTE = 1, 2, 3, 4, 5  # fields of a node
_VALUE = 5  # field of an attribute: a tensor
_DIMS, _DTYPE, _FLOATS, _TENSOR_NAME, _RAW, _EXTERNAL, _PLACE = 1, 2, 4, 8, 9, 13, 14
_DTYPES = {
    1: torch.float32, 6: torch.int32, 7: torch.int64, 10: torch.float16, 11: torch.float64,
    16: torch.bfloat16,
}  # fmt: skip
_FLOAT = 1
_MOST_NODES = 100_000
_MOST_TENSORS = 20_000
_MOST_DIMS = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """A tensor as the file states it; `start` is its first byte."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """An operation: its kind, and the names that enter and leave it."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class OnnxFile:
    """The weights and the nodes of a file, by name.

    Tensors are its initialisers, and the values of its constants under the names of their outputs.
    """

    def __init__(
        self,
        path: Path,
        mapped: mmap.mmap,
        tensors: Mapping[str, OnnxTensor],
        nodes: Mapping[str, OnnxNode],
    ) -> None:
        self.path, self._mapped = path, mapped
        self.tensors = MappingProxyType(dict(tensors))
        self.nodes = MappingProxyType(dict(nodes))

    @classmethod
    def open(cls, path: Path) -> OnnxFile:
        """Read what the file holds. Raises InvalidCheckpoint for anything but a whole ONNX file
        with its weights inside."""
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise InvalidCheckpoint(path.parent, [f"{path.name}: {error}"]) from error
        try:
            return cls(path, mapped, *_read_model(mapped))
        except TornMessage as error:
            fault = f"{path.name}: is no ONNX file that can be read: {error}"
            raise InvalidCheckpoint(path.parent, [fault]) from error

    def tensor(self, name: str) -> Tensor:
        """A tensor, mapped: no byte is read until it is used. Raises InvalidCheckpoint."""
        stored = self.tensors.get(name)
        if stored is None:
            raise self.fault(f"no tensor {name_of(name)}")
        count = prod(stored.shape)
        if count == 0:
            return torch.empty(stored.shape, dtype=stored.dtype)
        size = count * stored.dtype.itemsize
        raw = torch.frombuffer(self._mapped, dtype=torch.uint8, offset=stored.start, count=size)
        if stored.start % stored.dtype.itemsize:
            raw = raw.clone()
        return raw.view(stored.dtype).view(stored.shape)

    def weights_of(self, node: str) -> tuple[str, ...]:
        """The names of the tensors of the file that enter a node, in order.

        Raises InvalidCheckpoint if there is no such node.
        """
        found = self.nodes.get(node)
        if found is None:
            raise self.fault(f"no node {name_of(node)}")
        return tuple(name for name in found.inputs if name in self.tensors)

    def fault(self, what: str) -> InvalidCheckpoint:
        """The error for something that the file lacks."""
        return InvalidCheckpoint(self.path.parent, [f"{self.path.name}: {what}"])


def _read_model(data: mmap.mmap) -> tuple[dict[str, OnnxTensor], dict[str, OnnxNode]]:
    graphs = [f for f in fields(data, 0, len(data)) if f.number == _GRAPH and f.kind == BYTES]
    if len(graphs) != 1:
        raise TornMessage(f"it has {len(graphs)} graphs, one is needed")
    tensors: dict[str, OnnxTensor] = {}
    nodes: dict[str, OnnxNode] = {}
    for field in fields(data, graphs[0].start, graphs[0].stop):
        if field.kind != BYTES or field.number not in (_NODE, _INITIALISER):
            continue
        if field.number == _INITIALISER:
            name, tensor = _read_tensor(data, field)
            if tensor is not None:
                _add(tensors, name, tensor, _MOST_TENSORS)
            continue
        name, node, value = _read_node(data, field)
        if value is not None and node.outputs:
            _add(tensors, node.outputs[0], value, _MOST_TENSORS)
        if name:
            _add(nodes, name, node, _MOST_NODES)
    return tensors, nodes


def _add(into: dict[str, T], name: str, value: T, most: int) -> None:
    if name in into:
        raise TornMessage(f"{name_of(name)} is there twice")
    if len(into) >= most:
        raise TornMessage(f"it holds more than {most} of a kind")
    into[name] = value


def _read_node(data: mmap.mmap, span: Field) -> tuple[str, OnnxNode, OnnxTensor | None]:
    """A node's name, the node, and its value if it is a constant."""
    name, kind = "", ""
    inputs, outputs = list[str](), list[str]()
    value: OnnxTensor | None = None
    for field in fields(data, span.start, span.stop):
        if field.kind != BYTES:
            continue
        if field.number == _INPUT:
            inputs.append(field.text(data))
        elif field.number == _OUTPUT:
            outputs.append(field.text(data))
        elif field.number == _NAME:
            name = field.text(data)
        elif field.number == _KIND:
            kind = field.text(data)
        elif field.number == _ATTRIBUTE and kind in ("", "Constant"):
            value = _value(data, field) or value
    return name, OnnxNode(kind, tuple(inputs), tuple(outputs)), value


def _value(data: mmap.mmap, span: Field) -> OnnxTensor | None:
    for field in fields(data, span.start, span.stop):
        if field.number == _VALUE and field.kind == BYTES:
            return _read_tensor(data, field, constant=True)[1]
    return None


def _read_tensor(
    data: mmap.mmap, span: Field, constant: bool = False
) -> tuple[str, OnnxTensor | None]:
    """A tensor and its name; no tensor for a constant in a form that holds no weights."""
    name, code, dims = "", 0, list[int]()
    body: Field | None = None
    outside = False
    for field in fields(data, span.start, span.stop):
        if field.number == _DIMS:
            dims += _numbers(data, field)
        elif field.number == _DTYPE and field.kind == VARINT:
            code = field.value
        elif field.number == _TENSOR_NAME:
            name = field.text(data)
        elif field.kind == BYTES and field.number in (_RAW, _FLOATS):
            body = field
        elif field.number == _EXTERNAL or (field.number == _PLACE and field.value):
            outside = True
    if constant and (body is None or outside or code not in _DTYPES):
        return name, None
    if outside:
        raise TornMessage(f"{name_of(name)} lies in another file")
    if code not in _DTYPES or (body is not None and body.number == _FLOATS and code != _FLOAT):
        raise TornMessage(f"{name_of(name)} is of the kind {code}, which holds no weights")
    if len(dims) > _MOST_DIMS or any(dim < 0 for dim in dims):
        raise TornMessage(f"{name_of(name)} has the shape {dims[:_MOST_DIMS]}")
    dtype = _DTYPES[code]
    start, size = (span.stop, 0) if body is None else (body.start, body.stop - body.start)
    if prod(dims) * dtype.itemsize != size:
        raise TornMessage(f"{name_of(name)} has {size} bytes for the shape {dims}")
    return name, OnnxTensor(tuple(dims), dtype, start)


def _numbers(data: mmap.mmap, field: Field) -> list[int]:
    """Whole numbers of a field, one or a packed list."""
    if field.kind == VARINT:
        return [signed(field.value)]
    numbers, at = list[int](), field.start
    while at < field.stop:
        number, at = varint(data, at, field.stop)
        numbers.append(signed(number))
    return numbers
