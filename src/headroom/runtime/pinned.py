"""Keep a part's host tensors in page-locked memory, which a card reads at the rate of the link.

Each part has one slab, exactly as large as its tensors. They lie in it as they will on the device,
so that the whole part is one copy; members of a joined matrix lie side by side.
If no slab can be had (no card that benefits, not enough free memory, the system refuses), the
tensors stay where they are, mapped from their file, and copies run at the pageable rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import psutil
from torch import Tensor, nn

from headroom.device import Device
from headroom.log import log
from headroom.runtime.prepare import Slot, cells, piece

SHARE = 0.5  # of the free host memory that one part may take


def pinned(places: Sequence[Slot], device: Device) -> tuple[Slot, ...]:
    """The slots with their host tensors in one slab; the slots unchanged if there is no slab.

    The part itself does not change: the caller puts the tensors in.
    """
    places = tuple(places)
    layout = piece(cells(places))
    hosts, size = tuple(layout.hosts()), layout.size
    if not hosts or any(host.is_meta or host.is_pinned() for host, _ in hosts):
        return places
    if size > SHARE * psutil.virtual_memory().available:
        log.warning("host memory: %d bytes are not page-locked, too little is free", size)
        return places
    slab = device.buffer(size)
    if slab is None:
        return places
    moved: dict[int, Tensor] = {}
    for host, offset in hosts:
        view = slab[offset : offset + host.nbytes].view(host.dtype).view(host.shape)
        view.copy_(host.detach())
        is_parameter = isinstance(host, nn.Parameter)
        moved[id(host)] = nn.Parameter(view, requires_grad=False) if is_parameter else view
    return tuple(
        replace(slot, host=slot.host if slot.host is None else moved.get(id(slot.host), slot.host))
        for slot in places
    )
