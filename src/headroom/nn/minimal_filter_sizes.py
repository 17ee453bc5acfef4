"""Sizes of the minimal filter, where they can be read without torch."""

from __future__ import annotations

TAPS = 7
OUTPUTS = 4
POINTS = OUTPUTS + TAPS - 1  # products for so many outputs
