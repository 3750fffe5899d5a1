"""Hub: the one loop that owns sockets, processes and the clock, in the driver; it decides nothing.

Events go to the Scheduler, whose commands are carried out here. The driver's own events come by
`post` on the thread that makes them; those of workers are read by whichever thread waits (see
`waiting.Lead`), or by the attendant thread when nobody does.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from heliostat._core.ids import fresh
from heliostat._core.options import UNIT, InitOptions
from heliostat._engines.local import failures, machine, wire
from heliostat._engines.local.arena import Arena
from heliostat._engines.local.interrupts import Interrupts
from heliostat._engines.local.logs import Log
from heliostat._engines.local.messages import (
    DRIVER,
    STORED,
    Answer,
    Answered,
    Asked,
    Call,
    Defined,
    Dropped,
    Finished,
    Free,
    Kill,
    Make,
    Nudge,
    Put,
    Resolve,
    Run,
    Send,
    Spawn,
    Tick,
    Value,
    WorkerLost,
    Yielded,
)
from heliostat._engines.local.pool import MAIL, Pool
from heliostat._engines.local.scheduler import Scheduler
from heliostat._engines.local.store import Store, create_segment
from heliostat._engines.local.waiting import Lead, Some, Waiter
from heliostat.exceptions import ObjectStoreFullError, RaySystemError

CALM_S = 0.005  # how long the attendant waits after others have read, before it reads itself
KEPT_S = 0.0003  # how long messages to a busy worker may be kept back to be sent together
_COALESCE = 64  # messages to a busy worker that may be sent together


def start(options: InitOptions) -> Hub:
    """A hub, with its zygote started and a first worker asked for."""
    return Hub(
        total=machine.resources(options),
        capacity=options.object_store_memory or machine.store_capacity(),
        namespace=options.namespace,
        show_logs=options.log_to_driver,
    )


_LIVE: weakref.WeakSet[Hub] = weakref.WeakSet()


def _abandon_all() -> None:
    for hub in list(_LIVE):
        hub.abandon()


os.register_at_fork(after_in_child=_abandon_all)


class Conn:
    """The driver's side of one worker."""

    __slots__ = ("backlog", "codes", "logs", "name", "open", "out", "parser", "proc", "sock")

    def __init__(self, proc: int, sock: socket.socket) -> None:
        self.proc = proc
        self.sock = sock
        self.out: list[Any] = []
        self.backlog = bytearray()
        self.parser = wire.Parser()
        self.codes: set[bytes] = set()
        self.open = 0  # tasks and calls sent and not finished
        self.name = "worker"
        self.logs: list[Log] = []


