"""What torch's caching allocator makes of a stream of allocations: segments, splits, and holes.

Models of CUDA's (`c10/cuda/CUDACachingAllocator`), of one stream. Sizes are rounded to 512 bytes,
and small ones live apart from large ones. `Fixed` is the allocator as it comes, `Growing` the one
with `expandable_segments`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from headroom.units import MIB

Story: TypeAlias = Sequence[tuple[int, int]]
"""What came and went: (name, bytes) of what came, (name, 0) of what went, (RELEASED, 0) where all
that was kept in reserve was given back."""
RELEASED = -1

UNIT = 512
SMALL, SMALL_SEGMENT = MIB, 2 * MIB
LARGE, LARGE_SEGMENT = 10 * MIB, 20 * MIB
ROUND = 2 * MIB


class CardFull(Exception):
    """No block, and no more segments."""


@dataclass(slots=True, eq=False)
class Block:
    """Some bytes of a segment, in use or not."""

    size: int
    small: bool
    number: int
    free: bool = True
    before: Block | None = None
    after: Block | None = None


class Fixed:
    """A card of `capacity` bytes. `reserved` is what it has taken, `live` what is in use.

    Up to 1 MiB allocations share segments of 2 MiB, below 10 MiB segments of 20 MiB, and above have
    segments of their own, rounded to 2 MiB. The smallest free block that is large enough is taken,
    and split where enough is left; neighbours that are free are joined; where the card has no more,
    segments that are free as a whole are given back first.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.reserved = self.live = 0
        self._free: dict[bool, list[tuple[int, int, Block]]] = {True: [], False: []}
        self._count = 0

    def take(self, size: int) -> Block:
        """A block of at least so many bytes. Raises CardFull."""
        size = _up(size, UNIT)
        small = size <= SMALL
        block = self._fitting(size, small) or self._segment(size, small)
        left = block.size - size
        if left >= UNIT if small else left > SMALL:
            rest = Block(left, small, self._next(), True, block, block.after)
            if block.after is not None:
                block.after.before = rest
            block.after, block.size = rest, size
            self._put(rest)
        block.free = False
        self.live += block.size
        return block

    def give(self, block: Block) -> None:
        """A block is in use no longer."""
        self.live -= block.size
        block.free = True
        for other in (block.before, block.after):
            if other is not None and other.free:
                self._drop(other)
                block = self._joined(block, other)
        self._put(block)

    def _joined(self, block: Block, other: Block) -> Block:
        first, second = (other, block) if other is block.before else (block, other)
        first.size += second.size
        first.after = second.after
        if second.after is not None:
            second.after.before = first
        return first

    def _fitting(self, size: int, small: bool) -> Block | None:
        blocks = self._free[small]
        at = bisect_left(blocks, (size, -1))
        return blocks.pop(at)[2] if at < len(blocks) else None

    def _segment(self, size: int, small: bool) -> Block:
        room = SMALL_SEGMENT if small else LARGE_SEGMENT if size < LARGE else _up(size, ROUND)
        if self.reserved + room > self.capacity:
            self.release()
            if self.reserved + room > self.capacity:
                raise CardFull(f"{size} bytes; {self.live} in use, {self.reserved} reserved")
        self.reserved += room
        return Block(room, small, self._next())

    def release(self) -> None:
        """Give back the segments nobody uses a byte of."""
        for small, blocks in self._free.items():
            kept = []
            for entry in blocks:
                block = entry[2]
                if block.before is None and block.after is None:
                    self.reserved -= block.size
                else:
                    kept.append(entry)
            self._free[small] = kept

    def _put(self, block: Block) -> None:
        insort(self._free[block.small], (block.size, block.number, block))

    def _drop(self, block: Block) -> None:
        blocks = self._free[block.small]
        del blocks[bisect_left(blocks, (block.size, block.number))]

    def _next(self) -> int:
        self._count += 1
        return self._count


@dataclass(frozen=True, slots=True)
class Range:
    """Some bytes of a segment that grows."""

    segment: Segment
    start: int
    size: int


