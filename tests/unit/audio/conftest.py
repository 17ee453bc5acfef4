"""Disks and rights as tests of files need them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[None]:
    """Without the rights of root, for which every file can be read and written."""
    if sys.platform == "win32" or os.geteuid() != 0:
        yield
        return
    os.chown(tmp_path, 65_534, -1)
    opened = [p for p in tmp_path.parents if p.is_relative_to(Path(os.path.realpath("/tmp")))]
    modes = [(p, p.stat().st_mode) for p in opened]
    for path, mode in modes:
        path.chmod(mode | 0o111)
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in modes:
            path.chmod(mode)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 KiB. Skips where none can be mounted (root on Linux can)."""
    if not (sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount")):
        pytest.skip("only root on Linux can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
