"""Discrete wavelets by name, and the coefficients of their filters. No torch.

Haar's are defined here; the others come from PyWavelets, an optional dependency.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from headroom.errors import InvalidRequest

HAAR = "haar"
_SPLINES = "1.1 1.3 1.5 2.2 2.4 2.6 2.8 3.1 3.3 3.5 3.7 3.9 4.4 5.5 6.8".split()
WAVELETS = (
    HAAR,
    *(f"db{n}" for n in range(1, 39)),
    *(f"sym{n}" for n in range(2, 21)),
    *(f"coif{n}" for n in range(1, 18)),
    *(f"bior{n}" for n in _SPLINES),
    *(f"rbio{n}" for n in _SPLINES),
    "dmey",
)
"""The names that PyWavelets gives to its discrete wavelets."""


@dataclass(frozen=True, slots=True)
class Filters:
    """The four filters of a wavelet, all of the same, even number of taps."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    low_back: tuple[float, ...]
    high_back: tuple[float, ...]

    @property
    def taps(self) -> int:
        """Length of each filter."""
        return len(self.low)


def check_wavelet(name: str) -> None:
    """Raise InvalidRequest for a wavelet whose filters are not available; the message says how to
    install them."""
    if name not in WAVELETS:
        raise InvalidRequest("dcw_wavelet", name, ", ".join(WAVELETS))
    if name != HAAR and find_spec("pywt") is None:
        allowed = f"{HAAR}; others where PyWavelets is: pip install 'headroom-audio[wavelets]'"
        raise InvalidRequest("dcw_wavelet", name, allowed)


@cache
def filters(name: str) -> Filters:
    """The filters of a wavelet other than Haar's. Raises InvalidRequest as `check_wavelet` does."""
    check_wavelet(name)
    bank = import_module("pywt").Wavelet(name).filter_bank
    return Filters(*(tuple(float(tap) for tap in taps) for taps in bank))
