"""Users' functions that are coroutines: several calls wait at once, their results stay in order."""

import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Awaited:
    """Calls an async function on an event loop of its own, which lives as long as this does.

    Args:
        fn: The function, or an instance of the user's class.
        at_once: How many calls wait at once.
        note: Told of an exception of the function's, before it goes on.
    """

    def __init__(
        self, fn: Callable[..., Any], at_once: int, note: Callable[[Exception], None]
    ) -> None:
        import asyncio  # noqa: PLC0415 - most plans have no coroutines, and it is slow to load

        self._fn = fn
        self._at_once = at_once
        self._note = note
        self._loop, self._ends_of = asyncio.new_event_loop(), asyncio.wait
        weakref.finalize(self, self._loop.close)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """One call, to its end."""
        return self._loop.run_until_complete(self._outcome(args, kwargs))

    async def _outcome(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        result = self._fn(*args, **kwargs)
        if isinstance(result, AsyncIterator):
            return iter([one async for one in result])
        return await result

    def ahead(
        self, items: Iterable[T], call: Callable[[T], tuple[tuple[Any, ...], Mapping[str, Any]]]
    ) -> Iterator[tuple[T, Any]]:
        """Each item with what the function gives for it, in order; the next ones wait meanwhile.

        Args:
            items: What it is called for.
            call: Its positional and keyword arguments for an item.

        Yields:
            Pairs.
        """
        waiting: deque[tuple[T, asyncio.Task[Any]]] = deque()
        try:
            for item in items:
                waiting.append((item, self._loop.create_task(self._outcome(*call(item)))))
                if len(waiting) >= self._at_once:
                    yield self._first(waiting)
            while waiting:
                yield self._first(waiting)
        finally:
            left = [task for _, task in waiting]
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(self._ends_of(left))

    def _first(self, waiting: "deque[tuple[T, asyncio.Task[Any]]]") -> tuple[T, Any]:
        item, task = waiting.popleft()
        try:
            return item, self._loop.run_until_complete(task)
        except Exception as error:
            self._note(error)
            raise
