"""Record what a download put into a folder: file, size, SHA-256. Stored beside the files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headroom.errors import InvalidFile
from headroom.files import read_json
from headroom.weights.names import is_file_path

NAME = ".headroom-manifest.json"
CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kept:
    """One file as last checked."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The source of a folder's files, and the files by name."""

    source: str
    repo: str
    revision: str
    files: Mapping[str, Kept]


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None if there is none.

    Raises InvalidFile if it cannot be read, or names anything but files of its folder.
    """
    path = folder / NAME
    try:
        raw = read_json(path)
    except InvalidFile as error:
        if error.missing:
            return None
        raise
    match raw:
        case {
            "source": str(at),
            "repo": str(repo),
            "revision": str(commit),
            "files": list(rows),
        }:
            return Manifest(at, repo, commit, dict(_kept(path, row) for row in rows))
        case _:
            raise InvalidFile(path, "is not a list of files with their sizes and checksums")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest atomically."""
    rows = [
        {"file": name, "size": file.size, "sha256": file.sha256}
        for name, file in sorted(manifest.files.items())
    ]
    source, repo, revision = manifest.source, manifest.repo, manifest.revision
    value = {"source": source, "repo": repo, "revision": revision, "files": rows}
    part = folder / f"{NAME}.part"
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(part, folder / NAME)


def sha256_of(path: Path, progress: Callable[[int], None] = lambda count: None) -> str:
    """SHA-256 of a file in hexadecimal; `progress` receives the byte count of each piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
            progress(len(piece))
    return digest.hexdigest()


def git_sha1_of(path: Path) -> str:
    """Git's hash of the file's content: SHA-1 over a short header and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _kept(path: Path, row: object) -> tuple[str, Kept]:
    match row:
        case {"file": str(name), "size": int(size), "sha256": str(sha256)}:
            if is_file_path(name) and 0 <= size < 1 << 63 and _SHA256.fullmatch(sha256):
                return name, Kept(size, sha256)
    raise InvalidFile(path, f"says {str(row)[:120]!r}, which is no file of this folder")
