"""Files that recorders, other programs and ill will leave: read as far as they can be, bounded."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import mutagen.id3
import numpy as np
import pytest
import soundfile

from headroom.audio import decode, files
from headroom.audio.decode import BLOCK
from headroom.audio.files import loudest, probe_audio, read_audio, read_stereo
from headroom.audio.sound import Block
from headroom.errors import InvalidSource
from support import synth


@pytest.fixture(scope="module")
def song() -> synth.Signal:
    return synth.song(1.0)


def wav(signal: synth.Signal, subtype: str = "PCM_16", container: str = "WAV") -> bytearray:
    out = io.BytesIO()
    soundfile.write(out, signal.T, 48_000, subtype, format=container)
    return bytearray(out.getvalue())


def size_of_sound(data: bytearray) -> int:
    return data.index(b"data") + 4


# --- never closed, cut, padded -----------------------------------------------------------


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 10**6])
@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF, None])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_wav_that_was_never_closed_is_read(
    tmp_path: Path, song: synth.Signal, subtype: str, riff: int | None, size: int
) -> None:
    data = wav(song, subtype)
    struct.pack_into("<I", data, size_of_sound(data), size)
    if riff is not None:
        struct.pack_into("<I", data, 4, riff)
    (tmp_path / "a.wav").write_bytes(data)
    assert probe_audio(tmp_path / "a.wav").frames == 48_000
    got = read_audio(tmp_path / "a.wav").samples.numpy()
    np.testing.assert_allclose(got, song, atol=2**-15)
    assert len(probe_audio(tmp_path / "a.wav").remarks) == (size in (0, 10**6))


def test_a_big_endian_wav_that_was_never_closed_is_read(tmp_path: Path, song: synth.Signal) -> None:
    out = io.BytesIO()
    soundfile.write(out, song.T, 48_000, "PCM_16", endian="BIG", format="WAV")
    data = bytearray(out.getvalue())
    assert data[:4] == b"RIFX"
    struct.pack_into(">I", data, size_of_sound(data), 0)
    (tmp_path / "a.wav").write_bytes(data)
    assert probe_audio(tmp_path / "a.wav").frames == 48_000


def test_a_wav_that_holds_nothing_but_words_stays_empty(tmp_path: Path) -> None:
    data = wav(np.zeros((2, 0), np.float32))
    data += b"LIST" + struct.pack("<I", 6) + b"INFOab"
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(InvalidSource, match="holds no sound"):
        probe_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("container", ["WAV", "AIFF"])
@pytest.mark.parametrize("share", [0.95, 0.5, 0.2])
def test_a_wav_that_lost_its_end_is_read_and_said(
    tmp_path: Path, song: synth.Signal, container: str, share: float
) -> None:
    data = wav(song, container=container)
    (tmp_path / "a").write_bytes(data[: int(len(data) * share) | 1])
    info, audio = probe_audio(tmp_path / "a"), read_audio(tmp_path / "a")
    assert info.frames == audio.frames == pytest.approx(48_000 * share, rel=0.01)
    assert "is cut short: " in info.remarks[0]
    np.testing.assert_allclose(audio.samples.numpy(), song[:, : audio.frames], atol=2**-15)


# --- bounded -----------------------------------------------------------------------------


class Counted:
    """Frames that decoders hand out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames, self.longest = 0, 0
        real = decode._blocks

        def blocks(*args: object) -> Iterator[Block]:
            for block in real(*args):  # type: ignore[arg-type]
                self.frames += len(block)
                self.longest = max(self.longest, block.size)
                yield block

        monkeypatch.setattr(decode, "_blocks", blocks)


def of_unknown_length(path: Path, frames: int) -> Path:
    soundfile.write(path, np.zeros((frames, 2), np.int16), 48_000, "PCM_16", format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of the number of samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("known", [True, False])
def test_decoding_stops_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    path = tmp_path / "a.flac"
    if known:
        soundfile.write(path, np.zeros((20 * 48_000, 2), np.int16), 48_000)
    else:
        of_unknown_length(path, 20 * 48_000)
    counted = Counted(monkeypatch)
    assert read_stereo(path, "source_audio", 48_000, 2.0).frames == 2 * 48_000
    assert 2 * 48_000 <= counted.frames <= 2 * 48_000 + BLOCK
    counted.frames = 0
    seconds = probe_audio(path, "source_audio", 2.0).seconds
    assert counted.frames <= (0 if known else 2 * 48_000 + BLOCK)
    assert seconds == 20 if known else 2 < seconds < 4


def test_what_is_too_long_to_be_read_whole_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_SAMPLES", 2 * 3 * 48_000)
    soundfile.write(tmp_path / "a.flac", np.zeros((4 * 48_000, 2), np.int16), 48_000)
    counted = Counted(monkeypatch)
    with pytest.raises(InvalidSource, match=r"read whole \(4 s\); allowed: at most 3"):
        read_audio(tmp_path / "a.flac")
    assert counted.frames == 0
    of_unknown_length(tmp_path / "a.flac", 20 * 48_000)
    with pytest.raises(InvalidSource, match=r"too long to be read whole \(more\)"):
        read_audio(tmp_path / "a.flac")
    assert counted.frames <= 3 * 48_000 + BLOCK


def test_blocks_of_many_channels_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((9_000, 300), np.int16), 48_000)
    counted = Counted(monkeypatch)
    assert read_stereo(tmp_path / "a.wav", "source_audio", 48_000, 9).frames == 9_000
    assert 0 < counted.longest <= 1 << 19


