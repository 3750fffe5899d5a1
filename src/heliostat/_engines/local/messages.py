"""The events and commands of the local engine, as tuples with names.

An event says what happened in a process (`proc` 0 is the driver, others are workers); the
scheduler hears it. A command says what to do about it; the hub performs it. Those that cross a
socket are listed in `WIRE`, in an order that both ends share.

Everything in a wire message is a bytes, int, float, str, bool, None or tuple, so that marshal can
carry it.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, ClassVar, Self, dataclass_transform

from heliostat._core.options import Place

DRIVER = 0
MAIL = signal.SIGRTMIN + 7  # tells a busy worker to read its socket now


@dataclass_transform(frozen_default=True)
class Message(tuple[Any, ...]):
    """A tuple whose fields have the names that the class annotates.

    As `typing.NamedTuple`, which takes 0.23 ms to make such a class where this takes 0.03 (measured);
    there are some thirty here, in every process.
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()
    # The message with these fields, in a tuple; three times as fast as a call of the class.
    of: ClassVar[Callable[[Iterable[Any]], Any]]

    def __init_subclass__(cls) -> None:
        cls.__match_args__ = tuple(cls.__annotations__)  # type: ignore[misc]  # not an instance
        cls.of = functools.partial(tuple.__new__, cls)
        for position, name in enumerate(cls.__annotations__):
            setattr(cls, name, property(itemgetter(position)))

    @classmethod
    def several(cls, *names: str) -> Callable[[Any], tuple[Any, ...]]:
        """What takes these fields out of a message at once: twice as fast as one by one."""
        return itemgetter(*map(list(cls.__annotations__).index, names))

    def __new__(cls, *fields: Any) -> Self:
        return tuple.__new__(cls, fields)

    def __repr__(self) -> str:
        named = zip(type(self).__annotations__, self, strict=False)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in named)})"


AS_THE_ACTOR = -2  # the retries of a call that asks for none of its own

# Kinds of Value
INLINE = 0
STORED = 1
ERROR = 2
END = 3
SPILLED = 4
OUT_OF_LINE = frozenset({STORED, SPILLED})


# A value as bytes, here or in the arena: (kind, head, parts, ids of the references inside).
# INLINE, ERROR: `head` is the pickle, `parts` the buffers. STORED: `head` is the offset in the
# arena, `parts` the sizes of the pickle and of each buffer. END: the end of a stream. SPILLED: as
# STORED, but on disk; `head` is 0, and whoever wants to read it asks for it first (`fetch`).
# A plain tuple, because marshal takes no other.
Value = tuple[int, Any, tuple[Any, ...], tuple[bytes, ...]]

Shape = tuple[tuple[str, int], ...]
Drops = tuple[tuple[bytes, int], ...]


class Submitted(Message):
    """A process asks for a task."""

    proc: int
    task: bytes
    key: bytes
    name: str
    num_returns: int  # negative: a stream (see `streams.window`)
    shape: Shape
    retries: int
    retry_on: Any  # bool, or a pickled tuple of exception classes
    call: Value
    call_id: bytes | None  # the object that holds the arguments, if they are in the arena
    slots: tuple[int | str, ...]
    needs: tuple[bytes, ...]
    parent: bytes | None
    place: Place | None
    max_calls: int  # 0: no limit
    env: bytes  # the key of its environment; empty: the driver's own


class Created(Message):
    """A process asks for an actor. Its constructor is a task with the actor's id."""

    proc: int
    task: bytes
    key: bytes
    name: str  # of the class
    shape: Shape
    restarts: int
    call_retries: int
    concurrency: int  # 0: as the class suggests
    public_name: str
    namespace: str
    detached: bool
    groups: tuple[tuple[str, int], ...]  # of concurrency
    out_of_order: bool
    about: bytes  # what handles need to know, pickled
    call: Value
    call_id: bytes | None
    slots: tuple[int | str, ...]
    needs: tuple[bytes, ...]
    parent: bytes | None
    place: Place | None
    env: bytes


def called_as(method: str, name: str) -> str:
    """The field `method` of a call that its options give a name."""
    return f"{method} {name}" if name else method


def method_of(method: str) -> str:
    """The method's own name, of the field `method` of a call."""
    return method.partition(" ")[0]


def title(class_name: str, method: str) -> str:
    """What a call is called, of the field `method`: as its options say, or after class and method.

    Example:
        >>> title("A", "f"), title("A", called_as("f", "my call"))
        ('A.f', 'my call')
    """
    method, _, name = method.partition(" ")
    return name or f"{class_name}.{method}"


class Called(Message):
    """A process calls a method of an actor."""

    proc: int
    task: bytes
    actor: bytes
    method: str
    num_returns: int
    retries: int  # or AS_THE_ACTOR
    retry_on: Any
    call: Value
    call_id: bytes | None
    slots: tuple[int | str, ...]
    needs: tuple[bytes, ...]
    parent: bytes | None
    group: str
    line: int  # the caller has called the actor directly by this line; 0: it has not
    after: int  # how many calls it made by that line before this one


