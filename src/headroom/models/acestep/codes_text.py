"""Audio codes as text, the form the language model writes and people paste. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

CODEBOOK = 64_000
_CODE = re.compile(r"<\|audio_code_(\d+)\|>")


def codes_from_text(text: str, codebook: int = CODEBOOK) -> list[int]:
    """`<|audio_code_N|>` … → codes, each clamped to the codebook; all else is ignored."""
    return [min(int(n), codebook - 1) for n in _CODE.findall(text)]


def codes_to_text(codes: Sequence[int]) -> str:
    """Codes → `<|audio_code_N|>` one after another."""
    return "".join(f"<|audio_code_{n}|>" for n in codes)
