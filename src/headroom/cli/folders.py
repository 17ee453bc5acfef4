"""Checks that files can be written into a folder, before anything is loaded."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from headroom.audio.claims import WRITABLE
from headroom.errors import InvalidOutput


def check_folder(folder: Path, path: Path, field: str) -> None:
    """Raise InvalidOutput if the folder cannot be created, or no file can be created in it."""
    try:
        steps = (folder, *folder.absolute().parents)
        there = next(step for step in steps if os.path.lexists(step))
        with tempfile.TemporaryFile(dir=there):
            pass
    except (OSError, ValueError) as error:
        why = f"cannot be written ({getattr(error, 'strerror', None) or error})"
        if isinstance(error, NotADirectoryError):
            why = f"cannot be written ({there} is no folder)"
        raise InvalidOutput(field, path, why, WRITABLE) from error
