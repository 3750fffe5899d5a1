"""The allocator over one mapped segment, as plain arithmetic: which bytes hold which object.

Freed ranges are used again before fresh ones, smallest fit first, because memory that was
touched before is written ten times faster. Knows nothing of what is in the bytes.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

ALIGN = 4096


def aligned(size: int) -> int:
    """What a range of that many bytes takes."""
    return max(ALIGN, -(-size // ALIGN) * ALIGN)


class Extent(NamedTuple):
    """A granted range; `fresh` if part of it was never used before."""

    offset: int
    fresh: bool


class Arena:
    """Gives out ranges of `capacity` bytes.

    Example:
        >>> arena = Arena(1 << 20)
        >>> arena.allocate(100), arena.allocate(100)
        (Extent(offset=0, fresh=True), Extent(offset=4096, fresh=True))
        >>> arena.free(0); arena.allocate(50)
        Extent(offset=0, fresh=False)
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self.top = 0  # everything above was never granted
        self._sizes: dict[int, int] = {}  # granted ranges by offset
        self._free: list[tuple[int, int]] = []  # (size, offset), sorted
        self._at: dict[int, int] = {}  # free ranges: offset -> size
        self._before: dict[int, int] = {}  # free ranges: end -> offset
        self._unwritten: set[int] = set()  # free ranges that were granted and not all written

    def allocate(self, size: int, growth: int | None = None) -> Extent | None:
        """A range of at least `size` bytes, or None when there is no room.

        Args:
            size: In bytes.
            growth: How many bytes that were never used before it may have; None: any number.
        """
        size = aligned(size)
        index = bisect.bisect_left(self._free, (size, 0))
        if index < len(self._free):
            found, offset = self._free[index]
            fresh = offset in self._unwritten
            self._forget(offset, found)
            if found > size:
                self._remember(offset + size, found - size, written=not fresh)
            return self._grant(offset, size, fresh=fresh)
        # A free range that touches the top grows, rather than wasting it below a fresh one.
        offset = self._before.get(self.top, self.top)
        end = offset + size
        if end > self.capacity or (growth is not None and end - self.top > growth):
            return None
        if offset < self.top:
            self._forget(offset, self.top - offset)
        self.top = offset + size
        return self._grant(offset, size, fresh=True)

    def _grant(self, offset: int, size: int, *, fresh: bool) -> Extent:
        self._sizes[offset] = size
        self.used += size
        return Extent(offset, fresh)

    def free(self, offset: int, *, written: bool = True) -> None:
        """Take a granted range back and join it with its free neighbours.

        Args:
            offset: Where it begins.
            written: Whether it was written; if not, it is as fresh as it was.
        """
        size = self._sizes.pop(offset)
        self.used -= size
        start, end = offset, offset + size
        if start in self._before:
            start = self._before[start]
            written = written and start not in self._unwritten
            self._forget(start, offset - start)
        if end in self._at:
            after = self._at[end]
            written = written and end not in self._unwritten
            self._forget(end, after)
            end += after
        self._remember(start, end - start, written=written)

    def size_of(self, offset: int) -> int:
        """How many bytes a granted range has."""
        return self._sizes[offset]

    def room(self, growth: int | None = None) -> int:
        """How many bytes could be granted in all, if they did not have to be in one piece."""
        fresh = self.capacity - self.top
        return self.top - self.used + (fresh if growth is None else min(fresh, growth))

    def largest(self) -> int:
        """The size of the largest range that could be granted now."""
        touching = self._before.get(self.top, self.top)
        return max(self.capacity - touching, self._free[-1][0] if self._free else 0)

    def _remember(self, offset: int, size: int, *, written: bool) -> None:
        if not written:
            self._unwritten.add(offset)
        bisect.insort(self._free, (size, offset))
        self._at[offset] = size
        self._before[offset + size] = offset

    def _forget(self, offset: int, size: int) -> None:
        self._unwritten.discard(offset)
        del self._free[bisect.bisect_left(self._free, (size, offset))]
        del self._at[offset]
        del self._before[offset + size]

    def check(self) -> None:
        """Assert that ranges do not overlap and that every byte below the top is accounted for."""
        ranges = sorted([*self._sizes.items(), *self._at.items()])
        position = 0
        for offset, size in ranges:
            assert offset == position, f"gap or overlap at {position}: next range is {offset}"
            position += size
        assert position == self.top, f"{position} accounted for, top is {self.top}"
        assert self.top <= self.capacity
        assert self.used == sum(self._sizes.values())
        assert sorted((size, offset) for offset, size in self._at.items()) == self._free
        assert all(self._at[o] == end - o for end, o in self._before.items())
        ends = {offset + size for offset, size in self._at.items()}
        assert not ends & set(self._at), "two free neighbours were not joined"
        assert self._unwritten <= set(self._at)
