"""Scheduler: event in, commands out. Tasks, dependencies, workers, retries, cancellation.

Pure: no I/O, no clock, no threads. Actors are decided in `actor_scheduler.py` on the same tables.

Short functions are sent to a worker several at a time (a *pipeline*), so that a round trip is
not paid for each. A worker that blocks, or is found slow, gives back what it has not begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from heliostat._core.ids import nth
from heliostat._core.options import UNIT
from heliostat._core.resources import Supply
from heliostat._engines.local import failures
from heliostat._engines.local import messages as m
from heliostat._engines.local.messages import DRIVER, END, ERROR, SPILLED, STORED, Command, Value
from heliostat._engines.local.scheduling.actor_scheduler import ActorScheduler
from heliostat._engines.local.scheduling.actors import FREQUENT, PlainCalls
from heliostat._engines.local.scheduling.cancellation import Cancellation
from heliostat._engines.local.scheduling.direct_scheduler import DirectScheduler
from heliostat._engines.local.scheduling.environment_scheduler import EnvironmentScheduler
from heliostat._engines.local.scheduling.group_scheduler import GroupScheduler
from heliostat._engines.local.scheduling.groups import Take
from heliostat._engines.local.scheduling.lineage import Lineage
from heliostat._engines.local.scheduling.memory_scheduler import MemoryScheduler
from heliostat._engines.local.scheduling.ownership import Ownership
from heliostat._engines.local.scheduling.streams import StreamScheduler
from heliostat._engines.local.scheduling.tasks import Lane, Pace, Task, WorkerState, run_message
from heliostat._engines.local.scheduling.worker_scheduler import SLOW_S, WorkerScheduler
from heliostat.exceptions import PendingCallsLimitExceeded

KEPT = 10_000  # tasks that have ended, for those who ask what was

_ASKED = m.Submitted.several(
    "name", "num_returns", "key", "shape", "retries", "place", "env", "max_calls"
)


class Scheduler:
    """Decides what runs where and when. `handle(event, now)` gives the commands."""

    def __init__(self, total: Mapping[str, int], capacity: int = 1 << 40) -> None:
        self.resources = Supply(total)
        self.owned = Ownership()
        self.tasks: dict[bytes, Task] = {}
        self.workers: dict[int, WorkerState] = {}
        self.idle: list[WorkerState] = []
        self.ready: dict[Lane, deque[Task]] = {}
        self.waiting: dict[bytes, list[Task]] = {}  # object -> tasks that need it
        self.durations = Pace()
        # id, name, actor, parent, sent, process, seconds, end, failure; for `records`
        self.ended: deque[tuple[Any, ...]] = deque(maxlen=KEPT)
        self.kept = max(1, total.get("CPU", 0) // UNIT)  # idle workers that never leave
        self.out: list[Command] = []
        self.now = 0.0
        self.next_proc = 1
        self._frees = self._put_off = False  # a worker becomes free; tasks became ready meanwhile
        self._handlers: dict[type, Callable[[Any], None]] = {
            m.Submitted: self._submitted,
            m.Finished: self._finished,
            m.Put: self._put,
            m.Wanted: self._wanted,
            m.Dropped: lambda event: self.give_back(event.proc, event.drops),
            m.Asked: self._asked,
        }
        self.cancellation = Cancellation(self)
        self.cancel, self.cancel_task = self.cancellation.cancel, self.cancellation.cancel_task
        self._handlers[m.Cancelled] = self.cancel
        self.plain = PlainCalls(self)
        self.actors = ActorScheduler(self)
        self.streams = StreamScheduler(self, capacity)
        self.staff = WorkerScheduler(self)
        self.groups = GroupScheduler(self)
        self.direct = DirectScheduler(self)
        self.environments = EnvironmentScheduler(self)
        self.storage = MemoryScheduler(self, capacity)
        self._memory = self.storage.memory
        self.lineage = Lineage(self)
        for part in (
            self.actors, self.streams, self.staff, self.groups, self.direct, self.environments,
            self.storage,
        ):  # fmt: skip
            self._handlers.update(part.handlers())
        self._questions = {**self.actors.questions(), **self.groups.questions()}

    def handle(self, event: Any, now: float) -> list[Command]:
        """What to do about an event."""
        self.now = now
        kind = type(event)
        if self.plain.calls and kind not in FREQUENT:
            self.plain.unfold()
        self._handlers[kind](event)
        if self.owned.unheld:
            self.sweep()
        while (self._memory.waiting or self._memory.out) and self.storage.look():
            self.sweep()
        out, self.out = self.out, []
        return out

    def _asked(self, event: m.Asked) -> None:
        payload, error = None, None
        try:
            payload = self._questions[event.question](event.proc, event.payload)
        except (ValueError, PendingCallsLimitExceeded) as refusal:
            error = refusal
        self.out.append(m.Answer(event.proc, event.request, payload, error))

    # Tasks begin

    def _submitted(self, event: m.Submitted) -> None:
        name, num_returns, key, shape, retries, place, env, max_calls = _ASKED(event)
        task = Task(event, name, num_returns)
        task.key, task.shape, task.retries = key, shape, retries
        task.place, task.env, task.max_calls = place, env, max_calls
        self.admit(task, event.proc)
        if place is not None and (error := self.groups.gone(task)) is not None:
            self.fail(task, error)
        if task.state == "ready" and not self._run_at_once(task):
            self.enqueue(task)
            self.dispatch()

    def _run_at_once(self, task: Task) -> bool:
        """Give it to an idle worker if nobody was there before it; a shorter way than the queues."""
        if not self.idle or self.ready or self.actors.to_start or task.place is not None:
            return False
        absent = task.holds and (self._memory.away or self.lineage.again)
        if absent or self.idle[-1].env != task.env:
            return False
        if (gpus := self.resources.take(task.shape)) is None:
            return False
        worker = self.idle.pop()
        worker.shape, worker.gpus = task.shape, gpus
        self._run(worker, task)
        return True

    def admit(self, task: Task, proc: int) -> None:
        """Register a task: its results, what it holds, what it waits for."""
        event, owned = task.event, self.owned
        self.tasks[task.id] = task
        owned.create(task.id, proc, task.id)
        if task.num_returns < 0:
            self.streams.begin(task)
        else:
            for index in range(1, task.num_returns):
                owned.create(nth(task.id, index), proc, task.id)
        needs, call_refs, call_id = event.needs, event.call[3], event.call_id
        for need in needs:
            if not self.known(need):  # a reference from a session that has ended
                owned.ensure(need).value = failures.lost(need)
        if needs or call_refs or call_id:
            task.holds = needs + call_refs + ((call_id,) if call_id else ())
            owned.hold(task.holds)
        if task.parent is not None and (parent := self.tasks.get(task.parent)):
            parent.children = parent.children or []
            parent.children.append(task.id)
        if needs:
            self.await_needs(task)
        else:
            task.move("ready")

    def admit_again(self, task: Task) -> None:
        """Run a task once more, whose results were lost."""
        self.await_needs(task)
        if task.actor is not None:
            self.actors.repeat(task)
        elif task.state == "ready":
            self.enqueue(task)
            self.dispatch()

    def await_needs(self, task: Task) -> None:
        """Make it ready, or wait for each argument that is not there."""
        for need in task.event.needs:
            if self.owned.ensure(need).value is None:
                self.waiting.setdefault(need, []).append(task)
                task.missing += 1
        if not task.missing:
            task.move("ready")

    def enqueue(self, task: Task, *, first: bool = False) -> None:
        """Put a ready task into the queue of its resources."""
        if task.place is not None and (error := self.groups.gone(task)) is not None:
            self.fail(task, error)  # its group was removed while it ran, and it was given back
            return
        lane = task.lane()
        queue = self.ready.get(lane)
        if queue is None:
            queue = self.ready[lane] = deque()
        if first:
            queue.appendleft(task)
        else:
            queue.append(task)

    # Tasks are given to workers

    def dispatch(self) -> None:
        """Give ready tasks to workers, as far as resources reach."""
        self._put_off = self._frees
        if self._frees:
            return
        if self.groups.pending:
            self.groups.dispatch()
        if self.actors.to_start:
            self.actors.dispatch()
        for lane, queue in list(self.ready.items()):
            if lane[1] and not self.environments.usable(lane[1]):
                continue
            while self.storage.first_is_here(queue) and self._start_worker_for(queue):
                pass
            if not queue:
                self.ready.pop(lane, None)

    def _start_worker_for(self, queue: deque[Task]) -> bool:
        if len(self.workers) >= self.staff.most and not self.staff.has_room(queue[0].env):
            return False
        task = queue[0]
        taken = self.take(task)
        if taken is None:
            return False
        worker = self.take_worker(task.env)
        worker.shape = task.shape
        worker.bundle, worker.gpus = taken
        self._run(worker, queue.popleft())
        return True

    def take(self, task: Task) -> Take | None:
        """Take the resources of a task or constructor, out of its bundle if it has a place."""
        if task.place is not None:
            return self.groups.take(task.place, task.shape)
        gpus = self.resources.take(task.shape)
        return None if gpus is None else (None, gpus)

    def take_worker(self, env: bytes, *, lasting: bool = False) -> WorkerState:
        """An idle worker of this environment, or a new one; what lasts gets what was foreseen."""
        first = self.staff.foreseen if lasting and len(self.workers) < self.staff.most else 0
        for position in range(len(self.idle) - 1, -1, -1):
            if self.idle[position].env == env and self.idle[position].proc >= first:
                return self.idle.pop(position)
        return self.spawn(env)

    def spawn(self, env: bytes) -> WorkerState:
        """Start a process; it can be sent work at once."""
        worker = WorkerState(self.next_proc, self.now, env)
        self.next_proc += 1
        self.workers[worker.proc] = worker
        self.out.append(m.Spawn(worker.proc, env))
        if env:
            self.environments.born(env)
        return worker

    def prestart(self) -> list[Command]:
        """Start workers before they are asked for."""
        self.start_idle(b"")
        out, self.out = self.out, []
        return out

    def start_idle(self, env: bytes) -> None:
        """As many workers as the first tasks are likely to need."""
        self.idle.extend(self.spawn(env) for _ in range(min(2, self.kept)))

    def _run(self, worker: WorkerState, task: Task) -> None:
        task.move("running")
        if task.stream is not None:
            task.stream.begin()
        task.worker, task.gpus, task.since = worker, worker.gpus, self.now
        if not worker.tasks:
            worker.heard = self.now
        worker.tasks.append(task)
        if task.max_calls:
            self.staff.count_call(worker, task)
        call, needs = self.hand_over(worker.proc, task)
        self.out.append(m.Send.of((worker.proc, run_message(task, call, needs))))

    def hand_over(self, proc: int, task: Task) -> tuple[Value, tuple[tuple[bytes, Value], ...]]:
        """The arguments of a task and those values among them that are objects.

        They are counted as lent to the process that gets them.
        """
        event = task.event
        call = event.call
        if not task.holds:
            return call, ()
        if call[3] or event.call_id:
            call = self._call_value(task)
            self._lend(proc, event.call_id, call)
        if self._memory.kept:
            self._memory.unkeep(task)
        found = []
        for need in event.needs:
            value = self.owned.objects[need].value
            assert value is not None
            assert value[0] != SPILLED
            self._lend(proc, need, value)
            found.append((need, value))
        return call, tuple(found)

    def _call_value(self, task: Task) -> Value:
        """Its arguments; where they are, if they are in the arena, may have changed."""
        call_id = task.event.call_id
        if call_id is None:
            return task.event.call
        value = self.owned.objects[call_id].value
        assert value is not None
        return value

    def _lend(self, proc: int, id_: bytes | None, value: Value) -> None:
        """What a process gets with a value: its memory, and the references inside."""
        if value[0] == STORED and id_ is not None:
            self.owned.lend(proc, id_)
            self._memory.sent(proc, id_)
        for ref in value[3]:
            self.owned.lend(proc, ref)

    # Tasks end

    def _finished(self, event: m.Finished) -> None:
        if self.plain.calls and self.plain.finished(event):
            return
        worker = self.workers.get(event.proc)
        task = self.tasks.get(event.task)
        if worker is not None:
            worker.heard = self.now
        if task is None or worker is None or task.worker is not worker:
            self.free_unused(event.values)
            self.give_back(event.proc, event.drops)
            return  # late news of an attempt that was given up
        self.note_end(task, event.proc, event.seconds, event.failure)
        if task.actor is not None:
            self.actors.call_finished(worker, task, event)
        else:
            self.durations.learn(task.key, event.seconds)
            worker.tasks.remove(task)
            task.worker = None
            self._frees = True  # what waited for this task had better follow it where it ran
            self.conclude(task, event)
        if event.drops:
            self.give_back(event.proc, event.drops)
        if self._frees:
            self._frees = False
            self._next_for(worker, task)

    def note_end(self, task: Task, proc: int, seconds: float, failure: int) -> None:
        """An attempt has ended; remember it for those who ask."""
        since, now = task.since, self.now
        self.ended.append(
            (task.id, task.name, task.actor, task.parent, since, proc, seconds, now, failure)
        )

    def free_unused(self, values: Iterable[Value]) -> None:
        """Values that came too late to be anybody's."""
        for value in values:
            if value[0] == STORED:
                self._memory.discard(value[1])

    def conclude(self, task: Task, event: m.Finished) -> None:
        """A task ended: try again, or make its results known."""
        if event.failure == 2 and task.retries != 0 and not task.cancelled:
            task.retries -= task.retries > 0
            task.move("ready")
            self.requeue(task)
        elif event.failure and task.cancelled:
            self.fail(task, failures.cancelled(task.name))
        elif event.failure:
            self.fail(task, event.values[0])
        else:
            self.finish(task, event.values)

    def requeue(self, task: Task) -> None:
        """A task that is ready once more goes first."""
        if task.actor is not None:
            self.actors.requeue(task)
        else:
            self.enqueue(task, first=True)
            self.dispatch()

    def finish(self, task: Task, values: Iterable[Value]) -> None:
        """Make its results known and let go of what it held."""
        if task.stream is not None:
            self.streams.item(task, nth(task.id, task.stream.yielded + 1), (END, b"", (), ()))
        large: set[bytes] = set()
        again = self.lineage.again and self.lineage.ran_again(task.id)
        for index, value in enumerate(values):
            id_ = nth(task.id, index) if index else task.id
            if again and self.lineage.has(id_):  # another result was lost, and this one was not
                self.free_unused((value,))
                continue
            if value[0] == STORED:
                large.add(id_)
            elif again:  # it was large before, and lost
                self.lineage.freed(id_)
            self.resolve(id_, value)
        if large:
            self.lineage.remember(task, large)
        self._forget(task)

    def fail(self, task: Task, error: Value) -> None:
        """Its error is the value of each of its results."""
        if task.stream is not None:  # the last item of a stream carries the error
            task.stream.yielded += 1
            self.streams.item(task, nth(task.id, task.stream.yielded), error)
            self.finish(task, (error,))
        else:
            self.finish(task, (error,) * task.returns())

    def _forget(self, task: Task) -> None:
        task.move("done")
        del self.tasks[task.id]
        if task.missing:
            self.cancellation.stop_waiting(task)
        if self._memory.kept:
            self._memory.unkeep(task)
        if task.num_returns == 0:
            self.owned.objects.pop(task.id, None)
        if task.holds:
            self.owned.release(task.holds)
        if self.direct.switching:
            self.direct.call_ended(task)

    def _next_for(self, worker: WorkerState, last: Task) -> None:
        """More tasks like the last one for a worker that runs out of them; or it is free."""
        lane = last.lane()
        queue = self.ready.get(lane)
        stays = worker.shape is not None and not (worker.blocked or worker.killed or worker.spent)
        if not queue or not stays or not self.storage.first_is_here(queue):
            if not worker.tasks:
                if worker.spent:
                    self.staff.retire(worker, "it had served as often as max_calls allows")
                self.set_free(worker)
            if self._put_off or not worker.tasks:
                self.dispatch()
            return
        if not worker.tasks:
            self._run(worker, queue.popleft())
        if self._put_off:
            self.dispatch()  # others may be idle, and come before what follows
        share = -(-len(queue) // 2)
        while (
            share > 0
            and not worker.spent
            and self.storage.first_is_here(queue)
            and self.durations.room(queue[0].key, len(worker.tasks))
        ):
            self._run(worker, queue.popleft())
            share -= 1
        if not queue:
            self.ready.pop(lane, None)

    def set_free(self, worker: WorkerState) -> None:
        """Give back its resources; it is idle now."""
        if worker.shape is not None:
            supply = self.resources if worker.bundle is None else worker.bundle.supply
            if worker.blocked:
                supply.reclaim(worker.shape)
            supply.give(worker.shape, worker.gpus)
        worker.shape, worker.gpus, worker.blocked, worker.waits = None, (), False, ()
        if worker.bundle is not None:
            self.groups.vacated(worker)
        if not worker.killed and worker.actor is None:
            self.idle.append(worker)
            if worker.env:
                self.staff.thin_out()

    # Values

    def resolve(self, id_: bytes, value: Value) -> None:
        """A value is there: tell who waits for it."""
        entry = self.owned.resolve(id_, value)
        if value[0] == STORED:
            self._memory.add(id_, value[1])
        self.out.append(m.Resolve.of((id_, value)))
        for proc in entry.wanted or ():
            self._deliver(proc, id_, value)
        entry.wanted = None
        for task in self.waiting.pop(id_, ()):
            task.missing -= 1
            if not task.missing and task.state == "waiting":
                task.move("ready")
                self.argument_ready(task)
        if self.storage.sought:
            self.storage.resolved(id_)
        if entry.count <= 0:
            self.owned.settle(id_, entry)

    def argument_ready(self, task: Task, *, first: bool = False) -> None:
        """The last argument of a task is there."""
        if task.actor is not None:
            self.actors.ready(task)
        else:
            failed = self.failed_need(task)
            if failed is not None:
                self.fail(task, failed)
                return
            self.enqueue(task, first=first)
            self.dispatch()

    def absent(self, task: Task) -> bool:
        """Whether arguments of a task are on disk, or lost since it was ready; if so, it waits."""
        some = task.holds and (self._memory.away or self.lineage.again)
        return bool(some) and self.storage.absent(task)

    def give_up(self, task: Task, error: Value) -> None:
        """A task that waits for its arguments never gets them."""
        if task.actor is None:
            self.fail(task, error)
        else:
            self.actors.give_up(task, error)

    def failed_need(self, task: Task) -> Value | None:
        """The error of an argument, which becomes the error of the task."""
        for need in task.needed():
            value = self.owned.objects[need].value
            if value is not None and value[0] == ERROR:
                return value
        return None

    def _deliver(self, proc: int, id_: bytes, value: Value) -> None:
        if proc == DRIVER or proc not in self.workers:
            return
        if value[0] != STORED:
            self.owned.lend(proc, id_)
        self._lend(proc, id_, value)
        self.out.append(m.Send(proc, m.Deliver(id_, value)))

    def _put(self, event: m.Put) -> None:
        self.owned.create(event.id, event.proc, None)
        self.resolve(event.id, event.value)

    def _wanted(self, event: m.Wanted) -> None:
        for id_ in event.ids:
            known = self.known(id_)
            entry = self.owned.ensure(id_)
            if not known:  # a reference that was pickled in a session that has ended
                entry.value = failures.lost(id_)
            if entry.value is not None:
                self._deliver(event.proc, id_, entry.value)
            else:
                if entry.items is not None:
                    self._handlers[m.EndAwaited](m.EndAwaited(id_))
                entry.wanted = entry.wanted or set()
                entry.wanted.add(event.proc)

    def known(self, id_: bytes) -> bool:
        """Whether the object exists, or is an item that its stream may still yield."""
        if id_ in self.owned.objects:
            return True
        stream = self.tasks.get(nth(id_, 0))
        return (stream is not None and stream.num_returns < 0) or self.plain.knows(id_)

    def give_back(self, proc: int, drops: Iterable[tuple[bytes, int]]) -> None:
        """A process has no use for these any more."""
        if proc == DRIVER:
            for id_, times in drops:
                if not self.plain.drop(id_):
                    self.owned.drop(id_, times)
        else:
            for id_, times in drops:
                self.owned.give_back(proc, id_, times)

    def sweep(self) -> None:
        """What nobody holds any more: memory to free, actors to end."""
        actors = self.actors.actors
        while self.owned.unheld:
            unheld, self.owned.unheld = self.owned.unheld, []
            for id_ in unheld:
                if id_ in actors:
                    self.plain.unfold()  # it may have calls to end first
                    self.actors.perhaps_end(id_)
                task = self.tasks.get(id_)
                if task is not None and task.num_returns < 0 and task.state == "running":
                    self.cancellation.cancel_running(task, force=False)  # nobody can take its items
        for id_ in self.owned.freed:
            self._memory.free(id_)
            self.lineage.freed(id_)
        self.owned.freed.clear()

    def deadline(self) -> float | None:
        """When `Tick` is due, if at all."""
        due = [one.heard + SLOW_S for one in self.workers.values() if len(one.tasks) > 1]
        if len(self.idle) > self.kept or self.environments.known or self.staff.short:
            due += self.staff.idle_until(), self.environments.deadline()
        if self._memory.waiting and (look := self._memory.deadline()) is not None:
            due.append(look)
        first = min(due, default=float("inf"))
        return first if first < float("inf") else None

    def check(self) -> None:
        """Assert the invariants of all tables."""
        self.resources.check()
        self.owned.check()
        self._memory.check()
        self.lineage.check()
        self.staff.check()
        self.actors.check()
        self.plain.check()
        self.groups.check()
        self.environments.check()
        self.direct.check()
