"""Memory: which process may write where in the arena, until the value is announced."""

from __future__ import annotations

from collections import defaultdict

from heliostat._engines.local.arena import Arena
from heliostat._engines.local.messages import STORED, Value
from heliostat.exceptions import ObjectStoreFullError


class Memory:
    """Grants ranges of the arena; takes back those of processes that died while they wrote."""

    def __init__(self, capacity: int) -> None:
        self.arena = Arena(capacity)
        self._reserved: defaultdict[int, set[int]] = defaultdict(set)

    def reserve(self, proc: int, size: int) -> tuple[int, bool]:
        """Where the process may write `size` bytes, and whether the memory is fresh.

        Raises:
            ObjectStoreFullError: If there is no room.
        """
        extent = self.arena.allocate(size)
        if extent is None:
            raise ObjectStoreFullError(
                f"a value of {size:,} bytes does not fit into the shared memory budget: "
                f"{self.arena.used:,} of {self.arena.capacity:,} bytes are in use, and the "
                f"largest free range has {self.arena.largest():,}. Drop references that are not "
                "needed, pass smaller pieces, or init(object_store_memory=...) with more"
            )
        self._reserved[proc].add(extent.offset)
        return extent.offset, extent.fresh

    def unreserve(self, proc: int, offset: int) -> None:
        """The process could not write after all."""
        self._reserved[proc].discard(offset)
        self.arena.free(offset)

    def announced(self, proc: int, *values: Value) -> None:
        """The values were written; from now on references keep them."""
        for value in values:
            if value[0] == STORED:
                self._reserved[proc].discard(value[1])

    def free(self, value: Value) -> None:
        """Nobody refers to the value any more."""
        self.arena.free(value[1])

    def forget(self, proc: int) -> None:
        """The process is gone, with what it had begun to write."""
        for offset in self._reserved.pop(proc, ()):
            self.arena.free(offset)
