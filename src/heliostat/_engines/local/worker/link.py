"""Link: a worker's port to the hub; a socket, and what this process holds.

The worker's main thread reads when it is idle; any thread that waits for a value reads while it
waits. A signal makes the main thread look at its mail while it runs user code.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from heliostat import _malloc
from heliostat._engines.local import failures
from heliostat._engines.local.messages import (
    MAIL,
    SPILLED,
    Answered,
    Blocked,
    Call,
    Cancel,
    Credit,
    Deadlocked,
    Defined,
    Deliver,
    Dropped,
    Finished,
    Forgotten,
    GiveBack,
    LetGo,
    Make,
    Resumed,
    Returned,
    Run,
    Stop,
    Value,
    Waits,
    Wanted,
)
from heliostat._engines.local.objects.store import Store
from heliostat._engines.local.scheduling.streams import Allowance, most_bytes, window
from heliostat._engines.local.transport.attendant import Keeper
from heliostat._engines.local.transport.conn import Buffer, Parser, encode
from heliostat._engines.local.transport.waiting import Lead, Some, Waiter
from heliostat._engines.local.worker.direct import Direct
from heliostat._engines.local.worker.holdings import Holdings
from heliostat._engines.local.worker.questions import Questions
from heliostat.exceptions import DeadlockError, GetTimeoutError, RaySystemError

_COALESCE = 64  # messages in a row that may be sent together
LENDS_S = 0.001  # a wait for direct calls that is shorter than this lends no CPUs
REPORT_S = 0.05  # after this without work, the hub is told which direct calls have ended
IDLE_S = 1.0  # after this without work, a worker keeps no memory for the next task
KEPT_BYTES = 1 << 30  # of what tasks with large results free, until then
LONG_S = 1.0  # after this the hub is told what the main thread waits for


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
    on_depart: Callable[[], None] | None = None  # set by actors, who have something to do first

    def __init__(
        self,
        proc: int,
        sockets: tuple[socket.socket, socket.socket],
        store: Store,
        facts: dict[str, Any],
    ) -> None:
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
        self._mail, self._called_back = Waiter(), Waiter()  # the second: of all callbacks
        self._reading, self._reading_for_callbacks = 0, False  # the thread that does; if one has to
        self._sock, handover = sockets
        self._parser, self._buffer = Parser(), Buffer()
        self._hub_is_ready = [(self._sock.fileno(), select.EPOLLIN)]
        self.poll = select.epoll()
        self.poll.register(self._sock, select.EPOLLIN)
        self._lead = Lead(self._read, functools.partial(self.poll.poll, 0))
        self.out: deque[Any] = deque()
        self._sending = threading.Lock()
        self._in_a_row = 0  # messages since somebody last waited
        self._keeper = Keeper(self.flush)
        self._waiters: dict[bytes, list[Waiter]] = {}
        self._some: list[Some] = []
        self.questions = Questions(proc, self._lead, self._post_now, self.cancelled)
        self.wanted: set[bytes] = set()
        self.allowances: dict[bytes, Allowance] = {}  # of the streams that are made here
        self.lock = threading.RLock()
        self.direct = direct = Direct(self, handover)
        self.call, self.expose = direct.call, direct.expose
        self.held = held = Holdings(self.lock, direct.let_go)
        self.own, self.adopt, self.drop = held.own, held.adopt, held.drop
        self.value: Callable[[bytes], Value | None] = held.known.get
        self.look_away = held.look_away
        self._handlers = self._table()

    def _table(self) -> dict[type, Callable[[Any], None]]:
        """What is done with each message."""
        return {
            Run: self._work,
            Make: self._work,
            Call: self._work,
            Deliver: self._delivered,
            Answered: self.questions.answered,
            Cancel: self._cancel,
            LetGo: self._let_go,
            Credit: self._credit,
            Deadlocked: self._deadlocked,
            GiveBack: lambda message: self.give_back(),
            Stop: lambda message: self.direct.leave(),
            Defined: self._defined,
            **self.direct.handlers(),
        }

    # Sending

    def post(self, event: Any) -> None:
        """Send; soon, if more follow one another."""
        self.out.append(event)
        self.flush_soon()

    def _post_now(self, event: Any) -> None:
        self.out.append(event)
        self.flush()

    def post_later(self, event: Any) -> None:
        """Send with the next message."""
        self.out.append(event)

    def shielded(self) -> bool:
        """Whether the engine does something that nothing may interrupt."""
        return self.shield.depth > 0 or self._sending.locked()

    def flush_soon(self) -> None:
        """Send what there is, but several messages in a row together."""
        self._in_a_row += 1
        if self._in_a_row > 2 and self._in_a_row % _COALESCE:
            self._keeper.keep()
        else:
            self.flush()

    def flush(self) -> None:
        """Send what there is; the thread that sends already takes it along."""
        direct = self.direct
        while (self.out or direct.queued) and self._sending.acquire(blocking=False):
            try:
                lines = direct.encode() if direct.queued else ()
                while self.out:
                    messages = []
                    while self.out:
                        messages.append(self.out.popleft())
                    self._sock.sendall(encode(messages))
                for line in lines:  # what they refer to is in the hub now
                    direct.send(line)
            except (BrokenPipeError, ConnectionResetError):
                _end()  # the driver is gone
            finally:
                self._sending.release()
            if self.cancelled:
                self.interrupt()  # a signal in the middle of a frame had to wait

    def report(self, report: Finished, message: Any) -> None:
        """How a task or call ended, and what was lent with it and goes back; with the next flush."""
        self.allowances.pop(message.task, None)
        if self.direct.taken and self.direct.reply(report, message):
            return
        drops = self.held.done_with(message)
        if drops:
            report = Finished.of((*report[:-1], drops))
        self.out.append(report)

    # Asking and waiting

    def ask(self, question: str, payload: Any, timeout_s: float | None = None) -> Any:
        """Ask the hub and wait for the answer.

        Raises:
            GetTimeoutError: If it does not come in time.
        """
        self.sweep()
        return self.questions.ask(question, payload, timeout_s)

    def ready(self, ids: Sequence[bytes], count: int) -> list[int]:
        """Positions of the first `count` that were delivered."""
        known = self.held.known
        return [position for position, id_ in enumerate(ids) if id_ in known][:count]

    def subscribe_some(self, waiter: Some, count: int) -> None:
        """Have them delivered; the waiter misses as many as are not there yet, of `count`."""
        with self.lock:
            waiter.missing = count - len(waiter.ids & self.held.known.keys())
            self._some.append(waiter)
            new = waiter.ids - self.held.known.keys() - self.wanted
            self.wanted |= new
        if new:
            self._post_now(Wanted(self.proc, tuple(new)))

    def unsubscribe_some(self, waiter: Some) -> None:
        """The end of `subscribe_some`."""
        with self.lock:
            self._some.remove(waiter)

    def subscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Have them delivered, and count the waiter down for each."""
        with self.lock:
            new = []
            for id_ in ids:
                if id_ in self.held.known:
                    continue
                self._waiters.setdefault(id_, []).append(waiter)
                waiter.missing += 1
                if id_ not in self.wanted:
                    self.wanted.add(id_)
                    new.append(id_)
        if new:
            self._post_now(Wanted(self.proc, tuple(new)))
        if waiter.callback is not None:
            if waiter.missing <= 0:
                waiter.callback()
            else:
                self.keep_reading(1)

    def unsubscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Forget a waiter whose time is over."""
        with self.lock:
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
        if timeout_s is None and self.direct.makes(waiter.ids) and self._lead.wait(waiter, LENDS_S):
            return True
        with self.lock:
            self._blocked += 1
            if self._blocked == 1:
                returned = self._unbegun() if self.busy_with_task else ()
                self.out.append(Blocked(self.proc, returned))
        self.flush()  # another thread may lead, and be asleep
        try:
            return self._wait(waiter, timeout_s)
        finally:
            with self.lock:
                self._blocked -= 1
                if not self._blocked:
                    self.out.append(Resumed(self.proc))
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
        self.expose(tuple(waiter.ids))
        self.direct.report()
        self._long_waiter = waiter  # before another thread can read the answer
        self.out.append(Waits(self.proc, tuple(waiter.ids)))
        self.flush()  # that other thread may lead, and be asleep
        try:
            self._lead.wait(waiter, None)
        finally:
            self._long_waiter = None
            self.out.append(Waits(self.proc, ()))
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

    def keep_reading(self, change: int) -> None:
        """So many more things have to be read soon, and the main thread may be busy."""
        if self.on_inbox is not None:
            return  # the event loop reads
        with self.lock:
            self._called_back.missing += change
            if self._called_back.missing <= 0:
                self._called_back.wake()
            elif not self._reading_for_callbacks:
                self._reading_for_callbacks = True
                threading.Thread(target=self._attend, name="heliostat-link", daemon=True).start()

    def _attend(self) -> None:
        while True:
            self._lead.wait(self._called_back, None)
            with self.lock:
                if self._called_back.missing <= 0:
                    self._reading_for_callbacks = False
                    return

    # Streams made here

    def when_credited(self, allowance: Allowance, resume: Callable[[], object]) -> bool:
        """Call back once the stream may go on; False if it may at once."""
        with self.lock:
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
        with self.lock:
            allowance.credit(message.items, message.size)
            resume = None if allowance.exhausted() else allowance.resume
        if resume is not None:
            allowance.resume = None
            resume()

    def wait_for_work(self) -> None:
        """The main thread is idle: read until there is something to run."""
        self._mail.missing = 1
        if self.inbox:
            return
        large = self.store.wrote_much
        if large:
            _malloc.keep_large(KEPT_BYTES)
        if (large or self.direct.rows) and not self._lead.wait(self._mail, REPORT_S):
            self.direct.report()
            if large:
                self.store.wrote_much = False
                _malloc.give_back()
        if not self._lead.wait(self._mail, IDLE_S):
            _malloc.give_back_idle()
        self._lead.wait(self._mail, None)

    def _unbegun(self) -> tuple[bytes, ...]:
        tasks: list[bytes] = []
        drops: list[tuple[bytes, int]] = []
        while self.inbox:
            message = self.inbox.popleft()
            tasks.append(message.task)
            self.allowances.pop(message.task, None)
            drops.extend(self.held.done_with(message))
        if drops:
            self.out.append(Dropped(self.proc, tuple(drops)))
        return tuple(tasks)

    def give_back(self) -> None:
        """Return the tasks that have not begun, and report what is done."""
        if self.busy_with_task:
            self.out.append(Returned(self.proc, self._unbegun()))
        self.flush()

    # Reading

    def _read(self, timeout_s: float | None, ready: Any) -> None:
        self._in_a_row = 0
        if self.out or self.direct.queued:
            self.flush()
        if ready is None:
            if timeout_s is None and not self.direct.lines:
                ready = self._hub_is_ready
            else:
                ready = self.poll.poll(timeout_s)
                if not ready:
                    return
        self._reading = threading.get_ident()
        try:
            for fd, events in ready:
                if fd == self._sock.fileno():
                    self._take(self._buffer.receive(self._sock))
                else:
                    self.direct.read(fd, events)
        finally:
            self._reading = 0
        if self.out or self.direct.queued:
            self.flush()
        if self.cancelled:
            self.interrupt()

    def read_mail(self) -> None:
        """Take what has arrived without waiting, unless this thread is in the middle of that."""
        if self._reading or self.direct.deferred():
            return
        self._lead.try_read(0)

    def linger(self) -> bool:
        """Look out for a moment for what comes next, and take it; whether it came."""
        if self._reading or self.direct.deferred():
            return False
        return self._lead.linger()

    def _take(self, data: bytes) -> None:
        if not data:
            _end()  # the driver is gone
        for message in self._parser.feed(data):
            self._handlers[type(message)](message)

    def fileno(self) -> int:
        """For an event loop that watches the sockets."""
        return self.poll.fileno()

    def _work(self, message: Any) -> None:
        self.held.received(message)
        if type(message) is not Make and message.num_returns < 0:
            most = most_bytes(self.store.capacity)
            self.allowances[message.task] = Allowance(window(message.num_returns), most)
        if type(message) is Call and message.line and self.direct.comes_later(message):
            return
        self.enqueue(message)
        if self._blocked and self.busy_with_task:  # sent before the hub knew
            self.out.append(Returned(self.proc, self._unbegun()))

    def enqueue(self, message: Any) -> None:
        """A task or call to run."""
        self.inbox.append(message)
        self._mail.missing = 0
        if self.on_inbox is not None:
            self.on_inbox()
        else:
            self._mail.wake()

    def _defined(self, message: Any) -> None:
        self.codes[message.key] = message.blob

    def _delivered(self, message: Deliver) -> None:
        id_, value = message
        with self.lock:
            self.held.delivered(id_, value)
            self.arrived(id_)

    def arrived(self, id_: bytes) -> None:
        """A value is there: wake who waits for it."""
        with self.lock:
            self.wanted.discard(id_)
            waiters = self._waiters.pop(id_, ())
            for some in self._some:
                some.came(id_)
            if not waiters and not self.held.refers(id_):  # whoever wanted it has given up
                self.held.drop(id_)
        for waiter in waiters:
            waiter.missing -= 1
            if waiter.missing <= 0:
                if waiter.callback is not None:
                    if self._reading == threading.get_ident():
                        self._lead.due.append(waiter.callback)
                    else:
                        waiter.callback()
                    self.keep_reading(-1)
                else:
                    waiter.wake()

    def _cancel(self, message: Cancel) -> None:
        self.direct.cancel(message)
        for queued in self.inbox:
            if queued.task == message.task:
                self.inbox.remove(queued)
                self.allowances.pop(queued.task, None)
                fields = self.proc, queued.task, (failures.cancelled(""),), 1, 0.0, ()
                self.report(Finished(*fields), queued)
                return
        self.cancelled.add(message.task)
        self.questions.cancel(message.task)
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

    # Memory

    def look(self, id_: bytes, value: Value, timeout_s: float | None) -> Value:
        """Keep an object where it is; fetch it if it is on disk."""
        value = self.held.look(id_, value)
        if value[0] != SPILLED:
            return value
        with self.shield:  # a cancellation ends the wait; its signal, a moment later, must not
            try:  # keep the hub from hearing that nobody waits any more
                if timeout_s == 0:
                    raise GetTimeoutError("get() was not to wait, and its value is on disk")
                found: Value = self.ask("fetch", id_, timeout_s)
            except BaseException:
                self.look_away(id_)
                raise
            self.held.fetched(id_, found)
        return found

    def _let_go(self, message: LetGo) -> None:
        """The hub needs memory."""
        self.sweep()
        gone, busy = self.held.forget_places(message.ids), bool(self.direct.taken)
        if gone or busy:
            self.out.append(Forgotten(self.proc, message.ticket, gone, busy))

    def sweep(self) -> None:
        """Give back what was dropped, with the next message."""
        if self.held.dropped or self.held.unseen:
            drops = self.held.drops()
            if drops:
                self.out.append(Dropped(self.proc, drops))

    def depart(self) -> None:
        """Leave, as the hub has said."""
        if self.on_depart is not None:
            self.on_depart()
            return
        self.direct.finish()
        os._exit(0)

    def reset(self) -> None:
        """Refuse: it would end the caller."""
        raise RaySystemError("only the driver can reset its session; this is a worker")

    def close(self) -> None:
        """Workers end when the driver says so."""
        with contextlib.suppress(OSError):
            self.flush()


def _end() -> NoReturn:
    """End this process; the zygote ends by itself too, unless somebody has stopped it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(os.getppid(), signal.SIGCONT)
    os._exit(1)
