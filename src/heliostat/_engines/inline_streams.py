"""Streams of the inline engine: what a generator yields, as far ahead of its taker as was asked for.

Without `_generator_backpressure_num_objects` a generator runs to its end when its task is called, as
everything here does. With it nobody else could run it later on, so whoever takes an item does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from heliostat._core.ids import nth
from heliostat._core.outcomes import task_error
from heliostat.exceptions import TaskCancelledError

END = object()  # what is kept in the place of the item after the last


class Failure(NamedTuple):
    """An error that is kept as a value."""

    error: BaseException


Within = Callable[[], AbstractContextManager[None]]


class _Stream:
    def __init__(self, items: Generator[Any, None, None], window: int, within: Within) -> None:
        self.items, self.window, self.within, self.yielded = items, window, within, 0


class InlineStreams:
    """The generators of a session that have not ended; items are kept in `values`."""

    def __init__(self, values: dict[bytes, Any]) -> None:
        self._values = values
        self._open: dict[bytes, _Stream] = {}

    def start(self, id_: bytes, name: str, items: Any, window: int | None, within: Within) -> None:
        """Run the generator as far as it may go without a taker.

        Args:
            id_: The stream.
            name: Of its task, for errors.
            items: The generator, synchronous or not, or the failure of what should have made it.
            window: How many items it may be ahead; None: all.
            within: Makes the surroundings in which its code runs.
        """
        parts = _guarded(name, [items] if isinstance(items, Failure) else items)
        self._open[id_] = _Stream(parts, window or 0, within)
        self._run(id_, window)

    def want(self, id_: bytes, index: int) -> None:
        """Item `index` is asked for: run until it and the window after it are there."""
        if (stream := self._open.get(id_)) is not None:
            self._run(id_, index + 1 + stream.window)

    def finish(self, id_: bytes) -> None:
        """Somebody waits for the end: run to it, if the stream has one."""
        if id_ in self._open:
            self._run(id_, None)

    def running(self, id_: bytes) -> bool:
        """Whether it has not come to its end."""
        return id_ in self._open

    def cancel(self, id_: bytes) -> None:
        """Close the generator; its next item and its end are the error. Nothing if it has ended."""
        stream = self._open.pop(id_, None)
        if stream is None:
            return
        with stream.within():
            stream.items.close()
        error = Failure(TaskCancelledError())
        self._values[nth(id_, stream.yielded + 1)] = self._values[id_] = error
        self._values[nth(id_, stream.yielded + 2)] = END

    def close(self) -> None:
        """Close all generators."""
        for id_ in list(self._open):
            self.cancel(id_)

    def _run(self, id_: bytes, count: int | None) -> None:
        stream = self._open[id_]
        with stream.within():
            while count is None or stream.yielded < count:
                item = next(stream.items, END)
                if self._open.get(id_) is not stream:
                    return  # its own code ended the session, or itself
                stream.yielded += 1
                self._values[nth(id_, stream.yielded)] = item
                if item is END:
                    del self._open[id_]
                    self._values[id_] = None
                    return


def _guarded(name: str, items: Any) -> Generator[Any, None, None]:
    """The items of a generator; what it raises is its last item."""
    try:
        if not (inspect.isasyncgen(items) or hasattr(items, "__iter__")):
            got = f"a generator or give an iterable, got {type(items).__name__}"
            raise TypeError(f"{name} is streamed: it must be {got}")
        yield from _sync(items) if inspect.isasyncgen(items) else items
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 - user code: its error is the last item
        yield Failure(task_error(name, error))


def _sync(items: Any) -> Iterator[Any]:
    """The items of an async generator, one by one."""
    loop = asyncio.new_event_loop()
    try:
        while True:
            yield loop.run_until_complete(anext(items))
    except StopAsyncIteration:
        return
    finally:
        loop.run_until_complete(items.aclose())
        loop.close()
