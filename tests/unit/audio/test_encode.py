"""Writing: what arrives in each format, the same bytes twice, and nothing when it fails."""

from __future__ import annotations

import errno
import sys
import time
from pathlib import Path
from typing import Any

import mutagen.mp3
import numpy as np
import pytest
import soundfile
import torch

from headroom.audio import encode
from headroom.audio.encode import FORMATS, Format, format_of, write_audio
from headroom.audio.files import read_audio
from headroom.audio.wave import Audio
from headroom.errors import HeadroomError, InvalidOutput
from support import synth

LOSSLESS = {"wav": 2**-16, "wav24": 2**-24, "wav32": 0.0, "flac": 2**-24}


@pytest.fixture(scope="module")
def song() -> Audio:
    return Audio(torch.from_numpy(synth.song(1.5)), 48_000)


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read(tmp_path: Path, song: Audio, format: Format) -> None:
    path = write_audio(tmp_path / "song", song, format)
    got = read_audio(path)
    assert (got.rate, got.samples.shape) == (48_000, song.samples.shape)
    if format in LOSSLESS:
        error = float((got.samples - song.samples).abs().max())
        assert error <= LOSSLESS[format], "half a step of the format"
    else:
        both = torch.stack((got.samples.ravel(), song.samples.ravel()))
        assert float(torch.corrcoef(both)[0, 1]) > 0.99


@pytest.mark.parametrize("frames", [1, 2, 100, 1153])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("format", FORMATS)
def test_even_the_shortest_sound_is_written(
    tmp_path: Path, format: Format, channels: int, frames: int
) -> None:
    path = write_audio(tmp_path / "a", Audio(torch.zeros(channels, frames), 48_000), format)
    assert read_audio(path).samples.shape == (channels, frames)


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("wav", "PCM_16"),
        ("wav24", "PCM_24"),
        ("wav32", "FLOAT"),
        ("flac", "PCM_24"),
        ("ogg", "VORBIS"),
        ("opus", "OPUS"),
        ("mp3", "MPEG_LAYER_III"),
    ],
)
def test_formats_are_what_they_are_called(
    tmp_path: Path, song: Audio, format: Format, subtype: str
) -> None:
    assert soundfile.info(write_audio(tmp_path / "song", song, format)).subtype == subtype


@pytest.mark.parametrize("format", ["wav", "wav24", "flac"])
def test_what_was_read_is_written_without_loss(tmp_path: Path, format: Format) -> None:
    bits = 16 if format == "wav" else 24
    steps = torch.tensor([[-(2 ** (bits - 1)), -1, 0, 1, 2 ** (bits - 1) - 1, 12_345]])
    exact = Audio(steps.float() / 2 ** (bits - 1), 48_000)
    assert torch.equal(
        read_audio(write_audio(tmp_path / "a", exact, format)).samples, exact.samples
    )


@pytest.mark.parametrize("format", ["wav", "wav24", "flac"])
def test_samples_are_rounded_to_the_nearest_step(tmp_path: Path, format: Format) -> None:
    step = 2.0 ** -(15 if format == "wav" else 23)
    between = torch.tensor([[0.4, 0.6, -0.4, -0.6, 3.4, -3.6]]) * step
    got = read_audio(write_audio(tmp_path / "a", Audio(between, 48_000), format)).samples / step
    assert got[0].tolist() == [0, 1, 0, -1, 3, -4]


@pytest.mark.parametrize("format", LOSSLESS)
def test_what_is_too_loud_is_clipped(tmp_path: Path, format: Format) -> None:
    loud = Audio(torch.tensor([[1.5, -1.5, 1e30, -1e30, 0.5]]), 48_000)
    got = read_audio(write_audio(tmp_path / "a", loud, format)).samples[0].tolist()
    assert got == pytest.approx([1, -1, 1, -1, 0.5], abs=2**-15)
    assert max(map(abs, got)) <= 1


