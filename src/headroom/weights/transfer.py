"""Download one file: resume it where it stopped, hash it as it arrives, move it into place.

huggingface_hub 2 cannot resume within a file; with files of 5 GB that matters.
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

_TRIES = 5  # in a row without receiving a byte

Count = Callable[[int], None]  # receives every change in the number of bytes present


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a repository: path, size in bytes, and a checksum of its content.

    sha256    if the source states it (all large files)
    git_sha1  if it states only git's hash of the content
    """

    path: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def part(self, target: Path) -> Path:
        """The partial file. Named by its content, so only the same content resumes it."""
        mark = self.sha256 or self.git_sha1 or "unchecked"
        return target.with_name(f"{target.name}.{mark[:12]}.part")

    def fault(self, path: Path, sha256: str) -> str | None:
        """What is wrong with a file whose SHA-256 is known; None: it matches the source's."""
        size = path.stat().st_size
        if size != self.size:
            return f"{size} bytes instead of {self.size}"
        if self.sha256 and sha256 != self.sha256:
            return f"SHA-256 is {sha256}, announced was {self.sha256}"
        if self.sha256 is None and self.git_sha1 and git_sha1_of(path) != self.git_sha1:
            return f"git's SHA-1 is {git_sha1_of(path)}, announced was {self.git_sha1}"
        return None


def fetch(client: Client, url: str, remote: Remote, target: Path, count: Count) -> str:
    """Download a file to `target`; returns its SHA-256 in hexadecimal.

    Raises DownloadFailed: if the connection fails for good, the partial file stays and the next
    call resumes it; if the content does not match the source's checksum, it is deleted. Raises
    InvalidOutput if the disk cannot be written.
    """
    part = remote.part(target)
    try:
        if not (remote.sha256 or remote.git_sha1):
            part.unlink(missing_ok=True)  # without a checksum, its content may differ
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
    if continued:  # an earlier call's part may have been bad: try again from the first byte
        return fetch(client, url, remote, target, count)
    raise DownloadFailed(f"{url}: {fault}.")


class _Growing:
    """A partial file on disk: its bytes so far, their digest, and the server's ETag."""

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
        elif begins != growing.done:  # the next request is for the whole file
            growing.ranges = False
            raise Broken(f"HTTP {response.status_code} in answer to bytes from {growing.done}")
        etag = response.headers.get("ETag", "")
        growing.etag = "" if etag.startswith("W/") else etag  # If-Range does not allow weak ETags
        for piece in response.iter_raw():
            # One byte more than announced is kept, to detect a file that is too long.
            growing.add(piece[: size + 1 - growing.done])
            if growing.done > size:
                break


def _begins(response: httpx2.Response) -> int:
    """The byte of the file at which a response begins; -1 if it states no valid one."""
    if response.status_code == 200:
        return 0
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    start = span.partition("-")[0]
    partial = response.status_code == 206 and unit == "bytes" and start.isdecimal()
    return int(start[:18]) if partial else -1


def unwritable(target: Path, error: OSError) -> InvalidOutput:
    """The error for a file or folder that the disk or its permissions keep from being written."""
    why = f"cannot be written ({error.strerror or error})"
    allowed = "a folder that can be written to"
    if error.errno == errno.ENOSPC:
        free = "the disk is full; what has come is kept and will be continued"
        why, allowed = f"cannot be finished: {free}", "a disk with room"
    elif isinstance(error, PermissionError) and paths.exists(target):
        why += "; a program that uses this model may hold it open"
    return InvalidOutput("checkpoint_dir", target, why, allowed)
