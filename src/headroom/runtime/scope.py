"""Set torch's default device and turn gradients off for a stage, and always restore both after."""

from __future__ import annotations

import torch

from headroom.device import Device


class Scope:
    """Created before it is entered; `leave` may be called at any time, also repeatedly."""

    def __init__(self, device: Device) -> None:
        self._inside, self._mode = device.inside(), torch.inference_mode()
        self._before = torch.is_inference_mode_enabled()

    def enter(self) -> None:
        """Select the device and turn gradients off."""
        self._inside.__enter__()
        self._mode.__enter__()

    def leave(self) -> None:
        """Restore the previous state."""
        if torch.is_inference_mode_enabled() and not self._before:
            self._mode.__exit__(None, None, None)
        self._inside.__exit__(None, None, None)