def test_the_same_song_twice_is_the_same_bytes(tmp_path: Path, song: Audio) -> None:
    tags = {"title": "Ébène", "HEADROOM": '{"seed": 7}' * 1000}
    first = {f: write_audio(tmp_path / "a", song, f, tags=tags).read_bytes() for f in FORMATS}
    time.sleep(1.05)  # containers that note the time note whole seconds
    again = {f: write_audio(tmp_path / "b", song, f, tags=tags).read_bytes() for f in FORMATS}
    assert [f for f in FORMATS if first[f] != again[f]] == []


def test_two_songs_in_ogg_have_two_serial_numbers(tmp_path: Path, song: Audio) -> None:
    other = Audio(song.samples.flip(0), 48_000)
    serials = {
        write_audio(tmp_path / str(i), sound, "ogg").read_bytes()[14:18]
        for i, sound in enumerate((song, other))
    }
    assert len(serials) == 2


@pytest.mark.parametrize("bitrate", [32, 64, 128, 192, 320, None])
def test_bit_rate_of_mp3(tmp_path: Path, song: Audio, bitrate: int | None) -> None:
    path = write_audio(tmp_path / "a", song, "mp3", bitrate)
    mp3: Any = mutagen.mp3.MP3
    assert mp3(path).info.bitrate == 1000 * (bitrate or 192)


@pytest.mark.parametrize("bitrate", [32, 64, 128, 256, None])
def test_bit_rate_of_opus(tmp_path: Path, song: Audio, bitrate: int | None) -> None:
    noise = torch.rand(2, 144_000, generator=torch.Generator().manual_seed(0)) - 0.5
    path = write_audio(tmp_path / "a", Audio(noise, 48_000), "opus", bitrate)
    assert path.stat().st_size * 8 / 3.0 == pytest.approx(1000 * (bitrate or 128), rel=0.15)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.wav", "wav"),
        ("b.FLAC", "flac"),
        ("c.x.ogg", "ogg"),
        ("d.opus", "opus"),
        ("e.mp3", "mp3"),
    ],
)
def test_the_name_decides(tmp_path: Path, song: Audio, name: str, format: Format) -> None:
    assert format_of(name) == format
    path = song.save(tmp_path / name)
    assert path.read_bytes() == write_audio(tmp_path / "again", song, format).read_bytes()


