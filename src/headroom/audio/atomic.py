"""Files that are there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headroom.audio.claims import IN_USE, NEW_NAME, claim, sweep
from headroom.errors import InvalidOutput
from headroom.terminal import visible


@contextmanager
def replacing(path: str | Path, field: str = "output", force: bool = True) -> Iterator[Path]:
    """A new, empty file beside `path` to write to; on leaving, it takes the place of `path`.

    Missing folders are made, a link is followed to what it names. When anything goes wrong, an
    interruption from the keyboard included, the new file and new folders are removed and `path`
    is as it was. Raises InvalidOutput for an OSError, here or in the block, for a `path` that
    is a folder or a device or that another run writes to, and without `force` for one in use.
    """
    held = claim(path, field)
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
    """Write `value` as JSON (UTF-8, indented by one, in its own order), whole or not at all.

    Raises InvalidOutput as `replacing` does; ValueError or TypeError for what JSON cannot hold,
    NaN included.
    """
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    with replacing(path, field) as temp:
        temp.write_bytes(visible(text).encode("utf-8") + b"\n")  # lone surrogates too
    return Path(path)
