"""Opens a profile's output files: written completely, and never over another program's file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headroom.audio.claims import reserved
from headroom.errors import InvalidFile
from headroom.files import read_bytes, read_json
from headroom.profiler.plot import MADE_BY
from headroom.profiler.record import FORMAT
from headroom.units import KIB, MIB

OUTPUT, PLOT = "benchmark_output", "plot"
_HEAD = 4 * KIB  # of a picture, in which its software is named
_PICTURE = 64 * MIB


@contextmanager
def place(path: Path, field: str, force: bool) -> Iterator[tuple[Path, Path]]:
    """A file to write to, and the name it gets when the block ends.

    An existing file of this program is kept, and the next free number is taken; a file of another
    program is refused. `force` replaces either. Raises InvalidOutput.
    """
    with reserved(path, field, force, _is_record if field == OUTPUT else _is_picture) as (
        held,
        used,
    ):
        try:
            yield held.begin(), path.with_name(held.target.name)
            held.publish(replace=used)
        except OSError as error:
            raise held.fault(error) from error


def _is_record(path: Path) -> bool:
    """Whether a file holds figures that this program wrote for `--benchmark-output`."""
    try:
        record = read_json(path)
    except InvalidFile:
        return False
    return isinstance(record, dict) and record.get("format") == FORMAT and "mode" in record


def _is_picture(path: Path) -> bool:
    """Whether a file is a picture that this program drew."""
    try:
        return MADE_BY.encode() in read_bytes(path, _PICTURE)[:_HEAD]
    except InvalidFile:
        return False