@pytest.mark.parametrize(
    ("name", "why"), [("song.wma", r"ends in '\.wma'"), ("song", "has no ending")]
)
def test_a_name_that_says_no_format(song: Audio, tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(InvalidOutput, match=rf"^output: .*{why}; allowed: .* \.mp3 or \.m4a\.$"):
        song.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


# --- what a format cannot hold -----------------------------------------------------------


@pytest.mark.parametrize(
    ("audio", "format", "sentence"),
    [
        (Audio(torch.zeros(2, 99), 44_100), "opus", "rate of 44100 Hz as OPUS; allowed: 8000, "),
        (Audio(torch.zeros(2, 99), 96_000), "mp3", "rate of 96000 Hz as MP3; allowed: 8000, "),
        (Audio(torch.zeros(3, 99), 48_000), "mp3", "3 channels as MP3; allowed: 1 to 2 channels"),
        (Audio(torch.zeros(9, 99), 48_000), "flac", "9 channels as FLAC; allowed: 1 to 8"),
        (Audio(torch.zeros(2, 0), 48_000), "wav", "would hold no sound"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, audio: Audio, format: Format, sentence: str
) -> None:
    with pytest.raises(InvalidOutput, match=sentence):
        write_audio(tmp_path / "a", audio, format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_samples_that_are_no_numbers_are_not_written(tmp_path: Path, format: Format) -> None:
    with pytest.raises(HeadroomError, match="1 of 20 samples are not finite"):
        write_audio(
            tmp_path / "a", Audio(torch.tensor([[0.0] * 19 + [float("nan")]]), 48_000), format
        )
    assert list(tmp_path.iterdir()) == []


# --- failing -----------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_nothing(small_disk: Path, format: Format) -> None:
    """Really full, and by little as well: then encoders fail on closing, and say nothing."""
    noise = torch.rand(2, 144_000, generator=torch.Generator().manual_seed(0)) - 0.5
    sound = Audio(noise, 48_000)
    write_audio(small_disk.parent / "whole", sound, format)
    each = (small_disk.parent / "whole").stat().st_size / sound.frames
    refused = 0
    for size in range(40_000, 60_000, 2_500):
        part = Audio(noise[:, : int(size / each)], 48_000)
        target = small_disk / "new" / "a"
        try:
            write_audio(target, part, format)
        except InvalidOutput as error:
            assert "no room is left on the disk (" in str(error)
            assert list(small_disk.iterdir()) == []
            refused += 1
        else:
            assert abs(read_audio(target).frames - part.frames) < 4000
            target.unlink()
            target.parent.rmdir()
    assert 2 < refused < 8


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_there_outlives_a_full_disk(small_disk: Path, format: Format) -> None:
    (small_disk / "a").write_bytes(b"the song of yesterday")
    noise = torch.rand(2, 288_000, generator=torch.Generator().manual_seed(0)) - 0.5
    with pytest.raises(InvalidOutput, match="no room"):
        write_audio(small_disk / "a", Audio(noise, 48_000), format)
    assert (small_disk / "a").read_bytes() == b"the song of yesterday"
    assert len(list(small_disk.iterdir())) == 1


class Failing(soundfile.SoundFile):  # type: ignore[misc]
    """Fails at the second block."""

    error: BaseException = OSError(errno.ENOSPC, "No space left on device")
    blocks = 0

    def write(self, data: object) -> None:
        self.blocks += 1
        if self.blocks == 2:
            raise self.error
        super().write(data)


@pytest.mark.parametrize(
    ("error", "seen", "words"),
    [
        (OSError(errno.ENOSPC, "No space left"), InvalidOutput, "no room is left on the disk ("),
        (OSError(errno.EIO, "Input/output error"), InvalidOutput, "(Input/output error)"),
        (soundfile.LibsndfileError(2), InvalidOutput, "cannot be written (System error)"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        (MemoryError("m"), MemoryError, "m"),
    ],
)
@pytest.mark.parametrize("format", ["wav", "opus", "mp3"])
def test_a_failure_half_way_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format: Format,
    error: BaseException,
    seen: type[BaseException],
    words: str,
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    monkeypatch.setattr(soundfile, "SoundFile", Failing)
    with pytest.raises(seen) as caught:
        write_audio(
            tmp_path / "x" / "y" / "a", Audio(torch.zeros(2, 3 * encode.BLOCK), 48_000), format
        )
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_lost_its_end_is_not_kept(
    tmp_path: Path, song: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = encode._encode

    def cut(path: Path, *args: Any) -> None:
        real(path, *args)
        path.write_bytes(path.read_bytes()[:-3000])

    monkeypatch.setattr(encode, "_encode", cut)
    for format in FORMATS:
        with pytest.raises(InvalidOutput, match="cannot be written"):
            write_audio(tmp_path / "a", song, format)
        assert list(tmp_path.iterdir()) == []


def test_tags_that_cannot_be_written_leave_nothing(tmp_path: Path, song: Audio) -> None:
    with pytest.raises(ValueError, match="not 'what ever'"):
        write_audio(tmp_path / "a.wav", song, tags={"what ever": "x"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="rights are set in another way there")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path, song: Audio, nobody: None) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    with pytest.raises(InvalidOutput, match=r"cannot be written \(Permission denied\)"):
        song.save(folder / "a.wav")
    assert list(folder.iterdir()) == []
    folder.chmod(0o755)


def test_a_long_song_is_written_in_blocks_without_a_seam(tmp_path: Path) -> None:
    whole = (torch.arange(2 * 150_001).reshape(2, -1) % 65_536 - 32_768).float() / 32_768
    got = read_audio(write_audio(tmp_path / "a.wav", Audio(whole, 48_000)))
    np.testing.assert_array_equal(got.samples.numpy(), whole.numpy())
