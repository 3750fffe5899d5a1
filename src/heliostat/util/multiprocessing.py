"""Pool: `multiprocessing.Pool` on actors, with the standard library's manners.

Items go to idle actors in chunks. Knows nothing of how actors run.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import heliostat as ray

__all__ = ["AsyncResult", "JoinableQueue", "Pool", "TimeoutError"]

Call = tuple[tuple[Any, ...], dict[str, Any]]
Outcome = tuple[bool, Any]  # (True, value) or (False, exception)

# As in Ray, these are the standard library's own; that queue is for processes of this machine.
JoinableQueue = multiprocessing.JoinableQueue
TimeoutError = multiprocessing.TimeoutError


class _Runner:
    """The actor: applies a function to the items of a chunk."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def run(self, function: Callable[..., Any], chunk: list[Call]) -> list[Outcome]:
        """One outcome for each (args, kwargs)."""
        outcomes: list[Outcome] = []
        for args, kwargs in chunk:
            try:
                outcomes.append((True, function(*args, **kwargs)))
            except Exception as error:  # noqa: BLE001 - user code: the pool's user gets it
                outcomes.append((False, error))
        return outcomes


class _Chunk:
    """Items on their way through one actor."""

    def __init__(
        self, function: Any, calls: list[Call], done: Callable[[list[Outcome]], None]
    ) -> None:
        self.function = function
        self.calls = calls
        self.done = done


