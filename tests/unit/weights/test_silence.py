from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch

from headroom.errors import InvalidCheckpoint
from headroom.weights.silence import FILE, load_silence, silence_frames


def put(folder: Path, value: object) -> Path:
    torch.save(value, folder / FILE)
    return folder


def test_stored_channels_first_read_as_frames(tmp_path: Path) -> None:
    stored = torch.randn(1, 64, 15000)
    silence = load_silence(put(tmp_path, stored))
    assert silence.shape == (1, 15000, 64) and silence.is_contiguous()
    assert torch.equal(silence[0, 7], stored[0, :, 7])


def test_frames_repeat_beyond_the_length(tmp_path: Path) -> None:
    silence = load_silence(put(tmp_path, torch.arange(128.0).view(1, 64, 2)))
    assert silence_frames(silence, 1).shape == (1, 1, 64)
    assert silence_frames(silence, 0).shape == (1, 0, 64)
    long = silence_frames(silence, 5)
    assert torch.equal(long, silence[:, [0, 1, 0, 1, 0]])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"a": torch.zeros(2)}, "holds a dict"),
        ([1.0], "holds a list"),
        (torch.zeros(64, 9), r"\[64, 9\] in the file, \[1, 64, frames\]"),
        (torch.zeros(1, 15, 64), r"\[1, 15, 64\] in the file"),
        (torch.zeros(2, 64, 9), r"\[2, 64, 9\] in the file"),
        (torch.zeros(1, 64, 0), r"\[1, 64, 0\] in the file"),
        (torch.zeros(1, 64, 9, dtype=torch.int8), "int8"),
        (torch.full((1, 64, 9), torch.nan), "not finite"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, value: object, why: str) -> None:
    with pytest.raises(InvalidCheckpoint, match=why):
        load_silence(put(tmp_path, value))


class Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("owned",)


def test_code_in_the_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, Attack())
    with pytest.raises(InvalidCheckpoint, match="more than plain tensors"):
        load_silence(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match=r"silence_latent\.pt: No such file"):
        load_silence(tmp_path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_torn_files_are_sentences(tmp_path: Path) -> None:
    whole = (put(tmp_path, torch.randn(1, 64, 3)) / FILE).read_bytes()
    chance = random.Random(5)
    torn = [b"", b"hello", b"\x80\x02.", b"<!DOCTYPE html>", whole[:-1], whole[: len(whole) // 2]]
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        torn.append(bytes(data))
    refused = 0
    for data in torn:
        (tmp_path / FILE).write_bytes(data)
        try:
            assert load_silence(tmp_path).shape[2] == 64
        except InvalidCheckpoint:
            refused += 1
    assert refused > len(torn) // 4
