"""Account for every byte on the device by owner, and check the total while no work is going on."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from headroom.device import Device
from headroom.errors import LedgerMismatch


class Ledger:
    """Bytes by owner. `floor` is what was allocated before the ledger was created."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._owned: dict[str, int] = {}
        self.floor = device.memory_allocated()

    def own(self, owner: str, tensors: Iterable[Tensor]) -> int:
        """Record what an owner holds now, replacing its previous entry; returns the bytes."""
        size = sum(self._device.rounded(tensor.nbytes) for tensor in tensors)
        self._owned[owner] = size
        return size

    def disown(self, owner: str) -> None:
        """Remove an owner's entry."""
        self._owned.pop(owner, None)

    def bytes(self, owner: str | None = None) -> int:
        """Bytes held by one owner, or by all of them."""
        return sum(self._owned.values()) if owner is None else self._owned.get(owner, 0)

    def check_integrity(self) -> None:
        """Compare with the device; only while no work is going on. Raises LedgerMismatch."""
        allocated = self._device.memory_allocated() - self.floor
        if self._device.kind != "cpu" and allocated != self.bytes():
            raise LedgerMismatch(self.bytes(), allocated)
