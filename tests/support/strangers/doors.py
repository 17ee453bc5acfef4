"""All doors by the kind of what comes to them. A kind's module is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from support.strangers.door import Door

# Where a kind is made and handed in, and its share of all cases in parts of 100.
KINDS: Mapping[str, tuple[str, str, int]] = MappingProxyType(
    {
        "requests": ("asked", "request", 22),
        "parameters": ("asked", "old", 8),
        "flags": ("flags", "flags", 4),
        "sheets": ("written", "sheet", 15),
        "env": ("written", "env", 10),
        "lyrics": ("written", "lyrics", 9),
        "configs": ("models", "config", 8),
        "headers": ("weights", "header", 8),
        "tokenizers": ("models", "tokenizer", 2),
        "sidecars": ("named", "sidecar", 3),
        "texts": ("named", "texts", 3),
        "listings": ("fetched", "listing", 5),
        "manifests": ("fetched", "manifest", 3),
    }
)


def door(kind: str) -> Door:
    """The door of a kind."""
    module, name, _ = KINDS[kind]
    found = import_module(f"support.strangers.{module}")
    return Door(getattr(found, name), getattr(found, f"take_{name}"))
