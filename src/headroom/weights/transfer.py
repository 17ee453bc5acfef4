"""One file: continued where it broke off, hashed as it comes, put in place in one step.

huggingface_hub 2 does not continue inside a file; with files of 5 GB that matters.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from headroom import paths
from headroom.errors import DownloadFailed, InvalidOutput
from headroom.weights.client import Broken, Client
from headroom.weights.manifest import CHUNK, git_sha1_of

if TYPE_CHECKING:
    import httpx2

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
        mark = self.sha256 or self.git_sha1 or "unchecked"
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

    Raises DownloadFailed. Where the connection breaks for good the part stays, to be continued by
    the next call; where the content is not the announced one the part goes. Raises InvalidOutput
    where the disk takes no more.
    """
    part = remote.part(target)
    try:
        if not (remote.sha256 or remote.git_sha1):
            part.unlink(missing_ok=True)  # nobody could tell whether it is of the same content
        continued = paths.exists(part)
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
    if continued:  # what an earlier call left may have been bad: once more from the first byte
        return fetch(client, url, remote, target, count)
    raise DownloadFailed(f"{url}: {fault}.")


class _Growing:
    """A part on disk: its bytes so far, their digest, and what the server calls the content."""

    def __init__(self, file: BinaryIO, count: Count) -> None:
        self.file, self.count = file, count
        self.ranges, self.etag = True, ""
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
            broken = Broken("the connection broke")
            try:
                _append(client, url, remote.size, growing)
            except Broken as error:
                broken = error
            if growing.done >= remote.size:
                break
            failures = 1 if growing.done > before else failures + 1
            if failures >= _TRIES:
                at = f"{growing.done} of {remote.size} bytes"
                raise DownloadFailed(f"{url}: {broken}; given up at {at} after {failures} tries.")
            client.pause(failures - 1, broken)
        file.flush()
        os.fsync(file.fileno())
        return growing.digest.hexdigest()


def _append(client: Client, url: str, size: int, growing: _Growing) -> None:
    headers = {}
    if growing.done and growing.ranges:
        headers["Range"] = f"bytes={growing.done}-"
        if growing.etag:
            headers["If-Range"] = growing.etag
    with client.get(url, headers) as response:
        begins = _begins(response)
        if begins == 0:
            growing.restart()
        elif begins != growing.done:  # the next time the whole file is asked for
            growing.ranges = False
            raise Broken(f"HTTP {response.status_code} in answer to bytes from {growing.done}")
        etag = response.headers.get("ETag", "")
        growing.etag = "" if etag.startswith("W/") else etag  # If-Range takes no weak ones
        for piece in response.iter_raw():
            # One byte more than announced is kept, so that a longer file is seen to be one.
            growing.add(piece[: size + 1 - growing.done])
            if growing.done > size:
                break


def _begins(response: httpx2.Response) -> int:
    """The byte of the file that an answer begins with; -1 where it says none that makes sense."""
    if response.status_code == 200:
        return 0
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    start = span.partition("-")[0]
    known = response.status_code == 206 and unit == "bytes" and start.isdecimal()
    return int(start[:18]) if known else -1


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
