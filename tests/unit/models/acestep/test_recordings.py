"""What is said of a recording before anything is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from headroom.audio.formats import FORMATS, WITH_BITRATE
from headroom.errors import InvalidSource
from headroom.models.acestep.requests.regions import MOST_SECONDS
from headroom.models.acestep.requests.songs import Cover, Text2Music, request_from
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.compose import compose
from headroom.params.clamp import Note
from headroom.params.describe import describe

BASE = VARIANTS["acestep-v15-base"]


def notes(**fields: object) -> dict[str, Note]:
    request = request_from({"caption": "x", **fields})
    assert isinstance(request, (Cover, Text2Music))
    return {note.field: note for note in compose(request, BASE, (1,)).notes}


def test_a_floating_point_source_beyond_full_scale_is_noted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((9_600, 2), 2.0), 48_000, "FLOAT")
    note = notes(task="cover", source_audio=tmp_path / "a.wav")["source_audio"]
    assert note.asked == "a peak of +6.0 dB" and "scaled" in note.why
    soundfile.write(tmp_path / "a.wav", np.full((9_600, 2), 1.0), 48_000, "FLOAT")
    assert notes(task="cover", source_audio=tmp_path / "a.wav") == {}


def test_samples_that_are_no_numbers_are_refused_before_the_work(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((9_600, 2), np.nan), 48_000, "FLOAT")
    with pytest.raises(InvalidSource, match="not finite numbers"):
        notes(task="cover", source_audio=tmp_path / "a.wav")


def test_a_mix_is_noted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((9_600, 6), 0.1), 48_000)
    note = notes(task="cover", source_audio=tmp_path / "a.wav")["source_audio"]
    assert (note.asked, note.used) == ("6 channels", "2 channels")


def test_a_file_that_lost_its_end_is_noted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((9_600, 2), 0.1), 48_000)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(data[:-4_000])
    note = notes(task="cover", source_audio=tmp_path / "a.wav")["source_audio"]
    assert note.asked == "a.wav" and "cut short: 34400 of 38400 bytes" in note.why


def test_a_reference_is_heard_up_to_the_limit(tmp_path: Path) -> None:
    silence = np.zeros((MOST_SECONDS + 60) * 8_000, np.int16)
    soundfile.write(tmp_path / "a.flac", silence, 8_000)
    note = notes(reference_audio=[tmp_path / "a.flac"])["reference_audio"]
    assert (note.asked, note.used) == (f"{MOST_SECONDS + 60:.1f} s", f"{MOST_SECONDS} s")


def test_the_request_knows_the_formats_that_can_be_written() -> None:
    format, bitrate = (
        next(p for p in describe(Text2Music) if p.name == name)
        for name in ("audio_format", "bitrate")
    )
    assert tuple(format.choices) == FORMATS
    assert all(name in bitrate.knob.help for name in WITH_BITRATE)
    made = request_from({"caption": "x", "audio_format": "aac"})
    assert isinstance(made, Text2Music) and made.audio_format == "m4a"
