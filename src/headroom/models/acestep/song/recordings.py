"""Examines recordings before anything is computed, and notes how they will be changed. No torch."""

from __future__ import annotations

from math import log10
from pathlib import Path
from typing import TYPE_CHECKING

from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.regions import MOST_SECONDS
from headroom.params.clamp import Note

if TYPE_CHECKING:
    from headroom.audio.files import Info


def survey(path: Path, field: str, notes: list[Note]) -> Info:
    """What the file holds; notes about it are appended to `notes`. Raises InvalidSource.

    Only the header is read, except for floating point samples, of which the part in use is read.
    """
    from headroom.audio.files import loudest, probe_audio  # with NumPy and libsndfile

    info = probe_audio(path, field, MOST_SECONDS)
    for remark in info.remarks:
        notes.append(Note(field, path.name, "what is there", reason("file_remark", remark=remark)))
    if info.seconds > MOST_SECONDS:
        most = f"{MOST_SECONDS} s"
        why = reason("source_beyond_training", most=most)
        notes.append(Note(field, f"{info.seconds:.1f} s", most, why))
    if info.channels > 2:
        why = reason("mixed_down")
        notes.append(Note(field, f"{info.channels} channels", "2 channels", why))
    peak = loudest(path, field, MOST_SECONDS) if info.floating else 0.0
    if peak > 1:
        why = reason("scaled_to_full_scale")
        notes.append(Note(field, f"a peak of {20 * log10(peak):+.1f} dB", "a peak of 0 dB", why))
    return info
