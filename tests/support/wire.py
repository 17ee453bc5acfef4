"""Writes protocol-buffer messages: ONNX files and tokenizer models for the tests of our readers."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

CODES = {"float32": 1, "int32": 6, "int64": 7, "float16": 10, "float64": 11}
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6  # kinds of pieces


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def decimal(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def blob(field: int, value: bytes | str) -> bytes:
    data = value.encode("utf-8") if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: np.ndarray, *, floats: bool = False) -> bytes:
    dims = b"".join(number(1, size) for size in array.shape)
    head = dims + number(2, CODES[str(array.dtype)]) + blob(8, name)
    return head + blob(4 if floats else 9, np.ascontiguousarray(array).tobytes())


def node(kind: str, name: str, inputs: Sequence[str], outputs: Sequence[str] = ()) -> bytes:
    words = b"".join(blob(1, one) for one in inputs) + b"".join(blob(2, one) for one in outputs)
    return words + blob(3, name) + blob(4, kind)


def constant(name: str, output: str, array: np.ndarray) -> bytes:
    attribute = blob(1, "value") + blob(5, tensor("", array))
    return blob(2, output) + blob(3, name) + blob(4, "Constant") + blob(5, attribute)


def onnx(tensors: Mapping[str, np.ndarray], nodes: Sequence[bytes] = ()) -> bytes:
    graph = b"".join(blob(1, one) for one in nodes) + blob(2, "main")
    graph += b"".join(blob(5, tensor(name, array)) for name, array in tensors.items())
    return number(1, 8) + blob(2, "pytorch") + blob(7, graph)


def pieces_model(pieces: Sequence[tuple[str, float, int]], *, kind: int = 1) -> bytes:
    """A tokenizer.model; `kind` 1 is a unigram one."""
    out = b"".join(
        blob(1, blob(1, text) + decimal(2, score) + number(3, sort)) for text, score, sort in pieces
    )
    trainer = number(3, kind) + number(35, 1)
    normaliser = blob(1, "identity") + number(3, 1) + number(4, 0) + number(5, 1)
    return out + blob(2, trainer) + blob(3, normaliser)
