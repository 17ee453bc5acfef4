"""Reads seeds in ACE-Step's forms, and draws random ones. No torch."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from headroom.engine.seeds import DRAWN_BITS
from headroom.errors import InvalidRequest, written


def parse_seeds(value: object) -> tuple[int | None, ...]:
    """Seeds in any form: a number, numbers, or text with commas; None: to be drawn.

    Raises InvalidRequest for anything that is not a number.
    """
    if value is None or isinstance(value, str):
        parts: Sequence[object] = (value or "").split(",") if (value or "").strip() else ()
    else:
        parts = value if isinstance(value, Sequence) else (value,)
    return tuple(_parse_seed(part) for part in parts)


def random_seed() -> int:
    """A new random seed."""
    return secrets.randbits(DRAWN_BITS)


def _parse_seed(value: object) -> int | None:
    text = written(value).strip()
    if value is None or text in ("", "-1"):
        return None
    try:
        number = int(text) if text.lstrip("+-").isdecimal() else int(float(text))
    except (ValueError, OverflowError) as error:
        allowed = "whole numbers, several of them with commas; -1 for one that is drawn"
        raise InvalidRequest("seeds", value, allowed) from error
    return None if number < 0 else number
