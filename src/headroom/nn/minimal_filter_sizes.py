"""Define the sizes of the minimal filter, readable without torch."""

from __future__ import annotations

TAPS = 7
OUTPUTS = 4
POINTS = OUTPUTS + TAPS - 1  # products needed for OUTPUTS outputs
