"""A simulated cluster: processes that run, block, borrow, fork work and die, and slow channels.

Everything between the Scheduler and the world is played here by the rules that driver and workers
follow: messages travel in order but late, what a dead process had not sent is lost, a busy one
reads its mail only when it is nudged. All chance comes from one seed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from random import Random
from typing import Any

from heliostat._core.ids import nth
from heliostat._core.options import UNIT
from heliostat._engines.local import messages as m
from heliostat._engines.local.holdings import received_with
from heliostat._engines.local.scheduler import Scheduler
from heliostat._engines.local.streams import Allowance, num_returns_of

TOTAL = {"CPU": 3 * UNIT, "GPU": UNIT}
ONE_CPU: m.Shape = (("CPU", UNIT),)
SHAPES: list[m.Shape] = [ONE_CPU, ONE_CPU, (("CPU", UNIT // 2),), (("CPU", 2 * UNIT),), ()]
NOTHING: m.Value = (m.INLINE, b"", (), ())
FAILED: m.Value = (m.ERROR, b"\x80\x05N.", (), ())
_USUAL: dict[str, Any] = {
    "call": NOTHING, "call_id": None, "slots": (), "needs": (), "parent": None, "retry_on": False,
    "group": "", "groups": (), "about": b"", "namespace": "", "call_retries": 0, "concurrency": 0,
    "detached": False, "out_of_order": False, "public_name": "", "key": b"f", "name": "f",
    "max_calls": 0, "env": b"",
}  # fmt: skip


def make(kind: type[Any], **fields: Any) -> Any:
    """A message with these fields, and the usual ones for the rest."""
    values = {**_USUAL, **fields}
    return kind(*(values.get(name) for name in kind.__annotations__))


class Process:
    """A worker: what has arrived, what it runs and holds, what it has sent."""

    def __init__(self, proc: int) -> None:
        self.proc = proc
        self.inbox: deque[Any] = deque()  # sent by the hub, not read
        self.outbox: deque[Any] = deque()  # sent to the hub, not read there
        self.todo: deque[Any] = deque()  # read, not begun
        self.running: dict[bytes, Any] = {}
        self.yielded: Counter[bytes] = Counter()
        self.allowances: dict[bytes, Allowance] = {}
        self.actor: Any = None  # its Make message
        self.refs: Counter[bytes] = Counter()  # references that live in it
        self.lent: Counter[bytes] = Counter()  # what the hub counts for it
        self.known: dict[bytes, m.Value] = {}
        self.wanted: set[bytes] = set()
        self.calls: set[bytes] = set()  # of actors, made here
        self.waits: tuple[bytes, ...] = ()  # blocked until these are there
        self.cancelled: set[bytes] = set()
        self.nudged = self.stopped = False
        self.dead = ""  # how it ended; the hub does not know yet
        self.doomed = False  # SIGKILL is on its way

    def reads(self) -> bool:
        """Whether its main thread looks at its mail now."""
        busy = self.running and not self.waits and not self.overlaps()
        return bool(self.inbox) and (self.nudged or not busy)

    def busy(self) -> bool:
        """Whether it, or the hub about it, may do something."""
        works = bool(self.outbox or self.todo or self.running or self.dead)
        return works or self.doomed or self.reads()

    def overlaps(self) -> bool:
        return self.actor is not None and self.actor.concurrency > 1

    def post(self, kind: type[Any], *fields: Any) -> None:
        self.outbox.append(kind(self.proc, *fields))

    def touch(self, ids: Iterable[bytes]) -> tuple[tuple[bytes, int], ...]:
        """What goes back to the hub: of these, what nothing here refers to."""
        gone, touched = [], list(ids)
        for id_ in touched:
            if self.refs[id_] <= 0:
                touched.extend(self.known.pop(id_, NOTHING)[3])
                if self.lent[id_]:
                    gone.append((id_, self.lent.pop(id_)))
        return tuple(gone)

    def drop(self, id_: bytes) -> None:
        self.refs[id_] -= 1
        drops = self.touch((id_,))
        if drops:
            self.post(m.Dropped, drops)

    def own(self, id_: bytes) -> None:
        self.refs[id_] += 1
        self.lent[id_] += 1


class World:
    """The hub's side of one history, and the driver.

    Args:
        seed: All chance comes from it.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.danger = self.random.choice([0.0, 0.01, 0.05])  # how often something goes wrong
        self.scheduler = Scheduler(TOTAL, capacity=64 << 20)
        self.now = 0.0
        self.history: list[tuple[float, Any]] = []
        self.processes: dict[int, Process] = {}
        self.refs: Counter[bytes] = Counter()  # the driver's
        self.streams: Counter[bytes] = Counter()  # items that the driver took
        self.actors: set[bytes] = set()
        self.groups: list[bytes] = []  # of bundles
        self.roots: dict[bytes, bytes] = {}  # task -> the driver's task that it comes from
        self.parents: dict[bytes, bytes] = {}  # what a task asked for -> the task
        self.asked: set[bytes] = set()  # tasks and calls, each of which has to end
        self.resolved: Counter[bytes] = Counter()
        self._ids = 0
        self.perform(self.scheduler.prestart())
        self.tell(m.Described(m.DRIVER, b"env", "", b"", True))

    # The hub

    def tell(self, event: Any) -> list[Any]:
        """An event reaches the scheduler, and its commands are carried out; answers are returned."""
        self.now += 0.0001
        self.history.append((self.now, event))
        answers = self.perform(self.scheduler.handle(event, self.now))
        self.scheduler.check()
        return answers

    def audit(self) -> None:
        """Every object is held exactly as often as there is somebody who holds it."""
        scheduler = self.scheduler
        holders = Counter(self.refs)
        for lent in scheduler.owned._lent.values():
            holders.update(lent)
        for task in scheduler.tasks.values():
            holders.update(task.holds)
        for actor in scheduler.actors.actors.values():
            if actor.maker.id not in scheduler.tasks:
                holders.update(actor.maker.holds)
            holders[actor.id] += actor.created.detached and actor.state != "dead"
        holders.update(scheduler.groups.groups.keys())
        for entry in scheduler.owned.objects.values():
            holders.update(entry.value[3] if entry.value is not None else ())
            holders.update(entry.items or ())
        for id_, entry in scheduler.owned.objects.items():
            count = holders.pop(id_, 0)
            assert entry.count == count, f"{id_.hex()}: counted {entry.count}, held {count}"
        assert not +holders, f"held and forgotten: {+holders}"

    def perform(self, commands: list[Any]) -> list[Any]:
        answers = []
        for command in commands:
            match command:
                case m.Spawn(proc, _):
                    assert proc not in self.processes
                    self.processes[proc] = Process(proc)
                case m.Send(proc, message):
                    if proc in self.processes:
                        self.processes[proc].inbox.append(message)
                case m.Kill(proc):
                    self.processes[proc].doomed = True
                case m.Nudge(proc):
                    self.processes[proc].nudged = True
                case m.Resolve(id_, _):
                    self.resolved[id_] += 1
                    # A handle may be made anew (by name) after the last was let go.
                    assert self.resolved[id_] == 1 or id_ in self.actors, f"{id_.hex()}: twice"
                case m.Discard(env):
                    workers = self.scheduler.workers.values()
                    assert all(worker.env != env for worker in workers), "it is in use"
                case m.Answer():
                    answers.append(command)
                case _:
                    raise AssertionError(f"unknown command {command}")
        return answers

    def hear(self, process: Process) -> None:
        """The hub reads the next message of a process."""
        self.tell(process.outbox.popleft())

    def bury(self, process: Process) -> None:
        """The hub hears that a process has ended, after its last words."""
        while process.outbox:
            self.hear(process)
        del self.processes[process.proc]
        self.tell(m.WorkerLost(process.proc, process.dead))

    def tick(self, seconds: float) -> None:
        self.now += seconds
        due = self.scheduler.deadline()
        if due is not None and due <= self.now:
            self.tell(m.Tick())

    def look(self) -> None:
        """The hub looks who is stopped."""
        self.tell(m.Stopped(tuple(p.proc for p in self.processes.values() if p.stopped)))

    # Values

    def fresh(self) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(12, "big") + bytes(4)

    def value(self, proc: int, inside: tuple[bytes, ...] = ()) -> m.Value:
        if self.random.random() < 0.5:
            return (m.INLINE, b"", (), inside)
        (answer,) = self.tell(m.Reserve(proc, 1, 8, None))
        return (m.STORED, answer.payload[0], (8,), inside)

    def check_place(self, id_: bytes, value: m.Value) -> None:
        """What is in memory is where a process was told that it is."""
        if value[0] == m.STORED:
            held = self.scheduler.storage.memory.objects[id_]
            assert held.offset == value[1], "freed or moved before it was read"

    def pick(self, ids: Iterable[bytes], most: int) -> tuple[bytes, ...]:
        """Up to `most` of these that are no actors."""
        some = sorted(set(ids) - self.actors)
        return tuple(self.random.sample(some, min(len(some), self.random.randint(0, most))))

    def held(self, process: Process) -> list[bytes]:
        return [id_ for id_, count in process.refs.items() if count > 0]

    def root(self, id_: bytes) -> bytes:
        return self.roots.get(nth(id_, 0), id_)

    def usable(self, process: Process, message: Any) -> list[bytes]:
        """What a task may wait for, pass on and return, so that nothing waits for or holds itself.

        That is what it asked for itself, and what it received and the driver asked for earlier.
        """
        received, root = received_with(message), self.root(message.task)
        return [
            id_
            for id_ in self.held(process)
            if self.parents.get(nth(id_, 0)) == message.task
            or (id_ in received and self.root(id_) < root)
        ]

    # What driver and workers ask for

    def results(self, task: bytes, num_returns: int) -> list[bytes]:
        return [nth(task, n) for n in range(num_returns)] if num_returns >= 0 else [task]

    def submitted(self, proc: int, task: bytes, **fields: Any) -> Any:
        shape, place = self.random.choice(SHAPES), None
        if self.groups and proc == m.DRIVER and self.random.random() < 0.3:
            shape, place = ONE_CPU, (self.random.choice(self.groups), -1, False)
        self.asked.add(task)
        return make(
            m.Submitted, proc=proc, task=task, key=repr(shape).encode(), shape=shape,
            retries=self.random.choice([0, 1, -1]), max_calls=self.random.choice([0] * 9 + [2]),
            env=self.random.choice([b""] * 5 + [b"env"]), place=place, **fields,
        )  # fmt: skip

    def called(self, proc: int, task: bytes, actor: bytes, **fields: Any) -> Any:
        self.asked.add(task)
        retries = self.random.choice([-2, 0, 2])
        return make(
            m.Called, proc=proc, task=task, actor=actor, method="g", retries=retries, **fields
        )

    def num_returns(self) -> int:
        streams = [num_returns_of(None), num_returns_of(2)]
        return self.random.choice([1, 1, 1, 0, 2, *streams])

    def arguments(self, ids: Iterable[bytes]) -> dict[str, Any]:
        ids = list(ids)
        needs = self.pick(ids, 2)
        inside = self.pick(ids, 1)
        return {
            "needs": needs,
            "slots": tuple(range(len(needs))),
            "call": (m.INLINE, b"", (), inside),
        }

    # The driver's moves

    def submit(self) -> None:
        task, num_returns = self.fresh(), self.num_returns()
        self.roots[task] = task
        args = self.arguments(self.refs)
        self.tell(self.submitted(m.DRIVER, task, num_returns=num_returns, **args))
        self.driver_owns(task, num_returns)

    def submit_many(self) -> None:
        """Short tasks of one kind, which are sent ahead."""
        for _ in range(8):
            task = self.fresh()
            self.roots[task] = task
            self.asked.add(task)
            fields = {"shape": ONE_CPU, "retries": 1, "key": b"short", "num_returns": 1}
            self.tell(make(m.Submitted, proc=m.DRIVER, task=task, **fields))
            self.driver_owns(task, 1)

    def group(self) -> None:
        """A placement group of one or two bundles with a CPU each."""
        bundles = (ONE_CPU,) * self.random.randint(1, 2)
        grouped = m.Grouped(m.DRIVER, self.fresh(), bundles, "PACK", "", "", False, NOTHING)
        self.groups.append(grouped.id)
        self.tell(m.Asked(m.DRIVER, 0, "group", tuple(grouped)))

    def ungroup(self) -> None:
        if self.groups:
            self.tell(m.Ungrouped(self.random.choice(self.groups)))

    def driver_owns(self, task: bytes, num_returns: int) -> None:
        self.refs.update(self.results(task, num_returns))
        if num_returns < 0:
            self.streams[task] = 0
        if num_returns == 0:
            self.tell(m.Dropped(m.DRIVER, ((task, 1),)))

    def put(self) -> None:
        id_ = self.fresh()
        self.tell(m.Put(m.DRIVER, id_, self.value(m.DRIVER, self.pick(self.refs, 1))))
        self.refs[id_] += 1

    def let_go(self) -> None:
        if self.refs:
            id_ = self.random.choice(sorted(self.refs))
            self.refs -= Counter((id_,))
            self.tell(m.Dropped(m.DRIVER, ((id_, 1),)))

    def open(self) -> None:
        """Decode a value: references inside become the driver's."""
        if self.refs:
            entry = self.scheduler.entry(self.random.choice(sorted(self.refs)))
            assert entry is not None, "what the driver holds was forgotten"
            for inner in entry.value[3] if entry.value is not None else ():
                self.scheduler.owned.lend(m.DRIVER, inner)
                self.refs[inner] += 1

    def take_item(self) -> None:
        for stream in sorted(self.streams.keys() & self.refs.keys()):
            item = nth(stream, self.streams[stream] + 1)
            entry = self.scheduler.entry(item)
            if entry is not None and entry.value is not None and entry.value[0] != m.END:
                self.scheduler.owned.lend(m.DRIVER, item)
                self.refs[item] += 1
                self.streams[stream] += 1
                self.tell(m.Taken(m.DRIVER, stream, item))

    def await_end(self) -> None:
        for stream in sorted(self.streams.keys() & self.refs.keys())[:1]:
            self.tell(m.EndAwaited(stream))

    def cancel(self) -> None:
        ids = self.pick(self.refs, 1)
        if ids:
            force, recursive = (self.random.random() < 0.5 for _ in range(2))
            task = self.scheduler.tasks.get(getattr(self.scheduler.entry(ids[0]), "task", None))
            force = force and (task is None or task.actor is None)  # the driver's API refuses it
            self.tell(m.Cancelled(m.DRIVER, ids[0], force, recursive))

    def create(self) -> None:
        actor = self.fresh()
        self.asked.add(actor)
        self.actors.add(actor)
        created = make(
            m.Created, proc=m.DRIVER, task=actor, shape=self.random.choice([ONE_CPU, (), ()]),
            restarts=self.random.choice([0, 1, -1]), call_retries=self.random.choice([0, 1, -1]),
            concurrency=self.random.choice([0, 0, 5]), out_of_order=self.random.random() < 0.3,
            public_name=self.random.choice(["", "", "one"]),
            detached=self.random.random() < 0.1, **self.arguments(self.refs),
        )  # fmt: skip
        if created.public_name:
            (answer,) = self.tell(m.Asked(m.DRIVER, 0, "create", (tuple(created), True)))
            if answer.payload[0] != actor:
                self.asked.discard(actor)
                self.actors.discard(actor)
            actor = answer.payload[0]
        else:
            self.tell(created)
        self.refs[actor] += 1

    def some_actor(self) -> bytes | None:
        held = sorted(self.actors & self.refs.keys())
        return self.random.choice(held) if held else None

    def call(self) -> None:
        actor = self.some_actor()
        if actor is not None:
            task, num_returns = self.fresh(), self.num_returns()
            self.roots[task] = task
            args = self.arguments(self.refs)
            self.tell(self.called(m.DRIVER, task, actor, num_returns=num_returns, **args))
            self.driver_owns(task, num_returns)

    def kill_actor(self) -> None:
        actor = self.some_actor()
        if actor is not None:
            self.tell(m.Killed(m.DRIVER, actor, self.random.random() < 0.5))