def test_a_header_that_promises_an_age_is_answered_by_what_is_there(
    tmp_path: Path, song: synth.Signal
) -> None:
    soundfile.write(tmp_path / "a.flac", song.T, 48_000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] |= 0x0F
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(InvalidSource, match="is cut short"):
        read_stereo(tmp_path / "a.flac", "source_audio", 48_000, 60)


# --- resampled in blocks, as in one piece ------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_blocks_leave_no_trace(tmp_path: Path, rate: int) -> None:
    from headroom.audio.resample import resample

    signal = synth.sweep(1.0, rate, 100, 3000, 0.5)[:, : 3 * BLOCK]
    soundfile.write(tmp_path / "a.wav", signal.T, rate, "FLOAT")
    got = read_stereo(tmp_path / "a.wav", "source_audio", 48_000, 60).samples.numpy()
    whole = resample(read_audio(tmp_path / "a.wav"), 48_000).samples.numpy()
    np.testing.assert_array_equal(got, np.repeat(whole, 3 - len(whole), axis=0)[:2])


# --- levels ------------------------------------------------------------------------------


def test_floating_point_beyond_full_scale_is_scaled(tmp_path: Path, song: synth.Signal) -> None:
    loud = song / np.abs(song).max() * 4
    soundfile.write(tmp_path / "a.wav", loud.T, 48_000, "FLOAT")
    assert loudest(tmp_path / "a.wav", "source_audio", 60) == pytest.approx(4)
    got = read_stereo(tmp_path / "a.wav", "source_audio", 48_000, 60).samples.numpy()
    np.testing.assert_allclose(got, loud / 4, atol=1e-6)


def test_what_lossy_coding_adds_is_cut_off_and_no_more(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    for level in (1.1, 3.0):
        soundfile.write(tmp_path / "a.ogg", (level * tone).astype(np.float32), 48_000)
        got = read_stereo(tmp_path / "a.ogg", "source_audio", 48_000, 60).samples[0].numpy()
        share = float((np.abs(got) > 0.999).mean())
        assert (share > 0.1) == (level < 2), "a scaled tone touches full scale, a cut one stays"


# --- odd, and fine -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_32", "DOUBLE", "ALAW", "ULAW", "IMA_ADPCM", "MS_ADPCM"]
)
def test_every_coding_of_wav_is_read(tmp_path: Path, subtype: str) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 8_000)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", tone, 8_000, subtype)
    got = read_stereo(tmp_path / "a.wav", "source_audio", 8_000, 60).samples.numpy()
    assert np.corrcoef(got[0, :16_000], tone)[0, 1] > 0.99
    np.testing.assert_array_equal(got[0], got[1])


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_one_sample_is_read(tmp_path: Path, ending: str) -> None:
    soundfile.write(tmp_path / f"a.{ending}", np.full(1, 0.5), 48_000)
    assert read_stereo(tmp_path / f"a.{ending}", "source_audio", 48_000, 60).frames == 1


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_streams_are_read_one_after_the_other(tmp_path: Path, subtype: str) -> None:
    tones = []
    for hertz in (300, 600):
        tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(48_000) / 48_000)
        soundfile.write(tmp_path / "one", tone, 48_000, subtype, format="OGG")
        tones.append((tmp_path / "one").read_bytes())
    (tmp_path / "a.ogg").write_bytes(b"".join(tones))
    assert probe_audio(tmp_path / "a.ogg").frames == 96_000
    got = read_audio(tmp_path / "a.ogg").samples[0].numpy()
    heard = [np.abs(np.fft.rfft(got[a : a + 48_000])).argmax() for a in (0, 48_000)]
    assert heard == [300, 600]


def test_a_picture_of_many_megabytes_before_the_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.full(48_000, 0.1), 48_000)
    tags = mutagen.id3.ID3()  # type: ignore[no-untyped-call, attr-defined]
    picture = mutagen.id3.APIC(  # type: ignore[attr-defined]
        encoding=0, mime="image/png", type=3, desc="", data=b"\xff\xfb" * 5_000_000
    )
    tags.add(picture)
    tags.save(path)
    counted = Counted(monkeypatch)
    assert probe_audio(path).frames == 48_000 and counted.frames == 0
    assert read_audio(path).frames == 48_000


def test_the_name_says_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", np.full(48_000, 0.1), 48_000)
    (tmp_path / "a.mp3").rename(tmp_path / "a.wav")
    assert read_audio(tmp_path / "a.wav").frames == 48_000


# --- places ------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    for ask in (probe_audio, read_audio):
        with pytest.raises(InvalidSource, match="is a pipe, not a file"):
            ask(tmp_path / "a.wav")


def test_a_link_that_leads_to_itself(tmp_path: Path) -> None:
    try:
        (tmp_path / "a.wav").symlink_to(tmp_path / "a.wav")
    except OSError:
        pytest.skip("links cannot be made here")
    with pytest.raises(InvalidSource, match=r"source_audio: .*; allowed: "):
        probe_audio(tmp_path / "a.wav")


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, song: synth.Signal) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(song))
    with (
        pytest.raises(InvalidSource, match="changed while it was read"),
        decode.open_sound(path, "source_audio") as sound,
    ):
        next(sound.blocks())
        path.write_bytes(wav(song[:, :100]))
