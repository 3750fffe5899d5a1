"""Waiting for values: whoever waits reads the sockets (leader and followers).

A thread that waits in `get` becomes the leader if there is none, and reads until what it waits
for is there: no other thread has to be woken. Others that wait meanwhile are followers, woken by
the leader; when it leaves, one of them takes over. `Awaited` knows who in the driver waits for what.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from heliostat._engines.local import failures
from heliostat._engines.local.messages import DRIVER, EndAwaited, Put, Resolve, Value

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler


class Waiter:
    """Somebody who waits for a number of things; or a callback for when they are there.

    Who leads reads until nothing is missing, and never sleeps: the lock is made by those who follow.
    """

    __slots__ = ("_lock", "callback", "ids", "missing")

    def __init__(self, missing: int = 0, callback: Callable[[], None] | None = None) -> None:
        self.missing = missing
        self.ids: Collection[bytes] = ()  # of the objects it waits for
        self.callback = callback
        self._lock: threading.Lock | None = None

    def wake(self) -> None:
        """End its sleep, now or the next time, if it may sleep at all."""
        lock = self._lock
        if lock is not None and lock.locked():
            with contextlib.suppress(RuntimeError):  # another thread was faster
                lock.release()

    def get_ready(self) -> None:
        """It may sleep from now on; to be said before others can know of it."""
        if self._lock is None:
            self._lock = threading.Lock()
            self._lock.acquire()

    def sleep(self, timeout_s: float | None) -> None:
        """Until somebody wakes it, or the time is over."""
        assert self._lock is not None
        self._lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s))


class Some(Waiter):
    """Somebody who waits for some of many objects; told of each that comes."""

    __slots__ = ()
    ids: set[bytes]

    def __init__(self, ids: Iterable[bytes]) -> None:
        super().__init__()
        self.ids = set(ids)

    def came(self, id_: bytes) -> None:
        """An object is there."""
        if id_ in self.ids:
            self.missing -= 1
            if self.missing <= 0:
                self.wake()


SPIN_S = 200e-6  # a wait that will be shorter than this is spent looking, not sleeping
SHORT_S = 400e-6  # a sleep that was shorter, waking up included, had better been spent so
LONG_LEAD_S = 0.01  # who looks after the sockets else has long given up by then
_SPINS = len(os.sched_getaffinity(0)) > 1


class Lead:
    """One thread at a time reads.

    To wake a CPU takes longer than a short task. So a leader whose last wait was short looks out
    for a while before it sleeps, and lets whoever else wants its CPU go first at every look.

    Args:
        read: Read what has arrived and act on it, given how many seconds it may wait (None: for
            ever) and what is known to be readable (None: nothing is known).
        arrived: What there is to read; empty if nothing.
    """

    def __init__(
        self, read: Callable[[float | None, Any], None], arrived: Callable[[], Any]
    ) -> None:
        self._read = read
        self._arrived = arrived
        self._short = False  # the last wait was
        self._taken = threading.Lock()
        self._followers: deque[Waiter] = deque()
        # To call when the thread that reads has done so: then it may ask, and wait.
        self.due: deque[Callable[[], object]] = deque()
        self.used = False  # somebody led since it was last set to False
        self.on_left: Callable[[], object] = lambda: None  # called when a long lead has ended

    def wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Wait until nothing is missing; False if the time is over first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if waiter.missing > 0 and self._taken.acquire(blocking=False):
            self._lead(waiter, deadline)
            self._call_back()
        while waiter.missing > 0:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            waiter.get_ready()
            self._followers.append(waiter)
            if self._taken.acquire(blocking=False):
                self._forget(waiter)
                self._lead(waiter, deadline)
                self._call_back()
            else:
                try:
                    if waiter.missing > 0:  # it may have come before it was ready to sleep
                        waiter.sleep(left)
                finally:
                    self._forget(waiter)
                    # It may have been woken to lead while what it waits for came: pass it on.
                    if waiter.missing <= 0 or left is not None:
                        self.hand_over()
        return True

    def _lead(self, waiter: Waiter, deadline: float | None) -> None:
        now = time.monotonic
        begun = now()
        try:
            while waiter.missing > 0 and not self.due:
                start = now()
                left = None if deadline is None else deadline - start
                if left is not None and left <= 0:
                    return
                looks = self._short
                ready = self._look_out(start + SPIN_S) if looks else None
                self._read(left, ready)
                self._short = _SPINS and now() - start < (SPIN_S if looks else SHORT_S)
        finally:
            self.used = True
            self._taken.release()
            if self._followers:
                self.hand_over()
            elif now() - begun > LONG_LEAD_S:
                self.on_left()

    def _look_out(self, until: float) -> Any:
        arrived, now, give_way = self._arrived, time.monotonic, os.sched_yield
        while not (ready := arrived()) and now() < until:
            give_way()
        return ready or None

    def linger(self) -> bool:
        """Look out for a moment and read what comes, for who is not to wait here; whether it came."""
        if not _SPINS or not self._taken.acquire(blocking=False):
            return False
        try:
            ready = self._look_out(time.monotonic() + SPIN_S)
            if ready is not None:
                self._read(0.0, ready)
            return ready is not None
        finally:
            self._taken.release()
            self.hand_over()
            self._call_back()

    def try_read(self, timeout_s: float | None) -> bool:
        """Read once as the leader, unless there is one already."""
        if not self._taken.acquire(blocking=False):
            return False
        try:
            self._read(timeout_s, None)
            # Whoever follows now will be back soon, and is faster when it reads itself.
            self.used = self.used or bool(self._followers)
        finally:
            self._taken.release()
            self.hand_over()
        self._call_back()
        return True

    def _call_back(self) -> None:
        while self.due:
            try:
                callback = self.due.popleft()
            except IndexError:  # another thread has taken the last
                return
            callback()

    def hand_over(self) -> None:
        """Let a follower take the lead, if nobody has it."""
        if self._followers and not self._taken.locked():
            with contextlib.suppress(IndexError):  # it has left meanwhile
                self._followers[0].wake()

    def taken(self) -> bool:
        """Whether some thread reads now."""
        return self._taken.locked()

    def has_followers(self) -> bool:
        """Whether somebody sleeps and could lead."""
        return bool(self._followers)

    def _forget(self, waiter: Waiter) -> None:
        try:
            self._followers.remove(waiter)
        except ValueError:
            return


# Whoever is just in one of these, and in nothing that they call, may have the lead without a `finally`.
TAKES_THE_LEAD = frozenset(
    one.__code__ for one in (Lead.wait, Lead._lead, Lead.linger, Lead.try_read, Lead.hand_over)
)


class Awaited:
    """The part of the driver's port that looks for values.

    Args:
        guard: The lock of the tables.
        scheduler: The tables.
        handle: Handles an event; the caller is in the tables.
        hurry: Sends what there is to send, and has what comes read soon.
    """

    def __init__(
        self,
        guard: Guard,
        scheduler: Scheduler,
        handle: Callable[[Any], None],
        hurry: Callable[[], None],
    ) -> None:
        self._guard = guard
        self._scheduler = scheduler
        self._objects, self._plain = scheduler.owned.objects, scheduler.plain.values
        self._handle = handle
        self._hurry = hurry
        self._waiters: dict[bytes, list[Waiter]] = {}
        self._some: list[Some] = []

    def value(self, id_: bytes) -> Value | None:
        """The value, if it is there."""
        entry = self._objects.get(id_)
        return self._plain.get(id_) if entry is None else entry.value

    def ready(self, ids: Sequence[bytes], count: int) -> list[int]:
        """Positions of the first `count` that are there."""
        found: list[int] = []
        get, plain = self._objects.get, self._plain
        for position, id_ in enumerate(ids):
            entry = get(id_)
            if id_ in plain if entry is None else entry.value is not None:
                found.append(position)
                if len(found) == count:
                    break
        return found

    def subscribe_some(self, waiter: Some, count: int) -> None:
        """Have the waiter miss as many of its objects as are not there yet, of `count`."""
        with self._guard:
            for id_ in waiter.ids:
                entry = self._objects.get(id_)
                if entry is None and not self._scheduler.known(id_):
                    self._handle(Put(DRIVER, id_, failures.lost(id_)))
                elif entry is not None and entry.items is not None and entry.value is None:
                    self._handle(EndAwaited(id_))
            waiter.missing = count - len(self.ready(list(waiter.ids), count))
            self._some.append(waiter)

    def unsubscribe_some(self, waiter: Some) -> None:
        """The end of `subscribe_some`."""
        with self._guard:
            self._some.remove(waiter)

    def subscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Count the waiter down for each of these when it is there."""
        guard, objects, plain = self._guard, self._objects, self._plain
        guard.enter()  # not `with`, which takes four calls for two
        try:
            for id_ in ids:
                entry = objects.get(id_)
                if entry is None and not self._scheduler.known(id_):
                    self._handle(Put(DRIVER, id_, failures.lost(id_)))
                elif id_ not in plain if entry is None else entry.value is None:
                    if entry is not None and entry.items is not None:
                        self._handle(EndAwaited(id_))
                    self._waiters.setdefault(id_, []).append(waiter)
                    waiter.missing += 1
            if waiter.callback is not None:
                if waiter.missing <= 0:
                    guard.callbacks.append(waiter.callback)
                else:
                    self._hurry()
        finally:
            guard.leave()

    def unsubscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Forget a waiter whose time is over."""
        with self._guard:
            for id_ in ids:
                waiters = self._waiters.get(id_)
                if waiters and waiter in waiters:
                    waiters.remove(waiter)
                    if not waiters:
                        del self._waiters[id_]

    def resolve(self, command: Resolve) -> None:
        """A value is there: tell who waits for it. The caller is in the tables."""
        id_ = command[0]
        for some in self._some:
            some.came(id_)
        for waiter in self._waiters.pop(id_, ()):
            waiter.missing -= 1
            if waiter.missing <= 0:
                if waiter.callback is not None:
                    self._guard.callbacks.append(waiter.callback)
                else:
                    waiter.wake()

    def ids(self) -> Collection[bytes]:
        """What somebody waits for."""
        return [*self._waiters, *(id_ for some in self._some for id_ in some.ids)]

    def close(self) -> None:
        """Nothing will come any more: nobody waits any longer."""
        waiting = [waiter for waiters in self._waiters.values() for waiter in waiters]
        self._waiters.clear()
        for waiter in (*waiting, *self._some):
            waiter.missing = 0
            waiter.wake()


class Guard:
    """The lock of the tables.

    A KeyboardInterrupt in the middle of them would tear them, so SIGINT is taken over while a
    session lives (if Python's own handler is in place) and raised when the main thread has left.

    Args:
        late: Called with each event that a user's finaliser posted while its own thread was in
            the tables already; it is the last to be in them.
    """

    def __init__(self, late: Callable[[Any], None]) -> None:
        self.callbacks: deque[Callable[[], None]] = deque()  # to call when nobody is inside
        self._late = late
        self._events: deque[Any] = deque()
        self._lock = threading.RLock()
        self._depth = 0
        self._main = threading.main_thread().ident
        self._interrupted = False
        self._installed = False
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_interrupt)
            self._installed = True

    def enter(self) -> bool:
        """Wait for the tables; False if this thread is in them already."""
        self._lock.acquire()
        depth = self._depth = self._depth + 1
        return depth == 1

    def postpone(self, event: Any) -> None:
        """Handle this when the thread that is in the tables leaves them."""
        self._events.append(event)

    def leave(self) -> None:
        """Leave, then do what had to wait. Raises KeyboardInterrupt if one came meanwhile."""
        if self._events and self._depth == 1:
            while self._events:
                self._late(self._events.popleft())
        depth = self._depth = self._depth - 1
        self._lock.release()
        if self._interrupted and not depth and threading.get_ident() == self._main:
            self._interrupted = False
            raise KeyboardInterrupt
        if self.callbacks:
            self._call_back()

    def _call_back(self) -> None:
        while self.callbacks:
            try:
                callback = self.callbacks.popleft()
            except IndexError:  # another thread was faster
                return
            callback()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.leave()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> Any:
        if self._lock._is_owned():  # type: ignore[attr-defined]  # by this thread, the main one
            self._interrupted = True
            return None
        # Python ignores what finalisers raise, and a lead that is about to be given back must be.
        if _in_finaliser(frame) or (frame is not None and frame.f_code in TAKES_THE_LEAD):
            again = threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGINT))
            again.daemon = True
            again.start()
            return None
        return signal.default_int_handler(number, frame)

    def close(self) -> None:
        """Put Python's handler back, unless somebody else has taken over."""
        if not self._installed or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) == self._on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _in_finaliser(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "_on_interrupt"):  # or where the last one is put off
            return True
        frame = frame.f_back
    return False
