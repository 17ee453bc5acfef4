"""Audio codes as text, in the form the language model writes and people paste. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

from headroom.nn.config_fields import ConfigFields

CODEBOOK = 64_000
LARGEST_CODEBOOK = 1 << 20
CODE_RATE = 5  # codes per second
BEYOND = 10  # numbers with this many digits are beyond every code
_CODE = re.compile(r"<\|audio_code_(\d+)\|>")


def codes_in(text: str) -> list[int]:
    """The codes in a text: `<|audio_code_N|>` …, ignoring all else, or else numbers with commas.
    Any other text has no codes."""
    numbers = _CODE.findall(text)
    if not numbers:
        words = text.replace(",", " ").split()
        numbers = words if all(word.isascii() and word.isdecimal() for word in words) else []
    return [int(digits) if len(digits) < BEYOND else 10**BEYOND for digits in numbers]


def codes_from_text(text: str, codebook: int = CODEBOOK) -> list[int]:
    """The codes in a text, each clamped to the codebook."""
    return [min(code, codebook - 1) for code in codes_in(text)]


def codes_to_text(codes: Sequence[int]) -> str:
    """Codes → `<|audio_code_N|>` one after another."""
    return "".join(f"<|audio_code_{n}|>" for n in codes)


def code_levels(fields: ConfigFields) -> tuple[int, ...]:
    """The levels of each number of an audio code, whose product is how many codes there are."""
    levels = fields.sizes("fsq_input_levels", (8, 8, 8, 5, 5, 5), least=2, most=1 << 12)
    if prod(levels) > LARGEST_CODEBOOK:
        fields.fault(f"fsq_input_levels are more than {LARGEST_CODEBOOK} codes")
    return levels
