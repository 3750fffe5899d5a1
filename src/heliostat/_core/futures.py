"""References as futures: for `concurrent.futures` and asyncio.

Apart from `refs` because importing asyncio takes longer than all of Heliostat; loaded on first use.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from heliostat._core.engine import Engine
from heliostat._core.refs import ObjectRef
from heliostat.exceptions import GetTimeoutError

_MOST_FETCHERS = 4


def future_of(engine: Engine, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
    """A future that completes with the value of `ref`, or its error."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    engine.on_ready(ref, functools.partial(_complete, future, engine, ref))
    return future


def _complete(
    future: concurrent.futures.Future[Any],
    engine: Engine,
    ref: ObjectRef[Any],
    timeout_s: float | None = 0,
) -> None:
    try:
        value = engine.get([ref], timeout_s=timeout_s)[0]
    except GetTimeoutError as error:
        if timeout_s is None:  # it is the value
            future.set_exception(error)
        else:
            _FETCHERS.do(functools.partial(_complete, future, engine, ref, None))
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        future.set_exception(error)
    else:
        future.set_result(value)


class _Fetchers:
    """A few threads that wait for values that are there but not in memory: loops and hubs may not."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._started = 0

    def do(self, work: Callable[[], None]) -> None:
        self._work.put(work)
        if self._started < _MOST_FETCHERS:
            self._started += 1
            threading.Thread(target=self._serve, name="heliostat-fetch", daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._work.get()()

    def forked(self) -> None:
        """The threads are not in this process."""
        self.__init__()  # type: ignore[misc]  # as new


_FETCHERS = _Fetchers()
os.register_at_fork(after_in_child=_FETCHERS.forked)


def awaitable(future: concurrent.futures.Future[Any]) -> asyncio.Future[Any]:
    """The future, for the running event loop."""
    return asyncio.wrap_future(future)


async def value_of(engine: Engine, ref: ObjectRef[Any]) -> Any:
    """Wait in the running event loop for the value of `ref`."""
    await arrival(lambda wake: engine.on_ready(ref, wake))
    try:
        return engine.get([ref], timeout_s=0)[0]
    except GetTimeoutError:  # it is on disk; or this is the value
        pass
    return await awaitable(future_of(engine, ref))


async def arrival(subscribe: Callable[[Callable[[], None]], None]) -> None:
    """Wait in the running event loop until what `subscribe` is given is called, on any thread."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def settle() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(settle)

    subscribe(wake)
    await waiter