class AsyncResult:
    """The result of `apply_async`, `map_async` or `starmap_async`.

    Args:
        chunks: How many chunks will come.
        single: The result is the only item, not a list of them.
        callback: Called with the result, in a thread of the pool.
        error_callback: Called with the exception instead.
    """

    def __init__(
        self,
        chunks: int,
        single: bool,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._left = chunks
        self._single = single
        self._callback = callback
        self._error_callback = error_callback
        self._parts: dict[int, list[Outcome]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        if not chunks:
            self._end()

    def _came(self, number: int, outcomes: list[Outcome]) -> None:
        with self._lock:
            self._parts[number] = outcomes
            self._left -= 1
            if self._left:
                return
        self._end()

    def _end(self) -> None:
        outcomes = [o for number in sorted(self._parts) for o in self._parts[number]]
        self._error = next((value for ok, value in outcomes if not ok), None)
        if self._error is None:
            values = [value for _, value in outcomes]
            self._value = values[0] if self._single else values
        try:
            if self._error is None and self._callback is not None:
                self._callback(self._value)
            elif self._error is not None and self._error_callback is not None:
                self._error_callback(self._error)
        finally:
            self._ended.set()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is there, or the time is over."""
        self._ended.wait(timeout)

    def get(self, timeout: float | None = None) -> Any:
        """The result.

        Raises:
            multiprocessing.TimeoutError: If the time is over first.
            BaseException: What the function raised for the first item that failed.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"the result was not there after {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value

    def ready(self) -> bool:
        """Whether it is there."""
        return self._ended.is_set()

    def successful(self) -> bool:
        """Whether it is there without an error.

        Raises:
            ValueError: If it is not there yet.
        """
        if not self.ready():
            raise ValueError("the result is not there yet; call wait() or get() first")
        return self._error is None


class Pool:
    """Actors that apply functions to items, as `multiprocessing.Pool` does with processes.

    Args:
        processes: How many actors; as many as the session has CPUs by default.
        initializer: Called in each when it starts.
        initargs: Its arguments.
        maxtasksperchild: After so many chunks an actor is replaced by a fresh one.
        context: Accepted as None only: there are no start methods here.
        ray_address: Accepted as None only: call `heliostat.init` before instead.
        ray_remote_args: Options of the actors, such as num_cpus.

    Example:
        >>> from heliostat.util.multiprocessing import Pool
        >>> with Pool(2) as pool:
        ...     pool.map(abs, [-1, -2, 3])
        [1, 2, 3]
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: None = None,
        ray_address: None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        if context is not None or ray_address is not None:
            raise NotImplementedError(
                "Pool(context=, ray_address=) have no meaning here; leave them out, and call "
                "heliostat.init() before for other settings of the session"
            )
        if processes is None:
            processes = max(1, int(ray.cluster_resources().get("CPU", os.cpu_count() or 1)))
        if processes < 1:
            raise ValueError(f"processes must be at least 1, got {processes}")
        if maxtasksperchild is not None and maxtasksperchild < 1:
            raise ValueError(f"maxtasksperchild must be at least 1, got {maxtasksperchild}")
        options = {"num_cpus": 0, **(ray_remote_args or {})}
        self._runners = ray.remote(_Runner).options(**options)
        self._start = initializer, tuple(initargs or ())
        self._most = maxtasksperchild
        self._lock = threading.Condition()
        self._waiting: deque[_Chunk] = deque()
        self._state = "open"  # then closed, then terminated
        self._size = processes
        self._unfinished = 0  # chunks whose results were not given out
        self._served: dict[Any, int] = {}  # actor -> chunks it was given
        self._idle = [self._runner() for _ in range(processes)]

    def _runner(self) -> Any:
        runner = self._runners.remote(*self._start)
        self._served[runner] = 0
        return runner

    # Chunks to actors

    def _submit(self, chunk: _Chunk) -> None:
        with self._lock:
            if self._state != "open":
                raise ValueError("the pool is closed; make another one")
            self._waiting.append(chunk)
            self._unfinished += 1
            self._feed()

    def _feed(self) -> None:
        while self._waiting and self._idle:
            runner, chunk = self._idle.pop(), self._waiting.popleft()
            self._served[runner] += 1
            future = runner.run.remote(chunk.function, chunk.calls).future()
            future.add_done_callback(lambda f, r=runner, c=chunk: self._came(r, c, f))

    def _came(self, runner: Any, chunk: _Chunk, future: Any) -> None:
        error = future.exception()
        lost = isinstance(error, ray.exceptions.RayActorError)
        with self._lock:
            served = self._served.get(runner, 0)
            if lost or (self._most is not None and served >= self._most):
                self._served.pop(runner, None)
                runner = self._runner() if self._state != "terminated" else None
            if runner is not None:
                self._idle.append(runner)
            self._feed()
        self._give(chunk, [(False, error)] * len(chunk.calls) if error else future.result())

    def _give(self, chunk: _Chunk, outcomes: list[Outcome]) -> None:
        try:
            chunk.done(outcomes)  # calls the user back, who may raise
        finally:
            with self._lock:
                self._unfinished -= 1
                self._lock.notify_all()

    def _async(
        self,
        function: Callable[..., Any],
        calls: list[Call],
        size: int | None,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
        *,
        single: bool = False,
    ) -> AsyncResult:
        self._expect_open()
        if size is None:
            size = _chunk_size(len(calls), self._size)
        chunks = _chunks(calls, size)
        result = AsyncResult(len(chunks), single, callback, error_callback)
        known = ray.put(function) if len(chunks) > 1 else function
        for number, chunk in enumerate(chunks):
            self._submit(_Chunk(known, chunk, lambda o, n=number: result._came(n, o)))  # type: ignore[misc]
        return result

    def _expect_open(self) -> None:
        if self._state != "open":
            raise ValueError("the pool is closed; make another one")

    # What users call

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """`func(*args, **kwargs)` in one of the actors."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """As `apply`, without waiting."""
        calls: list[Call] = [(tuple(args or ()), kwargs or {})]
        return self._async(func, calls, 1, callback, error_callback, single=True)

    def map(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """`func` of each item, in order.

        Raises:
            BaseException: What `func` raised for the first item that failed.
        """
        return list(self.map_async(func, iterable, chunksize).get())

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """As `map`, without waiting."""
        calls: list[Call] = [((item,), {}) for item in iterable]
        return self._async(func, calls, chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """`func(*item)` for each item, in order."""
        return list(self.starmap_async(func, iterable, chunksize).get())

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """As `starmap`, without waiting."""
        calls: list[Call] = [(tuple(item), {}) for item in iterable]
        return self._async(func, calls, chunksize, callback, error_callback)

    def imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> IMapIterator:
        """Results one by one, in order; items are taken as actors come free."""
        return IMapIterator(
            self, func, iterable, 1 if chunksize is None else chunksize, ordered=True
        )

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> IMapIterator:
        """Results as they come."""
        return IMapIterator(
            self, func, iterable, 1 if chunksize is None else chunksize, ordered=False
        )

    # The end

    def close(self) -> None:
        """Take no more work; what was submitted is still done."""
        if self._state == "open":
            self._state = "closed"

    def terminate(self) -> None:
        """End now; what was not done fails."""
        with self._lock:
            self._state = "terminated"
            waiting, self._waiting = list(self._waiting), deque()
        for runner in self._served:
            ray.kill(runner)
        ended = RuntimeError("the pool was terminated before this was done")
        for chunk in waiting:
            self._give(chunk, [(False, ended)] * len(chunk.calls))

    def join(self) -> None:
        """Wait until everything is done, then end the actors; call `close` first.

        Raises:
            ValueError: If the pool is still open.
        """
        if self._state == "open":
            raise ValueError("the pool is still open; call close() or terminate() before join()")
        with self._lock:
            self._lock.wait_for(lambda: not self._unfinished)
        if self._state == "closed":
            self.terminate()

    def __enter__(self) -> Pool:
        self._expect_open()
        return self

    def __exit__(self, *error: object) -> None:
        self.terminate()

    def __reduce__(self) -> Any:
        raise NotImplementedError("a Pool cannot be pickled or sent to another process")


class IMapIterator:
    """The results of `imap` and `imap_unordered`."""

    def __init__(
        self, pool: Pool, function: Any, items: Iterable[Any], size: int, *, ordered: bool
    ) -> None:
        if size < 1:
            raise ValueError(f"chunksize must be at least 1, got {size}")
        pool._expect_open()
        self._pool = pool
        self._function = ray.put(function)
        self._size = size
        self._items = iter(items)
        self._ordered = ordered
        self._came: queue.SimpleQueue[tuple[int, list[Outcome]]] = queue.SimpleQueue()
        self._early: dict[int, list[Outcome]] = {}
        self._ready: deque[Outcome] = deque()
        self._sent = self._taken = 0
        for _ in range(2 * pool._size):  # so that no actor waits for us
            self._send()

    def _send(self) -> None:
        calls: list[Call] = [((item,), {}) for item in itertools.islice(self._items, self._size)]
        if calls:
            number = self._sent
            self._sent += 1
            done = self._came.put
            self._pool._submit(_Chunk(self._function, calls, lambda o: done((number, o))))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result.

        Raises:
            StopIteration: At the end.
            multiprocessing.TimeoutError: If the time is over first.
            BaseException: What the function raised for this item.
        """
        while not self._ready:
            if self._taken == self._sent:
                raise StopIteration
            self._take(timeout)
        ok, value = self._ready.popleft()
        if not ok:
            raise value
        return value

    def _take(self, timeout: float | None) -> None:
        if self._taken not in self._early:
            try:
                number, outcomes = self._came.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError(f"the next result was not there after {timeout} s") from None
            self._early[number if self._ordered else self._taken] = outcomes
        if self._taken in self._early:
            self._ready.extend(self._early.pop(self._taken))
            self._taken += 1
            self._send()


def _chunks(calls: list[Call], size: int) -> list[list[Call]]:
    if size < 1:
        raise ValueError(f"chunksize must be at least 1, got {size}")
    return [calls[start : start + size] for start in range(0, len(calls), size)]


def _chunk_size(count: int, processes: int) -> int:
    """Four chunks for each actor, as the standard library does it."""
    return max(1, -(-count // (4 * processes)))
