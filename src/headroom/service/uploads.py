"""Takes files out of a body while it arrives: raw, or as parts of a multipart form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from anyio.to_thread import run_sync
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from headroom.errors import InvalidRequest, TooLarge

_FIELD_BYTES = 1 << 12  # of all fields beside the file of an upload
_FIELDS = 1000  # parts of a form
_AROUND = "one file in a form of the type multipart/form-data"

Write = Callable[[bytes], None]
Open = Callable[[str, str], Write]
"""Asked for what takes the bytes of a file: the name of the field, and what its sender calls it."""


@dataclass(slots=True)
class Form:
    """A multipart form: the bytes of its files go where `open` says, the other fields are kept.

    most    bytes of all fields that are no files; `fields`: their names and values, in order
    done    whether the form is complete
    """

    open: Open
    most: int
    fields: list[tuple[str, bytes]] = field(default_factory=list)
    done: bool = False
    _headers: dict[str, str] = field(default_factory=dict)
    _header: bytes = b""
    _value: bytes = b""
    _name: str = ""
    _data: bytearray = field(default_factory=bytearray)
    _write: Write | None = None
    _size: int = 0
    _parts: int = 0

    def parser(self, boundary: bytes) -> MultipartParser:
        """A parser that fills this form. Raises FormParserError for a bad boundary."""
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part,
                "on_end": self._on_end,
            },
        )

    def _begin(self) -> None:
        self._headers, self._header, self._value = {}, b"", b""
        self._parts += 1
        if self._parts > _FIELDS:
            raise InvalidRequest("body", f"{self._parts} parts", f"at most {_FIELDS}")

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._header = self._value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._data, self._write = bytearray(), None
        if b"filename" in options:
            named = options[b"filename"].decode("utf-8", "replace")
            self._write = self.open(self._name, named)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._write is not None:
            self._write(data[start:end])
            return
        self._size += end - start
        if self._size > self.most:
            raise TooLarge("form", self.most)
        self._data += data[start:end]

    def _on_part(self) -> None:
        if self._write is None:
            self.fields.append((self._name, bytes(self._data)))

    def _on_end(self) -> None:
        self.done = True


async def read_form(pieces: AsyncIterator[bytes], content_type: str, form: Form) -> None:
    """Read a form to its end. Raises InvalidRequest for a broken one, and what `open` raises."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise InvalidRequest("Content-Type", content_type, "multipart/form-data with a boundary")
    try:
        parser = form.parser(boundary)
        async for piece in pieces:
            await run_sync(parser.write, piece)
        parser.finalize()
    except FormParserError as error:
        raise InvalidRequest("body", "a form that cannot be read", _AROUND) from error
    if not form.done:
        raise InvalidRequest("body", "a form that is not complete", _AROUND)


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a multipart form."""
    return parse_options_header(content_type)[0] == b"multipart/form-data"


async def fill(
    pieces: AsyncIterator[bytes],
    content_type: str,
    name: str | None,
    write: Write,
) -> str:
    """Write the one file in a body piece by piece; what its sender calls it.

    Raises InvalidRequest for a broken form, for none and for several files; what `write` raises.
    """
    if not is_form(content_type):
        async for piece in pieces:
            await run_sync(write, piece)
        return name or "upload"
    names: list[str] = []

    def begin(field: str, named: str) -> Write:
        names.append(named)
        if len(names) > 1:
            raise InvalidRequest("file", len(names), "one file a request")
        return write

    await read_form(pieces, content_type, Form(begin, _FIELD_BYTES))
    if not names:
        raise InvalidRequest("file", None, _AROUND)
    return name or names[0] or "upload"
