"""The seam to accelerators: all that touches one directly stands in this folder.

`open_device` gives a `Device`; nothing else in the program asks torch.cuda, torch.mps or torch.xpu.
"""

from headroom.device.base import Device, Event, Graph, Kind, Stream
from headroom.device.open import (
    AUTO,
    SIMULATED_BYTES,
    cards,
    open_device,
    prepare_allocator,
    present,
)
from headroom.device.upload import upload

__all__ = [
    "AUTO",
    "SIMULATED_BYTES",
    "Device",
    "Event",
    "Graph",
    "Kind",
    "Stream",
    "cards",
    "open_device",
    "prepare_allocator",
    "present",
    "upload",
]
