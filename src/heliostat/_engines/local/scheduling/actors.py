"""The life of an actor as a table, and its calls: in its queue, or plain. No I/O.

waiting     its resources or constructor arguments are not there yet
starting    its constructor runs
alive       takes calls
dead        for good; calls fail with the recorded reason

Plain calls are those of the driver that nothing depends on; they have neither task nor entry.
Nearly every call of an actor is made by the driver, is sent at once, returns one short value, and
its reference is never passed on. For these the call itself and then its value are all there is to
remember; that takes half the work of a `Task` and an `Entry`. Whoever needs those *unfolds* the
call first: every event but the frequent ones, whose handling looks at no call of an actor; whoever
reads the tables; and whoever makes the reference known to others (`Hub.expose`).

| the call            | in        | its report comes                    | unfolded              |
|---------------------|-----------|-------------------------------------|-----------------------|
| sent, not ended     | `calls`   | `values`, or gone if dropped before | a task that runs      |
| ended               | `values`  |                                     | an entry with a value |

A report that asks for more than to remember its value (another try, memory, references, something
to give back) unfolds its call and is handled as any other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from heliostat._engines.local.direct_messages import Ended
from heliostat._engines.local.messages import (
    AS_THE_ACTOR,
    DRIVER,
    ERROR,
    INLINE,
    Blocked,
    Call,
    Called,
    Created,
    Dropped,
    Finished,
    Message,
    Put,
    Resolve,
    Resumed,
    Send,
    Submitted,
    Taken,
    Tallied,
    Unviewed,
    Value,
    Wanted,
    Yielded,
    title,
)
from heliostat._engines.local.scheduling.tasks import Task, WorkerState

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.direct_scheduler import Switching
    from heliostat._engines.local.scheduling.scheduler import Scheduler

MOVES = {
    ("waiting", "starting"),
    ("waiting", "dead"),
    ("starting", "alive"),
    ("starting", "waiting"),  # its process died, and it may restart
    ("starting", "dead"),
    ("alive", "waiting"),
    ("alive", "dead"),
}


class Actor:
    """One actor through all of its restarts."""

    __slots__ = (
        "calls",
        "created",
        "death",
        "dialled",
        "ending",
        "fall",
        "gpus",
        "id",
        "late",
        "made",
        "maker",
        "queue",
        "reason",
        "restarted",
        "restarts",
        "state",
        "switching",
        "worker",
    )

    def __init__(self, created: Created, maker: Task) -> None:
        self.created = created
        self.id = created.task
        self.maker = maker
        self.made = 1  # how often it was constructed, or will have been
        self.state = "waiting"
        self.restarts = created.restarts  # how many are left; below zero: without end
        self.restarted = False
        self.worker: int | None = None
        self.gpus: tuple[int, ...] = ()
        self.queue: deque[Task] = deque()  # calls not yet sent, in order
        self.late: dict[bytes, Task] = {}  # out of order: calls whose arguments are not there yet
        self.calls: dict[bytes, Task] = {}  # calls sent to the process
        self.dialled: set[int] = set()  # worker processes that want a line once it is alive
        self.switching: dict[int, Switching] = {}  # processes with calls in the queue still
        self.fall = ""  # why its last process ended, if it restarted
        self.ending = False  # no handle is left: it ends after its last call
        self.reason = ""
        self.death: Value | None = None  # the error of every call once it is dead

    def move(self, state: str) -> None:
        """Go to another state; an impossible move is a bug in the scheduler."""
        assert (self.state, state) in MOVES, f"{self.created.name}: {self.state} -> {state}"
        self.state = state

    def pending(self) -> int:
        """Calls that have not ended."""
        return len(self.queue) + len(self.late) + len(self.calls)

    def unfinished(self) -> list[Task]:
        """Calls that have not ended."""
        return [*self.calls.values(), *self.queue, *self.late.values()]

    def retries_of(self, called: Called) -> int:
        """How often a call may be tried again: as it says itself, or as the actor says for all."""
        asked = called.retries
        return self.created.call_retries if asked == AS_THE_ACTOR else asked

    def may_restart(self) -> bool:
        """Whether another process may take over after this one died, and has anything to do."""
        if not self.ending:
            return self.restarts != 0
        work = self.queue or self.late or any(call.retries for call in self.calls.values())
        return self.restarts != 0 and bool(work)

    def restart(self) -> None:
        """Count one restart and wait for a new process."""
        if self.restarts > 0:
            self.restarts -= 1
        self.restarted = True
        self.made += 1
        self.worker = None
        self.gpus = ()
        self.move("waiting")


# Events that look at no call of an actor but the one they name. After all others there are none.
FREQUENT: frozenset[type[Message]] = frozenset({
    Called, Finished, Submitted, Put, Wanted, Dropped, Taken, Yielded, Blocked, Resumed, Tallied,
    Ended, Unviewed,
})  # fmt: skip
_SHORT = frozenset({INLINE, ERROR})


class _Plain(NamedTuple):
    """One that was sent."""

    called: Called
    actor: Actor
    worker: WorkerState
    since: float


class PlainCalls:
    """The plain calls of a session."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.calls: dict[bytes, _Plain] = {}  # not ended, in the order in which they were sent
        self.values: dict[bytes, Value] = {}  # of those that have ended
        self.dropped: set[bytes] = set()  # of `calls`, those whose reference is gone

    def send(self, actor: Actor, called: Called) -> bool:
        """Send a call if it is plain; whether it is."""
        (
            proc, id_, _, method, num_returns, _, retry_on, call, call_id, slots, needs, parent,
            group, line, after,
        ) = called  # fmt: skip
        if (
            proc != DRIVER or num_returns != 1 or call_id is not None or needs or call[3]
            or parent is not None or actor.state != "alive" or actor.queue or actor.ending
        ):  # fmt: skip
            return False
        scheduler = self._scheduler
        worker = scheduler.workers.get(actor.worker)  # type: ignore[arg-type]
        if worker is None or worker.killed:
            return False
        self.calls[id_] = _Plain(called, actor, worker, scheduler.now)
        fields = id_, method, 1, retry_on, call, None, slots, (), group, line, after
        scheduler.out.append(Send.of((worker.proc, Call.of(fields))))
        return True

    def finished(self, event: Finished) -> bool:
        """Remember how a plain call ended; False if it is none (any more)."""
        proc, id_, values, failure, seconds, drops = event
        plain = self.calls.get(id_)
        if plain is None:
            return False
        called, actor, worker, since = plain
        value = values[0]
        if failure > 1 or drops or value[0] not in _SHORT or value[3] or worker.proc != proc:
            self.unfold((id_,))
            return False
        del self.calls[id_]
        scheduler = self._scheduler
        name = title(actor.created.name, called.method)
        scheduler.ended.append(
            (id_, name, actor.id, None, since, proc, seconds, scheduler.now, failure)
        )
        if self.dropped and id_ in self.dropped:
            self.dropped.remove(id_)
        else:
            self.values[id_] = value
        scheduler.out.append(Resolve.of((id_, value)))
        return True

    def knows(self, id_: bytes) -> bool:
        """Whether it is the result of one."""
        return id_ in self.values or id_ in self.calls

    def drop(self, id_: bytes) -> bool:
        """The driver's reference is gone; False if it is no plain call."""
        if self.values.pop(id_, None) is not None:
            return True
        if id_ not in self.calls:
            return False
        self.dropped.add(id_)
        return True

    def unfold_all(self) -> None:
        """Of those that have ended, too: somebody wants to see all objects."""
        self.unfold((*self.calls, *self.values))

    def unfold(self, ids: Collection[bytes] | None = None) -> None:
        """Make them tasks and objects as all others are.

        Args:
            ids: Of which calls, if they are plain; None: of all that have not ended.
        """
        scheduler = self._scheduler
        for id_ in list(self.calls) if ids is None else ids:
            value = self.values.pop(id_, None)
            if value is not None:
                scheduler.owned.create(id_, DRIVER, None).value = value
                continue
            plain = self.calls.pop(id_, None)
            if plain is not None:
                self._begin(*plain)
                if id_ in self.dropped:
                    self.dropped.remove(id_)
                    scheduler.owned.drop(id_, 1)

    def _begin(self, called: Called, actor: Actor, worker: WorkerState, since: float) -> None:
        task = Task(called, title(actor.created.name, called.method), 1)
        task.actor, task.retries = actor.id, actor.retries_of(called)
        self._scheduler.admit(task, DRIVER)
        task.move("running")
        task.worker, task.since = worker, since
        actor.calls[called.task] = task

    def forget_all(self) -> None:
        """At a reset, when nothing runs any more."""
        self.values.clear()

    def check(self) -> None:
        """Assert the invariants."""
        scheduler = self._scheduler
        assert self.dropped <= self.calls.keys()
        for id_ in (*self.calls, *self.values):
            assert id_ not in scheduler.tasks
            assert id_ not in scheduler.owned.objects
        for _, actor, worker, _ in self.calls.values():
            assert actor.state == "alive"
            assert not actor.ending
            assert actor.worker == worker.proc
            assert scheduler.workers.get(worker.proc) is worker
