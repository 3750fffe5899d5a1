"""Task: one piece of work, the states it goes through, and how long its like have taken.

A task is in exactly one state:

waiting    some argument is not there yet
ready      may run as soon as there is a worker (or its actor can take it)
running    handed to a worker
done       its values, or its error, are there
"""

from __future__ import annotations

from collections import deque
from typing import Any

from heliostat._core.options import Place
from heliostat._engines.local.messages import Called, Created, Run, Shape, Submitted, Value
from heliostat._engines.local.scheduling.groups import Bundle
from heliostat._engines.local.scheduling.streams import Stream

MOVES = {
    ("waiting", "ready"),
    ("waiting", "done"),
    ("ready", "running"),
    ("ready", "waiting"),  # an argument was moved to disk
    ("ready", "done"),
    ("running", "ready"),
    ("running", "done"),
}

# Resources, the key of the environment, and the bundle if there is one.
Lane = tuple[Shape, bytes] | tuple[Shape, bytes, tuple[bytes, int]]


class Task:
    """A task, a call of an actor's method, or the constructor of an actor."""

    __slots__ = (
        "actor",
        "cancelled",
        "children",
        "direct",
        "ended",
        "env",
        "event",
        "gpus",
        "holds",
        "id",
        "key",
        "max_calls",
        "missing",
        "name",
        "num_returns",
        "parent",
        "place",
        "retries",
        "shape",
        "since",
        "state",
        "stream",
        "worker",
    )

    def __init__(self, event: Submitted | Called | Created, name: str, num_returns: int) -> None:
        self.event = event
        self.id = event.task
        self.name = name
        self.num_returns = num_returns
        self.key = b""
        self.shape: Shape = ()
        self.place: Place | None = None  # the bundle whose resources it takes
        self.env = b""
        self.max_calls = 0
        self.retries = 0
        self.actor: bytes | None = None
        self.parent = event.parent
        self.children: list[bytes] | None = None
        self.holds: tuple[bytes, ...] = ()
        self.missing = 0
        self.worker: Any = None
        self.gpus: tuple[int, ...] = ()
        self.cancelled = False
        self.direct = 0  # the process that made this call without the hub, until it is settled
        self.ended = False  # such a call has ended, and its result is on the way to its caller
        self.stream: Stream | None = None
        self.since = 0.0  # when it was given to its worker
        self.state = "waiting"

    def move(self, state: str) -> None:
        """Go to another state; an impossible move is a bug in the scheduler."""
        assert (self.state, state) in MOVES, f"{self.name}: {self.state} -> {state}"
        self.state = state

    def needed(self) -> tuple[bytes, ...]:
        """The objects that are its arguments, or hold them."""
        event = self.event
        return (*event.needs, event.call_id) if event.call_id else event.needs

    def again(self) -> Task:
        """The same work once more, which costs a retry."""
        new = Task(self.event, self.name, self.num_returns)
        new.key, new.shape, new.place, new.actor = self.key, self.shape, self.place, self.actor
        new.env, new.max_calls = self.env, self.max_calls
        new.retries = self.retries - (self.retries > 0)
        return new

    def lane(self) -> Lane:
        """What it stands in one queue with: of the same resources, environment and bundle."""
        if self.place is None:
            return self.shape, self.env
        return self.shape, self.env, self.place[:2]

    def returns(self) -> int:
        """How many objects it makes when it ends; a stream makes one that marks its end."""
        return 1 if self.num_returns < 0 else self.num_returns


def run_message(task: Task, call: Value, needs: tuple[tuple[bytes, Value], ...]) -> Run:
    """What a worker needs to run the task."""
    event = task.event
    assert isinstance(event, Submitted)
    _, id_, key, name, num_returns, shape, _, retry_on, _, call_id, slots, _, _, place, *_ = event
    fields = (
        id_, key, name, num_returns, retry_on, call, call_id, slots, needs, task.gpus, shape, place,
    )  # fmt: skip
    return Run.of(fields)  # type: ignore[no-any-return]


class WorkerState:
    """A process as the scheduler sees it."""

    __slots__ = (
        "actor",
        "blocked",
        "bundle",
        "called",
        "calls",
        "doom",
        "env",
        "gpus",
        "heard",
        "killed",
        "proc",
        "shape",
        "spent",
        "stopped",
        "tasks",
        "waits",
    )

    def __init__(self, proc: int, now: float, env: bytes = b"") -> None:
        self.proc = proc
        self.env = env  # the key of the environment that it was born in
        self.calls: dict[bytes, int] = {}  # of functions with max_calls
        self.spent = False  # it has called one of them often enough, and leaves
        self.tasks: deque[Task] = deque()  # sent, in order; the first is running
        self.shape: Shape | None = None  # the resources it holds
        self.gpus: tuple[int, ...] = ()
        self.bundle: Bundle | None = None  # whose they are; None: the machine's
        self.blocked = False
        self.called = float("-inf")  # when it last said that direct calls run there
        self.waits: tuple[bytes, ...] = ()  # what its main thread said it waits for
        self.actor: bytes | None = None
        self.heard = now
        self.killed = ""
        self.stopped: float | None = None  # since when it was seen to be stopped, with work to do
        self.doom: Value | None = None  # the error of what it runs, if it was ended for a reason


AHEAD_S = 0.005  # how much work, by past durations, a worker is sent ahead
AHEAD_MOST = 128
_NEWS = 0.2  # the weight of the latest duration


class Pace:
    """The smoothed duration of each function.

    Example:
        >>> pace = Pace()
        >>> pace.room(b"f", 0)
        False
        >>> pace.learn(b"f", 0.001)
        >>> pace.room(b"f", 4), pace.room(b"f", 5)
        (True, False)
    """

    def __init__(self) -> None:
        self._seconds: dict[bytes, float] = {}

    def learn(self, key: bytes, seconds: float) -> None:
        """A call of the function took that long."""
        known = self._seconds.get(key)
        self._seconds[key] = seconds if known is None else known + _NEWS * (seconds - known)

    def forget(self, key: bytes) -> None:
        """It is not as short as it was: learn anew."""
        self._seconds.pop(key, None)

    def room(self, key: bytes, ahead: int) -> bool:
        """Whether a worker with so many tasks may be sent one more of this function."""
        seconds = self._seconds.get(key)
        return seconds is not None and ahead < AHEAD_MOST and ahead * seconds < AHEAD_S
