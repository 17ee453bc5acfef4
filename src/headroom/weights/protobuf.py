"""Walk protocol-buffer messages by their wire format: no schema, no code generation, no copies.

Source: Protocol Buffers documentation, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import TypeAlias

Buffer: TypeAlias = bytes | mmap

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10
_FIXED = {FIXED64: 8, FIXED32: 4}


class TornMessage(Exception):
    """Bytes that are no message; one sentence."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    value        of a number, as the bits that are stored; 0 for anything else
    start, stop  where the bytes of a text, a message or a packed list lie in the buffer
    """

    number: int
    kind: int
    value: int
    start: int
    stop: int

    def text(self, data: Buffer) -> str:
        """The field as text. Raises TornMessage."""
        try:
            return bytes(data[self.start : self.stop]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise TornMessage(f"field {self.number} is not UTF-8 text") from error

    @property
    def decimal(self) -> float:
        """A number of 32 bits as a float. Raises TornMessage for anything else."""
        if self.kind != FIXED32:
            raise TornMessage(f"field {self.number} is no number of 32 bits")
        result: float = struct.unpack("<f", self.value.to_bytes(4, "little"))[0]
        return result


def fields(data: Buffer, start: int, stop: int) -> Iterator[Field]:
    """The fields of the message in data[start:stop], in order. Raises TornMessage."""
    at = start
    while at < stop:
        key, at = varint(data, at, stop)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise TornMessage("it has a field of number 0")
        if kind == VARINT:
            value, at = varint(data, at, stop)
            yield Field(number, kind, value, at, at)
        elif kind == BYTES:
            length, at = varint(data, at, stop)
            if length > stop - at:
                raise TornMessage(f"field {number} ends behind its message")
            yield Field(number, kind, 0, at, at + length)
            at += length
        elif kind in _FIXED:
            size = _FIXED[kind]
            if size > stop - at:
                raise TornMessage(f"field {number} ends behind its message")
            yield Field(number, kind, int.from_bytes(data[at : at + size], "little"), at, at + size)
            at += size
        else:
            raise TornMessage(f"field {number} is of the unknown kind {kind}")


def varint(data: Buffer, at: int, stop: int) -> tuple[int, int]:
    """A number of variable length, and where it ends. Raises TornMessage."""
    value = 0
    for place in range(_VARINT_BYTES):
        if at >= stop:
            raise TornMessage("it is cut off within a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at
    raise TornMessage(f"a number has more than {_VARINT_BYTES} bytes")


def signed(value: int) -> int:
    """A 64-bit value with its sign."""
    return value - (1 << 64) if value >= 1 << 63 else value
