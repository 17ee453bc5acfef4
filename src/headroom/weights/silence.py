"""Load the latent of silence that every ACE-Step DiT folder carries (`silence_latent.pt`).

Stored as [1, 64, 15000], 600 s of encoded silence; used as rows of frames.
Source: ACE-Step 1.5, checkpoint layout.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from headroom.errors import InvalidCheckpoint, InvalidFile
from headroom.files import read_bytes
from headroom.units import KIB, MIB, gib

FILE = "silence_latent.pt"
_CHANNELS = 64
_LARGEST = 16 * MIB  # 600 s in double precision take half of this
_LARGEST_PICKLE = 64 * KIB
_MOST_ENTRIES = 64
_ENTRY = b"PK\1\2"  # begins each entry of a zip file's directory
# Which error torch's reader raises for a damaged file depends on where the damage is.
TORN = (
    RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def load_silence(folder: str | Path, channels: int = _CHANNELS) -> Tensor:
    """The folder's silence as [1, T, channels] in the file's precision, contiguous.

    Raises InvalidCheckpoint if it is missing or anything but a [1, channels, T] tensor of finite
    numbers. Only plain tensors are unpickled, never code, and nothing is decompressed.
    """
    try:
        data = read_bytes(Path(folder) / FILE, _LARGEST)
        _check_container(data)
        value: object = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except InvalidFile as error:
        raise InvalidCheckpoint(folder, [f"{FILE}: {error.why}"]) from error
    except pickle.UnpicklingError as error:
        why = "holds more than plain tensors, or is no torch file"
        raise InvalidCheckpoint(folder, [f"{FILE}: {why}"]) from error
    except TORN as error:
        first = str(error).partition("\n")[0][:120]
        raise InvalidCheckpoint(folder, [f"{FILE}: cannot be read ({first})"]) from error
    return _rows(value, folder, channels)


def silence_frames(silence: Tensor, frames: int) -> Tensor:
    """The first `frames` of silence [1, T, C] → [1, frames, C], repeated beyond its length."""
    repeats = -(-frames // silence.shape[1])
    return (silence if repeats <= 1 else silence.repeat(1, repeats, 1))[:, :frames]


def _check_container(data: bytes) -> None:
    """Raise an error from `TORN` unless this is a torch file no larger unpacked than on disk.

    torch decompresses entries of any size; files it writes itself are not compressed.
    """
    if data.count(_ENTRY) > _MOST_ENTRIES:
        raise ValueError(f"it has more than {_MOST_ENTRIES} entries")
    with zipfile.ZipFile(BytesIO(data)) as container:
        entries = container.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it is compressed")
    pickled = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
    if pickled > _LARGEST_PICKLE or sum(entry.file_size for entry in entries) > len(data):
        raise ValueError(f"it holds a pickle larger than {gib(_LARGEST_PICKLE)}, or overlaps")


def _rows(value: object, folder: str | Path, channels: int) -> Tensor:
    needed = f"[1, {channels}, frames]"
    if not isinstance(value, Tensor):
        fault = f"holds a {type(value).__name__}, not a tensor"
    elif value.ndim != 3 or value.shape[:2] != (1, channels) or value.shape[2] == 0:
        fault = f"{list(value.shape)} in the file, {needed} is needed"
    elif value.layout is not torch.strided or not value.is_floating_point() or value.is_meta:
        where = "numbers without values" if value.is_meta else f"{value.layout} {value.dtype}"
        fault = f"holds {where}, plain floating-point numbers are needed"
    elif value.untyped_storage().nbytes() < value.numel() * value.itemsize:
        # Strides of 0: a few numbers could stand for any number of frames.
        fault = f"{list(value.shape)} out of {value.untyped_storage().nbytes()} bytes"
    elif not bool(value.isfinite().all()):
        fault = "holds numbers that are not finite"
    else:
        return value.detach().transpose(1, 2).contiguous()
    raise InvalidCheckpoint(folder, [f"{FILE}: {fault}"])
