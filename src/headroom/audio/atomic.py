"""Atomic file writing: a file appears complete or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headroom.audio.claims import IN_USE, NEW_NAME, reserve, sweep
from headroom.errors import InvalidOutput
from headroom.terminal import visible


@contextmanager
def replacing(path: str | Path, field: str = "output", force: bool = True) -> Iterator[Path]:
    """Yield a new, empty file beside `path` to write to; when the block ends, it replaces `path`.

    Missing folders are created, and links are followed to their target. If anything goes wrong,
    including a keyboard interrupt, the new file and the new folders are removed and `path` stays
    unchanged. Raises InvalidOutput for an OSError, here or in the block, for a `path` that is a
    folder or a device or that another run is writing to, and, without `force`, for a `path` that
    already exists.
    """
    held = reserve(path, field)
    if held is None:
        raise InvalidOutput(field, path, "is being written by another run", "another name")
    try:
        sweep(held.target.parent)
        if held.in_use and not force:
            raise InvalidOutput(field, path, IN_USE, NEW_NAME)
        yield held.begin()
        held.publish(replace=force)
    except OSError as error:
        raise held.fault(error) from error
    finally:
        held.release()


def write_json(path: str | Path, value: object, field: str = "output") -> Path:
    """Write `value` atomically as JSON (UTF-8, indent 1, keys in their existing order).

    Raises InvalidOutput as `replacing` does; ValueError or TypeError for values that JSON cannot
    represent, including NaN.
    """
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    with replacing(path, field) as temp:
        temp.write_bytes(visible(text).encode("utf-8") + b"\n")  # escapes lone surrogates too
    return Path(path)
