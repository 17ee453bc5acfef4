"""Check a model folder against its manifest and its files' headers. No network, no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headroom import paths
from headroom.errors import InvalidFile
from headroom.weights.catalog import Kind, inspect
from headroom.weights.manifest import NAME, Kept, read_manifest, sha256_of


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of checking a folder. `hashed` counts the files checked against a checksum."""

    folder: Path
    files: int
    hashed: int
    nbytes: int
    faults: tuple[str, ...]


def verify(folder: Path, kind: Kind, count: Callable[[int], None] = lambda n: None) -> Verified:
    """Check a folder against its manifest, if it has one, and its files against their headers.

    `count` receives the byte count of each piece read. Faults are returned, not raised, and no
    file outside the folder is opened.
    """
    faults: list[str] = []
    recorded: dict[str, Kept] = {}
    try:
        manifest = read_manifest(folder)
        recorded = dict(manifest.files) if manifest else {}
    except InvalidFile as error:
        faults.append(f"{NAME}: {error.why}")
    for name, entry in recorded.items():
        path = folder / name
        if not paths.is_file(path):
            faults.append(f"{name}: missing")
        elif path.stat().st_size != entry.size:
            faults.append(f"{name}: {path.stat().st_size} bytes instead of {entry.size}")
        elif (digest := sha256_of(path, count)) != entry.sha256:
            faults.append(f"{name}: SHA-256 is {digest}, it was {entry.sha256}")
    named = {fault.partition(":")[0] for fault in faults}
    faults += [fault for fault in inspect(folder, kind) if fault.partition(":")[0] not in named]
    files = [path for path in folder.rglob("[!.]*") if paths.is_file(path)]
    size = sum(path.stat().st_size for path in files)
    return Verified(folder, len(files), len(recorded), size, tuple(faults))
