"""Make a part ready where it computes: its tensors brought to the device, projections joined.

Uploading changes places, not data: each module keeps its identity and gets device tensors; the
host tensors are kept aside and take their places again when the part leaves. Matrices that are
computed with as one (`Joined`) are copied, each by itself, into their rows of that one on the
device, so no joined copy ever exists on the host, and the members are views of it. All tensors of
a part lie in one piece of device memory: one allocation instead of hundreds, and one copy where
they lie on the host as they do there.
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

ALIGNMENTS = (256, 16)  # bytes a tensor begins at: as the fastest kernels like it, as all need it


@dataclass(slots=True)
class Slot:
    """A place in a module where a tensor belongs, and that tensor in host memory.

    None: the place is empty on the host, as that of joined matrices is.
    """

    module: nn.Module
    name: str
    host: Tensor | None

    def put(self, tensor: Tensor | None) -> None:
        """Let this tensor be the module's."""
        setattr(self.module, self.name, tensor)


@dataclass(frozen=True, slots=True)
class Cell:
    """One tensor on the device, and the places it fills: one, or a joined one and its members.

    `rows` of each member, in the joined one; None for a tensor of its own.
    """

    whole: Slot
    members: tuple[Slot, ...]
    rows: tuple[slice, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the device's tensor."""
        first = self.members[0].host
        assert first is not None
        if self.rows is None:
            return tuple(first.shape)
        return self.rows[-1].stop, *first.shape[1:]

    @property
    def like(self) -> Tensor:
        """A host tensor of its type."""
        host = self.members[0].host
        assert host is not None
        return host

    @property
    def bytes(self) -> int:
        """What it takes on the device."""
        return prod(self.shape) * self.like.element_size()

    def within(self, piece: Tensor, start: int) -> Tensor:
        """Its tensor in a piece of memory, from a byte of it on."""
        return piece[start : start + self.bytes].view(self.like.dtype).view(self.shape)

    def fill(self, tensor: Tensor) -> None:
        """Copy the host's values; the host goes on where its memory is page-locked."""
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
        """Put the host's tensors back."""
        if self.rows is not None:
            self.whole.put(self.whole.host)
        for slot in self.members:
            slot.put(slot.host)

    def _parts(self, tensor: Tensor) -> Sequence[Tensor]:
        return (tensor,) if self.rows is None else [tensor[rows] for rows in self.rows]


def slots(part: object) -> tuple[Slot, ...]:
    """The places of a part's tensors, the empty ones too; a part that is no module has none."""
    if not isinstance(part, nn.Module):
        return ()
    return tuple(chain.from_iterable(_slots(module) for module in part.modules()))


def cells(places: Iterable[Slot]) -> tuple[Cell, ...]:
    """The tensors a device needs for these places; one that stands in two places is one cell.

    Members of a joined matrix go together where they are alike.
    """
    places = tuple(places)
    by_place = {(id(slot.module), slot.name): slot for slot in places}
    shared: dict[int, list[Slot]] = {}
    for slot in places:
        if slot.host is not None:
            shared.setdefault(id(slot.host), []).append(slot)
    found: list[Cell] = []
    taken: set[int] = set()
    for module in {id(slot.module): slot.module for slot in places}.values():
        if isinstance(module, Joined):
            for name, members in module.joined.items():
                cell = _joined(module, name, members, by_place)
                if cell is not None and not taken & {id(slot.host) for slot in cell.members}:
                    found.append(cell)
                    taken |= {id(slot.host) for slot in cell.members}
    for key, where in shared.items():
        if key not in taken:
            found.append(Cell(where[0], tuple(where[:1]), None))
    return tuple(found)


def twins(places: Iterable[Slot], made: Iterable[Cell]) -> tuple[tuple[Slot, Slot], ...]:
    """Places whose tensor is already in another: (the place, the one that holds the tensor)."""
    held = {id(slot.host): slot for cell in made for slot in cell.members}
    owners = {(id(slot.module), slot.name) for cell in made for slot in cell.members}
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
        """Copy the host's values: at once where they lie on the host as they lie here."""
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
        """The host's memory, where its tensors lie in one piece in the same order."""
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


def piece(made: Iterable[Cell]) -> Piece:
    """Where tensors lie in one piece of memory: those that fill whole lines first, so that
    nothing is lost between them."""
    wide, narrow = ALIGNMENTS
    made = tuple(made)
    ordered = sorted(made, key=lambda cell: (cell.bytes % wide != 0, cell.bytes % narrow != 0))
    starts, size = [], 0
    for cell in ordered:
        unit = wide if cell.bytes % wide == 0 else narrow
        size = -(-size // unit) * unit
        starts.append(size)
        size += cell.bytes
    return Piece(tuple(ordered), tuple(starts), size)


def enter(made: Piece, same: Iterable[tuple[Slot, Slot]], device: torch.device) -> Tensor:
    """Put a copy on the device in every place; the memory they are all in.

    What fails midway is undone by `leave`.
    """
    memory = made.on(device)
    made.fill(memory)
    made.bind(memory)
    for slot, other in same:
        slot.put(getattr(other.module, other.name))
    return memory


def leave(made: Iterable[Cell], same: Iterable[tuple[Slot, Slot]]) -> None:
    """Put the host tensors back; the device's copies are forgotten."""
    for cell in made:
        cell.leave()
    for slot, _ in same:
        slot.put(slot.host)


def restore(places: Iterable[Slot]) -> None:
    """Put the host tensors back into all places of a part, from whatever is there now."""
    for slot in places:
        slot.put(slot.host)


def bring(part: object, device: torch.device) -> None:
    """A whole part to the device, for good."""
    places = slots(part)
    made = cells(places)
    enter(piece(made), twins(places, made), device)


def streamed_blocks(part: object, kept: int) -> tuple[nn.Module, ...]:
    """The blocks of a part that pass through, all but the first `kept`, in their order."""
    if not isinstance(part, nn.Module):
        return ()
    lists = [module for module in part.modules() if isinstance(module, Blocks)]
    return tuple(chain.from_iterable(lists))[kept:]


def matrices(block: nn.Module) -> tuple[Slot, ...]:
    """The places of a block that pass through with it: its matrices, joined ones too."""
    found = []
    for module in block.modules():
        joined = _flat_joins(module) if isinstance(module, Joined) else set()
        found += [
            slot
            for slot in _slots(module)
            if slot.name in joined or (slot.host is not None and slot.host.dim() == 2)
        ]
    return tuple(found)


def _flat_joins(module: Joined) -> set[str]:
    """Names of joined tensors whose members are all matrices."""
    found = set()
    for name, members in module.joined.items():
        assert isinstance(module, nn.Module)
        tensors = [_named(module, member) for member in members]
        if all(tensor is not None and tensor.dim() == 2 for tensor in tensors):
            found.add(name)
    return found


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
    found = []
    for member in members:
        owner, _, leaf = member.rpartition(".")
        slot = by_place.get((id(module.get_submodule(owner)), leaf))
        if slot is None or slot.host is None:
            return None
        found.append(slot)
    hosts = [slot.host for slot in found if slot.host is not None]
    alike = {(host.dtype, host.shape[1:]) for host in hosts}
    if whole is None or whole.host is not None or len(alike) > 1:
        return None
    rows, start = [], 0
    for host in hosts:
        rows.append(slice(start, start + host.shape[0]))
        start += host.shape[0]
    return Cell(whole, tuple(found), tuple(rows))


def _as(host: Tensor, copied: Tensor) -> Tensor:
    """The copy as the same kind of tensor."""
    is_parameter = isinstance(host, nn.Parameter)
    return nn.Parameter(copied, requires_grad=False) if is_parameter else copied


def _slots(module: nn.Module) -> Iterator[Slot]:
    own = chain(module._parameters.items(), module._buffers.items())
    return (Slot(module, name, tensor) for name, tensor in own)