class Growing:
    """A card of `capacity` bytes with a segment that grows for small sizes, and one for large.

    A segment is mapped page by page: 2 MiB small, 20 MiB large. The smallest free range that is
    mapped is taken, else the one that needs the fewest new pages. Where the card has no more, pages
    with nothing in them are given back first, wherever they are.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.reserved = self.live = 0
        self._segments = {
            True: Segment(self, SMALL_SEGMENT),
            False: Segment(self, LARGE_SEGMENT),
        }

    def take(self, size: int) -> Range:
        """A range of at least so many bytes. Raises CardFull."""
        size = _up(size, UNIT)
        return self._segments[size <= SMALL].take(size)

    def give(self, block: Range) -> None:
        """A range is in use no longer."""
        block.segment.give(block)

    def release(self) -> None:
        """Give back every page with nothing in it."""
        for segment in self._segments.values():
            segment.release()


class Segment:
    """Addresses from 0 on: free ranges in order, and the pages that are mapped."""

    def __init__(self, card: Growing, page: int) -> None:
        self._card, self._page = card, page
        self._mapped: set[int] = set()
        self._free: list[tuple[int, int]] = []  # start, size
        self._end = 0

    def take(self, size: int) -> Range:
        tail = self._end
        if self._free and sum(self._free[-1]) == tail:
            tail = self._free[-1][0]
        fitting = [(start, n) for start, n in self._free if n >= size]
        start = min(fitting, key=lambda one: self._rank(one, size), default=(tail, 0))[0]
        if self._missing(start, size) > self._missing(tail, size):
            start = tail
        if self._card.reserved + self._missing(start, size) * self._page > self._card.capacity:
            self._card.release()
            if self._card.reserved + self._missing(start, size) * self._page > self._card.capacity:
                raise CardFull(f"{size} bytes; {self._card.live} in use")
        for page in self._pages(start, size):
            if page not in self._mapped:
                self._mapped.add(page)
                self._card.reserved += self._page
        self._cut(start, size)
        self._card.live += size
        return Range(self, start, size)

    def give(self, block: Range) -> None:
        start, size = block.start, block.size
        self._card.live -= size
        at = bisect_left(self._free, (start, 0))
        if at < len(self._free) and self._free[at][0] == start + size:
            size += self._free.pop(at)[1]
        if at and sum(self._free[at - 1]) == start:
            at -= 1
            before = self._free.pop(at)
            start, size = before[0], before[1] + size
        self._free.insert(at, (start, size))

    def release(self) -> None:
        for start, size in self._free:
            for page in range(-(-start // self._page), (start + size) // self._page):
                if page in self._mapped:
                    self._mapped.discard(page)
                    self._card.reserved -= self._page

    def _pages(self, start: int, size: int) -> range:
        return range(start // self._page, (start + size - 1) // self._page + 1)

    def _missing(self, start: int, size: int) -> int:
        return sum(page not in self._mapped for page in self._pages(start, size))

    def _rank(self, one: tuple[int, int], size: int) -> tuple[int, int, int]:
        missing = self._missing(one[0], size)
        return missing, 0 if missing else one[1], one[0]

    def _cut(self, start: int, size: int) -> None:
        """Take a range out of what is free, growing at the end."""
        at = bisect_left(self._free, (start, 0))
        if at < len(self._free) and self._free[at][0] == start:
            left = self._free.pop(at)[1] - size
            if left > 0:
                self._free.insert(at, (start + size, left))
        self._end = max(self._end, start + size)


def gets_through(card: Fixed | Growing, story: Story) -> bool:
    """Whether a story can be told on a card."""
    blocks: dict[int, Block | Range] = {}
    try:
        for name, size in story:
            if size:
                blocks[name] = card.take(size)
            elif name == RELEASED:
                card.release()
            elif name in blocks:
                card.give(blocks.pop(name))  # type: ignore[arg-type]
    except CardFull:
        return False
    return True


def needed(kind: type[Fixed | Growing], story: Story, live: int, fine: int = 4 * MIB) -> int:
    """Bytes of the smallest card, to `fine`, on which a story of so many live bytes can be told."""
    low, high = live - 1, live
    while not gets_through(kind(high), story):
        low, high = high, high + live // 16
    while high - low > fine:
        middle = (low + high) // 2
        low, high = (low, middle) if gets_through(kind(middle), story) else (middle, high)
    return high


def _up(count: int, unit: int) -> int:
    return -(-count // unit) * unit
