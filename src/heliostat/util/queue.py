"""Queue: a first-in first-out queue that tasks, actors and the driver share. An actor keeps it."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable
from typing import Any

import heliostat as ray
from heliostat.exceptions import RayTaskError

__all__ = ["Empty", "Full", "Queue"]


class Empty(queue.Empty):
    """There was nothing to get (in time)."""


class Full(queue.Full):
    """There was no room to put (in time)."""


class Queue:
    """A queue to pass to tasks and actors; all of them see the same one.

    Args:
        maxsize: How many items it holds at most; 0 for no bound.
        actor_options: Options of the actor that keeps it, such as `name` or `num_cpus`.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.util.queue import Queue
        >>> queue = Queue(maxsize=2)
        >>> queue.put("a"); queue.put("b")
        >>> queue.get(), queue.qsize()
        ('a', 1)
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        # Many may wait in it at once.
        options = {"max_concurrency": 1000, **(actor_options or {})}
        self.actor: Any = ray.remote(_Keeper).options(**options).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """How many items are in it."""
        return int(ray.get(self.actor.qsize.remote()))

    def qsize(self) -> int:
        """How many items are in it."""
        return self.size()

    def empty(self) -> bool:
        """Whether it has no item."""
        return self.size() == 0

    def full(self) -> bool:
        """Whether it has no room."""
        return 0 < self.maxsize <= self.size()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item.

        Args:
            item: Anything that can be pickled.
            block: Wait for room.
            timeout: Seconds to wait; None for ever.

        Raises:
            Full: If there was no room (in time).
            ValueError: If timeout is negative.
        """
        _plainly(self._put(item, block, timeout))

    async def put_async(
        self,
        item: Any,
        block: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - Ray's name
    ) -> None:
        """As `put`, without blocking the event loop."""
        await self._put(item, block, timeout)

    def _put(self, item: Any, block: bool, timeout: float | None) -> Any:
        return self.actor.put.remote([item], *_waiting(block, timeout))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first item.

        Args:
            block: Wait for one.
            timeout: Seconds to wait; None for ever.

        Raises:
            Empty: If there was none (in time).
            ValueError: If timeout is negative.
        """
        return _plainly(self.actor.get.remote(*_waiting(block, timeout)))

    async def get_async(
        self,
        block: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - Ray's name
    ) -> Any:
        """As `get`, without blocking the event loop."""
        return await self.actor.get.remote(*_waiting(block, timeout))

    def put_nowait(self, item: Any) -> None:
        """`put(item, block=False)`."""
        self.put(item, block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all of the items, or none.

        Raises:
            Full: If there is not room for all.
            TypeError: If items is not iterable.
        """
        _plainly(self.actor.put.remote(list(items), 0.0))

    def get_nowait(self) -> Any:
        """`get(block=False)`."""
        return self.get(block=False)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take the first `num_items` items, or none.

        Raises:
            Empty: If there are fewer.
            TypeError: If num_items is no int.
            ValueError: If num_items is negative.
        """
        if not isinstance(num_items, int):
            raise TypeError(f"num_items must be an int, got {num_items!r}")
        if num_items < 0:
            raise ValueError(f"num_items must be >= 0, got {num_items!r}")
        taken: list[Any] = _plainly(self.actor.get_batch.remote(num_items))
        return taken

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """End the actor that keeps the queue; what is in it is lost.

        Args:
            force: Do not let calls that run end first.
            grace_period_s: How many seconds they have.
        """
        if self.actor is not None and not force:
            ray.wait([self.actor.__ray_terminate__.remote()], timeout=grace_period_s)
        if self.actor is not None:
            ray.kill(self.actor, no_restart=True)
        self.actor = None


def _waiting(block: bool, timeout: float | None) -> tuple[float | None]:
    """Seconds to wait, for the keeper."""
    if not block:
        return (0.0,)
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must be >= 0 seconds, got {timeout!r}")
    return (timeout,)


def _plainly(ref: Any) -> Any:
    """The value; that the queue is full or empty is an error of it, and of no task."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        if isinstance(error.cause, (Empty, Full)):
            raise error.cause from None
        raise


class _Keeper:
    """The actor: an asyncio queue, whose waits cost nothing."""

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def qsize(self) -> int:
        return self._queue.qsize()

    async def put(self, items: list[Any], limit_s: float | None) -> None:
        if limit_s == 0.0:
            room = self._maxsize - self._queue.qsize()
            if self._maxsize > 0 and len(items) > room:
                raise Full(f"there is room for {room} of {len(items)} items")
            for item in items:
                self._queue.put_nowait(item)
            return
        try:
            await asyncio.wait_for(self._queue.put(items[0]), limit_s)
        except TimeoutError:
            raise Full(f"the queue of {self._maxsize} items was full for {limit_s} s") from None

    async def get(self, limit_s: float | None) -> Any:
        try:
            if limit_s == 0.0:
                return self._queue.get_nowait()
            return await asyncio.wait_for(self._queue.get(), limit_s)
        except asyncio.QueueEmpty:
            raise Empty("the queue is empty") from None
        except TimeoutError:
            raise Empty(f"the queue was empty for {limit_s} s") from None

    async def get_batch(self, count: int) -> list[Any]:
        if count > self._queue.qsize():
            raise Empty(f"the queue has {self._queue.qsize()} items, not {count}")
        return [self._queue.get_nowait() for _ in range(count)]
