"""Names of files that come from outside: listings of sources, and manifests. No torch.

A name that is taken is one path component that means the same file on Windows, macOS and Linux.
Source: Microsoft, "Naming Files, Paths, and Namespaces".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_LONGEST = 200  # bytes; 255 is what file systems take, and parts have a longer name
_FORBIDDEN = frozenset('/\\:*?"<>|')
_PORTS = {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
_DEVICES = _PORTS | {"con", "prn", "aux", "nul", "conin$", "conout$"}


def is_file_name(name: str) -> bool:
    """Whether a text from outside may name a file in a model's folder."""
    if not name or name[0] in ".~" or name[-1] in ". ":
        return False
    if any(sign in _FORBIDDEN or unicodedata.category(sign) in ("Cc", "Cf", "Cs") for sign in name):
        return False
    if len(name.encode()) > _LONGEST:
        return False
    return name.partition(".")[0].rstrip(" ").casefold() not in _DEVICES


def same_file(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two names that a file system may hold for one; None: all differ."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            return seen[folded], name
        seen[folded] = name
    return None