class Grouped(Message):
    """A process asks for a placement group, whose object is there when its resources are."""

    proc: int
    id: bytes
    bundles: tuple[Shape, ...]
    strategy: str
    name: str
    namespace: str
    detached: bool
    handle: Value


class Ungrouped(Message):
    """A process wants a placement group removed."""

    group: bytes


class Put(Message):
    """A process keeps a value."""

    proc: int
    id: bytes
    value: Value


class Wanted(Message):
    """A process waits for values; each is delivered once it is there."""

    proc: int
    ids: tuple[bytes, ...]


class Taken(Message):
    """A process took an item off a stream: the stream need not keep it alive any more."""

    proc: int
    stream: bytes
    item: bytes


class EndAwaited(Message):
    """Somebody waits for the end of a stream, and perhaps takes nothing before."""

    stream: bytes


class Dropped(Message):
    """A process has no reference to these any more; it gives back what was delivered."""

    proc: int
    drops: Drops


class Finished(Message):
    """A task ended in a worker. `failure`: 0 none, 1 an error, 2 an error to retry."""

    proc: int
    task: bytes
    values: tuple[Value, ...]
    failure: int
    seconds: float
    drops: Drops


class Yielded(Message):
    """A streaming task yielded the item at this position."""

    proc: int
    task: bytes
    position: int
    value: Value


class Blocked(Message):
    """A worker waits inside a task, and gives back the tasks it has not begun."""

    proc: int
    returned: tuple[bytes, ...]


class Waits(Message):
    """The main thread of a worker has waited for a while for these; for none: it goes on."""

    proc: int
    ids: tuple[bytes, ...]


class Resumed(Message):
    """A worker goes on after it was blocked."""

    proc: int


class Returned(Message):
    """A worker gives back tasks it has not begun."""

    proc: int
    tasks: tuple[bytes, ...]


class Cancelled(Message):
    """Somebody wants the task of this value stopped."""

    proc: int
    id: bytes
    force: bool
    recursive: bool


class Killed(Message):
    """Somebody wants an actor ended."""

    proc: int
    actor: bytes
    restart: bool


class Exiting(Message):
    """An actor ends on its own wish, in the middle of this task."""

    proc: int
    actor: bytes


class Defined(Message):
    """A function or class, before it is first used. Goes both ways."""

    proc: int
    key: bytes
    blob: bytes


class Described(Message):
    """A `runtime_env`, before it is first used."""

    proc: int
    env: bytes  # its key
    text: str  # as JSON
    hook: bytes  # what to call in each worker, pickled; empty: nothing
    at_once: bool  # there is nothing to prepare before a worker can be forked


class Home(Message):
    """The environment of the session: its workers are kept as those without one are."""

    env: bytes
    early: bool  # start workers at once


class Foreseen(Message):
    """The driver is about to import these modules; actors are born with them from now on."""

    modules: tuple[str, ...]


class Unfit(Message):
    """A new worker could not become what its environment asks for, and leaves."""

    proc: int
    error: Value


class Asked(Message):
    """A question that wants an answer: reserve, create, find_actor, describe."""

    proc: int
    request: int
    question: str
    payload: Any


class Tallied(Message):
    """What a process has recorded of its metrics since the last time."""

    proc: int
    changes: tuple[Any, ...]


class Forgotten(Message):
    """The answer to `LetGo`: a process has forgotten where these are."""

    proc: int
    ticket: int
    ids: tuple[bytes, ...]
    busy: bool  # direct calls run there, after which it may let go of more


class Reserve(Message):
    """A process asks for room for a value; `growth`: bytes that the machine has to spare, if measured."""

    proc: int
    request: int
    size: int
    growth: int | None


class Unreserve(Message):
    """A process could not write after all."""

    proc: int
    request: int
    offset: int


class Fetch(Message):
    """A process asks for an object to be brought into memory, and where it is."""

    proc: int
    request: int
    id: bytes


class Withdrawn(Message):
    """A process does not want the answer to a question any more, which may have come already."""

    proc: int
    request: int
    question: str
    about: Any  # the question's payload
    answer: Any  # the driver's, if it has come; None: what was answered is known by the request


class Unviewed(Message):
    """The driver has one view less of each of these."""

    ids: tuple[bytes, ...]


class Written(Message):
    """An object was written to disk, or could not be."""

    id: bytes
    checksum: int
    error: Exception | None


class Read(Message):
    """An object was read from disk, or could not be."""

    id: bytes
    error: Exception | None


class WorkerLost(Message):
    """A worker process is gone."""

    proc: int
    reason: str


