"""Link: a worker's port to the hub; a socket, and what this process holds.

The worker's main thread reads when it is idle; any thread that waits for a value reads while it
waits. A signal makes the main thread look at its mail while it runs user code.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import select
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from heliostat._engines.local import failures, wire
from heliostat._engines.local.messages import (
    STORED,
    Answered,
    Asked,
    Blocked,
    Call,
    Cancel,
    Credit,
    Deadlocked,
    Defined,
    Deliver,
    Dropped,
    Drops,
    Finished,
    GiveBack,
    Make,
    Resumed,
    Returned,
    Run,
    Stop,
    Value,
    Waits,
    Wanted,
)
from heliostat._engines.local.pool import MAIL
from heliostat._engines.local.store import Store
from heliostat._engines.local.streams import Allowance, most_bytes, window
from heliostat._engines.local.waiting import Lead, Some, Waiter
from heliostat.exceptions import DeadlockError, RaySystemError

LONG_S = 1.0  # after this the hub is told what the main thread waits for


def received_with(message: Run | Make | Call) -> list[bytes]:
    """The objects that were lent to this process with a task or call."""
    received = [id_ for need, value in message.needs for id_ in (need, *value[3])]
    received.extend(message.call[3])
    if message.call_id is not None:
        received.append(message.call_id)
    return received


class Shield:
    """While somebody is in it, cancellation waits; on leaving, it strikes."""

    def __init__(self, link: Link) -> None:
        self.depth = 0
        self._link = link

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *error: object) -> None:
        self.depth -= 1
        if not self.depth and self._link.cancelled:
            self._link.interrupt()


class Link:
    """What a worker process knows of the session."""

    total: dict[str, int]
    labels: dict[str, str]
    namespace: str
    node_id: str

    def __init__(self, proc: int, sock: socket.socket, store: Store, facts: dict[str, Any]) -> None:
        self.proc = proc
        self.store = store
        self.total, self.labels = facts["total"], facts["labels"]
        self.namespace, self.node_id = facts["namespace"], facts["node_id"]
        self.inbox: deque[Any] = deque()  # tasks and calls to run
        self.codes: dict[bytes, bytes] = {}
        self.cancelled: set[bytes] = set()
        # Whether the main thread runs a task (not an actor's method), and whether what runs here
        # holds CPUs, which it lends while it waits.
        self.busy_with_task = self.lends = False
        self.on_inbox: Callable[[], None] | None = None  # set by asyncio actors
        self.interrupt: Callable[[], None] = lambda: None  # raises if what runs was cancelled
        self.shield = Shield(self)
        self._blocked = 0  # threads of the running task that wait
        self._main = threading.main_thread().ident
        self._long_waiter: Waiter | None = None  # the main thread's, when it waits for long
        self._circle = ""  # why that can never end
        self._mail = Waiter()
        self._called_back = Waiter()  # misses as many values as callbacks wait for
        self._reading = self._reading_for_callbacks = False
        self._sock = sock
        self._parser = wire.Parser()
        self._buffer = wire.Buffer()
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        self._lead = Lead(self._read, functools.partial(poll.poll, 0))
        self._out: deque[Any] = deque()
        self._sending = threading.Lock()
        self._requests = iter(range(1, 1 << 62))
        self._answers: dict[int, Any] = {}
        self._waiters: dict[Any, list[Waiter]] = {}
        self._some: list[Some] = []
        self._known: dict[bytes, Value] = {}
        self._wanted: set[bytes] = set()
        self._counts: dict[bytes, int] = {}
        self._lent: dict[bytes, int] = {}
        self.allowances: dict[bytes, Allowance] = {}  # of the streams that are made here
        self._dropped: deque[bytes] = deque()
        self._lock = threading.RLock()
        self.drop = self._dropped.append
        self._handlers = self._table()

    def _table(self) -> dict[type, Callable[[Any], None]]:
        """What is done with each message."""
        return {
            Run: self._work,
            Make: self._work,
            Call: self._work,
            Deliver: self._delivered,
            Answered: self._answered,
            Cancel: self._cancel,
            Credit: self._credit,
            Deadlocked: self._deadlocked,
            GiveBack: lambda message: self.give_back(),
            Stop: lambda message: os._exit(0),
            Defined: self._defined,
        }

    # Sending

    def post(self, event: Any) -> None:
        """Send now."""
        self._out.append(event)
        self.flush()

    def post_later(self, event: Any) -> None:
        """Send with the next message."""
        self._out.append(event)

    def shielded(self) -> bool:
        """Whether the engine does something that nothing may interrupt."""
        return self.shield.depth > 0 or self._sending.locked()

    def flush(self) -> None:
        """Send what there is; the thread that sends already takes it along."""
        while self._out and self._sending.acquire(blocking=False):
            try:
                while self._out:
                    messages = []
                    while self._out:
                        messages.append(self._out.popleft())
                    self._sock.sendall(wire.encode(messages))
            except (BrokenPipeError, ConnectionResetError):
                os._exit(1)  # the driver is gone
            finally:
                self._sending.release()
            if self.cancelled:
                self.interrupt()  # a signal in the middle of a frame had to wait

    # Asking and waiting

    def ask(self, question: str, payload: Any) -> Any:
        """Ask the hub and wait for the answer."""
        request = next(self._requests)
        waiter = Waiter(missing=1)
        self._waiters[request] = [waiter]
        self.post(Asked(self.proc, request, question, payload))
        self._lead.wait(waiter, None)
        answer = self._answers.pop(request)
        if answer.error is not None:
            raise pickle.loads(answer.error)
        return answer.payload

    def values(self, ids: Sequence[bytes]) -> list[Value | None]:
        """Those that were delivered."""
        known = self._known
        return [known.get(id_) for id_ in ids]

    def ready(self, ids: Sequence[bytes], count: int) -> list[int]:
        """Positions of the first `count` that were delivered."""
        known = self._known
        return [position for position, id_ in enumerate(ids) if id_ in known][:count]

    def subscribe_some(self, waiter: Some, count: int) -> None:
        """Have them delivered; the waiter misses as many as are not there yet, of `count`."""
        with self._lock:
            waiter.missing = count - len(waiter.ids & self._known.keys())
            self._some.append(waiter)
            new = waiter.ids - self._known.keys() - self._wanted
            self._wanted |= new
        if new:
            self.post(Wanted(self.proc, tuple(new)))

    def unsubscribe_some(self, waiter: Some) -> None:
        """The end of `subscribe_some`."""
        with self._lock:
            self._some.remove(waiter)

    def subscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Have them delivered, and count the waiter down for each."""
        with self._lock:
            new = []
            for id_ in ids:
                if id_ in self._known:
                    continue
                self._waiters.setdefault(id_, []).append(waiter)
                waiter.missing += 1
                if id_ not in self._wanted:
                    self._wanted.add(id_)
                    new.append(id_)
        if new:
            self.post(Wanted(self.proc, tuple(new)))
        if waiter.callback is not None:
            if waiter.missing <= 0:
                waiter.callback()
            elif self.on_inbox is None:
                self._read_for_callbacks()

    def unsubscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Forget a waiter whose time is over."""
        with self._lock:
            for id_ in ids:
                waiters = self._waiters.get(id_)
                if waiters and waiter in waiters:
                    waiters.remove(waiter)

    def wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Wait until the waiter misses nothing; lend the CPU meanwhile."""
        if waiter.missing <= 0:
            return True
        if not self.lends:
            return self._wait(waiter, timeout_s)
        with self._lock:
            self._blocked += 1
            if self._blocked == 1:
                returned = self._unbegun() if self.busy_with_task else ()
                self._out.append(Blocked(self.proc, returned))
        try:
            return self._wait(waiter, timeout_s)
        finally:
            with self._lock:
                self._blocked -= 1
                if not self._blocked:
                    self._out.append(Resumed(self.proc))
            self.flush()

    def _wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Wait; the main thread tells the hub what for when it takes long.

        Raises:
            DeadlockError: If what it waits for can never come.
        """
        if timeout_s is not None or threading.get_ident() != self._main:
            return self._lead.wait(waiter, timeout_s)
        if self._lead.wait(waiter, LONG_S):
            return True
        self._out.append(Waits(self.proc, tuple(waiter.ids)))
        self._long_waiter = waiter
        try:
            self._lead.wait(waiter, None)
        finally:
            self._long_waiter = None
            self._out.append(Waits(self.proc, ()))
        circle, self._circle = self._circle, ""
        if circle:
            raise DeadlockError(f"this wait would never end, for it waits for itself:\n{circle}")
        return True

    def _deadlocked(self, message: Deadlocked) -> None:
        waiter = self._long_waiter
        if waiter is not None and waiter.missing > 0:
            self._circle = message.text
            waiter.missing = 0
            waiter.wake()

    def _read_for_callbacks(self) -> None:
        """Somebody is to be called back, and the main thread may be busy: another one reads."""
        with self._lock:
            self._called_back.missing += 1
            if not self._reading_for_callbacks:
                self._reading_for_callbacks = True
                threading.Thread(target=self._attend, name="heliostat-link", daemon=True).start()

    def _attend(self) -> None:
        while True:
            self._lead.wait(self._called_back, None)
            with self._lock:
                if self._called_back.missing <= 0:
                    self._reading_for_callbacks = False
                    return

    # Streams made here

    def when_credited(self, allowance: Allowance, resume: Callable[[], object]) -> bool:
        """Call back once the stream may go on; False if it may at once."""
        with self._lock:
            if not allowance.exhausted():
                return False
            allowance.resume = resume
        self.flush()
        return True

    def wait_for_credit(self, task: bytes, allowance: Allowance) -> None:
        """Wait until the stream may go on, or is cancelled."""
        waiter = Waiter(missing=1)

        def resume() -> None:
            waiter.missing = 0
            waiter.wake()

        if self.when_credited(allowance, resume) and task not in self.cancelled:
            self.wait(waiter, None)

    def _credit(self, message: Credit) -> None:
        allowance = self.allowances.get(message.task)
        if allowance is None:
            return
        with self._lock:
            allowance.credit(message.items, message.size)
            resume = None if allowance.exhausted() else allowance.resume
        if resume is not None:
            allowance.resume = None
            resume()

    def wait_for_work(self) -> None:
        """The main thread is idle: read until there is something to run."""
        self._mail.missing = 1
        if not self.inbox:
            self._lead.wait(self._mail, None)

    def _unbegun(self) -> tuple[bytes, ...]:
        tasks: list[bytes] = []
        received: list[bytes] = []
        while self.inbox:
            message = self.inbox.popleft()
            tasks.append(message.task)
            self.allowances.pop(message.task, None)
            received.extend(received_with(message))
        drops = self.drops(received) if received else ()
        if drops:
            self._out.append(Dropped(self.proc, drops))
        return tuple(tasks)

    def give_back(self) -> None:
        """Return the tasks that have not begun, and report what is done."""
        if self.busy_with_task:
            self._out.append(Returned(self.proc, self._unbegun()))
        self.flush()

    # Reading

    def _read(self, timeout_s: float | None) -> None:
        self.flush()
        if timeout_s is not None and not select.select([self._sock], [], [], timeout_s)[0]:
            return
        self._reading = True
        try:
            self._take(self._buffer.receive(self._sock))
        finally:
            self._reading = False
        self.flush()
        self.interrupt()

    def read_mail(self) -> None:
        """Take what has arrived without waiting, unless this thread is in the middle of that."""
        if self._reading:
            return
        self._lead.try_read(0)

    def _take(self, data: bytes) -> None:
        if not data:
            os._exit(1)  # the driver is gone
        for message in self._parser.feed(data):
            self._handlers[type(message)](message)

    def fileno(self) -> int:
        """For an event loop that watches the socket."""
        return self._sock.fileno()

    def _work(self, message: Any) -> None:
        for id_, value in message.needs:
            self._receive(id_, value)
        self._receive(message.call_id, message.call)
        if type(message) is not Make and message.num_returns < 0:
            most = most_bytes(self.store.capacity)
            self.allowances[message.task] = Allowance(window(message.num_returns), most)
        self.inbox.append(message)
        if self._blocked and self.busy_with_task:  # sent before the hub knew
            self._out.append(Returned(self.proc, self._unbegun()))
            return
        self._mail.missing = 0
        if self.on_inbox is not None:
            self.on_inbox()
        else:
            self._mail.wake()

    def _defined(self, message: Any) -> None:
        self.codes[message.key] = message.blob

    def _delivered(self, message: Deliver) -> None:
        id_, value = message
        with self._lock:
            self._known[id_] = value
            self._wanted.discard(id_)
            self._lent[id_] = self._lent.get(id_, 0) + 1
            for ref in value[3]:
                self._lent[ref] = self._lent.get(ref, 0) + 1
            waiters = self._waiters.pop(id_, ())
            for some in self._some:
                some.came(id_)
            if not waiters and not self._counts.get(id_):  # whoever wanted it has given up
                self._dropped.append(id_)
        for waiter in waiters:
            waiter.missing -= 1
            if waiter.missing <= 0:
                if waiter.callback is not None:
                    waiter.callback()
                    if self.on_inbox is None:
                        self._called_back.missing -= 1
                        self._called_back.wake()
                else:
                    waiter.wake()

    def _answered(self, message: Answered) -> None:
        self._answers[message.request] = message
        for waiter in self._waiters.pop(message.request, ()):
            waiter.missing = 0
            waiter.wake()

    def _cancel(self, message: Cancel) -> None:
        for queued in self.inbox:
            if queued.task == message.task:
                self.inbox.remove(queued)
                self.allowances.pop(queued.task, None)
                self._out.append(
                    Finished(
                        self.proc,
                        queued.task,
                        (failures.cancelled(""),),
                        1,
                        0.0,
                        self.drops(received_with(queued)),
                    )
                )
                return
        self.cancelled.add(message.task)
        allowance = self.allowances.get(message.task)
        if allowance is not None and allowance.resume is not None:
            allowance.resume()
        main = threading.main_thread()
        if threading.current_thread() is not main:
            signal.pthread_kill(main.ident or 0, MAIL)

    def is_cancelled(self, task: bytes) -> bool:
        """Whether somebody has cancelled this task, which runs here."""
        self.read_mail()
        return task in self.cancelled

    # Counting: what this process was lent goes back when nothing here refers to it

    def own(self, id_: bytes) -> None:
        """A first reference to something that the hub counts as lent to this process."""
        with self._lock:
            self._counts[id_] = self._counts.get(id_, 0) + 1
            self._lent[id_] = self._lent.get(id_, 0) + 1

    def adopt(self, id_: bytes) -> None:
        """One more reference or view."""
        with self._lock:
            self._counts[id_] = self._counts.get(id_, 0) + 1

    def _receive_ids(self, ids: Iterable[bytes]) -> None:
        with self._lock:
            for id_ in ids:
                self._lent[id_] = self._lent.get(id_, 0) + 1

    def _receive(self, id_: bytes | None, value: Value) -> None:
        """A value came with a task: its memory and the references inside were lent with it."""
        if value[0] == STORED and id_ is not None:
            self._receive_ids((id_,))
        if value[3]:
            self._receive_ids(value[3])

    def drops(self, received: Iterable[bytes] = ()) -> Drops:
        """What goes back now: dropped references, and of `received` what nobody here refers to."""
        gone: list[tuple[bytes, int]] = []
        with self._lock:
            touched = list(received)
            while self._dropped:
                id_ = self._dropped.popleft()
                self._counts[id_] = self._counts.get(id_, 0) - 1
                touched.append(id_)
            for id_ in touched:
                if self._counts.get(id_, 0) > 0:
                    continue
                self._counts.pop(id_, None)
                value = self._known.pop(id_, None)
                if value is not None and value[3]:  # lent with it, and perhaps never looked at
                    touched.extend(value[3])
                times = self._lent.pop(id_, 0)
                if times:
                    gone.append((id_, times))
        return tuple(gone)

    def has_dropped(self) -> bool:
        """Whether something may go back."""
        return bool(self._dropped)

    def sweep(self) -> None:
        """Give back what was dropped, with the next message."""
        if self._dropped:
            drops = self.drops()
            if drops:
                self._out.append(Dropped(self.proc, drops))

    def reset(self) -> None:
        """Refuse: it would end the caller."""
        raise RaySystemError("only the driver can reset its session; this is a worker")

    def close(self) -> None:
        """Workers end when the driver says so."""
        with contextlib.suppress(OSError):
            self.flush()
