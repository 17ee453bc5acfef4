"""What torch is told for the time of a stage: where tensors are made, and that nobody wants
gradients. Left again whatever happened in between."""

from __future__ import annotations

import torch

from headroom.device import Device


class Scope:
    """Made before it is entered; `leave` may be called at any time, and again."""

    def __init__(self, device: Device) -> None:
        self._inside, self._mode = device.inside(), torch.inference_mode()
        self._before = torch.is_inference_mode_enabled()

    def enter(self) -> None:
        """Inside the device, without gradients."""
        self._inside.__enter__()
        self._mode.__enter__()

    def leave(self) -> None:
        """As it was."""
        if torch.is_inference_mode_enabled() and not self._before:
            self._mode.__exit__(None, None, None)
        self._inside.__exit__(None, None, None)
