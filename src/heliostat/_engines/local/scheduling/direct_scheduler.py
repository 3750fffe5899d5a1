"""DirectScheduler: who is joined to whom by a line, and what the hub is told of direct calls. Pure.

Works on the tables of the Scheduler that it belongs to; the protocol is described in `direct`. A
direct call that the hub knows is a running task whose `direct` is its caller: only the caller says
how it ended (or the callee, who then refers the caller to the hub), for results may be on the line.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heliostat._engines.local import failures
from heliostat._engines.local.direct_messages import (
    Clear,
    Dialled,
    Ended,
    Exposed,
    LineDown,
    Lost,
    Settled,
    Switched,
)
from heliostat._engines.local.messages import (
    STORED,
    Called,
    Connect,
    Finished,
    Message,
    Send,
    title,
)
from heliostat._engines.local.scheduling.tasks import Task, WorkerState

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.actors import Actor
    from heliostat._engines.local.scheduling.scheduler import Scheduler

MOST_LINES = 200  # of one process; each is a file descriptor there


class Switching(Message):
    """A caller goes on by its line, but calls that it made by the hub are in the queue still."""

    line: int
    times: int
    left: set[bytes]


class DirectScheduler:
    """The lines of a session, and the direct calls that the hub knows."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.lines: defaultdict[int, dict[int, int]] = defaultdict(dict)  # callee: caller: line
        self.is_used = False  # nobody has dialled: there are no lines, and nothing to know of them
        self.switching: set[bytes] = set()  # actors with callers that are switching
        self._numbers = itertools.count(1)
        # Results of calls that their callers have not exposed yet, by caller and task.
        self._early: defaultdict[int, dict[bytes, Settled]] = defaultdict(dict)

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """The events that are decided here."""
        return {
            Dialled: self._dialled,
            Switched: self._switched,
            Exposed: self._exposed,
            Lost: self._lost,
            Settled: self._settled,
            Ended: self._ended,
        }

    # Lines

    def _dialled(self, event: Dialled) -> None:
        self.is_used = True
        actor = self.scheduler.actors.actors.get(event.actor)
        if actor is not None:  # else it is dead, and every call will say so
            actor.dialled.add(event.proc)
            self.actor_alive(actor)

    def actor_alive(self, actor: Actor) -> None:
        """If it is, join who has dialled."""
        worker = self.scheduler.workers.get(actor.worker or 0)
        if actor.state != "alive" or worker is None or worker.killed:
            return
        callers = self.lines[worker.proc]
        for proc in actor.dialled - {worker.proc}:  # its own calls go on by the hub
            mine = sum(proc in others for others in self.lines.values())
            if proc in self.scheduler.workers and max(mine, len(callers)) < MOST_LINES:
                number = callers[proc] = next(self._numbers)
                self.scheduler.out.append(Connect(proc, worker.proc, number, actor.id))
        actor.dialled.clear()

    def _switched(self, event: Switched) -> None:
        actor = self.scheduler.actors.actors.get(event.actor)
        if actor is None or self.lines[actor.worker or 0].get(event.proc) != event.line:
            return  # it is gone, and the caller about to hear of it
        queued = (*actor.queue, *actor.late.values())
        left = {task.id for task in queued if task.event.proc == event.proc}
        actor.switching[event.proc] = Switching(event.line, event.times, left)
        self.switching.add(actor.id)
        self._perhaps_clear(actor, event.proc)

    def _perhaps_clear(self, actor: Actor, proc: int) -> None:
        line, times, left = actor.switching[proc]
        if not left:
            del actor.switching[proc]
            if not actor.switching:
                self.switching.discard(actor.id)
            assert actor.worker is not None
            self.scheduler.out.append(Send(actor.worker, Clear(line, times)))

    def call_left(self, actor: Actor, task: Task) -> None:
        """A call was sent to the actor, or will never be."""
        switching = actor.switching.get(task.event.proc)
        if switching is not None and task.id in switching.left:
            switching.left.remove(task.id)
            self._perhaps_clear(actor, task.event.proc)

    def call_ended(self, task: Task) -> None:
        """A task has ended, perhaps a call of an actor that was never sent."""
        actor = self.scheduler.actors.actors.get(task.actor or b"")
        if actor is not None and actor.switching:
            self.call_left(actor, task)

    def process_lost(self, proc: int) -> None:
        """A process is gone: its callers are told, and what only it could tell is lost."""
        scheduler = self.scheduler
        actors = scheduler.actors.actors.values()
        called = next((actor.id for actor in actors if actor.worker == proc), b"")
        for caller, line in self.lines.pop(proc, {}).items():
            scheduler.out.append(Send(caller, LineDown(line, called)))
        for callers in self.lines.values():
            callers.pop(proc, None)
        for actor in actors:
            actor.dialled.discard(proc)
            if actor.worker == proc:
                actor.switching.clear()
        self.switching = {actor.id for actor in actors if actor.switching}
        for task in [task for task in scheduler.tasks.values() if task.direct == proc]:
            self._leave(task)
            scheduler.fail(task, failures.owner_died(task.name))
        for settled in self._early.pop(proc, {}).values():
            scheduler.free_unused(settled.values)
            self._release(settled)

    # Calls

    def _admit(self, proc: int, callee: int, called: Called) -> Task:
        """A direct call becomes known: it runs, as far as anybody here can tell."""
        scheduler, self.is_used = self.scheduler, True
        actor = scheduler.actors.actors.get(called.actor)
        name = title(actor.created.name if actor else "unknown", called.method)
        task = Task(called, name, called.num_returns)
        task.actor, task.retries = called.actor, called.retries
        scheduler.admit(task, proc)
        if actor is not None:
            task.retries = actor.retries_of(called)
            if actor.worker == callee:
                actor.calls[task.id] = task
        task.move("running")
        task.worker = scheduler.workers.get(callee) or WorkerState(callee, scheduler.now)
        task.since = scheduler.now
        task.direct = proc
        return task

    def _leave(self, task: Task) -> Actor | None:
        """It is no direct call any more."""
        task.direct, task.worker = 0, None
        actor = self.scheduler.actors.actors.get(task.actor or b"")
        if actor is not None:
            actor.calls.pop(task.id, None)
        return actor

    def _exposed(self, event: Exposed) -> None:
        if event.proc in self.scheduler.workers:
            task = self._admit(event.proc, event.callee, Called.of(event.called))
            self._conclude_early(task)

    def _conclude_early(self, task: Task) -> bool:
        """End a call whose result came before it was known."""
        settled = self._early[task.direct].pop(task.id, None)
        if settled is None:
            return False
        self._conclude(task, settled)
        self._release(settled)
        return True

    def _settled(self, event: Settled) -> None:
        scheduler = self.scheduler
        task = scheduler.tasks.get(event.task)
        if task is not None and task.direct:
            self._conclude(task, event)
        elif event.proc != event.caller and event.caller in scheduler.workers:
            self._early[event.caller][event.task], self.is_used = event, True
            for value in event.values:
                scheduler.owned.hold(value[3])
                if value[0] == STORED:
                    scheduler.storage.memory.entrust(value[1])
        else:
            scheduler.free_unused(event.values)
        scheduler.give_back(event.proc, event.drops)

    def _release(self, settled: Settled) -> None:
        for value in settled.values:
            self.scheduler.owned.release(value[3])

    def _conclude(self, task: Task, event: Settled) -> None:
        scheduler = self.scheduler
        actor = self._leave(task)
        alive = actor is not None and actor.state != "dead"
        failure = event.failure if alive else min(event.failure, 1)
        fields = event.proc, task.id, event.values, failure, event.seconds, ()
        scheduler.conclude(task, Finished(*fields))
        if actor is not None:
            scheduler.actors.perhaps_idle(actor)

    def _lost(self, event: Lost) -> None:
        scheduler = self.scheduler
        called = Called.of(event.called)
        task = scheduler.tasks.get(called.task)
        if event.proc not in scheduler.workers or (task is None and event.known):
            return  # its result has come by the hub
        if task is None:
            task = self._admit(event.proc, event.callee, called)
        if self._conclude_early(task):
            return
        if event.begun:
            scheduler.note_end(task, 0, scheduler.now - task.since, 1)
        actor = self._leave(task)
        if task.cancelled:
            scheduler.fail(task, failures.cancelled(task.name))
        else:
            scheduler.actors.call_lost(task, actor, begun=event.begun)

    def _ended(self, event: Ended) -> None:
        scheduler, proc = self.scheduler, event.proc
        worker = scheduler.workers.get(proc)
        if worker is None or worker.actor is None:
            return
        actor = scheduler.actors.actors.get(worker.actor)
        class_name = actor.created.name if actor is not None else "unknown"
        for id_, method, parent, seconds, end, failure in event.rows:
            name, began = title(class_name, method), end - seconds
            row = id_, name, worker.actor, parent, began, proc, seconds, end, failure
            scheduler.ended.append(row)
            task = scheduler.tasks.get(id_)
            if task is not None and task.direct:
                task.ended = True

    def check(self) -> None:
        """Assert the invariants."""
        scheduler = self.scheduler
        for actor in scheduler.actors.actors.values():
            assert bool(actor.switching) == (actor.id in self.switching)
            for switching in actor.switching.values():
                assert switching.left
                assert switching.left <= {task.id for task in (*actor.queue, *actor.late.values())}
