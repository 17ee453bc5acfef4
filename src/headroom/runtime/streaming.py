"""Stream blocks through a ring of slots on the device: one computes while the next are copied.

Copies go on a queue of their own. The compute queue waits for the event after a block's copy before
it uses the block, and the copy queue waits for the event after the block's work before it writes
the slot again; the host waits for neither. Bound to a slot, a block has exactly the layout of a
resident one, so the results are the same to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from headroom.device import Device, Event
from headroom.nn.blocks import Blocks
from headroom.runtime.prepare import Piece, cells, matrices, piece


class _Place:
    """A slot of the ring: memory for one block, and the events that order its use."""

    def __init__(self, device: Device, like: Piece) -> None:
        self.memory: Tensor | None = like.on(device.torch)
        self.ready: Event = device.event()
        self.free: Event = device.event()
        self.holds: int | None = None
        self.used = False

    @property
    def held(self) -> Tensor:
        """The slot's memory; the ring must not be closed."""
        if self.memory is None:
            raise RuntimeError("a block passes through a ring that is closed")
        return self.memory


class Ring:
    """The streamed blocks of one part, and their slots. Create it inside `device.inside()`.

    The part does not change before `open`; `close` may be called at any time, also repeatedly.
    Raises ValueError if the matrices of a block differ in shape from those of the first.
    """

    def __init__(self, part: nn.Module, blocks: Sequence[nn.Module], device: Device, slots: int):
        self._device = device
        self._pieces = [piece(cells(matrices(block))) for block in blocks]
        self._number = {id(block): i for i, block in enumerate(blocks)}
        shapes = {tuple((c.shape, c.like.dtype) for c in own.cells) for own in self._pieces}
        if len(shapes) != 1:
            raise ValueError("blocks of different shapes cannot pass through one ring")
        self._copying = device.stream()
        # Allocated on the compute queue; the copy queue may write only after that.
        begun = device.event()
        count = min(slots, len(blocks))
        self._places = [_Place(device, self._pieces[0]) for _ in range(count)]
        begun.record(device.current_stream())
        begun.wait(self._copying)
        self._lists = [m for m in part.modules() if isinstance(m, Blocks)]
        self._next = 0  # number of the block whose copy is issued next
        self._bound: set[int] = set()

    def open(self) -> None:
        """Stream the blocks from now on."""
        for blocks_of in self._lists:
            blocks_of.passage = self._passage

    @property
    def memory(self) -> list[Tensor]:
        """The memory of all slots."""
        return [place.held for place in self._places]

    def close(self) -> None:
        """Give the blocks their host tensors back and release the slots."""
        for blocks_of in self._lists:
            blocks_of.passage = None
        for number in tuple(self._bound):
            self._unbind(number)
        # A copy into a slot may be under way; whatever is allocated there next waits for it.
        last = self._device.event()
        last.record(self._copying)
        last.wait(self._device.current_stream())
        for place in self._places:
            place.memory = None  # an error kept elsewhere may still hold the place
        self._places.clear()

    def _passage(self, blocks: Sequence[nn.Module]) -> Iterator[nn.Module]:
        for block in blocks:
            number = self._number.get(id(block))
            if number is None:  # a block that stays on the device
                yield block
                continue
            place = self._arrived(number)
            try:
                self._bound.add(number)
                self._pieces[number].bind(place.held)
                yield block
            finally:
                # After a failure this runs late, when the error is released. By then the ring may
                # be closed and the block moved elsewhere.
                if number in self._bound:
                    self._unbind(number)
                    place.free.record(self._device.current_stream())
                    place.used, place.holds = True, None
            self._ahead(number)

    def _arrived(self, number: int) -> _Place:
        """The slot that holds this block, after the compute queue was told to wait for its copy."""
        place = next((p for p in self._places if p.holds == number), None)
        if place is None:  # out of order, or the first: begin here
            for other in self._places:
                other.holds = None
            self._next = number
            self._ahead(number - 1)
            place = next(p for p in self._places if p.holds == number)
        place.ready.wait(self._device.current_stream())
        return place

    def _ahead(self, done: int) -> None:
        """Issue copies into the empty slots, in block order, wrapping around at the end."""
        for place in self._places:
            if place.holds is not None:
                continue
            number = self._next
            if any(p.holds == number for p in self._places):
                return  # the ring already holds every block
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