class Doomed(Message):
    """A worker has to be ended; `error` becomes the error of what it runs."""

    proc: int
    reason: str
    error: Value


class Stopped(Message):
    """These processes are stopped (as by SIGSTOP) at the moment; others are not."""

    procs: tuple[int, ...]


class NotBorn(Message):
    """A worker could not be started."""

    proc: int
    reason: str


class Noted(Message):
    """Something went wrong that nobody has to decide about, but that people may ask for."""

    message: str


class Prepared(Message):
    """An environment is there, or could not be made."""

    env: bytes
    error: Value | None


class Unprepared(Message):
    """An environment's zygote is gone: it has to be prepared anew."""

    env: bytes


class Tick(Message):
    """Time has passed; `growth`: as for `Reserve`, if somebody waits for room."""

    growth: int | None


# ---- commands to a worker, all on the wire


class Run(Message):
    """Run a task; `needs` are the ids and values of the slots."""

    task: bytes
    key: bytes
    name: str
    num_returns: int
    retry_on: Any
    call: Value
    call_id: bytes | None
    slots: tuple[int | str, ...]
    needs: tuple[tuple[bytes, Value], ...]
    gpus: tuple[int, ...]
    shape: Shape
    place: Place | None


class Make(Message):
    """Become an actor: run its constructor, which is a task of the actor's id."""

    task: bytes
    key: bytes
    name: str
    call: Value
    call_id: bytes | None
    slots: tuple[int | str, ...]
    needs: tuple[tuple[bytes, Value], ...]
    gpus: tuple[int, ...]
    shape: Shape
    concurrency: int
    restarted: bool
    public_name: str
    groups: tuple[tuple[str, int], ...]
    place: Place | None


class Call(Message):
    """Run a method of the actor that lives here."""

    task: bytes
    method: str
    num_returns: int
    retry_on: Any
    call: Value
    call_id: bytes | None
    slots: tuple[int | str, ...]
    needs: tuple[tuple[bytes, Value], ...]
    group: str
    line: int
    after: int


class Deliver(Message):
    """A value that this process wanted."""

    id: bytes
    value: Value


class Answered(Message):
    """The answer to a question; `error` is a pickled exception."""

    request: int
    payload: Any
    error: bytes | None


class Cancel(Message):
    """Interrupt this task if it runs."""

    task: bytes
    recursive: bool


class LetGo(Message):
    """Forget where these are, but not those that somebody looks at; `Forgotten` is the answer."""

    ticket: int
    ids: tuple[bytes, ...]


class Deadlocked(Message):
    """What the main thread waits for can never come."""

    text: str


class GiveBack(Message):
    """Report what is done, and return the tasks that have not begun."""


class Credit(Message):
    """So many more items, of so many bytes, were taken off a stream that is made here."""

    task: bytes
    items: int
    size: int


class Stop(Message):
    """Leave."""


WIRE: tuple[type[Any], ...] = (
    Submitted, Created, Called, Put, Wanted, Taken, Dropped, Finished, Yielded, Blocked, Resumed,
    Returned, Waits, Cancelled, Killed, Exiting, Defined, Described, Unfit, Asked, Forgotten,
    Ungrouped, Tallied, Withdrawn,
    Run, Make, Call, Deliver, Answered, Cancel, LetGo, Deadlocked, GiveBack, Credit, Stop,
)  # fmt: skip


# ---- commands of the scheduler to the hub


class Spawn(Message):
    """Start a worker process of this number, in this environment."""

    proc: int
    env: bytes


class Prepare(Message):
    """Prepare an environment; `Prepared` is the answer."""

    env: bytes


class Discard(Message):
    """Nobody has used this environment for a while."""

    env: bytes


class Send(Message):
    """Send a message to a worker."""

    proc: int
    message: Any


class Nudge(Message):
    """Make a busy worker read its mail now."""

    proc: int


class Connect(Message):
    """Join two workers by a line, so that the one can call the actor in the other."""

    caller: int
    callee: int
    line: int
    actor: bytes


class Kill(Message):
    """End a worker process now."""

    proc: int


class Resolve(Message):
    """A value is there: wake the driver's waiters, if any."""

    id: bytes
    value: Value


class WriteOut(Message):
    """Write an object to its slot on disk."""

    id: bytes
    offset: int
    size: int
    slot: int


class ReadIn(Message):
    """Read an object from its slot on disk, and compare it with the checksum."""

    id: bytes
    offset: int
    size: int
    slot: int
    checksum: int


class Truncate(Message):
    """Nothing on disk is needed."""


class Answer(Message):
    """Answer a question of a process."""

    proc: int
    request: int
    payload: Any
    error: Any


Command = (
    Spawn
    | Prepare
    | Discard
    | Send
    | Nudge
    | Connect
    | Kill
    | Resolve
    | Answer
    | WriteOut
    | ReadIn
    | Truncate
)
