"""The latent of silence that every ACE-Step DiT folder carries (`silence_latent.pt`).

Stored as [1, 64, 15000], 600 s of encoded silence; used as rows of frames.
Source: ACE-Step 1.5, checkpoint layout.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import torch
from torch import Tensor

from headroom.errors import InvalidCheckpoint

FILE = "silence_latent.pt"
_CHANNELS = 64
# What torch's reader raises for a torn file depends on where it is torn.
_TORN = (
    RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    ArithmeticError, struct.error,
)  # fmt: skip


def load_silence(folder: str | Path, channels: int = _CHANNELS) -> Tensor:
    """The folder's silence as [1, T, channels] in the file's precision, contiguous.

    Raises InvalidCheckpoint where it is missing or anything but a [1, channels, T] tensor of
    finite numbers. Only plain tensors are unpickled, never code.
    """
    path = Path(folder) / FILE
    try:
        value: object = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InvalidCheckpoint(folder, [f"{FILE}: {error.strerror or error}"]) from error
    except pickle.UnpicklingError as error:
        why = "holds more than plain tensors, or is no torch file"
        raise InvalidCheckpoint(folder, [f"{FILE}: {why}"]) from error
    except _TORN as error:
        first = str(error).partition("\n")[0][:120]
        raise InvalidCheckpoint(folder, [f"{FILE}: cannot be read ({first})"]) from error
    return _rows(value, folder, channels)


def silence_frames(silence: Tensor, frames: int) -> Tensor:
    """The first `frames` of silence [1, T, C] → [1, frames, C]; repeated beyond its length."""
    repeats = -(-frames // silence.shape[1])
    return (silence if repeats <= 1 else silence.repeat(1, repeats, 1))[:, :frames]


def _rows(value: object, folder: str | Path, channels: int) -> Tensor:
    wanted = f"[1, {channels}, frames]"
    if not isinstance(value, Tensor):
        fault = f"holds a {type(value).__name__}, not a tensor"
    elif value.ndim != 3 or value.shape[:2] != (1, channels) or value.shape[2] == 0:
        fault = f"{list(value.shape)} in the file, {wanted} is needed"
    elif value.layout is not torch.strided or not value.is_floating_point():
        fault = f"holds {value.layout} {value.dtype}, plain floating-point numbers are needed"
    elif not bool(value.isfinite().all()):
        fault = "holds numbers that are not finite"
    else:
        return value.transpose(1, 2).contiguous()
    raise InvalidCheckpoint(folder, [f"{FILE}: {fault}"])
