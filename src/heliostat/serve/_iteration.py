"""Plain iterators for an event loop: a thread runs them ahead of whoever reads.

What the thread has made since the loop looked last is taken over at once, so that many quick
items cost one wake-up. It knows nothing of requests or replicas.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import AsyncIterator, Iterable
from typing import Any

_AHEAD = 64  # so many items at most wait for the reader
_END = object()


class _Ahead:
    """A thread that fills a buffer, and the loop that empties it."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._items = items
        self._lock = threading.Lock()
        self._buffer: list[Any] = []
        self._error: BaseException | None = None
        self._filled = asyncio.Event()
        self._emptied = threading.Event()
        self._is_stopped = False

    def fill(self) -> None:
        """Run the iterator to its end; in a thread."""
        iterator = iter(self._items)
        try:
            for item in iterator:
                if not self._put(item):
                    break
        except BaseException as error:  # noqa: BLE001 - user code: the reader raises it
            self._error = error
        finally:
            self._put(_END)
            close = getattr(iterator, "close", None)
            if close is not None and self._is_stopped:
                close()

    async def take(self) -> list[Any]:
        """What has been made since the last time; waits for something."""
        while True:
            with self._lock:
                items, self._buffer = self._buffer, []
                self._filled.clear()
            self._emptied.set()
            if items:
                return items
            await self._filled.wait()

    def stop(self) -> None:
        """Nobody reads any more."""
        self._is_stopped = True
        self._emptied.set()

    def raise_error(self) -> None:
        """What the iterator raised, if it did."""
        if self._error is not None:
            raise self._error

    def _put(self, item: Any) -> bool:
        with self._lock:
            self._buffer.append(item)
            waiting = len(self._buffer)
            if waiting >= _AHEAD:
                self._emptied.clear()
        if waiting == 1:
            try:
                self._loop.call_soon_threadsafe(self._filled.set)
            except RuntimeError:  # the loop has ended
                return False
        if waiting >= _AHEAD and item is not _END:
            self._emptied.wait()
        return not self._is_stopped


async def in_thread(
    items: Iterable[Any], threads: concurrent.futures.Executor
) -> AsyncIterator[list[Any]]:
    """The items of a plain iterable, made by a thread: as many at a time as there are.

    Args:
        items: Iterated in the thread, in this context.
        threads: Where the thread comes from; it is used until the iterable ends.
    """
    ahead = _Ahead(items)
    work = contextvars.copy_context().run
    running = asyncio.get_running_loop().run_in_executor(threads, work, ahead.fill)
    try:
        while True:
            some = await ahead.take()
            if some[-1] is not _END:
                yield some
                continue
            if len(some) > 1:
                yield some[:-1]
            await running
            ahead.raise_error()
            return
    finally:
        ahead.stop()
