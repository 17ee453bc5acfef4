"""m4a, mp4, aac and webm through PyAV: written, read in a child with limits, or refused by name."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headroom.audio import media, media_child
from headroom.audio.encode import write_audio
from headroom.audio.files import probe_audio, read_audio, read_stereo
from headroom.audio.tags import PROVENANCE, read_tags
from headroom.audio.wave import Audio
from headroom.errors import InvalidOutput, InvalidSource

av: Any = pytest.importorskip("av")

TONES = np.stack([0.3 * np.sin(2 * np.pi * f * np.arange(48_000) / 48_000) for f in (300, 500)])


def encoded(path: Path, container: str, codec: str) -> Path:
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=48_000, layout="stereo")
        kind = stream.codec_context.format.name
        samples = np.ascontiguousarray(TONES.astype(np.float32))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        for made in av.AudioResampler(format=kind, layout="stereo", rate=48_000).resample(frame):
            out.mux(stream.encode(made))
        out.mux(stream.encode(None))
    return path


def loudest_tones(samples: np.ndarray) -> list[int]:
    middle = samples[:, 12_000:36_000]
    return [int(np.abs(np.fft.rfft(row)).argmax()) * 2 for row in middle]


@pytest.mark.parametrize(
    ("name", "container", "codec"),
    [
        ("a.m4a", "ipod", "aac"),
        ("a.mp4", "mp4", "aac"),
        ("a.aac", "adts", "aac"),
        ("a.webm", "webm", "libopus"),
        ("a.wav", "mp4", "alac"),
    ],
)
def test_media_files_are_read(tmp_path: Path, name: str, container: str, codec: str) -> None:
    path = encoded(tmp_path / name, container, codec)
    got = read_stereo(path, "source_audio", 48_000, 60)
    assert got.frames == pytest.approx(48_000, abs=3 * 1024)
    assert got.frames == pytest.approx(probe_audio(path).frames, abs=1024)
    assert loudest_tones(got.samples.numpy()) == [300, 500]


def test_decoding_stops_at_the_limit(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.m4a", "ipod", "aac")
    assert read_stereo(path, "source_audio", 48_000, 0.25).frames == 12_000


def test_m4a_is_written_with_its_length_and_tags(tmp_path: Path) -> None:
    sound = Audio(torch.from_numpy(TONES.astype(np.float32)), 48_000)
    tags = {"title": "Ébène", "comment": "c", PROVENANCE: '{"seed": 7}', "SEED": "7"}
    path = write_audio(tmp_path / "a.m4a", sound, tags=tags)
    assert read_tags(path) == tags
    got = read_audio(path)
    assert (got.rate, got.frames, probe_audio(path).frames) == (48_000, 48_000, 48_000)
    assert loudest_tones(got.samples.numpy()) == [300, 500]


def test_without_pyav_the_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encoded(tmp_path / "a.m4a", "ipod", "aac")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InvalidSource, match=r"pip install 'headroom-audio\[media\]'"):
        probe_audio(path)
    with pytest.raises(InvalidOutput, match=r"pip install 'headroom-audio\[media\]'"):
        write_audio(tmp_path / "b.m4a", Audio(torch.zeros(2, 99), 48_000))
    assert not (tmp_path / "b.m4a").exists()


def test_damaged_files_end_in_a_sentence(tmp_path: Path) -> None:
    whole = encoded(tmp_path / "a.m4a", "ipod", "aac").read_bytes()
    draw, refused = random.Random(0), 0
    for trial in range(4):
        data = bytearray(whole[: len(whole) if trial % 2 else len(whole) // 2])
        for _ in range(40):
            data[draw.randrange(8, len(data))] = draw.randrange(256)
        (tmp_path / "b.m4a").write_bytes(data)
        try:
            read_audio(tmp_path / "b.m4a")
        except InvalidSource as error:
            assert "source_audio: " in str(error) and "; allowed: " in str(error)
            refused += 1
    assert refused >= 2, "half of a file has no index"


def test_a_decoder_that_never_ends_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "child.py").write_text("import time; time.sleep(60)\n", encoding="utf-8")
    monkeypatch.setattr(media, "_CHILD", tmp_path / "child.py")
    monkeypatch.setattr(media, "SECONDS", 0.2)
    with pytest.raises(InvalidSource, match=r"took longer than 0\.2 s"):
        probe_audio(encoded(tmp_path / "a.m4a", "ipod", "aac"))


@pytest.mark.parametrize(
    "said", ["b'X' + bytes(4)", "b'S' + b'\\xff' * 4", "b'H\\2\\0\\0\\0{}'", "b''"]
)
def test_a_decoder_that_says_nonsense_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    code = f"import sys; sys.stdout.buffer.write({said})\n"
    (tmp_path / "child.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(media, "_CHILD", tmp_path / "child.py")
    with pytest.raises(InvalidSource, match="cannot be read as audio"):
        probe_audio(encoded(tmp_path / "a.m4a", "ipod", "aac"))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are as Linux has them")
def test_the_child_has_little_memory_and_time() -> None:
    code = (
        "import resource as r, runpy, sys; runpy.run_path(sys.argv[1])['limit'](7);"
        "print(r.getrlimit(r.RLIMIT_CPU)[0], r.getrlimit(r.RLIMIT_AS)[0])"
    )
    command = [sys.executable, "-c", code, str(media_child.__file__)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["7", str(2 << 30)]
