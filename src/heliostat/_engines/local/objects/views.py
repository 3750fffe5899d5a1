"""Views: the driver's looks at objects in shared memory, which stay where they are meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from heliostat._engines.local.messages import DRIVER, Unviewed, Value
from heliostat._engines.local.scheduling.scheduler import Scheduler
from heliostat._engines.local.transport.waiting import Guard
from heliostat.exceptions import GetTimeoutError


class Views:
    """Counts them.

    Args:
        guard: The lock of the tables.
        scheduler: The tables.
        ask: Asks for an object that is on disk.
        drop: Takes back the count of a look that failed.
        rouse: Has what was let go seen to soon; safe in finalisers.
    """

    def __init__(
        self,
        guard: Guard,
        scheduler: Scheduler,
        ask: Callable[[str, Any, float | None], Any],
        drop: Callable[[bytes], object],
        rouse: Callable[[], None],
    ) -> None:
        self._guard = guard
        self._scheduler = scheduler
        self._ask = ask
        self._drop = drop
        self._rouse = rouse
        self.gone: deque[bytes] = deque()

    def look(self, id_: bytes, value: Value, timeout_s: float | None) -> Value:
        """Keep an object where it is; fetch it if it is on disk."""
        with self._guard:
            owned = self._scheduler.owned
            owned.lend(DRIVER, id_)
            now = owned.objects[id_].value
            if self._scheduler.storage.memory.view(id_):
                assert now is not None
                return now
        try:
            if timeout_s == 0:
                raise GetTimeoutError("get() was not to wait, and its value is on disk")
            found: Value = self._ask("fetch", id_, timeout_s)
        except BaseException:
            self._drop(id_)
            raise
        return found

    def look_away(self, id_: bytes) -> None:
        """A view is gone. Safe in finalisers: it takes no lock."""
        self.gone.append(id_)
        self._rouse()

    def count(self) -> Unviewed:
        """What is gone, as an event."""
        return Unviewed(tuple(self.gone.popleft() for _ in range(len(self.gone))))
