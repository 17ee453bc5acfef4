"""What a download put into a folder: file, size, SHA-256. Kept beside the files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = ".headroom-manifest.json"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """One file as it was when it was checked."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Where a folder's files came from, and the files by name."""

    source: str
    repo: str
    revision: str
    files: Mapping[str, Kept]


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None where there is none, or none that can be read."""
    try:
        raw = json.loads((folder / NAME).read_text("utf-8"))
        files = {
            str(one["file"]): Kept(int(one["size"]), str(one["sha256"])) for one in raw["files"]
        }
        return Manifest(str(raw["source"]), str(raw["repo"]), str(raw["revision"]), files)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it only saves work: without it files are hashed again


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest in place in one step."""
    rows = [
        {"file": name, "size": kept.size, "sha256": kept.sha256}
        for name, kept in sorted(manifest.files.items())
    ]
    text = json.dumps(
        {
            "source": manifest.source,
            "repo": manifest.repo,
            "revision": manifest.revision,
            "files": rows,
        },
        indent=1,
    )
    part = folder / f"{NAME}.part"
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, folder / NAME)


def sha256_of(path: Path, progress: Callable[[int], None] = lambda count: None) -> str:
    """SHA-256 of a file in hexadecimal; `progress` is told the bytes of each piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
            progress(len(piece))
    return digest.hexdigest()


def git_sha1_of(path: Path) -> str:
    """What git calls the file's content: SHA-1 over a short head and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
