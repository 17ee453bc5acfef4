"""Account for every byte on a device by owner, and check the total while no work is going on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from headroom.device import Device
from headroom.errors import LedgerMismatch


@dataclass(frozen=True, slots=True)
class PartKey:
    """A part on a device. `engine` tells engines with the same model apart, which share nothing."""

    family: str
    model: str
    part: str
    engine: int


class Ledger:
    """Bytes by owner. `floor` is what was allocated before the ledger was created.

    It takes no lock: each change is one operation on a dictionary, so a finalizer may make it too.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._owned: dict[PartKey, int] = {}
        self.floor = device.memory_allocated()

    def own(self, owner: PartKey, tensors: Iterable[Tensor]) -> int:
        """Record what an owner holds now, replacing its previous entry; returns the bytes."""
        size = sum(self._device.rounded(tensor.nbytes) for tensor in tensors)
        self._owned[owner] = size
        return size

    def disown(self, *owners: PartKey) -> None:
        """Remove the entries of owners, where there are any."""
        for owner in owners:
            self._owned.pop(owner, None)

    def bytes(self, *owners: PartKey) -> int:
        """Bytes held by these owners, or by all of them."""
        if owners:
            return sum(self._owned.get(owner, 0) for owner in owners)
        return sum(tuple(self._owned.values()))

    def check_integrity(self) -> None:
        """Compare with the device; only while no work is going on. Raises LedgerMismatch."""
        allocated = self._device.memory_allocated() - self.floor
        if self._device.kind != "cpu" and allocated != self.bytes():
            raise LedgerMismatch(self.bytes(), allocated)
