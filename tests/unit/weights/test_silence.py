from __future__ import annotations

import os
import random
import zipfile
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
        (torch.full((1, 64, 9), -torch.inf), "not finite"),
        (torch.zeros(1, 64, 9, dtype=torch.complex64), "complex64"),
        (torch.zeros(1, 64, 9, dtype=torch.bool), "bool"),
        (torch.zeros(1, 64, 9).to_sparse(), "sparse"),
        (torch.zeros(1, 64, 9, device="meta"), "numbers without values"),
        (torch.zeros(1, 1, 1).expand(1, 64, 10**12), r"\[1, 64, 10+\] out of 4 bytes"),
        (torch.zeros(1, 64, 1).expand(1, 64, 9), r"\[1, 64, 9\] out of 256 bytes"),
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


def test_gradients_are_left_behind(tmp_path: Path) -> None:
    silence = load_silence(put(tmp_path, torch.nn.Parameter(torch.ones(1, 64, 2))))
    assert not silence.requires_grad and silence.shape == (1, 2, 64)


def repacked(folder: Path, more: dict[str, bytes], method: int) -> None:
    """The file again with other entries, packed otherwise."""
    with zipfile.ZipFile(folder / FILE) as whole:
        entries = {name: whole.read(name) for name in whole.namelist()} | more
    with zipfile.ZipFile(folder / FILE, "w", method) as container:
        for name, data in entries.items():
            container.writestr(name, data)


def test_a_file_holds_as_much_as_it_takes(tmp_path: Path) -> None:
    put(tmp_path, torch.zeros(1, 64, 4000))
    repacked(tmp_path, {}, zipfile.ZIP_STORED)
    assert load_silence(tmp_path).shape == (1, 4000, 64), "packed again it is the same"
    repacked(tmp_path, {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InvalidCheckpoint, match="it is compressed"):
        load_silence(tmp_path)
    put(tmp_path, torch.zeros(1, 64, 4))
    repacked(tmp_path, {"silence_latent/data.pkl": b"]" * 70_000}, zipfile.ZIP_STORED)
    with pytest.raises(InvalidCheckpoint, match="a pickle larger than 64 KiB"):
        load_silence(tmp_path)
    repacked(tmp_path, {f"{n}": b"" for n in range(70)}, zipfile.ZIP_STORED)
    with pytest.raises(InvalidCheckpoint, match="more than 64 entries"):
        load_silence(tmp_path)
    with (tmp_path / FILE).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidCheckpoint, match="larger than 16 MiB"):
        load_silence(tmp_path)


def test_a_pointer_of_git_lfs_is_called_that(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(InvalidCheckpoint, match="is a git-lfs pointer"):
        load_silence(tmp_path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match=r"silence_latent\.pt: is not there"):
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
