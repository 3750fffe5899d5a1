"""The allocator over one mapped segment, as plain arithmetic: which bytes hold which object.

Freed ranges are used again before fresh ones, smallest fit first, because memory that was
touched before is written ten times faster. Knows nothing of what is in the bytes.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

ALIGN = 4096


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
        self._top = 0  # everything above was never granted
        self._sizes: dict[int, int] = {}  # granted ranges by offset
        self._free: list[tuple[int, int]] = []  # (size, offset), sorted
        self._at: dict[int, int] = {}  # free ranges: offset -> size
        self._before: dict[int, int] = {}  # free ranges: end -> offset

    def allocate(self, size: int) -> Extent | None:
        """A range of at least `size` bytes, or None when there is no room."""
        size = max(ALIGN, -(-size // ALIGN) * ALIGN)
        index = bisect.bisect_left(self._free, (size, 0))
        if index < len(self._free):
            found, offset = self._free[index]
            self._forget(offset, found)
            if found > size:
                self._remember(offset + size, found - size)
            return self._grant(offset, size, fresh=False)
        # A free range that touches the top grows, rather than wasting it below a fresh one.
        offset = self._before.get(self._top, self._top)
        if offset + size > self.capacity:
            return None
        if offset < self._top:
            self._forget(offset, self._top - offset)
        self._top = offset + size
        return self._grant(offset, size, fresh=True)

    def _grant(self, offset: int, size: int, *, fresh: bool) -> Extent:
        self._sizes[offset] = size
        self.used += size
        return Extent(offset, fresh)

    def free(self, offset: int) -> None:
        """Take a granted range back and join it with its free neighbours."""
        size = self._sizes.pop(offset)
        self.used -= size
        start, end = offset, offset + size
        if start in self._before:
            start = self._before[start]
            self._forget(start, offset - start)
        if end in self._at:
            after = self._at[end]
            self._forget(end, after)
            end += after
        self._remember(start, end - start)

    def largest(self) -> int:
        """The size of the largest range that could be granted now."""
        touching = self._before.get(self._top, self._top)
        return max(self.capacity - touching, self._free[-1][0] if self._free else 0)

    def _remember(self, offset: int, size: int) -> None:
        bisect.insort(self._free, (size, offset))
        self._at[offset] = size
        self._before[offset + size] = offset

    def _forget(self, offset: int, size: int) -> None:
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
        assert position == self._top, f"{position} accounted for, top is {self._top}"
        assert self._top <= self.capacity
        assert self.used == sum(self._sizes.values())
        assert sorted((size, offset) for offset, size in self._at.items()) == self._free
        assert all(self._at[o] == end - o for end, o in self._before.items())
        ends = {offset + size for offset, size in self._at.items()}
        assert not ends & set(self._at), "two free neighbours were not joined"
