"""Send a tensor to a device without making the host wait."""

from __future__ import annotations

import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor's values on `device`.

    To a CUDA device they go through page-locked memory, so the host goes on at once and is not held
    up by the work that was queued before; torch keeps that memory until the copy is done.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
