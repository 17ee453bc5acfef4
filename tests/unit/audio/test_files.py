"""Reading: every kind of file, and every kind of file that is none."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from headroom.audio import files
from headroom.audio.encode import FORMATS, Format, write_audio
from headroom.audio.files import Info, probe_audio, read_audio
from headroom.audio.wave import Audio
from headroom.errors import InvalidSource
from support import synth

CODECS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
}


@pytest.fixture(scope="module")
def song() -> synth.Signal:
    return synth.song(2.0)


def save(path: Path, signal: synth.Signal, rate: int, codec: str) -> Path:
    container, subtype = CODECS[codec]
    soundfile.write(path, signal.T, rate, subtype, format=container)
    return path


def refusal(path: Path | str, field: str = "source_audio", deep: bool = False) -> str:
    """The sentence of the refusal: of probe and of read, or, where only decoding shows it, read."""
    with pytest.raises(InvalidSource) as caught:
        read_audio(path, field)
    if not deep:
        with pytest.raises(InvalidSource) as shallow:
            probe_audio(path, field)
        assert str(shallow.value) == str(caught.value)
    sentence = str(caught.value)
    assert sentence.startswith(f"{field}: {str(path)!r} ") and "; allowed: " in sentence
    return sentence


@pytest.mark.parametrize("codec", CODECS)
def test_every_kind_of_file_is_read(tmp_path: Path, song: synth.Signal, codec: str) -> None:
    path = save(tmp_path / "song", song, 48_000, codec)
    audio = read_audio(path)
    assert probe_audio(path) == Info(48_000, 2, 96_000)
    assert (audio.rate, audio.samples.shape) == (48_000, (2, 96_000))
    heard = np.corrcoef(audio.samples.numpy().ravel(), song.ravel())[0, 1]
    assert heard > 0.97


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_rate_and_number_of_channels_is_read(
    tmp_path: Path, rate: int, channels: int
) -> None:
    signal = np.linspace(-0.5, 0.5, channels * 3000, dtype=np.float32).reshape(channels, 3000)
    path = save(tmp_path / "a.wav", signal, rate, "wav")
    audio = read_audio(path)
    assert probe_audio(path) == Info(rate, channels, 3000)
    assert probe_audio(path).seconds == audio.seconds == 3000 / rate
    np.testing.assert_allclose(audio.samples.numpy(), signal, atol=2**-15)


def test_a_long_file_is_read_in_blocks_without_a_seam(tmp_path: Path) -> None:
    whole = np.arange(200_001, dtype=np.int32) % 65_536 - 32_768
    soundfile.write(tmp_path / "a.flac", whole.astype(np.int16), 48_000)
    got = read_audio(tmp_path / "a.flac").samples[0].numpy()
    np.testing.assert_array_equal(got * 32_768, whole)


def test_floating_point_is_read_as_it_is(tmp_path: Path) -> None:
    signal = np.array([[1e-30, 2.5, -0.1]], dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", signal.T, 48_000, "FLOAT")
    assert torch.equal(read_audio(tmp_path / "a.wav").samples, torch.from_numpy(signal))


# --- lengths that the header does not know -----------------------------------------------


def without_length_tag(path: Path) -> None:
    """Drop the first frame of an mp3: it holds no sound, only the length."""
    data = path.read_bytes()
    tag = max(data.find(b"Xing"), data.find(b"Info"))
    path.write_bytes(data[data.index(b"\xff\xfb", tag) :])


def test_an_mp3_without_a_length_is_counted(tmp_path: Path) -> None:
    signal = synth.voice(2.0) * np.linspace(0, 1, 96_000, dtype=np.float32) ** 4
    path = save(tmp_path / "a.mp3", signal, 48_000, "mp3")
    without_length_tag(path)
    assert soundfile.info(path).frames != probe_audio(path).frames, "the header's guess was right"
    assert probe_audio(path).frames == read_audio(path).frames
    assert 96_000 <= read_audio(path).frames <= 96_000 + 3 * 1152


def test_an_mp3_with_a_length_is_not_decoded_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where its tags stand before it, and are long."""
    write_audio(tmp_path / "a.mp3", Audio(torch.zeros(1, 9_999), 48_000), tags={"X": "y" * 100_000})
    assert read_audio(tmp_path / "a.mp3").frames == 9_999

    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(files, "_finite", decode)
    assert probe_audio(tmp_path / "a.mp3").frames == 9_999


