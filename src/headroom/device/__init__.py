"""The interface to accelerators: all code that is specific to a kind of device.

`open_device` returns a `Device`; no other part of the program calls torch.cuda, torch.mps or
torch.xpu.
"""

from headroom.device.base import Device, Event, Graph, Kind, Stream
from headroom.device.open import (
    AUTO,
    SIMULATED_BYTES,
    built_for_cards,
    cards,
    open_device,
    prepare_allocator,
    present,
)
from headroom.device.upload import upload_tensor

__all__ = [
    "AUTO",
    "SIMULATED_BYTES",
    "Device",
    "Event",
    "Graph",
    "Kind",
    "Stream",
    "built_for_cards",
    "cards",
    "open_device",
    "prepare_allocator",
    "present",
    "upload_tensor",
]
