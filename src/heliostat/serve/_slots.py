"""Slots: how many requests run in a replica, and how many wait for one that does.

In one event loop. It knows nothing of what a request is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque


class Slots:
    """At most so many at a time; the others wait in the order in which they came.

    Args:
        most: How many may run.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: asyncio.Event | None = None  # of those who wait until nothing runs
        self._changed_at = self._measured_at = time.monotonic()
        self._busy_s = 0.0  # the load times how long it was, since the last measurement

    @property
    def load(self) -> int:
        """How many run or wait."""
        return self.running + len(self._waiting)

    def take_now(self) -> bool:
        """Take a slot if one is free; `give` it back."""
        running = self.running
        if running >= self.most or self._waiting:
            return False
        if running:
            self._note()
        else:  # as `_note`, of nothing; it is what most requests find
            self._changed_at = time.monotonic()
        self.running = running + 1
        return True

    async def take(self) -> None:
        """Wait for a slot; `give` it back."""
        if self.take_now():
            return
        self._note()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()  # it had its turn at the same moment
            else:
                self._note()
                self._waiting.remove(turn)
            raise

    def give(self) -> None:
        """Give a slot back; the first who waits gets it."""
        self._note()
        self.running -= 1
        if self._waiting or self._idle is not None:
            self._fill()

    def resize(self, most: int) -> None:
        """Another number from now on."""
        self.most = most
        self._fill()

    def mean_load(self) -> float:
        """The load on average, since this was asked the last time.

        Requests that take a millisecond are there between measurements, and not at them.
        """
        self._note()
        now, busy_s = self._changed_at, self._busy_s
        since, self._measured_at, self._busy_s = now - self._measured_at, now, 0.0
        return busy_s / since if since > 0 else float(self.load)

    def _note(self) -> None:
        """The load is about to change."""
        now = time.monotonic()
        self._busy_s += (self.running + len(self._waiting)) * (now - self._changed_at)
        self._changed_at = now

    async def until_idle(self) -> None:
        """Wait until nothing runs or waits."""
        while self.load:
            if self._idle is None:
                self._idle = asyncio.Event()
            await self._idle.wait()

    def _fill(self) -> None:
        while self._waiting and self.running < self.most:
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)
        if self._idle is not None and not self.load:
            self._idle.set()
            self._idle = None
