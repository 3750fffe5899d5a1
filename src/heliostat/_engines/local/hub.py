"""Hub: the one loop that owns sockets, processes and the clock, in the driver; it decides nothing.

Events go to the Scheduler, whose commands are carried out here. The driver's own events come by
`post` on the thread that makes them; those of workers are read by whichever thread waits (see
`waiting.Lead`), or by the attendant thread when nobody does.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pickle
import select
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from heliostat._core.ids import fresh
from heliostat._core.options import NODE_ID, InitOptions
from heliostat._engines.local import failures
from heliostat._engines.local import messages as m
from heliostat._engines.local.objects import storage
from heliostat._engines.local.objects.storage import Storage
from heliostat._engines.local.objects.store import Store, create_segment
from heliostat._engines.local.objects.views import Views
from heliostat._engines.local.output import notices
from heliostat._engines.local.output.logs import Label, Output
from heliostat._engines.local.output.window import REPORT, Window
from heliostat._engines.local.processes import oom
from heliostat._engines.local.processes.pool import Exit, Pool, Reports
from heliostat._engines.local.scheduling.scheduler import Scheduler
from heliostat._engines.local.scheduling.worker_scheduler import Usage
from heliostat._engines.local.transport.asking import Asking
from heliostat._engines.local.transport.attendant import Attendant
from heliostat._engines.local.transport.conn import Conn, Outbox
from heliostat._engines.local.transport.waiting import Awaited, Guard, Lead, Waiter
from heliostat.exceptions import RaySystemError

SIGNAL_S = 1.0  # for so long a signal may stay unseen
_QUESTIONS = ("free", "records")

if TYPE_CHECKING:
    from heliostat._engines.local.output.records import Records
    from heliostat._parts import Part

_LIVE: weakref.WeakSet[Hub] = weakref.WeakSet()  # of this process


class Hub:
    """The driver's port to its workers; its zygote is started and first workers are asked for."""

    proc = m.DRIVER
    shield = contextlib.nullcontext()

    def __init__(self, options: InitOptions, total: dict[str, int], capacity: int) -> None:
        self.total, self.namespace = total, options.namespace
        self.node_id = fresh().hex()
        self.labels = {**dict(options.labels), NODE_ID: self.node_id}
        self.store = Store(create_segment(capacity), capacity)
        self._storage = Storage(
            self.store, options.object_spilling_directory, self._watch, self._handle
        )
        self._scheduler = Scheduler(total, capacity)
        self._plain = self._scheduler.plain
        self._dropped = deque[bytes]()
        self._closed, self._notices, self._stopped = False, notices.wanted(), tuple[int, ...]()
        self._guard = Guard(self._handle)
        self._poll = select.epoll()
        self._lead = Lead(self._read, functools.partial(self._poll.poll, 0))
        self._asking = Asking(self._guard, self._lead, self._tell, lambda: self._attendant.stir())
        self.ask = ask = self._asking.ask
        self._views = views = Views(self._guard, self._scheduler, ask, self.drop, self._rouse)
        self.look, self.look_away = views.look, views.look_away
        self._awaited = awaited = Awaited(self._guard, self._scheduler, self._handle, self._hurry)
        self.value, self.ready, self.subscribe = awaited.value, awaited.ready, awaited.subscribe
        self.subscribe_some, self.unsubscribe, self.unsubscribe_some = (
            awaited.subscribe_some, awaited.unsubscribe, awaited.unsubscribe_some,
        )  # fmt: skip
        self._readers: dict[int, Callable[[], None]] = {}
        facts = {
            "total": total, "namespace": self.namespace, "node_id": self.node_id,
            "labels": self.labels, "logging": options.logging, "faults": options.faults,
            "tracing": options.tracing,
        }  # fmt: skip
        self._outbox = Outbox(
            lambda: self._attendant.keep(), self._watch_also, lambda proc: self._pool.nudge(proc)
        )
        self._conns = self._outbox.conns
        self._pool = Pool(
            (self.store.fd, capacity), facts,
            Reports(self._watch, self._unwatch, self._worker_ended, self._handle, self._announce),
        )  # fmt: skip
        self._output = Output(
            self._watch, self._unwatch, self._label, self._go_on_reading,
            shown=options.log_to_driver, prefixed=options.logging[:1] != ("all",),
            fold_s=options.fold_logs_s,
        )  # fmt: skip
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._attendant = Attendant(self._lead, self._wake, self._urgent, self._send_kept)
        self._watch(self._wake, self._attendant.woken)
        self._started = time.monotonic()
        self._window = Window(self._look)
        self._watch(self._window.fileno(), self._window.answer)
        self._handlers = self._table()
        self._looks: dict[type, Callable[[Any], Any]] = {
            m.Finished: self._finished, m.Asked: self._asked,
            m.Defined: self._defined, m.Described: self._described, m.Foreseen: self._foreseen,
        }  # fmt: skip
        _LIVE.add(self)
        if options.runtime_env is None:
            self._perform(self._scheduler.prestart())
        self._watch_memory = oom.Watch(self._busy, self._end_victim, self._see_stopped)
        self._attendant.start()
        self._watch_memory.start()

    def _table(self) -> dict[type, Callable[[Any], None]]:
        """What is done about each command."""
        return {
            m.Send: self._outbox.send,
            m.Resolve: self._awaited.resolve,
            m.Spawn: self._spawn,
            m.Prepare: lambda command: self._pool.prepare(command.env),
            m.Discard: lambda command: self._pool.discard(command.env),
            m.Connect: self._outbox.join,
            m.WriteOut: self._storage.move,
            m.ReadIn: self._storage.move,
            m.Truncate: self._storage.move,
            m.Kill: lambda command: self._pool.kill(command.proc, signal.SIGKILL),
            m.Nudge: self._outbox.nudge,
            m.Answer: self._answer,
        }

    # The port, as the driver's engine uses it

    def expose(self, ids: Collection[bytes]) -> None:
        """Others are about to hear of these objects."""
        if self._plain.calls or self._plain.values:
            with self._guard:
                self._plain.unfold(ids)

    def post(self, event: Any) -> bool:
        """Tell the scheduler, and carry out what it says."""
        if self._closed:
            raise RaySystemError("the session has ended; call heliostat.init() for a new one")
        guard = self._guard
        first = guard.enter()
        try:
            if first:
                self._handle(event)
                self._outbox.called(self._scheduler.now)
            else:  # a finaliser of the user's, while the tables are in use
                guard.postpone(event)
        finally:
            guard.leave()
        return True

    call = post  # this process calls every actor directly, for the hub is here and counts at once

    def wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Read until the waiter misses nothing."""
        if waiter.missing <= 0:
            return True
        if self._outbox.waits():
            with self._guard:
                self._outbox.flush(lazily=False)
        if self._notices:
            done = notices.wait(self._lead, waiter, timeout_s, self.explain)
        else:
            done = self._lead.wait(waiter, timeout_s)
        if self._output.busy:
            self._settle()
        return done

    def _settle(self) -> None:
        """What a task printed stands before what follows its result."""
        with self._guard:
            self._output.catch_up()
        self._output.settle()

    def _hurry(self) -> None:
        """Somebody waits for a call back: what there is goes out, and what comes is read soon."""
        self._outbox.flush(lazily=False)
        self._attendant.stir()

    def records(self, kind: str = "") -> Records:
        """What there is now, for rows of this kind; the caller is in the tables."""
        from heliostat._engines.local.output.records import Records  # noqa: PLC0415 - seldom asked for

        now = time.monotonic()
        pids, epoch = self._pool.all_pids, time.time() - now
        if kind not in ("counts", "ended_tasks", "ended_counts"):
            self._plain.unfold_all()
        return Records(self._scheduler, pids, now, epoch, self.node_id)

    def _busy(self) -> list[Usage]:
        """Workers that run something, and the memory that each has taken."""
        with self._guard:
            self._plain.unfold()
            busy = self._scheduler.staff.busy()
        pids, born_with = self._pool.pids, self._pool.inherited
        return [w._replace(rss=oom.grown_by(pids.get(w.proc), born_with.get(w.proc))) for w in busy]

    def _see_stopped(self) -> None:
        """Tell who is stopped of those that have something to do."""
        with self._guard:
            self._plain.unfold()
            procs = self._scheduler.staff.expected()
            self._pool.see_stopped(time.monotonic())
        stopped = tuple(proc for proc in procs if oom.is_stopped(self._pool.pids.get(proc)))
        if stopped or self._stopped:
            with self._guard:
                self._handle(m.Stopped(stopped))
                self._outbox.flush(lazily=False)
        self._stopped = stopped

    def _end_victim(self, victim: oom.Victim) -> None:
        with self._guard:
            self._doom(victim)
            self._outbox.flush(lazily=False)

    def _doom(self, victim: oom.Victim) -> None:
        error = failures.out_of_memory(victim.reason, self.records().largest())
        self._handle(m.Doomed(victim.proc, f"it ran out of memory: {victim.reason}", error))

    def _look(self, wish: str) -> Any:
        if wish != REPORT:
            return self._rows(wish)
        seconds = time.monotonic() - self._started
        return self.records().report(self.explain(self._awaited.ids()), seconds)

    def _rows(self, kind: str, part: Part | None = None) -> list[dict[str, Any]]:
        return self._output.rows() if kind == "logs" else self.records(kind).rows(kind, part)

    def explain(self, ids: Collection[bytes]) -> list[str]:
        """Why objects are not there yet, in words."""
        from heliostat._engines.local.scheduling.waits import Why  # noqa: PLC0415 - seldom asked for

        with self._guard:
            self._plain.unfold_all()
            why = Why(self._scheduler, self._pool.pids, time.monotonic())
            return list(dict.fromkeys(map(why.reason, filter(why.absent, ids))))

    def is_cancelled(self, task: bytes) -> bool:
        """Nothing runs here."""
        return False

    def own(self, id_: bytes) -> None:
        """Counted already."""

    def adopt(self, id_: bytes) -> None:
        """One more reference or view in the driver."""
        with self._guard:
            if self._scheduler.known(id_):
                if self._plain.values or self._plain.calls:
                    self._plain.unfold((id_,))
                self._scheduler.owned.lend(m.DRIVER, id_)
            else:  # a reference that was pickled in a session that has ended
                self._handle(m.Put(m.DRIVER, id_, failures.lost(id_)))

    def drop(self, id_: bytes) -> None:
        """One reference less. Safe in finalisers: it takes no lock."""
        self._dropped.append(id_)
        if self._attendant.asleep:
            self._attendant.rouse()

    def _rouse(self) -> None:
        if self._attendant.asleep:
            self._attendant.rouse()

    # Events and commands

    def _handle(self, event: Any) -> None:
        if self._dropped:
            self._count_dropped()  # what goes with them goes when the event has been handled
        if self._views.gone:
            self._drain()
        look = self._looks.get(type(event))  # what the hub does itself, before the scheduler
        if look is not None and (event := look(event)) is None:
            return
        handlers = self._handlers
        for command in self._scheduler.handle(event, time.monotonic()):
            handlers[type(command)](command)

    def _finished(self, event: m.Finished) -> m.Finished:
        conn = self._conns.get(event.proc)
        if conn is not None:
            conn.open -= 1
        return event

    def _defined(self, event: m.Defined) -> None:
        self._outbox.codes[event.key] = event.blob

    def _described(self, event: m.Described) -> m.Described:
        self._pool.describe(event)
        return event

    def _foreseen(self, event: m.Foreseen) -> m.Foreseen | None:
        return event if self._pool.preload(event.modules) else None

    def _asked(self, event: m.Asked) -> Any:
        if event.question in _QUESTIONS:
            self._own_answer(event)
            return None
        return self._storage.event(event) if event.question in storage.QUESTIONS else event

    def _tell(self, event: Any) -> None:
        self._drain()
        self._handle(event)
        self._outbox.flush(lazily=False)

    def _drain(self) -> None:
        """Count what the driver's finalisers have dropped."""
        self._count_dropped()
        commands = self._scheduler.handle(m.Dropped(m.DRIVER, ()), time.monotonic())
        if self._views.gone:
            commands += self._scheduler.handle(self._views.count(), time.monotonic())
        if commands:
            self._perform(commands)

    def _count_dropped(self) -> None:
        dropped, plain, drop = self._dropped, self._plain, self._scheduler.owned.drop
        values, calls = plain.values, plain.calls
        while dropped:
            id_ = dropped.popleft()
            if values.pop(id_, None) is None and not (calls and plain.drop(id_)):
                drop(id_, 1)

    def _urgent(self) -> bool:
        return bool(self._dropped or self._views.gone or self._outbox.dirty)

    def _perform(self, commands: list[Any]) -> None:
        handlers = self._handlers
        for command in commands:
            handlers[type(command)](command)

    # Commands

    def _spawn(self, command: m.Spawn) -> None:
        try:
            ends = self._pool.fork(*command)
        except OSError as error:
            self._pool.not_started(command.proc, error)
            self._attendant.kick()
            return
        conn = Conn(command.proc, ends)
        self._conns[command.proc] = conn
        self._watch(conn.sock.fileno(), functools.partial(self._read_worker, conn))
        self._output.open(command.proc, ends.stdout, ends.stderr)

    def _label(self, proc: int) -> Label:
        return Label(self._conns[proc].name, self._pool.pids.get(proc))

    def _go_on_reading(self) -> None:
        with self._guard:
            if not self._closed:
                self._output.go_on()

    def _announce(self, event: Any, first: Callable[[], None]) -> bool:
        """Do `first`, then handle an event of another thread's; False if the session has ended."""
        with self._guard:
            if not self._closed:
                first()
                self._handle(event)
                self._outbox.flush(lazily=False)
            return not self._closed

    def _answer(self, command: m.Answer) -> None:
        if command.proc == m.DRIVER:
            self._asking.answered(command)
            return
        error = None if command.error is None else pickle.dumps(command.error)
        self._outbox.send(m.Send(command.proc, m.Answered(command.request, command.payload, error)))

    def _own_answer(self, event: m.Asked) -> None:  # the scheduler answers the other questions
        if event.question == "records":
            payload: Any = self._rows(*event.payload)
        else:
            payload = tuple(self._scheduler.resources.free.items())
        self._answer(m.Answer(event.proc, event.request, payload, None))

    # Input and output

    def _watch(self, fd: int, reader: Callable[[], None]) -> None:
        self._readers[fd] = reader
        self._poll.register(fd, select.EPOLLIN)

    def _unwatch(self, fd: int) -> None:
        if self._readers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def _read(self, timeout_s: float | None, ready: Any) -> None:
        """Read what has arrived, as the leader; `ready` is what is known to be readable."""
        due = self._scheduler.deadline()
        if self._pool.unborn:
            due = min(self._pool.unborn[0][0], due or math.inf)
        if ready is None:
            if due is not None:
                wait_s = max(0.0, due - time.monotonic())
                timeout_s = wait_s if timeout_s is None else min(wait_s, timeout_s)
            # A signal that comes just before the poll is seen when that ends.
            ready = self._poll.poll(SIGNAL_S if timeout_s is None else min(timeout_s, SIGNAL_S))
        if self._closed:
            return
        guard = self._guard
        guard.enter()
        try:
            for fd, _ in ready:
                reader = self._readers.get(fd)
                if reader is not None:
                    reader()
            if due is not None and due <= time.monotonic():
                waiting = self._scheduler.storage.memory.waiting
                self._handle(m.Tick(self._storage.growth() if waiting else None))
                while self._pool.unborn and self._pool.unborn[0][0] <= time.monotonic():
                    self._handle(self._pool.unborn.popleft()[1])
            if self._dropped or self._views.gone:
                self._drain()
            self._outbox.flush(lazily=threading.get_ident() == self._attendant.ident)
        finally:
            guard.leave()

    def _read_worker(self, conn: Conn) -> None:
        if conn.watched != select.EPOLLIN:
            self._outbox.send_out(conn)
        messages = conn.read()
        if messages is None:  # the zygote will say how it ended
            self._unwatch(conn.sock.fileno())
            return
        for message in messages:
            self._handle(message)

    def _worker_ended(self, report: Exit) -> None:
        proc, reason, number, peak = report
        conn = self._conns.get(proc)
        if conn is None:
            return
        ours = not self._scheduler.staff.lives(proc)
        if number == signal.SIGKILL and not ours and self._watch_memory.kernel.has_ended(peak):
            self._doom(oom.Victim(proc, oom.BY_KERNEL))
        for message in conn.last_words():
            self._handle(message)
        self._close_conn(conn)
        del self._conns[proc]
        self._handle(m.WorkerLost(proc, reason))

    def _close_conn(self, conn: Conn) -> None:
        self._unwatch(conn.sock.fileno())
        conn.close()
        self._output.close(conn.proc)

    def _watch_also(self, conn: Conn, events: int) -> None:
        if conn.sock.fileno() in self._readers:
            conn.watched = events
            self._poll.modify(conn.sock.fileno(), events)

    def _send_kept(self) -> None:
        with self._guard:
            self._outbox.flush(lazily=False)

    def abandon(self) -> None:
        """In a process that the user forked: let go of everything without a word to anybody."""
        self._closed = True
        for conn in self._conns.values():
            conn.close()
        for zygote in self._pool.zygotes():
            zygote.socket.close()
        self._window.close()
        self._poll.close()
        self._storage.abandon()

    # The end

    def reset(self) -> None:
        """End all work and forget all values; workers without work live on."""
        from heliostat._engines.local.scheduling import reset  # noqa: PLC0415 - for tests only

        deadline, done = time.monotonic() + reset.PATIENCE_S, False
        while not done:
            with self._guard:
                self._drain()
                self._plain.unfold()
                commands, done = reset.step(self._scheduler, time.monotonic())
                self._perform(commands)
                self._outbox.flush(lazily=False)
            if time.monotonic() > deadline:
                left = (
                    "; ".join(self.explain([*self._scheduler.owned.objects]))
                    or "workers that do not end"
                )
                raise RaySystemError(f"the session could not be reset: {left}")
            self._lead.wait(Waiter(missing=int(not done)), 0.002)

    def close(self) -> None:
        """End every worker, then free the memory."""
        if self._closed:
            return
        self._closed = True
        self._attendant.end()
        self._watch_memory.end()
        self._pool.close()
        with self._guard:
            for conn in self._conns.values():
                self._close_conn(conn)
            self._conns.clear()
            self._awaited.close()
            self._asking.close()
            self._storage.close()
            self._poll.close()
            self._window.close()
            os.close(self._wake)
            _LIVE.discard(self)
            self.store.close()
        self._guard.close()
        self._output.end()


def _abandon_all() -> None:
    """In a child that the driver forked: it lets go of its parent's sessions."""
    for hub in list(_LIVE):
        hub.abandon()


os.register_at_fork(after_in_child=_abandon_all)
