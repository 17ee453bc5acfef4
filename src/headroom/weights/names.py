"""Check untrusted file names, from sources' listings and from manifests. No torch.

An accepted name is one path component that means the same file on Windows, macOS and Linux.
Source: Microsoft, "Naming Files, Paths, and Namespaces".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_LONGEST = 200  # bytes; file systems allow 255, and names of partial files are longer
_DEEPEST = 4  # names in a path
_FORBIDDEN = frozenset('/\\:*?"<>|')
_PORTS = {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
_DEVICES = _PORTS | {"con", "prn", "aux", "nul", "conin$", "conout$"}


def is_file_name(name: str) -> bool:
    """Whether an untrusted text may name a file in a model's folder."""
    if not name or name[0] in ".~" or name[-1] in ". ":
        return False
    if any(sign in _FORBIDDEN or unicodedata.category(sign) in ("Cc", "Cf", "Cs") for sign in name):
        return False
    if len(name.encode()) > _LONGEST:
        return False
    return name.partition(".")[0].rstrip(" ").casefold() not in _DEVICES


def is_file_path(name: str) -> bool:
    """Whether an untrusted text may name a file in a model's folder or in a folder within it."""
    return name.count("/") < _DEEPEST and all(map(is_file_name, name.split("/")))


def same_file(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two names that a file system may treat as the same; None: all differ."""
    by_folded: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in by_folded:
            return by_folded[folded], name
        by_folded[folded] = name
    return None
