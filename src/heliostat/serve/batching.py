"""@batch: one call of the user's function answers many requests.

Each object has a queue of its own, in the event loop that calls it. A `Batcher` decides what goes
together; here are the clock, the futures and the function. Nothing that the function, its results
or `batch_size_fn` do can stop the queue.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from heliostat.serve._batcher import (
    Arrived,
    BatchDone,
    Batcher,
    Configured,
    Event,
    Tick,
    Withdrawn,
)
from heliostat.serve.context import get_multiplexed_model_id
from heliostat.serve.exceptions import RayServeException

_QUEUES = "__heliostat_serve_batches__"
_ENDS = (StopIteration, StopAsyncIteration)


@dataclass
class _Limits:
    """What `@batch` was given, and the setters have changed since."""

    max_batch_size: int
    batch_wait_timeout_s: float
    max_concurrent_batches: int
    batch_size_fn: Callable[[list[Any]], int] | None
    queues: list[_Queue] = field(default_factory=list)

    def __reduce__(self) -> Any:  # queues stay where their event loops are
        return _Limits, (
            self.max_batch_size,
            self.batch_wait_timeout_s,
            self.max_concurrent_batches,
            self.batch_size_fn,
        )

    def change(self, max_batch_size: int, batch_wait_timeout_s: float) -> None:
        self.max_batch_size = max_batch_size
        self.batch_wait_timeout_s = batch_wait_timeout_s
        for queue in self.queues:
            queue.feed(Configured(max_batch_size, batch_wait_timeout_s))


@dataclass
class _Item:
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    context: Context
    # One answer; of a generator as many as it makes, and then _ENDS.
    answers: asyncio.Queue[Any] | asyncio.Future[Any]

    @property
    def is_waited_for(self) -> bool:
        return isinstance(self.answers, asyncio.Queue) or not self.answers.done()

    def take(self, result: Any) -> bool:
        """What the function has for it; False when that is the last."""
        if any(result is end or isinstance(result, end) for end in _ENDS):
            self.fail(StopAsyncIteration())
            return False
        if isinstance(result, BaseException):
            self.fail(result)
            return False
        self.give(result)
        return True

    def give(self, value: Any) -> None:
        if isinstance(self.answers, asyncio.Queue):
            self.answers.put_nowait((value, None))
        elif not self.answers.done():
            self.answers.set_result(value)

    def fail(self, error: BaseException) -> None:
        if isinstance(self.answers, asyncio.Queue):
            self.answers.put_nowait((None, error))
        elif not self.answers.done():
            self.answers.set_exception(error)


class _Queue:
    """The items of one object's function, in one event loop."""

    def __init__(self, function: Callable[..., Any], owner: Any, limits: _Limits) -> None:
        self._function = function
        self._owner = owner
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._batcher = Batcher(
            limits.max_batch_size, limits.batch_wait_timeout_s, limits.max_concurrent_batches
        )
        self._items: dict[int, _Item] = {}
        self._keys = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._due: float | None = None  # when; uvloop's handles do not always know
        self._tasks: set[asyncio.Task[None]] = set()
        limits.queues.append(self)

    def __reduce__(self) -> Any:  # an object that goes elsewhere begins without a queue
        return type(None), ()

    @property
    def is_alive(self) -> bool:
        """Its event loop still runs."""
        return not self._loop.is_closed()

    def put(self, item: _Item) -> int:
        """Queue an item; its key.

        Raises:
            Exception: What `batch_size_fn` raises, or a ValueError for what it returns: the
                item's own error, of which the queue knows nothing.
        """
        size = self._size_of(item)
        key = next(self._keys)
        self._items[key] = item
        self.feed(Arrived(key, size, get_multiplexed_model_id()))
        return key

    def withdraw(self, key: int) -> None:
        """Nobody waits for it any more."""
        if self._items.pop(key, None) is not None:
            self.feed(Withdrawn(key))

    def feed(self, event: Event) -> None:
        """Let the batcher decide, and run what it says."""
        for command in self._batcher.handle(event, self._loop.time()):
            items = [self._items.pop(key) for key in command.keys]
            # In the context of the first request: they are all for the same model.
            task = self._loop.create_task(self._run(items), context=items[0].context.copy())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        when = self._batcher.next_tick()
        if self._timer is not None:
            if self._due == when:
                return
            self._timer.cancel()
            self._timer = None
        self._due = when
        if when is not None:
            self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.feed(Tick())

    def _size_of(self, item: _Item) -> int:
        measure = self._limits.batch_size_fn
        if measure is None:
            return 1
        size = measure([item.args[0] if item.args else item.kwargs])
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise ValueError(f"batch_size_fn must return an int >= 0, got {size!r}")
        return size

    async def _run(self, items: list[_Item]) -> None:
        try:
            await self._answer([item for item in items if item.is_waited_for])
        except BaseException as error:
            for item in items:
                item.fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self.feed(BatchDone())

    async def _answer(self, items: list[_Item]) -> None:
        if not items:
            return
        args = [list(values) for values in zip(*(item.args for item in items), strict=True)]
        kwargs = {key: [item.kwargs[key] for item in items] for key in items[0].kwargs}
        owner = () if self._owner is None else (self._owner,)
        outcome = self._function(*owner, *args, **kwargs)
        if not hasattr(outcome, "__aiter__"):
            results = self._checked(await outcome, items)
            for item, result in zip(items, results, strict=True):
                item.take(result)
            return
        open_items = dict(enumerate(items))
        async for results in outcome:
            for place, result in enumerate(self._checked(results, items)):
                if place in open_items and not open_items[place].take(result):
                    del open_items[place]
        for item in open_items.values():
            item.fail(StopAsyncIteration())

    def _checked(self, results: Any, items: list[_Item]) -> Any:
        sized = hasattr(results, "__len__")
        if not sized or len(results) != len(items):
            got = f"{len(results)} results" if sized else repr(results)
            kind = RayServeException if sized else TypeError
            raise kind(
                f"{self._function.__qualname__} got a batch of {len(items)} and must return a "
                f"list with a result for each; it returned {got}"
            )
        return results


