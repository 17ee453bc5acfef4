"""Files that a profile is written to: nothing of anybody else is replaced or half written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headroom.audio.claims import named
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
    """A file to write to, and the name that it takes on leaving.

    A file of this program that is there already is kept, and the next free number is taken; one of
    anybody else is refused. `force` replaces either. Raises InvalidOutput.
    """
    with named(path, field, force, _is_record if field == OUTPUT else _is_picture) as (held, used):
        try:
            yield held.begin(), path.with_name(held.target.name)
            held.publish(replace=used)
        except OSError as error:
            raise held.fault(error) from error


def _is_record(path: Path) -> bool:
    """Whether this program wrote it: figures of `--benchmark-output`."""
    try:
        found = read_json(path)
    except InvalidFile:
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT and "mode" in found


def _is_picture(path: Path) -> bool:
    """Whether this program drew it."""
    try:
        return MADE_BY.encode() in read_bytes(path, _PICTURE)[:_HEAD]
    except InvalidFile:
        return False
