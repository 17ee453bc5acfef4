"""Copies a tensor to a device without making the host wait."""

from __future__ import annotations

import torch
from torch import Tensor


def upload_tensor(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy of a host tensor on `device`.

    A copy to a CUDA device goes through page-locked memory, so the host continues at once instead
    of waiting for the work queued before; torch keeps that memory until the copy is done.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