def batch(
    _func: Callable[..., Any] | None = None,
    /,
    max_batch_size: int = 10,
    batch_wait_timeout_s: float = 0.01,
    max_concurrent_batches: int = 1,
    batch_size_fn: Callable[[list[Any]], int] | None = None,
) -> Callable[..., Any]:
    """Let an `async` method answer many requests at a time; each caller passes one item.

    The method gets a list in each of its arguments and returns a list with a result for each
    item, in order; a result that is an exception is raised for its item alone. An async
    generator yields such lists, and `StopIteration` in them ends one caller's stream. Requests
    for different models (`serve.multiplexed`) are never in one batch. The decorated method has
    `set_max_batch_size` and `set_batch_wait_timeout_s`, for `reconfigure`.

    Args:
        max_batch_size: The most items, or the most that their sizes add up to.
        batch_wait_timeout_s: How long the first item of a batch waits for others.
        max_concurrent_batches: How many batches may run at a time.
        batch_size_fn: The size of a list with one item; 1 unless given.

    Returns:
        A decorator, or the decorated function.

    Raises:
        TypeError: For a function that is not `async`, or an argument of the wrong kind.
        ValueError: For a number out of range.

    Example:
        >>> import asyncio
        >>> from heliostat import serve
        >>> @serve.batch(max_batch_size=2)
        ... async def double(numbers):
        ...     return [2 * number for number in numbers]
        >>> async def both(): return await asyncio.gather(double(1), double(2))
        >>> asyncio.run(both())
        [2, 4]
    """
    _check_size(max_batch_size)
    _check_wait(batch_wait_timeout_s)
    if isinstance(max_concurrent_batches, bool) or not isinstance(max_concurrent_batches, int):
        raise TypeError(f"max_concurrent_batches must be an int, got {max_concurrent_batches!r}")
    if max_concurrent_batches < 1:
        raise ValueError(f"max_concurrent_batches must be >= 1, got {max_concurrent_batches}")
    if batch_size_fn is not None and not callable(batch_size_fn):
        raise TypeError(f"batch_size_fn must be a function, got {batch_size_fn!r}")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        is_generator = inspect.isasyncgenfunction(function)
        if not is_generator and not inspect.iscoroutinefunction(function):
            raise TypeError(f"@serve.batch takes an 'async def' function, got {function!r}")
        limits = _Limits(
            max_batch_size, batch_wait_timeout_s, max_concurrent_batches, batch_size_fn
        )
        return _wrapped(function, limits, is_generator)

    return decorate if _func is None else decorate(_func)


def _wrapped(
    function: Callable[..., Any], limits: _Limits, is_generator: bool
) -> Callable[..., Any]:
    is_method = next(iter(inspect.signature(function).parameters), "") == "self"

    async def one(*args: Any, **kwargs: Any) -> Any:
        owner, args = (args[0], args[1:]) if is_method else (None, args)
        queue = _queue_of(owner, function, limits)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        key = queue.put(_Item(args, kwargs, copy_context(), answer))
        try:
            return await answer
        finally:
            queue.withdraw(key)

    async def many(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        owner, args = (args[0], args[1:]) if is_method else (None, args)
        queue = _queue_of(owner, function, limits)
        answers: asyncio.Queue[Any] = asyncio.Queue()
        key = queue.put(_Item(args, kwargs, copy_context(), answers))
        try:
            while True:
                value, error = await answers.get()
                if isinstance(error, StopAsyncIteration):
                    return
                if error is not None:
                    raise error
                yield value
        finally:
            queue.withdraw(key)

    wrapper: Any = functools.wraps(function)(many if is_generator else one)

    def set_max_batch_size(new_max_batch_size: int) -> None:
        """The most items of a batch from now on."""
        _check_size(new_max_batch_size)
        limits.change(new_max_batch_size, limits.batch_wait_timeout_s)

    def set_batch_wait_timeout_s(new_batch_wait_timeout_s: float) -> None:
        """How long items wait from now on."""
        _check_wait(new_batch_wait_timeout_s)
        limits.change(limits.max_batch_size, new_batch_wait_timeout_s)

    wrapper.set_max_batch_size = set_max_batch_size
    wrapper.set_batch_wait_timeout_s = set_batch_wait_timeout_s
    wrapper._get_max_batch_size = lambda: limits.max_batch_size
    wrapper._get_batch_wait_timeout_s = lambda: limits.batch_wait_timeout_s
    return wrapper  # type: ignore[no-any-return]


def _queue_of(owner: Any, function: Callable[..., Any], limits: _Limits) -> _Queue:
    """The object's queue for this function; a function of no object has one of its own."""
    holder = vars(function if owner is None else owner).setdefault(_QUEUES, {})
    queue: _Queue | None = holder.get(function.__qualname__)
    if queue is None or queue._loop is not asyncio.get_running_loop():
        limits.queues = [known for known in limits.queues if known.is_alive]
        queue = holder[function.__qualname__] = _Queue(function, owner, limits)
    return queue


def _check_size(value: Any) -> None:
    if isinstance(value, float) and value.is_integer():
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"max_batch_size must be an int, got {value!r}")
    if value < 1:
        raise ValueError(f"max_batch_size must be >= 1, got {value}")


def _check_wait(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"batch_wait_timeout_s must be a number, got {value!r}")
    if value < 0:
        raise ValueError(f"batch_wait_timeout_s must be >= 0, got {value}")