def test_a_flac_of_unknown_length_is_counted(tmp_path: Path, song: synth.Signal) -> None:
    path = save(tmp_path / "a.flac", song, 48_000, "flac")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of the number of samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert probe_audio(path) == Info(48_000, 2, 96_000)
    assert read_audio(path).frames == 96_000


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_written_to_a_pipe_is_whole(tmp_path: Path, song: synth.Signal, size: int) -> None:
    path = save(tmp_path / "a.wav", song, 48_000, "wav")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", size)
    path.write_bytes(data)
    assert probe_audio(path).frames == read_audio(path).frames == 96_000


# --- what is refused ---------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    assert "is not there" in refusal(tmp_path / "none.wav")
    assert "is not there" in refusal(str(tmp_path / "none.wav"), "reference_audio")
    assert "is not there" in refusal("-")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="no device files here")
def test_a_device() -> None:
    assert "is a device, not a file" in refusal("/dev/null")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.wav", b"a line of text, and not a sound at all\n" * 9),
        ("a.mp3", b"\x89PNG\r\n\x1a\n" + bytes(500)),
        ("a.flac", b"fLaC"),
        ("a.ogg", b"OggS" + bytes(60)),
        ("a.wav", b"RIFF\x04\0\0\0WAVE"),
        ("a", b"R"),
    ],
)
def test_what_is_no_audio(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert "cannot be read as audio (" in refusal(tmp_path / name)


def test_samples_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    assert "has no header" in refusal(tmp_path / "a.raw")


def test_a_name_that_cannot_be(tmp_path: Path) -> None:
    assert "allowed: " in refusal(str(tmp_path / ("x" * 300)))
    assert "allowed: " in refusal("a\0b.wav")


def test_a_file_without_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 2), np.float32), 48_000)
    assert "holds no sound (0 samples)" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("share", [0.95, 0.5, 0.2])
@pytest.mark.parametrize("codec", ["flac", "ogg", "opus", "mp3"])
def test_a_file_cut_short(
    tmp_path: Path, song: synth.Signal, codec: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "a", song, 48_000, codec)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "is cut short" in refusal(path, deep=codec in ("flac", "mp3"))
    capfd.readouterr()  # the mp3 decoder warns on standard error


@pytest.mark.parametrize("codec", ["wav", "aiff"])
def test_a_file_cut_inside_its_header(tmp_path: Path, song: synth.Signal, codec: str) -> None:
    path = save(tmp_path / "a", song, 48_000, codec)
    path.write_bytes(path.read_bytes()[:30])
    refusal(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path: Path, bad: float) -> None:
    signal = np.zeros((100_000, 2), np.float32)
    signal[72_000, 1] = bad
    soundfile.write(tmp_path / "a.wav", signal, 48_000, "FLOAT")
    sentence = refusal(tmp_path / "a.wav", deep=True)
    assert "not finite numbers, the first at 1.500 s; allowed: finite samples" in sentence


def test_numbers_too_large_for_single_precision(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([[0.0], [1e300]]), 48_000, "DOUBLE")
    assert "not finite numbers" in refusal(tmp_path / "a.wav", deep=True)


def test_a_rate_nobody_uses(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(99), 5)
    assert "has a rate of 5 Hz; allowed: 1000 to 1000000 Hz" in refusal(tmp_path / "a.wav")


@pytest.mark.skipif(sys.platform == "win32", reason="rights are set in another way there")
def test_a_file_that_may_not_be_read(tmp_path: Path, nobody: None) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(99), 48_000)
    path.chmod(0)
    assert "cannot be read (Permission denied)" in refusal(path)


@pytest.mark.parametrize("format", FORMATS)
def test_reading_leaves_no_file_open(tmp_path: Path, format: Format) -> None:
    path = tmp_path / "a"
    write_audio(path, Audio(torch.zeros(2, 5000), 48_000), format)
    read_audio(path)
    probe_audio(path)
    path.rename(tmp_path / "b")  # fails on Windows while somebody holds it
    assert not path.exists()
