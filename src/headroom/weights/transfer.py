"""One file: continued where it broke off, hashed as it comes, put in place in one step."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headroom import paths
from headroom.errors import DownloadFailed, InvalidOutput
from headroom.weights.client import Broken, Client
from headroom.weights.manifest import CHUNK, git_sha1_of, sha256_of

_TRIES = 5  # in a row that bring no byte

Count = Callable[[int], None]  # told every change in the number of bytes that are there


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a repository: path, size in bytes, and a checksum of its content.

    sha256    where the source states it (all large files)
    git_sha1  where it states only what git calls the content
    """

    path: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def part(self, target: Path) -> Path:
        """Where the file grows. Named by its content, so only the same content continues it."""
        mark = self.sha256 or self.git_sha1 or f"{self.size:x}"
        return target.with_name(f"{target.name}.{mark[:12]}.part")

    def fault(self, path: Path, sha256: str) -> str | None:
        """What is wrong with a file whose SHA-256 is known; None: it is the announced one."""
        size = path.stat().st_size
        if size != self.size:
            return f"{size} bytes instead of {self.size}"
        if self.sha256 and sha256 != self.sha256:
            return f"SHA-256 is {sha256}, announced was {self.sha256}"
        if self.sha256 is None and self.git_sha1 and git_sha1_of(path) != self.git_sha1:
            return f"git's SHA-1 is {git_sha1_of(path)}, announced was {self.git_sha1}"
        return None


def fetch(client: Client, url: str, remote: Remote, target: Path, count: Count) -> str:
    """Bring a file to `target`; its SHA-256 in hexadecimal.

    Raises DownloadFailed. Where the line breaks for good the part stays, to be continued by the
    next call; where the content is not the announced one the part goes. Raises InvalidOutput
    where the disk takes no more.
    """
    part = remote.part(target)
    continued = paths.exists(part)
    try:
        sha256 = _fill(client, url, remote, part, count)
        fault = remote.fault(part, sha256)
        if fault is None:
            os.replace(part, target)
            for other in target.parent.glob(f"{target.name}.*.part"):
                other.unlink()
            return sha256
        count(-part.stat().st_size)
        part.unlink()
    except OSError as error:
        raise unwritable(target, error) from error
    if continued:  # what an earlier try left may have been bad: once more from the first byte
        return fetch(client, url, remote, target, count)
    raise DownloadFailed(f"{url}: {fault}.")


def reuse(found: Path, remote: Remote, target: Path, count: Count) -> str | None:
    """Take a file that lies elsewhere on this disk instead; None where it is not the same."""
    try:
        sha256 = sha256_of(found)
        if remote.fault(found, sha256) is not None:
            return None
        target.unlink(missing_ok=True)
        os.link(found, target)
    except OSError:
        return None  # another disk, no links there: it is fetched, which always works
    count(remote.size)
    return sha256


class _Growing:
    """A part on disk: its bytes so far and their digest."""

    def __init__(self, file: BinaryIO, count: Count) -> None:
        self.file, self.count = file, count
        self.digest, self.done = hashlib.sha256(), 0
        file.seek(0)
        while piece := file.read(CHUNK):
            self._counted(piece)

    def add(self, piece: bytes) -> None:
        self.file.write(piece)
        self._counted(piece)

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate(0)
        self.count(-self.done)
        self.digest, self.done = hashlib.sha256(), 0

    def _counted(self, piece: bytes) -> None:
        self.digest.update(piece)
        self.done += len(piece)
        self.count(len(piece))


def _fill(client: Client, url: str, remote: Remote, part: Path, count: Count) -> str:
    with part.open("a+b") as file:
        growing = _Growing(file, count)
        failures = 0
        while growing.done < remote.size:
            before = growing.done
            wait, why = 0.0, "the line broke"
            try:
                _append(client, url, remote.size, growing)
            except Broken as error:
                wait, why = error.wait, str(error)
            if growing.done >= remote.size:
                break
            failures = 1 if growing.done > before else failures + 1
            if failures >= _TRIES:
                at = f"{growing.done} of {remote.size} bytes"
                raise DownloadFailed(f"{url}: {why}; given up at {at} after {failures} tries.")
            client.pause(failures - 1, wait)
        file.flush()
        os.fsync(file.fileno())
        return growing.digest.hexdigest()


def _append(client: Client, url: str, size: int, growing: _Growing) -> None:
    answer = client.get(url, growing.done)
    try:
        if answer.status == 416 or answer.start != growing.done:
            growing.restart()
        if answer.status == 416:
            return
        # One byte more than announced is read, so that a longer file is seen to be one.
        while growing.done <= size and (piece := answer.read(min(CHUNK, size + 1 - growing.done))):
            growing.add(piece)
    finally:
        answer.close()


def unwritable(target: Path, error: OSError) -> InvalidOutput:
    """What to say where the disk or its rights are in the way of a file or folder."""
    why = f"cannot be written ({error.strerror or error})"
    allowed = "a folder that can be written to"
    if error.errno == errno.ENOSPC:
        free = "the disk is full; what has come is kept and will be continued"
        why, allowed = f"cannot be finished: {free}", "a disk with room"
    elif isinstance(error, PermissionError) and paths.exists(target):
        why += "; a program that uses this model may hold it open"
    return InvalidOutput("checkpoint_dir", target, why, allowed)
