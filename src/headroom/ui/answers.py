"""Reads values out of the answers of the service, whose types are known to its routes alone."""

from __future__ import annotations

from pydantic import JsonValue


def number(value: JsonValue) -> float:
    """The number; 0 for a value that is none."""
    return float(value) if isinstance(value, int | float) else 0.0


def objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    """The objects in a list; none for a value that is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
