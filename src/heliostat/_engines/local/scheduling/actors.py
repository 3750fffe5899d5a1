"""The life of an actor as a table, and its queue of calls. No I/O.

waiting     its resources or constructor arguments are not there yet
starting    its constructor runs
alive       takes calls
dead        for good; calls fail with the recorded reason
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from heliostat._engines.local.messages import Created, Value
from heliostat._engines.local.scheduling.tasks import Task

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.direct_scheduler import Switching

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
