"""Blocks pass through a ring of slots on the device: one computes, the next are on their way.

Copies go on a queue of their own. A block is computed with once the event behind its copy has been
waited for by the computing queue, and its slot is written again once the event behind its work has
been waited for by the copying queue; the host waits for neither. Bound to a slot, a block computes
with the very layout a resident one has, so the results are the same to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from headroom.device import Device, Event
from headroom.nn.blocks import Blocks
from headroom.runtime.prepare import Piece, cells, matrices, piece


class _Place:
    """A slot of the ring: room for one block, and who may use it when."""

    def __init__(self, device: Device, like: Piece) -> None:
        self.memory: Tensor | None = like.on(device.torch)
        self.ready: Event = device.event()
        self.free: Event = device.event()
        self.holds: int | None = None
        self.used = False

    @property
    def held(self) -> Tensor:
        """The memory; of a ring that is not closed."""
        if self.memory is None:
            raise RuntimeError("a block passes through a ring that is closed")
        return self.memory


class Ring:
    """The blocks of one part that pass through, and their slots. Make it inside `device.inside()`.

    Nothing of the part changes before `open`; `close` may be called at any time, and again. Blocks
    whose matrices differ in shape from the first one's raise ValueError.
    """

    def __init__(self, part: nn.Module, blocks: Sequence[nn.Module], device: Device, slots: int):
        self._device = device
        self._pieces = [piece(cells(matrices(block))) for block in blocks]
        self._number = {id(block): i for i, block in enumerate(blocks)}
        shapes = {tuple((c.shape, c.like.dtype) for c in own.cells) for own in self._pieces}
        if len(shapes) != 1:
            raise ValueError("blocks of different shapes cannot pass through one ring")
        self._copying = device.stream()
        # Allocated on the computing queue; the copying one may write only after it came to be.
        begun = device.event()
        count = min(slots, len(blocks))
        self._places = [_Place(device, self._pieces[0]) for _ in range(count)]
        begun.record(device.current_stream())
        begun.wait(self._copying)
        self._lists = [m for m in part.modules() if isinstance(m, Blocks)]
        self._next = 0  # number of the block whose copy is issued next
        self._bound: set[int] = set()

    def open(self) -> None:
        """Let the blocks pass through from now on."""
        for blocks_of in self._lists:
            blocks_of.passage = self._passage

    @property
    def memory(self) -> list[Tensor]:
        """That of all slots."""
        return [place.held for place in self._places]

    def close(self) -> None:
        """Give the blocks their host tensors back and forget the slots."""
        for blocks_of in self._lists:
            blocks_of.passage = None
        for number in tuple(self._bound):
            self._unbind(number)
        # A copy may still be on its way into a slot; what is allocated there next waits for it.
        last = self._device.event()
        last.record(self._copying)
        last.wait(self._device.current_stream())
        for place in self._places:
            place.memory = None  # an error that somebody keeps may hold the place
        self._places.clear()

    def _passage(self, blocks: Sequence[nn.Module]) -> Iterator[nn.Module]:
        for block in blocks:
            number = self._number.get(id(block))
            if number is None:  # one of those that stay
                yield block
                continue
            place = self._arrived(number)
            try:
                self._bound.add(number)
                self._pieces[number].bind(place.held)
                yield block
            finally:
                # Work that failed leaves here late: when its error is forgotten. By then the ring
                # may be closed, and the block somewhere else.
                if number in self._bound:
                    self._unbind(number)
                    place.free.record(self._device.current_stream())
                    place.used, place.holds = True, None
            self._ahead(number)

    def _arrived(self, number: int) -> _Place:
        """The slot that holds this block, its copy waited for by the computing queue."""
        place = next((p for p in self._places if p.holds == number), None)
        if place is None:  # out of the expected order, or the first: begin here
            for other in self._places:
                other.holds = None
            self._next = number
            self._ahead(number - 1)
            place = next(p for p in self._places if p.holds == number)
        place.ready.wait(self._device.current_stream())
        return place

    def _ahead(self, done: int) -> None:
        """Issue the copies that the empty slots have room for, in turn, around the end."""
        for place in self._places:
            if place.holds is not None:
                continue
            number = self._next
            if any(p.holds == number for p in self._places):
                return  # the ring holds every block there is
            if place.used:
                place.free.wait(self._copying)
            with self._copying.use():
                self._pieces[number].fill(place.held)
            place.ready.record(self._copying)
            place.holds = number
            self._next = (number + 1) % len(self._pieces)

    def _unbind(self, number: int) -> None:
        for cell in self._pieces[number].cells:
            cell.leave()
        self._bound.discard(number)