class Hub:
    """The driver's port to its workers."""

    proc = DRIVER

    def __init__(
        self, *, total: dict[str, int], capacity: int, namespace: str, show_logs: bool
    ) -> None:
        self.total, self.namespace = total, namespace
        self.node_id = fresh().hex()
        segment = create_segment(capacity)
        self.store = Store(segment, capacity)
        self._arena = Arena(capacity)
        self._reserved: dict[int, set[int]] = {}
        self._scheduler = Scheduler(total)
        self._objects = self._scheduler.owned.objects
        self._conns: dict[int, Conn] = {}
        self._codes: dict[bytes, bytes] = {}
        self._waiters: dict[bytes, list[Waiter]] = {}
        self._some: list[Some] = []
        self._callbacks: deque[Callable[[], None]] = deque()
        self._answers: dict[int, tuple[Any, Any]] = {}
        self._dirty: dict[int, Conn] = {}
        self._told = False  # the attendant knows that something is kept back
        self._nudges: list[int] = []
        self._dropped: deque[bytes] = deque()
        self._show_logs = show_logs
        self._lock = threading.RLock()
        self._depth = 0
        self._later: deque[Any] = deque()
        self._lead = Lead(self._read)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._asleep = False
        self._calm = threading.Event()
        self._closing = threading.Event()
        self._interrupts = Interrupts()
        self._main = threading.main_thread().ident
        self._poll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._pool = Pool(
            (segment, capacity), {"total": total, "namespace": namespace, "node_id": self.node_id}
        )
        self._watch(self._wake, self._woken)
        self._watch(self._pool.socket.fileno(), self._read_zygote)
        self._handlers: dict[type, Callable[[Any], None]] = {
            Send: self._send,
            Resolve: self._resolve,
            Spawn: self._spawn,
            Free: self._free,
            Kill: self._kill,
            Nudge: lambda command: self._nudges.append(command.proc),
            Answer: self._answer,
        }
        _LIVE.add(self)
        self._perform(self._scheduler.prestart(min(2, max(1, total["CPU"] // UNIT))))
        self._attendant = threading.Thread(target=self._attend, name="heliostat-hub", daemon=True)
        self._attendant.start()

    # The port, as the driver's engine uses it

    def post(self, event: Any) -> None:
        """Tell the scheduler, and carry out what it says."""
        if self._closing.is_set():
            raise RaySystemError("the session has ended; call heliostat.init() for a new one")
        self._enter()
        try:
            if self._depth > 1:  # a finaliser of the user's, while the tables are in use
                self._later.append(event)
                return
            self._handle(event)
            self._flush(lazily=True)
        finally:
            self._leave()

    def ask(self, question: str, payload: Any) -> Any:
        """Ask, and have the answer at once."""
        self._enter()
        try:
            self._drain()
            self._handle(Asked(DRIVER, 0, question, payload))
            self._flush(lazily=False)
            answer, error = self._answers.pop(0)
        finally:
            self._leave()
        if error is not None:
            raise error
        return answer

    def values(self, ids: Sequence[bytes]) -> list[Value | None]:
        """The values that are there."""
        objects = self._objects
        entries = [objects.get(id_) for id_ in ids]
        return [None if entry is None else entry.value for entry in entries]

    def ready(self, ids: Sequence[bytes], count: int) -> list[int]:
        """Positions of the first `count` that are there."""
        found: list[int] = []
        get = self._objects.get
        for position, id_ in enumerate(ids):
            entry = get(id_)
            if entry is not None and entry.value is not None:
                found.append(position)
                if len(found) == count:
                    break
        return found

    def subscribe_some(self, waiter: Some, count: int) -> None:
        """Have the waiter miss as many of its objects as are not there yet, of `count`."""
        self._enter()
        try:
            for id_ in waiter.ids:
                if id_ not in self._objects and not self._scheduler.known(id_):
                    self._handle(Put(DRIVER, id_, failures.lost(id_)))
            waiter.missing = count - len(self.ready(list(waiter.ids), count))
            self._some.append(waiter)
        finally:
            self._leave()

    def unsubscribe_some(self, waiter: Some) -> None:
        """The end of `subscribe_some`."""
        with self._lock:
            self._some.remove(waiter)

    def subscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Count the waiter down for each of these when it is there."""
        self._enter()
        try:
            for id_ in ids:
                entry = self._objects.get(id_)
                if entry is None and not self._scheduler.known(id_):
                    self._handle(Put(DRIVER, id_, failures.lost(id_)))
                elif entry is None or entry.value is None:
                    self._waiters.setdefault(id_, []).append(waiter)
                    waiter.missing += 1
            if waiter.callback is not None:
                if waiter.missing <= 0:
                    self._callbacks.append(waiter.callback)
                else:
                    self._flush(lazily=False)
                    self._stir()
        finally:
            self._leave()

    def unsubscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Forget a waiter whose time is over."""
        with self._lock:
            for id_ in ids:
                waiters = self._waiters.get(id_)
                if waiters and waiter in waiters:
                    waiters.remove(waiter)
                    if not waiters:
                        del self._waiters[id_]

    def wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Read until the waiter misses nothing."""
        if waiter.missing <= 0:
            return True
        self._enter()
        try:
            self._flush(lazily=False)
        finally:
            self._leave()
        return self._lead.wait(waiter, timeout_s)

    def own(self, id_: bytes) -> None:
        """Counted already."""

    def adopt(self, id_: bytes) -> None:
        """One more reference or view in the driver."""
        with self._lock:
            self._scheduler.owned.lend(DRIVER, id_)

    def drop(self, id_: bytes) -> None:
        """One reference or view less. Safe in finalisers: it takes no lock."""
        self._dropped.append(id_)
        if self._asleep:
            self._asleep = False
            self._kick()

    # The tables are entered by one thread at a time

    def _enter(self) -> None:
        self._lock.acquire()
        self._depth += 1
        if threading.get_ident() == self._main:
            self._interrupts.inside = True

    def _leave(self) -> None:
        if self._depth == 1:
            while self._later:
                self._handle(self._later.popleft())
        self._depth -= 1
        out = not self._depth and threading.get_ident() == self._main
        if out:
            self._interrupts.inside = False
        self._lock.release()
        if out:
            self._interrupts.left()
        while self._callbacks:
            try:
                callback = self._callbacks.popleft()
            except IndexError:  # another thread was faster
                return
            callback()

    def _handle(self, event: Any) -> None:
        if self._dropped:
            self._drain()
        kind = type(event)
        if kind is Finished:
            self._count_finished(event)
        elif kind is Defined:
            self._codes[event.key] = event.blob
            return
        elif kind is Asked and event.question in self._QUESTIONS:
            self._QUESTIONS[event.question](self, event)
            return
        elif kind is Put or kind is Yielded:
            self._settle_reservation(event.proc, event.value)
        self._perform(self._scheduler.handle(event, time.monotonic()))

    def _drain(self) -> None:
        """Count what the driver's finalisers have dropped."""
        dropped = self._dropped
        drops = []
        while dropped:
            drops.append((dropped.popleft(), 1))
        if drops:
            event = Dropped(DRIVER, tuple(drops))
            self._perform(self._scheduler.handle(event, time.monotonic()))

    def _count_finished(self, event: Finished) -> None:
        conn = self._conns.get(event.proc)
        if conn is not None:
            conn.open -= 1
        for value in event.values:
            self._settle_reservation(event.proc, value)

    def _perform(self, commands: list[Any]) -> None:
        handlers = self._handlers
        for command in commands:
            handlers[type(command)](command)

    # Commands

    def _send(self, command: Send) -> None:
        conn = self._conns.get(command.proc)
        if conn is None:
            return
        message = command.message
        if isinstance(message, (Run, Make)):
            conn.open += 1
            conn.name = message.name
            if message.key not in conn.codes:
                conn.codes.add(message.key)
                conn.out.append(Defined(DRIVER, message.key, self._codes[message.key]))
        elif isinstance(message, Call):
            conn.open += 1
        conn.out.append(message)
        self._dirty[conn.proc] = conn

    def _resolve(self, command: Resolve) -> None:
        for some in self._some:
            some.came(command.id)
        for waiter in self._waiters.pop(command.id, ()):
            waiter.missing -= 1
            if waiter.missing <= 0:
                if waiter.callback is not None:
                    self._callbacks.append(waiter.callback)
                else:
                    waiter.wake()

    def _spawn(self, command: Spawn) -> None:
        ends = self._pool.fork(command.proc)
        ends.socket.setblocking(False)
        conn = self._conns[command.proc] = Conn(command.proc, ends.socket)
        self._watch(ends.socket.fileno(), lambda: self._read_worker(conn))
        for fd, to_stderr in ((ends.stdout, False), (ends.stderr, True)):
            log = Log(fd, to_stderr=to_stderr, prefix=lambda: self._prefix(conn))
            conn.logs.append(log)
            self._watch(fd, lambda log=log: self._read_log(log))  # type: ignore[misc]

    def _prefix(self, conn: Conn) -> str:
        return f"({conn.name} pid={self._pool.pids.get(conn.proc, '?')}) "

    def _free(self, command: Free) -> None:
        self._arena.free(command.value[1])

    def _kill(self, command: Kill) -> None:
        self._pool.kill(command.proc, signal.SIGKILL)

    def _answer(self, command: Answer) -> None:
        if command.proc == DRIVER:
            self._answers[command.request] = command.payload, command.error
            return
        error = None if command.error is None else pickle.dumps(command.error)
        self._send(Send(command.proc, Answered(command.request, command.payload, error)))

    # Questions about memory and resources

    def _reserve(self, event: Asked) -> None:
        size: int = event.payload
        extent = self._arena.allocate(size)
        if extent is None:
            error = ObjectStoreFullError(
                f"a value of {size:,} bytes does not fit into the shared memory budget: "
                f"{self._arena.used:,} of {self._arena.capacity:,} bytes are in use, and the "
                f"largest free range has {self._arena.largest():,}. Drop references that are not "
                "needed, pass smaller pieces, or init(object_store_memory=...) with more"
            )
            self._answer(Answer(event.proc, event.request, None, error))
            return
        self._reserved.setdefault(event.proc, set()).add(extent.offset)
        self._answer(Answer(event.proc, event.request, tuple(extent), None))

    def _unreserve(self, event: Asked) -> None:
        self._reserved[event.proc].discard(event.payload)
        self._arena.free(event.payload)
        self._answer(Answer(event.proc, event.request, None, None))

    def _settle_reservation(self, proc: int, value: Value) -> None:
        if value[0] == STORED:
            self._reserved[proc].discard(value[1])

    def _describe(self, event: Asked) -> None:
        free = tuple(self._scheduler.resources.free.items())
        self._answer(Answer(event.proc, event.request, (free, len(self._conns)), None))

    _QUESTIONS = {  # noqa: RUF012 - a table of methods
        "reserve": _reserve,
        "unreserve": _unreserve,
        "describe": _describe,
    }

    # Input and output

    def _watch(self, fd: int, reader: Callable[[], None]) -> None:
        self._readers[fd] = reader
        self._poll.register(fd, select.EPOLLIN)

    def _unwatch(self, fd: int) -> None:
        if self._readers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def _read(self, timeout_s: float | None) -> None:
        """Read what has arrived, as the leader."""
        due = self._scheduler.deadline()
        if due is not None:
            wait_s = max(0.0, due - time.monotonic())
            timeout_s = wait_s if timeout_s is None else min(wait_s, timeout_s)
        ready = self._poll.poll(timeout_s)
        if self._closing.is_set():
            return
        self._enter()
        try:
            for fd, _ in ready:
                reader = self._readers.get(fd)
                if reader is not None:
                    reader()
            if due is not None and due <= time.monotonic():
                self._handle(Tick())
            if self._dropped:
                self._drain()
            self._flush(lazily=threading.current_thread() is self._attendant)
        finally:
            self._leave()

    def _read_worker(self, conn: Conn) -> None:
        if conn.backlog:
            self._send_backlog(conn)
        try:
            data = conn.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:  # the zygote will say how it ended
            self._unwatch(conn.sock.fileno())
            return
        for message in conn.parser.feed(data):
            self._handle(message)

    def _read_log(self, log: Log) -> None:
        if not log.read():
            self._unwatch(log.fd)

    def _read_zygote(self) -> None:
        for report in self._pool.read():
            if report is None:
                self._zygote_lost()
            elif report.proc in self._conns:
                self._worker_ended(report.proc, report.reason)

    def _worker_ended(self, proc: int, reason: str) -> None:
        conn = self._conns[proc]
        with contextlib.suppress(OSError):
            while data := conn.sock.recv(1 << 18):  # its last words
                for message in conn.parser.feed(data):
                    self._handle(message)
        self._close_conn(conn)
        del self._conns[proc]
        self._handle(WorkerLost(proc, reason))
        for offset in self._reserved.pop(proc, ()):
            self._arena.free(offset)

    def _close_conn(self, conn: Conn) -> None:
        self._unwatch(conn.sock.fileno())
        conn.sock.close()
        for log in conn.logs:
            self._unwatch(log.fd)
            log.close()

    def _zygote_lost(self) -> None:
        self._unwatch(self._pool.socket.fileno())
        self._pool.restart()
        self._watch(self._pool.socket.fileno(), self._read_zygote)
        for proc in list(self._conns):
            self._worker_ended(proc, "the process that starts workers was killed")

    def _flush(self, *, lazily: bool) -> None:
        """Send what there is to send. Lazily: to workers that are busy, several together."""
        if not self._dirty and not self._nudges:
            return
        kept: dict[int, Conn] = {}
        for proc, conn in self._dirty.items():
            if lazily and conn.open > 2 and len(conn.out) < _COALESCE:
                kept[proc] = conn
            else:
                self._send_out(conn)
        self._dirty = kept
        if not kept:
            self._told = False
        elif not self._told:
            self._told = True
            self._stir()
        for proc in self._nudges:
            self._pool.kill(proc, MAIL)
        self._nudges.clear()

    def _send_out(self, conn: Conn) -> None:
        if not conn.out:
            return
        data = wire.encode(conn.out)
        conn.out = []
        if conn.backlog:
            conn.backlog += data
            return
        try:
            sent = conn.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # it died; the zygote will say so
            return
        if sent < len(data):
            conn.backlog += memoryview(data)[sent:]
            self._poll.modify(conn.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _send_backlog(self, conn: Conn) -> None:
        try:
            sent = conn.sock.send(conn.backlog)
        except BlockingIOError:
            return
        except OSError:
            conn.backlog.clear()
            return
        del conn.backlog[:sent]
        if not conn.backlog:
            self._poll.modify(conn.sock.fileno(), select.EPOLLIN)

    # The attendant reads when nobody waits

    def _stir(self) -> None:
        """Have what is deferred seen to soon, by whoever reads."""
        if self._lead.taken():
            self._kick()
        else:
            self._calm.set()

    def _kick(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _attend(self) -> None:
        pause_s = CALM_S
        while not self._closing.is_set():
            self._calm.clear()
            if self._told:
                self._send_kept()
            if self._lead.used or self._lead.has_followers():
                # Others read; stay out of their way, for they are faster without us.
                self._lead.used = False
                self._lead.hand_over()
                self._calm.wait(pause_s)
                pause_s = min(0.05, pause_s * 2)
                continue
            pause_s = CALM_S
            self._asleep = not self._dropped and not self._dirty
            read = self._lead.try_read(None if self._asleep else 0.0)
            self._asleep = False
            if not read:
                self._calm.wait(CALM_S)

    def _send_kept(self) -> None:
        """Give whoever makes the calls a moment to make more, then send them together."""
        time.sleep(KEPT_S)
        self._enter()
        try:
            self._flush(lazily=False)
        finally:
            self._leave()

    def abandon(self) -> None:
        """In a process that the user forked: let go of everything without a word to anybody."""
        self._closing.set()
        for conn in self._conns.values():
            conn.sock.close()
        self._pool.socket.close()
        self._poll.close()

    # The end

    def close(self) -> None:
        """End every worker, then free the memory."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._calm.set()
        self._kick()
        if threading.current_thread() is not self._attendant:
            self._attendant.join()
        self._pool.close()
        with self._lock:
            for conn in self._conns.values():
                self._close_conn(conn)
            self._conns.clear()
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.missing = 0
                    waiter.wake()
            self._waiters.clear()
            for some in self._some:
                some.missing = 0
                some.wake()
            self._poll.close()
            os.close(self._wake)
            _LIVE.discard(self)
            self.store.close()
        self._interrupts.close()
