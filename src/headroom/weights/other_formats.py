"""Weights in other formats than safetensors: torch's pickles and numpy's arrays.

Nothing in a file is run: pickles are read by torch's reader for plain tensors, arrays without
pickles. What is read is written once as safetensors, with a stamp of the file it came from.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from headroom import paths
from headroom.audio.atomic import replacing
from headroom.errors import InvalidCheckpoint
from headroom.weights.header import SINGLE, name_of
from headroom.weights.silence import TORN

WRAPPED = "state_dict"  # under this name some programs store the tensors, beside other things
_STAMP = "made_of"
_MOST_ENTRIES = 20_000
_LARGEST_ARRAY = 1 << 28  # bytes


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pt` file by name, mapped where the file allows it.

    Raises InvalidCheckpoint if it is missing, is no torch file, or holds anything but tensors.
    """
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            _check_container(path)
        value: object = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except OSError as error:
        raise _fault(path, error.strerror or str(error)) from error
    except pickle.UnpicklingError as error:
        raise _fault(path, "holds more than plain tensors, or is no torch file") from error
    except TORN as error:
        first = str(error).partition("\n")[0][:120]
        raise _fault(path, f"cannot be read ({first})") from error
    inner = value.get(WRAPPED, value) if isinstance(value, Mapping) else value
    if not isinstance(inner, Mapping):
        raise _fault(path, f"holds a {type(inner).__name__}, not tensors by name")
    return {str(key): _plain(path, str(key), tensor) for key, tensor in inner.items()}


def read_array(path: Path, columns: int) -> Tensor:
    """A table of numbers [rows, columns] from a `.npy` file, as fp32. Raises InvalidCheckpoint."""
    try:
        if path.stat().st_size > _LARGEST_ARRAY:
            raise ValueError(f"it has more than {_LARGEST_ARRAY} bytes")
        table = np.load(path, allow_pickle=False)
    except OSError as error:
        raise _fault(path, error.strerror or str(error)) from error
    except (ValueError, EOFError) as error:
        raise _fault(path, f"cannot be read ({str(error)[:120]})") from error
    if table.ndim != 2 or table.shape[1] != columns or table.dtype.kind != "f":
        raise _fault(path, f"{list(table.shape)} {table.dtype}, [rows, {columns}] is needed")
    if not np.isfinite(table).all():
        raise _fault(path, "holds numbers that are not finite")
    return torch.from_numpy(np.ascontiguousarray(table, dtype=np.float32))


def stamp_of(*sources: Path) -> str:
    """A word that changes if one of the files is replaced. Raises InvalidCheckpoint."""
    words = []
    for source in sources:
        try:
            known = source.stat()
        except OSError as error:
            raise _fault(source, error.strerror or str(error)) from error
        words.append(f"{source.name} {known.st_size} {known.st_mtime_ns}")
    return "; ".join(words)


def is_made_of(folder: Path, stamp: str) -> bool:
    """Whether a folder holds safetensors that were written under this stamp."""
    file = folder / SINGLE[0]
    if not paths.is_file(file):
        return False
    try:
        with safe_open(file, framework="pt") as opened:
            return (opened.metadata() or {}).get(_STAMP) == stamp
    except (OSError, ValueError, RuntimeError, SafetensorError):
        return False


def write_folder(folder: Path, tensors: Mapping[str, Tensor], stamp: str) -> Path:
    """Write tensors as the only file of a folder, whole or not at all. Raises InvalidOutput."""
    file = folder / SINGLE[0]
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replacing(file, "converted weights") as temp:
        save_file(whole, temp, {_STAMP: stamp})
    return file


def _check_container(path: Path) -> None:
    """Raise an error from TORN unless the entries lie in the file as they are."""
    with zipfile.ZipFile(path) as container:
        entries = container.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise ValueError(f"it has more than {_MOST_ENTRIES} entries")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it is compressed")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its entries overlap")


def _plain(path: Path, key: str, value: object) -> Tensor:
    """The tensor, if it is one with values of its own."""
    if not isinstance(value, Tensor):
        raise _fault(path, f"{name_of(key)} is a {type(value).__name__}, not a tensor")
    if value.layout is not torch.strided or value.is_meta or value.is_quantized:
        raise _fault(path, f"{name_of(key)} is no plain tensor")
    if value.untyped_storage().nbytes() < value.numel() * value.itemsize:
        raise _fault(path, f"{name_of(key)} has fewer values than its shape")
    return value.detach()


def _fault(path: Path, why: str) -> InvalidCheckpoint:
    return InvalidCheckpoint(path.parent, [f"{path.name}: {why}"])
