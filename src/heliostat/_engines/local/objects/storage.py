"""Storage: what the hub does about memory: measure what the machine has, and have objects moved.

The file on disk and its thread (`spill`) are made when the first object moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heliostat._engines.local.messages import (
    Asked,
    Fetch,
    ReadIn,
    Reserve,
    Truncate,
    Unreserve,
    WriteOut,
)
from heliostat._engines.local.objects.store import Store
from heliostat._engines.local.processes import machine

if TYPE_CHECKING:
    from heliostat._engines.local.objects.spill import Spill

QUESTIONS = frozenset({"reserve", "unreserve", "fetch"})

_LARGE = 1 << 20  # values before which it pays to look whether the machine has the memory
_MEASURE_S = 0.25


class Storage:
    """The hub's shared memory, and the disk behind it.

    Args:
        store: The mapped segment.
        directory: Where objects go; empty: the directory for temporary files.
        watch: Has a function called whenever a descriptor is readable.
        handle: Takes events for the scheduler.
    """

    def __init__(
        self,
        store: Store,
        directory: str,
        watch: Callable[[int, Callable[[], None]], None],
        handle: Callable[[Any], None],
    ) -> None:
        self._store = store
        self._directory = directory
        self._watch = watch
        self._handle = handle
        self._spill: Spill | None = None
        self._measured = 0.0

    def event(self, asked: Asked) -> Reserve | Unreserve | Fetch:
        """One of `QUESTIONS` as an event of its own."""
        proc, request, question, payload = asked
        if question == "fetch":
            return Fetch(proc, request, payload)
        if question == "unreserve":
            return Unreserve(proc, request, payload)
        return Reserve(proc, request, payload, self.growth() if payload >= _LARGE else None)

    def growth(self) -> int | None:
        """How much more memory the machine has to spare; None if it was measured just now."""
        now = time.monotonic()
        if now - self._measured < _MEASURE_S:
            return None
        self._measured = now
        return machine.spare_bytes()

    def move(self, command: WriteOut | ReadIn | Truncate) -> None:
        """Have the spill do it."""
        if self._spill is None:
            from heliostat._engines.local.objects.spill import Spill  # noqa: PLC0415 - seldom needed

            self._spill = Spill(self._store, self._directory)
            self._watch(self._spill.fileno(), self._moved)
        self._spill.move(command)

    def _moved(self) -> None:
        assert self._spill is not None
        for event in self._spill.done():
            self._handle(event)

    def close(self) -> None:
        """Stop moving; the file goes."""
        if self._spill is not None:
            self._spill.close()

    def abandon(self) -> None:
        """In a forked process: close the descriptors and no more."""
        if self._spill is not None:
            self._spill.abandon()
