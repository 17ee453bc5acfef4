"""Upload a part's tensors to the device and join its projections there.

Uploading changes where tensors are, not their data: each module keeps its identity and gets device
tensors; the host tensors are set aside and put back when the part leaves. Matrices that are used
as one (`Joined`) are copied separately into their rows of the joined matrix on the device, so no
joined copy ever exists on the host, and the members are views of it. All tensors of a part lie in
one piece of device memory: one allocation instead of hundreds, and one copy if they have the same
layout on the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod

import torch
from torch import Tensor, nn

from headroom.nn.attention import Joined
from headroom.nn.blocks import Blocks

ALIGNMENTS = (256, 16)  # bytes: what the fastest kernels prefer, what all kernels need


@dataclass(slots=True)
class Slot:
    """A place in a module where a tensor belongs, and that tensor in host memory.

    None: the place is empty on the host, as it is for joined matrices.
    """

    module: nn.Module
    name: str
    host: Tensor | None

    def put(self, tensor: Tensor | None) -> None:
        """Set this tensor in the module."""
        setattr(self.module, self.name, tensor)


@dataclass(frozen=True, slots=True)
class Cell:
    """One tensor on the device, and the slots it fills: a single one, or a joined one and members.

    rows  of each member in the joined tensor; None for a tensor that is not joined
    """

    whole: Slot
    members: tuple[Slot, ...]
    rows: tuple[slice, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the device's tensor."""
        first = self.members[0].host
        assert first is not None
        if self.rows is None:
            return tuple(first.shape)
        return self.rows[-1].stop, *first.shape[1:]

    @property
    def like(self) -> Tensor:
        """A host tensor with its dtype."""
        host = self.members[0].host
        assert host is not None
        return host

    @property
    def bytes(self) -> int:
        """Bytes it takes on the device."""
        return prod(self.shape) * self.like.element_size()

    def within(self, piece: Tensor, start: int) -> Tensor:
        """Its tensor in a piece of memory, beginning at byte `start`."""
        return piece[start : start + self.bytes].view(self.like.dtype).view(self.shape)

    def fill(self, tensor: Tensor) -> None:
        """Copy the host's values; the host does not wait if its memory is page-locked."""
        for slot, part in zip(self.members, self._parts(tensor), strict=True):
            assert slot.host is not None
            part.copy_(slot.host.detach(), non_blocking=True)

    def bind(self, tensor: Tensor) -> None:
        """Let the modules compute with it."""
        if self.rows is not None:
            self.whole.put(_as(self.like, tensor))
        for slot, part in zip(self.members, self._parts(tensor), strict=True):
            slot.put(_as(self.like, part))

    def leave(self) -> None:
        """Put the host tensors back."""
        if self.rows is not None:
            self.whole.put(self.whole.host)
        for slot in self.members:
            slot.put(slot.host)

    def _parts(self, tensor: Tensor) -> Sequence[Tensor]:
        return (tensor,) if self.rows is None else [tensor[rows] for rows in self.rows]


def slots(part: object) -> tuple[Slot, ...]:
    """The slots of a part's tensors, empty ones included; none if the part is not a module."""
    if not isinstance(part, nn.Module):
        return ()
    return tuple(chain.from_iterable(_slots(module) for module in part.modules()))


def cells(places: Iterable[Slot]) -> tuple[Cell, ...]:
    """The tensors a device needs for these slots; a tensor that fills two slots is one cell.

    Members of a joined matrix share a cell if they are alike.
    """
    places = tuple(places)
    by_place = {(id(slot.module), slot.name): slot for slot in places}
    shared: dict[int, list[Slot]] = {}
    for slot in places:
        if slot.host is not None:
            shared.setdefault(id(slot.host), []).append(slot)
    groups: list[Cell] = []
    grouped: set[int] = set()
    for module in {id(slot.module): slot.module for slot in places}.values():
        if isinstance(module, Joined):
            for name, members in module.joined.items():
                cell = _joined(module, name, members, by_place)
                if cell is not None and not grouped & {id(slot.host) for slot in cell.members}:
                    groups.append(cell)
                    grouped |= {id(slot.host) for slot in cell.members}
    for key, where in shared.items():
        if key not in grouped:
            groups.append(Cell(where[0], tuple(where[:1]), None))
    return tuple(groups)


