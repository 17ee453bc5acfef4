"""Which loudspeaker a channel is for, in each format, and the mix of many channels to two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from headroom.audio.files import read_stereo
from headroom.audio.layout import to_stereo, vorbis_places, wave_places

C = 0.5**0.5
LOUD = {"FL": 0.05, "FR": 0.1, "FC": 0.2, "LFE": 0.8, "BL": 0.15, "BR": 0.3}
LEFT, RIGHT = 0.05 + C * 0.2 + C * 0.15, 0.1 + C * 0.2 + C * 0.3


def surround(order: tuple[str, ...], seconds: float = 0.5) -> np.ndarray:
    """Channels [frames, 6] of one tone, each as loud as its place says."""
    tone = np.sin(2 * np.pi * 300 * np.arange(int(48_000 * seconds)) / 48_000)
    return np.stack([LOUD[place] * tone for place in order], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("container", "subtype", "exact"),
    [
        ("WAV", "PCM_16", True),
        ("WAVEX", "PCM_24", True),
        ("FLAC", "PCM_16", True),
        ("OGG", "VORBIS", False),
        ("OGG", "OPUS", False),
    ],
)
def test_surround_is_mixed_by_the_places_of_its_format(
    tmp_path: Path, container: str, subtype: str, exact: bool
) -> None:
    places = vorbis_places(6) if container == "OGG" else wave_places(6)
    soundfile.write(tmp_path / "a", surround(places), 48_000, subtype, format=container)
    both = read_stereo(tmp_path / "a", "source_audio", 48_000, 60).samples.numpy()
    middle = both[:, 6_000:18_000]
    got = np.sqrt(2 * (middle**2).mean(axis=1)) if not exact else np.abs(middle).max(axis=1)
    assert got == pytest.approx([LEFT, RIGHT], rel=1e-3 if exact else 0.12)


def test_every_count_of_channels_has_places() -> None:
    for count in range(1, 9):
        for places in (wave_places(count), vorbis_places(count)):
            assert len(places) == len(set(places)) == count
    assert wave_places(12) == ("?",) * 12


def test_a_channel_mask_says_the_places() -> None:
    assert wave_places(3, 0b1011) == ("FL", "FR", "LFE")
    assert wave_places(3, 0b11) == ("FL", "FR", "FC"), "a mask of another count is not one"


def test_coefficients() -> None:
    matrix = to_stereo(("FL", "FR", "FC", "LFE", "SL", "SR", "BC"))
    expected = [[1, 0], [0, 1], [C, C], [0, 0], [C, 0], [0, C], [0.5, 0.5]]
    np.testing.assert_allclose(matrix, expected, rtol=1e-6)


def test_a_mask_in_the_file_is_obeyed(tmp_path: Path) -> None:
    """Three channels: left, right, and low frequencies instead of a centre."""
    tone = surround(("FL", "FR", "LFE"))
    soundfile.write(tmp_path / "a.wav", tone, 48_000, "PCM_24", format="WAVEX")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"\xfe\xff")
    data[at + 20 : at + 24] = (0b1011).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    both = read_stereo(tmp_path / "a.wav", "source_audio", 48_000, 60).samples.numpy()
    assert np.abs(both).max(axis=1) == pytest.approx([0.05, 0.1], rel=1e-3)


def test_a_mix_beyond_full_scale_is_scaled_not_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 3 * surround(wave_places(6)), 48_000, "PCM_24")
    both = read_stereo(tmp_path / "a.wav", "source_audio", 48_000, 60).samples.numpy()
    peaks = np.abs(both).max(axis=1)
    # The centre is 0.6 of full scale, the low frequencies were clipped before they came here.
    assert peaks[1] == pytest.approx(1.0, abs=1e-4)
    assert peaks[0] / peaks[1] == pytest.approx(LEFT / RIGHT, rel=1e-3)
