"""What happens to a service while it works: its processes are killed, its disk is full for a while,
its clock is set back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

BACK = 7200  # seconds that the clock is set back by
# Runs first in every process of the service: the length of a file is how far the clock is set back.
_CLOCK = """
import os, time
_now = time.time
def _set_back():
    try:
        return _now() - os.stat({path!r}).st_size
    except OSError:
        return _now()
time.time = _set_back
"""


class WallClock:
    """The wall clock of processes that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "back"
        self._file.touch()
        code = folder / "code"
        code.mkdir()
        (code / "sitecustomize.py").write_text(_CLOCK.format(path=str(self._file)), "utf-8")
        before = os.environ.get("PYTHONPATH")
        paths = os.pathsep.join(filter(None, (str(code), before)))
        self.environment = {**os.environ, "PYTHONPATH": paths}

    def set_back(self, seconds: int) -> None:
        """Set it back, against the clock of the machine; 0: not at all."""
        os.truncate(self._file, seconds)


class Disk:
    """A small disk in memory, mounted at a folder. Linux only; needs the right to mount."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self._folder, self._size = folder, megabytes << 20

    @property
    def used(self) -> int:
        """Bytes."""
        disk = os.statvfs(self._folder)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize

    def fill(self) -> None:
        """From now on nothing fits any more."""
        self._resize(max(self.used, 1 << 16))

    def empty(self) -> None:
        """From now on there is room again."""
        self._resize(self._size)

    def _resize(self, size: int) -> None:
        command = ["mount", "-o", f"remount,size={size}", str(self._folder)]
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Disk | None]:
    """A disk in a folder; None where it cannot be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    made = sys.platform == "linux"
    with suppress(OSError):
        made = made and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield Disk(folder, megabytes) if made else None
    finally:
        if made:
            subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


@dataclass
class Kill:
    """Kills a process of the service with -9, at random; which it was."""

    rng: random.Random

    def __call__(self, parent: psutil.Popen) -> str:
        children = parent.children()
        victim = self.rng.choice([parent, *children, *children])
        kind = "supervisor"
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            words = victim.cmdline()
            for module in ("web_process", "engine_process"):
                if f"headroom.service.{module}" in words:
                    kind = module.replace("_", " ")
            victim.kill()
            if victim is parent:
                victim.wait()
        return kind