def twins(places: Iterable[Slot], moved: Iterable[Cell]) -> tuple[tuple[Slot, Slot], ...]:
    """Slots whose tensor is already in another: pairs (slot, the slot that holds the tensor)."""
    held = {id(slot.host): slot for cell in moved for slot in cell.members}
    owners = {(id(slot.module), slot.name) for cell in moved for slot in cell.members}
    return tuple(
        (slot, held[id(slot.host)])
        for slot in places
        if slot.host is not None
        and (id(slot.module), slot.name) not in owners
        and id(slot.host) in held
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of memory, and where in it the tensors of some cells begin."""

    cells: tuple[Cell, ...]
    starts: tuple[int, ...]
    size: int

    def on(self, device: torch.device) -> Tensor:
        """The memory, [size] bytes."""
        return torch.empty(self.size, dtype=torch.uint8, device=device)

    def tensors(self, memory: Tensor) -> list[Tensor]:
        """The cells' tensors in it."""
        pairs = zip(self.cells, self.starts, strict=True)
        return [cell.within(memory, start) for cell, start in pairs]

    def fill(self, memory: Tensor) -> None:
        """Copy the host's values: in one copy if they have the same layout on the host."""
        whole = self._as_here()
        if whole is not None:
            memory.copy_(whole, non_blocking=True)
            return
        for cell, tensor in zip(self.cells, self.tensors(memory), strict=True):
            cell.fill(tensor)

    def bind(self, memory: Tensor) -> None:
        """Let the modules compute with it."""
        for cell, tensor in zip(self.cells, self.tensors(memory), strict=True):
            cell.bind(tensor)

    def _as_here(self) -> Tensor | None:
        """The host's memory if its tensors lie in one piece in the same order, else None."""
        memory, first = None, 0
        for host, start in self.hosts():
            if host.is_meta or not host.is_contiguous():
                return None
            storage = host.untyped_storage()
            at = int(host.storage_offset()) * host.element_size()
            if memory is None:
                memory, first = storage, at
            if storage.data_ptr() != memory.data_ptr() or at != first + start:
                return None
        if memory is None or memory.nbytes() < first + self.size:
            return None
        return torch.empty(0, dtype=torch.uint8).set_(memory, first, (self.size,), (1,))

    def hosts(self) -> Iterator[tuple[Tensor, int]]:
        """Every host tensor, and the byte it begins at."""
        for cell, start in zip(self.cells, self.starts, strict=True):
            at = start
            for slot in cell.members:
                if slot.host is not None:
                    yield slot.host, at
                    at += int(slot.host.nbytes)


def piece(members: Iterable[Cell]) -> Piece:
    """Lay tensors out in one piece of memory: those that fill whole lines first, so that no bytes
    are lost between them."""
    wide, narrow = ALIGNMENTS
    members = tuple(members)
    ordered = sorted(members, key=lambda cell: (cell.bytes % wide != 0, cell.bytes % narrow != 0))
    starts, size = [], 0
    for cell in ordered:
        unit = wide if cell.bytes % wide == 0 else narrow
        size = -(-size // unit) * unit
        starts.append(size)
        size += cell.bytes
    return Piece(tuple(ordered), tuple(starts), size)


def enter(whole: Piece, same: Iterable[tuple[Slot, Slot]], device: torch.device) -> Tensor:
    """Put a device copy into every slot; returns the memory that holds them all.

    After a failure midway, `leave` undoes what was done.
    """
    memory = whole.on(device)
    whole.fill(memory)
    whole.bind(memory)
    for slot, other in same:
        slot.put(getattr(other.module, other.name))
    return memory


def leave(members: Iterable[Cell], same: Iterable[tuple[Slot, Slot]]) -> None:
    """Put the host tensors back and drop the device's copies."""
    for cell in members:
        cell.leave()
    for slot, _ in same:
        slot.put(slot.host)


def restore(places: Iterable[Slot]) -> None:
    """Put the host tensors back into all slots of a part, whatever they hold now."""
    for slot in places:
        slot.put(slot.host)


def bring(part: object, device: torch.device) -> None:
    """Move a whole part to the device permanently."""
    places = slots(part)
    groups = cells(places)
    enter(piece(groups), twins(places, groups), device)


def streamed_blocks(part: object, kept: int) -> tuple[nn.Module, ...]:
    """The streamed blocks of a part: all but the first `kept`, in order."""
    if not isinstance(part, nn.Module):
        return ()
    lists = [module for module in part.modules() if isinstance(module, Blocks)]
    return tuple(chain.from_iterable(lists))[kept:]


def matrices(block: nn.Module) -> tuple[Slot, ...]:
    """The slots of a block that are streamed with it: its matrices, joined ones included."""
    linears = []
    for module in block.modules():
        joined = _flat_joins(module) if isinstance(module, Joined) else set()
        linears += [
            slot
            for slot in _slots(module)
            if slot.name in joined or (slot.host is not None and slot.host.dim() == 2)
        ]
    return tuple(linears)


def _flat_joins(module: Joined) -> set[str]:
    """Names of joined tensors whose members are all matrices."""
    names = set()
    for name, members in module.joined.items():
        assert isinstance(module, nn.Module)
        tensors = [_named(module, member) for member in members]
        if all(tensor is not None and tensor.dim() == 2 for tensor in tensors):
            names.add(name)
    return names


def _named(module: nn.Module, path: str) -> Tensor | None:
    owner, _, leaf = path.rpartition(".")
    tensor: Tensor | None = getattr(module.get_submodule(owner), leaf)
    return tensor


def _joined(
    module: Joined,
    name: str,
    members: Sequence[str],
    by_place: Mapping[tuple[int, str], Slot],
) -> Cell | None:
    assert isinstance(module, nn.Module)
    whole = by_place.get((id(module), name))
    slots = []
    for member in members:
        owner, _, leaf = member.rpartition(".")
        slot = by_place.get((id(module.get_submodule(owner)), leaf))
        if slot is None or slot.host is None:
            return None
        slots.append(slot)
    hosts = [slot.host for slot in slots if slot.host is not None]
    alike = {(host.dtype, host.shape[1:]) for host in hosts}
    if whole is None or whole.host is not None or len(alike) > 1:
        return None
    rows, start = [], 0
    for host in hosts:
        rows.append(slice(start, start + host.shape[0]))
        start += host.shape[0]
    return Cell(whole, tuple(slots), tuple(rows))


def _as(host: Tensor, copied: Tensor) -> Tensor:
    """The copy as the same kind of tensor."""
    is_parameter = isinstance(host, nn.Parameter)
    return nn.Parameter(copied, requires_grad=False) if is_parameter else copied


def _slots(module: nn.Module) -> Iterator[Slot]:
    tensors = chain(module._parameters.items(), module._buffers.items())
    return (Slot(module, name, tensor) for name, tensor in tensors)
