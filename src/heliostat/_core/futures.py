"""References as futures: for `concurrent.futures` and asyncio.

Apart from `refs` because importing asyncio takes longer than all of Heliostat; loaded on first use.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable
from typing import Any

from heliostat._core.engine import Engine
from heliostat._core.refs import ObjectRef


def future_of(engine: Engine, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
    """A future that completes with the value of `ref`, or its error."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()

    def finish() -> None:
        try:
            value = engine.get([ref], timeout_s=None)[0]
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            future.set_exception(error)
        else:
            future.set_result(value)

    engine.on_ready(ref, finish)
    return future


def awaitable(future: concurrent.futures.Future[Any]) -> asyncio.Future[Any]:
    """The future, for the running event loop."""
    return asyncio.wrap_future(future)


async def value_of(engine: Engine, ref: ObjectRef[Any]) -> Any:
    """Wait in the running event loop for the value of `ref`."""
    await arrival(lambda wake: engine.on_ready(ref, wake))
    return engine.get([ref], timeout_s=None)[0]


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
