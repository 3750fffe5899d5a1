"""WorkerScheduler: what it means that a worker blocks, is slow, idle, out of memory or gone. Pure.

Works on the tables of the Scheduler that it belongs to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from heliostat._core.options import UNIT
from heliostat._core.resources import Supply
from heliostat._core.tally import Totals
from heliostat._engines.local import failures
from heliostat._engines.local import messages as m
from heliostat._engines.local.messages import DRIVER, Value
from heliostat._engines.local.scheduling.incidents import Incidents
from heliostat._engines.local.scheduling.tasks import Task, WorkerState

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler

SLOW_S = 0.02  # a worker that is silent for this long with work ahead gives it back
STOPPED_S = 2.0  # a stopped worker with work is ended after this, for nothing says it will go on
MOST_WORKERS = 512
AGAIN_S = 0.5  # when a worker could not be started, others are tried after this
IDLE_S = 10.0  # idle workers beyond one per CPU leave after this


class Usage(NamedTuple):
    """A worker that runs something."""

    proc: int
    name: str  # of the task or actor
    rss: int  # bytes of its own, without shared memory
    limit: int  # bytes that it asked for; 0: nothing in particular
    since: float
    retriable: bool


class WorkerScheduler:
    """The workers of a session."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.totals = Totals()
        self.incidents = Incidents()
        self.most = MOST_WORKERS
        self.short = False  # whether a worker could not be started a moment ago
        self._again = float("inf")  # when others are tried
        self.foreseen = 0  # the first worker that has what the driver said it would import

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """The events that are decided here."""
        return {
            m.Blocked: self._blocked,
            m.Resumed: self._resumed,
            m.Waits: self._waits,
            m.Returned: self._returned,
            m.Tallied: lambda event: self.totals.add(event.proc, event.changes),
            m.WorkerLost: self._worker_lost,
            m.NotBorn: self._not_born,
            m.Doomed: self._doomed,
            m.Stopped: self._stopped,
            m.Noted: self._noted,
            m.Foreseen: self._foresee,
            m.Tick: self._tick,
        }

    def _blocked(self, event: m.Blocked) -> None:
        scheduler = self.scheduler
        worker = scheduler.workers.get(event.proc)
        if worker is None:
            return
        self._take_back(worker, event.returned)
        if worker.shape is not None and not worker.blocked:
            worker.blocked = True
            _supply(scheduler, worker).lend(worker.shape)
        scheduler.dispatch()

    def _waits(self, event: m.Waits) -> None:
        scheduler = self.scheduler
        worker = scheduler.workers.get(event.proc)
        if worker is None:
            return
        worker.waits = event.ids
        if not event.ids:
            return
        from heliostat._engines.local.scheduling.waits import deadlock  # noqa: PLC0415 - long waits are rare

        circle = deadlock(scheduler, event.proc)
        if circle is not None:
            self.incidents.note(scheduler.now, "ERROR", circle, event.proc)
            scheduler.out.append(m.Send(event.proc, m.Deadlocked(circle)))

    def _resumed(self, event: m.Resumed) -> None:
        scheduler = self.scheduler
        worker = scheduler.workers.get(event.proc)
        if worker is not None and worker.blocked and worker.shape is not None:
            worker.blocked = False
            _supply(scheduler, worker).reclaim(worker.shape)

    def _returned(self, event: m.Returned) -> None:
        scheduler = self.scheduler
        worker = scheduler.workers.get(event.proc)
        if worker is not None:
            worker.heard = scheduler.now
            self._take_back(worker, event.tasks)
            scheduler.dispatch()

    def _take_back(self, worker: WorkerState, ids: tuple[bytes, ...]) -> None:
        scheduler = self.scheduler
        for id_ in reversed(ids):
            task = scheduler.tasks.get(id_)
            if task is not None and task.worker is worker and task.actor is None:
                worker.tasks.remove(task)
                task.worker = None
                task.move("ready")
                scheduler.durations.forget(task.key)  # what is ahead was not short after all
                scheduler.enqueue(task, first=True)

    def _doomed(self, event: m.Doomed) -> None:
        scheduler = self.scheduler
        worker = scheduler.workers.get(event.proc)
        if worker is not None and not worker.killed:
            worker.killed, worker.doom = event.reason, event.error
            self._note_loss(worker)
            scheduler.out.append(m.Kill(worker.proc))

    def _foresee(self, event: m.Foreseen) -> None:
        self.foreseen = self.scheduler.next_proc

    def _noted(self, event: m.Noted) -> None:
        self.incidents.note(self.scheduler.now, "WARNING", event.message, 0)

    def _stopped(self, event: m.Stopped) -> None:
        scheduler = self.scheduler
        expected = self.expected()
        for worker in scheduler.workers.values():
            if worker.proc not in event.procs or worker.proc not in expected:
                worker.stopped = None
            elif worker.stopped is None:
                worker.stopped = scheduler.now
            elif scheduler.now - worker.stopped >= STOPPED_S:
                why = f"it was stopped for {STOPPED_S:.0f} s, as by SIGSTOP, and had work"
                if not worker.killed:
                    worker.killed = why
                    self._note_loss(worker)
                worker.stopped = scheduler.now
                scheduler.out.append(m.Kill(worker.proc))

    def running_in(self, worker: WorkerState) -> Task | None:
        """What runs in a process; for an actor that overlaps calls, the first of them."""
        if worker.actor is None:
            return worker.tasks[0] if worker.tasks else None
        actor = self.scheduler.actors.actors.get(worker.actor)
        return None if actor is None else next(iter(actor.calls.values()), actor.maker)

    def expected(self) -> list[int]:
        """The processes that are to do something: work, or end."""
        scheduler, found = self.scheduler, []
        for worker in scheduler.workers.values():
            task = self.running_in(worker)
            if worker.killed or (task is not None and task.state == "running"):
                found.append(worker.proc)
        return found

    def check(self) -> None:
        """Assert the invariants of the tables of workers and queues."""
        scheduler = self.scheduler
        for worker in scheduler.workers.values():
            assert not (worker.tasks and worker in scheduler.idle)
            for task in worker.tasks:
                assert task.state == "running"
                assert task.worker is worker
        for queue in scheduler.ready.values():
            assert all(task.state == "ready" and task.worker is None for task in queue)
        for tasks in scheduler.waiting.values():
            assert all(task.state == "waiting" for task in tasks)

    def _worker_lost(self, event: m.WorkerLost) -> None:
        self.most = MOST_WORKERS
        self._lose(event.proc, event.reason)

    def _lose(self, proc: int, reason: str) -> None:
        scheduler = self.scheduler
        worker = scheduler.workers.pop(proc, None)
        if worker is None:
            return
        if worker in scheduler.idle:
            scheduler.idle.remove(worker)
        if not worker.killed:  # nobody wanted it to end
            worker.killed = reason
            self._note_loss(worker)
        tasks, worker.tasks = worker.tasks, deque()
        if worker.env:
            scheduler.environments.worker_lost(worker)
        if worker.actor is None:
            scheduler.set_free(worker)
        for position, task in enumerate(tasks):
            task.worker = None
            error = worker.doom or failures.crashed(task.name, worker.killed)
            self._attempt_lost(task, error, begun=position == 0)
        if scheduler.direct.is_used:
            scheduler.direct.process_lost(proc)
        if worker.actor is not None:
            scheduler.actors.worker_lost(worker)
        self._forget(proc)
        scheduler.sweep()
        self._end_orphans(proc)
        scheduler.dispatch()

    def _forget(self, proc: int) -> None:
        self.scheduler.owned.forget(proc)
        if self.totals.gauges:
            self.totals.forget(proc)
        memory = self.scheduler.storage.memory
        if memory.writing or memory.waiting:
            memory.forget(proc)

    def _note_loss(self, worker: WorkerState) -> None:
        """Remember that it died, or had to be ended, if it had something to do."""
        scheduler = self.scheduler
        actor = scheduler.actors.actors.get(worker.actor or b"")
        if actor is not None and actor.state != "dead":
            what = f"actor {actor.created.name}"
        elif actor is None and worker.tasks and not worker.tasks[0].cancelled:
            what = f"task {worker.tasks[0].name}"
        else:
            return
        message = f"a worker process died under {what}: {worker.killed}"
        self.incidents.note(scheduler.now, "ERROR", message, worker.proc)

    def _not_born(self, event: m.NotBorn) -> None:
        """A process could not be started: its task waits for another one, if one may come free.

        An actor dies of it, and a task loses an attempt if all processes there are host idle actors
        or wait for others.
        """
        scheduler = self.scheduler
        worker = scheduler.workers.get(event.proc)
        if worker is None:
            return
        self.most = len(scheduler.workers) - 1  # until one of them is gone, or a while later
        self._again, self.short = scheduler.now + AGAIN_S, True
        others = (other for other in scheduler.workers.values() if other is not worker)
        if worker.actor is None and any(map(self._goes_on, others)):
            self._take_back(worker, tuple(t.id for t in worker.tasks if not t.cancelled))
        elif worker.tasks:
            worker.doom = failures.no_process(worker.tasks[0].name, event.reason)
        self.incidents.note(scheduler.now, "WARNING", f"a worker process: {event.reason}", 0)
        self._lose(event.proc, event.reason)

    def _end_orphans(self, proc: int) -> None:
        """What a lost process had asked for, and nobody else waits for, is stopped."""
        scheduler = self.scheduler
        scheduler.actors.end_orphans(proc)
        for task in list(scheduler.tasks.values()):
            if task.event.proc != proc or task.actor is not None or task.id not in scheduler.tasks:
                continue
            entry = scheduler.owned.objects.get(task.id)
            if entry is None or entry.count <= 0:
                scheduler.cancel_task(task, m.Cancelled(DRIVER, task.id, True, True))

    def _attempt_lost(self, task: Task, error: Value, *, begun: bool) -> None:
        scheduler = self.scheduler
        if begun:
            scheduler.note_end(task, 0, scheduler.now - task.since, 1)
        if task.cancelled:
            scheduler.fail(task, failures.cancelled(task.name))
        elif (gone := scheduler.groups.gone(task)) is not None:
            scheduler.fail(task, gone)
        elif begun and task.retries == 0:
            scheduler.fail(task, error)
        else:
            task.retries -= begun and task.retries > 0
            task.move("ready")
            scheduler.enqueue(task, first=True)

    # Time

    def _tick(self, event: m.Tick) -> None:
        scheduler = self.scheduler
        for worker in scheduler.workers.values():
            if len(worker.tasks) > 1 and worker.heard + SLOW_S <= scheduler.now:
                worker.heard = scheduler.now
                scheduler.out.append(m.Send(worker.proc, m.GiveBack()))
                scheduler.out.append(m.Nudge(worker.proc))
        for worker in self._leaving():
            if worker.heard + IDLE_S <= scheduler.now:
                self._dismiss(worker)
        scheduler.environments.tick()
        if self._again <= scheduler.now:
            self._again, self.short, self.most = float("inf"), False, MOST_WORKERS
            scheduler.dispatch()
        if event.growth is not None:
            scheduler.storage.memory.grow(event.growth)

    def _leaving(self) -> list[WorkerState]:
        """Idle workers that leave when they have been idle for long enough, oldest first.

        One per CPU stays, if it has the environment of the session.
        """
        scheduler = self.scheduler
        home = scheduler.environments.home
        plain = [worker for worker in scheduler.idle if worker.env == home]
        others = [worker for worker in scheduler.idle if worker.env != home]
        return plain[: max(0, len(plain) - scheduler.kept)] + others

    def idle_until(self) -> float:
        """When the next idle worker leaves, or workers can be started again."""
        leaves = min((w.heard + IDLE_S for w in self._leaving()), default=float("inf"))
        return min(leaves, self._again)

    def _dismiss(self, worker: WorkerState) -> None:
        self.scheduler.idle.remove(worker)
        self.retire(worker, "it was idle")

    def retire(self, worker: WorkerState, why: str) -> None:
        """Have it leave of its own accord."""
        worker.killed = worker.killed or why
        self.scheduler.out.append(m.Send(worker.proc, m.Stop()))

    def thin_out(self) -> None:
        """Many environments used once must not leave as many idle workers."""
        surplus = self.scheduler.environments.surplus()
        if surplus is not None:
            self._dismiss(surplus)

    def has_room(self, env: bytes) -> bool:
        """When there are as many workers as may be: whether one of this environment is idle.

        If only others are, one of them makes room.
        """
        idle = self.scheduler.idle
        if any(worker.env == env for worker in idle):
            return True
        if idle:
            self._dismiss(idle[0])
        return False

    def _goes_on(self, worker: WorkerState) -> bool:
        """Whether it does something that may end, so that a process is there for others."""
        if worker.blocked:
            return False
        task = self.running_in(worker)
        runs = task is not None and task.state == "running"
        return bool(worker.killed or runs or self.scheduler.direct.lines.get(worker.proc))

    def count_call(self, worker: WorkerState, task: Task) -> None:
        """It calls a function that may not be called without end by one process."""
        calls = worker.calls[task.key] = worker.calls.get(task.key, 0) + 1
        worker.spent = worker.spent or calls >= task.max_calls

    def lives(self, proc: int) -> bool:
        """Whether a worker is there that nobody has ended."""
        worker = self.scheduler.workers.get(proc)
        return worker is not None and not worker.killed

    def busy(self) -> list[Usage]:
        """Workers that run something; how much memory they have is not known here."""
        scheduler = self.scheduler
        found = []
        for worker in scheduler.workers.values():
            task = self.running_in(worker)
            if task is not None and task.state != "ready" and not worker.killed:
                limit = dict(worker.shape or ()).get("memory", 0) // UNIT
                again = task.retries != 0
                found.append(Usage(worker.proc, task.name, 0, limit, task.since, again))
        return found


def _supply(scheduler: Scheduler, worker: WorkerState) -> Supply:
    """Where the resources of a worker come from."""
    return scheduler.resources if worker.bundle is None else worker.bundle.supply
