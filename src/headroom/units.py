"""Formatting of quantities for display: bytes as GiB, seconds as a clock time."""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


def gib(count: int) -> str:
    """Bytes for display: `1.25 GiB`, `322 MiB`, `4 KiB`."""
    size = abs(count)
    if size >= GIB // 10:
        return f"{count / GIB:.2f} GiB"
    if size >= MIB:
        return f"{count / MIB:.0f} MiB"
    return f"{count / KIB:.0f} KiB"


def clock(seconds: float) -> str:
    """Seconds for display: `0.4 s`, `12 s`, `3:07`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
