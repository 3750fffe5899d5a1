"""Asyncio actors: calls overlap on one event loop."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import signal
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from heliostat import _faults
from heliostat._core.actors import ActorExit, ending, shut_down
from heliostat._engines.local.messages import MAIL, Call, Finished, method_of
from heliostat._engines.local.transport.waiting import SHORT_S
from heliostat._engines.local.worker.link import REPORT_S

if TYPE_CHECKING:
    from heliostat._engines.local.worker.worker import Worker

ASYNC_CONCURRENCY = 1000  # as Ray's default for asyncio actors
LOOP_FACTORY = "__event_loop_factory__"


def serve(worker: Worker, concurrency: int, groups: dict[str, int]) -> None:
    """Serve calls, many of which may wait at once, until the process ends.

    Args:
        worker: The process, with its actor.
        concurrency: How many calls of no group may run at once; 0: as many as Ray lets.
        groups: The names of concurrency groups, and how many of their calls may run at once.
    """
    # An actor's class may say which kind of loop it is made for; Serve's do.
    factory = getattr(type(worker.actor), LOOP_FACTORY, None)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_Async(worker, {**groups, "": concurrency or ASYNC_CONCURRENCY}).serve())


class _Slots:
    """How many more calls of a concurrency group may run, and those that wait for one to end."""

    __slots__ = ("free", "waiting")

    def __init__(self, free: int) -> None:
        self.free = free
        self.waiting: deque[Call] = deque()


class _Async:
    """Calls overlap on one event loop, which also watches the socket."""

    def __init__(self, worker: Worker, groups: dict[str, int]) -> None:
        self._worker = worker
        self._slots = {name: _Slots(most) for name, most in groups.items()}
        self._calls: dict[bytes, asyncio.Task[None]] = {}  # those with a slot
        self._unbegun: dict[bytes, Call] = {}  # of them, those before their first step
        self._main = threading.get_ident()
        self._flush_asked = self._report_asked = False
        self._idle_since = 0.0
        self._brief = False  # it was idle for a moment only, the last time

    async def serve(self) -> None:
        """Until the process ends."""
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        link = self._worker.link
        link.on_inbox = self._on_inbox
        link.questions.interruptible = False
        signal.signal(MAIL, signal.SIG_IGN)  # the loop watches the socket anyway
        self._loop.add_reader(link.fileno(), self._readable)
        self._take_inbox()
        await self._loop.create_future()

    def _readable(self) -> None:
        self._brief = time.monotonic() - self._idle_since < SHORT_S
        self._worker.link.read_mail()
        self._have_read()

    def _have_read(self) -> None:
        link = self._worker.link
        if link.cancelled:
            self._cancel()
            self._loop.call_soon(self._bury)  # after what was cancelled has had its turn
        link.sweep()

    def _on_inbox(self) -> None:
        if threading.get_ident() == self._main:
            self._take_inbox()
        else:
            self._loop.call_soon_threadsafe(self._take_inbox)

    def _take_inbox(self) -> None:
        inbox = self._worker.link.inbox
        if len(inbox) > 1:
            self._brief = False  # they come many at a time, so there is no hurry
        while inbox:
            message = inbox.popleft()
            slots = self._slots[message.group]
            if slots.free:
                slots.free -= 1
                self._begin(message)
            else:
                slots.waiting.append(message)

    def _begin(self, message: Call) -> None:
        # Not in the context of a call that has just ended.
        task = self._loop.create_task(self._run(message), context=self._context.copy())
        self._calls[message.task] = task
        self._unbegun[message.task] = message

    def _ended(self, message: Call) -> None:
        """Its slot is the next one's."""
        self._calls.pop(message.task, None)
        slots = self._slots[message.group]
        if slots.waiting:
            self._begin(slots.waiting.popleft())
        else:
            slots.free += 1

    def _cancel(self) -> None:
        cancelled = self._worker.link.cancelled
        for id_ in list(cancelled):
            cancelled.discard(id_)
            if id_ in self._calls:
                self._calls[id_].cancel()
                continue
            for slots in self._slots.values():
                for message in [one for one in slots.waiting if one.task == id_]:
                    slots.waiting.remove(message)
                    self._report_cancelled(message)

    def _bury(self) -> None:
        """Calls that were cancelled before their first step could report nothing themselves."""
        for id_, message in list(self._unbegun.items()):
            if self._calls[id_].done():
                del self._unbegun[id_]
                self._ended(message)
                self._report_cancelled(message)

    def _report_cancelled(self, message: Call) -> None:
        worker = self._worker
        worker.report(worker.cancelled(message, method_of(message.method)), message)
        self._flush_soon()

    async def _run(self, message: Call) -> None:
        worker = self._worker
        del self._unbegun[message.task]
        name = worker.enter_call(message)
        start = time.perf_counter()
        values: Any = None
        failure = 0
        try:
            values = await self._call(message, name)
        except (ActorExit, SystemExit):
            pass
        except asyncio.CancelledError as error:
            values, failure = (worker.error(name, error),), 1
        except BaseException as error:  # noqa: BLE001 - user code: it becomes the call's result
            values = (worker.error(name, error),)
            failure = 2 if worker.retried(message, error) else 1
        finally:
            self._ended(message)
        if values is None:
            await self._leave()
        seconds = time.perf_counter() - start
        report = Finished(worker.link.proc, message.task, values, failure, seconds, ())
        worker.report(report, message)
        if self._calls:  # others may be about to report
            self._flush_soon()
        else:
            self._flush()

    async def _leave(self) -> None:
        """End the actor; of those that would, only the first."""
        worker = self._worker
        if not worker.ends():
            await self._loop.create_future()
        try:
            outcome = shut_down(worker.actor)
            if inspect.isawaitable(outcome):
                with ending():
                    await outcome
        finally:  # whoever has cancelled this, or all that runs here
            worker.exit_shut_down()

    async def _call(self, message: Call, name: str) -> Any:
        worker = self._worker
        _faults.point("worker.call")
        args, kwargs = worker.arguments(message)
        _faults.point("worker.code")
        outcome = worker.method(message.method)(*args, **kwargs)
        if type(outcome) is CoroutineType or inspect.isawaitable(outcome):
            outcome = await outcome
        _faults.point("worker.result")
        if message.num_returns < 0 and hasattr(outcome, "__aiter__"):
            await self._stream(message, outcome)
            return (worker.engine.to_value(None),)
        return worker.results(message, name, outcome)

    async def _stream(self, message: Call, items: AsyncIterator[Any]) -> None:
        worker, position = self._worker, 0
        link = worker.link
        allowance = link.allowances[message.task]
        async for item in items:
            worker.send_item(message.task, position, item, allowance)
            position += 1
            self._flush_soon()
            if allowance.exhausted():
                taken = asyncio.Event()
                wake = functools.partial(self._loop.call_soon_threadsafe, taken.set)
                if link.when_credited(allowance, wake):
                    await taken.wait()

    def _flush_soon(self) -> None:
        """Once per turn of the loop, so that calls that end together are reported together."""
        if not self._flush_asked:
            self._flush_asked = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_asked = False
        if self._unbegun:  # the user's own code may have cancelled some
            self._bury()
        link = self._worker.link
        link.flush()
        if link.direct.rows and not self._report_asked:
            self._report_asked = True
            self._loop.call_later(REPORT_S, self._report)
        if not self._calls:
            self._rest()

    def _rest(self) -> None:
        """Nothing runs: sleep, or look out if the last sleep was hardly worth it (see `Lead`)."""
        if self._brief and self._worker.link.linger():
            self._have_read()
        else:
            self._brief, self._idle_since = False, time.monotonic()

    def _report(self) -> None:
        self._report_asked = False
        link = self._worker.link
        link.direct.report()
        link.flush()
