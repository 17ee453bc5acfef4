"""Numbers that the networks and the spectra they read agree on. No torch."""

from __future__ import annotations

BANDS, SPEECH_BANDS = 80, 128  # of the spectra that the networks read and make
FRAME = 480  # samples at 24 kHz in a frame of a spectrogram
