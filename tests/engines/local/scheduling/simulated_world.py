"""A simulated cluster: processes that run, block, borrow, fork work and die, and slow channels.

Everything between the Scheduler and the world is played here by the rules that driver and workers
follow: messages travel in order but late, what a dead process had not sent is lost, a busy one
reads its mail only when it is nudged. All chance comes from one seed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from random import Random
from typing import Any

from heliostat._core.ids import nth
from heliostat._core.options import UNIT
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling.arena import ALIGN
from heliostat._engines.local.scheduling.scheduler import Scheduler
from heliostat._engines.local.scheduling.streams import Allowance, num_returns_of
from heliostat._engines.local.worker.holdings import received_with
from tests.engines.local.scheduling.simulated_memory import Pages

TOTAL = {"CPU": 3 * UNIT, "GPU": UNIT}
ONE_CPU: m.Shape = (("CPU", UNIT),)
SHAPES: list[m.Shape] = [ONE_CPU, ONE_CPU, (("CPU", UNIT // 2),), (("CPU", 2 * UNIT),), ()]
NOTHING: m.Value = (m.INLINE, b"", (), ())
FAILED: m.Value = (m.ERROR, b"\x80\x05N.", (), ())
ROOMS = (1 << 14, 6, 10)  # pages of shared memory: as much as anybody wants, or too little
Script = Generator[Any, tuple[Any, Any], Any]  # what a process does; it asks, and is answered
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


def exposed_by(event: Any) -> list[bytes]:
    """The objects that others hear of by an event; the engine unfolds them first."""
    if getattr(event, "question", "") == "create":
        event = m.Created(*event.payload[0])
    values = (getattr(event, "call", NOTHING), getattr(event, "value", NOTHING))
    return [*getattr(event, "needs", ()), *(id_ for value in values for id_ in value[3])]


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
        self.views: Counter[bytes] = Counter()  # of its references, those that are views
        self.asked: Any = None  # its question that was not answered: event, task, script
        self.questions = 0
        self.cancelled: set[bytes] = set()
        self.nudged = self.stopped = False
        self.dead = ""  # how it ended; the hub does not know yet
        self.doomed = False  # SIGKILL is on its way

    def reads(self) -> bool:
        """Whether its main thread looks at its mail now."""
        busy = self.running and not self.stands() and not self.overlaps()
        return bool(self.inbox) and (self.nudged or not busy)

    def stands(self) -> bool:
        """Whether its main thread waits for a value or an answer."""
        return bool(self.waits) or self.asked is not None

    def busy(self) -> bool:
        """Whether it, or the hub about it, may do something."""
        works = bool(self.outbox or self.todo or self.running or self.dead)
        return works or self.doomed or self.reads()

    def overlaps(self) -> bool:
        return self.actor is not None and self.actor.concurrency > 1

    def post(self, kind: type[Any], *fields: Any) -> None:
        self.outbox.append(kind(self.proc, *fields))

    def brought(self) -> set[bytes]:
        """What must stay where it is while the tasks are here that brought it."""
        messages = (*self.todo, *self.running.values())
        brought = [pair for each in messages for pair in (*each.needs, (each.call_id, each.call))]
        return {id_ for id_, value in brought if value[0] == m.STORED}

    def touch(self, ids: Iterable[bytes]) -> tuple[tuple[bytes, int], ...]:
        """What goes back to the hub: of these, what nothing here refers to."""
        gone, touched, brought = [], list(ids), self.brought()
        for id_ in touched:
            if self.refs[id_] <= 0 and id_ not in brought:
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
        self.scheduler = Scheduler(TOTAL, capacity=self.random.choice(ROOMS) * ALIGN)
        self.pages = Pages(self.scheduler)
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
        self.losses = 0  # of objects that were on disk
        self.dropped: list[tuple[bytes, int]] = []  # references of the driver's, not counted yet
        self.views: Counter[bytes] = Counter()  # the driver's, and those that it waits for
        # The driver's questions that were not answered: event, and what it does with the answer.
        self.questions: dict[int, tuple[Any, Callable[[Any, Any], None]]] = {}
        self._answered: deque[tuple[int, Any, Any]] = deque()
        self._ids = self._numbers = 0
        self.perform(self.scheduler.prestart())
        self.tell(m.Described(m.DRIVER, b"env", "", b"", True))

    # The hub

    def tell(self, event: Any) -> list[Any]:
        """An event reaches the scheduler, and its commands are carried out; answers are returned."""
        self.now += 0.0001
        self.history.append((self.now, event))
        if getattr(event, "proc", None) == m.DRIVER:
            self.scheduler.plain.unfold(exposed_by(event))
        drops, self.dropped = self.dropped, []  # what goes with them goes when it was handled
        self.scheduler.give_back(m.DRIVER, drops)
        answers = self.perform(self.scheduler.handle(event, self.now))
        self.scheduler.check()
        self.take_answers()
        return answers

    def take_answers(self) -> None:
        """Threads of the driver's go on with their answers."""
        while self._answered:
            number, payload, error = self._answered.popleft()
            self.questions.pop(number)[1](payload, error)

    def audit(self) -> None:
        """Every object is held exactly as often as there is somebody who holds it."""
        scheduler = self.scheduler
        self.check_views()
        holders = self.refs + self.views + Counter(id_ for id_, _ in self.dropped)
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
        plain = scheduler.plain
        for id_ in (*plain.calls.keys() - plain.dropped, *plain.values):
            assert holders.pop(id_) == 1
        assert not +holders, f"held and forgotten: {+holders}"

    def perform(self, commands: list[Any]) -> list[Any]:
        answers = []
        for command in commands:
            match command:
                case m.Spawn(proc, _):
                    assert proc not in self.processes
                    self.processes[proc] = Process(proc)
                case m.Send(proc, message) if proc in self.processes:
                    self.processes[proc].inbox.append(message)
                case m.Kill(proc):
                    self.processes[proc].doomed = True
                case m.Nudge(proc):
                    self.processes[proc].nudged = True
                case m.Resolve(id_, _):
                    self.resolve(id_)
                case m.Discard(env):
                    in_use = {worker.env for worker in self.scheduler.workers.values()}
                    assert env not in in_use
                case m.WriteOut() | m.ReadIn() | m.Truncate():
                    self.pages.moves.append(command)
                case m.Answer():
                    answers += self.answer(command)
                case _:
                    assert isinstance(command, m.Send), f"unknown command {command}"
        return answers

    def resolve(self, id_: bytes) -> None:
        self.resolved[id_] += 1
        # A handle may be made anew (by name) after the last was let go, and what was lost too.
        assert self.resolved[id_] == 1 or self.losses or id_ in self.actors, f"{id_.hex()}: twice"

    def answer(self, answer: m.Answer) -> list[Any]:
        """Tell who asked; an answer that nobody waits for is handed back."""
        proc, number, payload, error = answer
        if proc == m.DRIVER and number in self.questions:
            self._answered.append((number, payload, error))
        elif proc in self.processes:
            self.processes[proc].inbox.append(m.Answered(number, payload, error))
        else:
            return [answer]
        return []

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
            self.tell(m.Tick(self.growth()))

    def look(self) -> None:
        """The hub looks who is stopped."""
        self.tell(m.Stopped(tuple(p.proc for p in self.processes.values() if p.stopped)))

    # Values

    def fresh(self) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(12, "big") + bytes(4)

    def pages_of_value(self) -> int:
        """How large a new value is; 0: it is inline."""
        return self.random.choice([0, 0, 0, 1, 1, 2, 3])

    def growth(self) -> int | None:
        return self.random.choice([None] * 8 + [0, 1 << 30])

    def value(self, process: Process, id_: bytes) -> Script:
        """A value of a worker's, which will be this object."""
        size = self.pages_of_value() * ALIGN
        if not size:
            return NOTHING
        offset = (yield m.Reserve, size, self.growth())[0]
        self.pages.write(offset, size, id_)
        return (m.STORED, offset, (size,), ())

    def move_bytes(self, danger: float = 0.0) -> None:
        """The disk does the oldest move that it was asked for."""
        event = self.pages.move(self.random, danger)
        if event is not None:
            self.losses += type(event) is m.Read and event.error is not None
            self.tell(event)

    def check_views(self) -> None:
        """What somebody looks at, or knows where it is, is there."""
        for process in self.processes.values():
            if process.dead:
                continue
            for message in (*process.todo, *process.running.values()):
                for id_, value in (*message.needs, (message.call_id, message.call)):
                    self.pages.look(id_, value)
            for id_, value in process.known.items():
                self.pages.look(id_, value)

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

    def large_arguments(self, ids: Iterable[bytes]) -> dict[str, Any]:
        """Those of a call of the driver's, which are an object themselves if they are large."""
        arguments = self.arguments(ids)
        if self.random.random() < 0.2:
            id_, size = self.fresh(), ALIGN
            number = self._numbers = self._numbers + 1
            answers = self.tell(m.Reserve(m.DRIVER, number, size, None))
            if answers and answers[0].error is None:
                offset = answers[0].payload[0]
                self.pages.write(offset, size, id_)
                call = (m.STORED, offset, (size,), arguments["call"][3])
                self.tell(m.Put(m.DRIVER, id_, call))
                return {**arguments, "call": call, "call_id": id_}
            self.tell(m.Withdrawn(m.DRIVER, number, "reserve", size, None))
        return arguments

    def sent(self, arguments: dict[str, Any]) -> None:
        """The driver keeps large arguments only until the call is under way."""
        if "call_id" in arguments:
            self.tell(m.Dropped(m.DRIVER, ((arguments["call_id"], 1),)))

    # The driver's moves

    def submit(self) -> None:
        task, num_returns = self.fresh(), self.num_returns()
        self.roots[task] = task
        args = self.large_arguments(self.refs)
        self.tell(self.submitted(m.DRIVER, task, num_returns=num_returns, **args))
        self.sent(args)
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

    def ask(self, kind: Any, about: Any, *more: Any, then: Callable[[Any, Any], None]) -> None:
        """A thread of the driver's asks; some are interrupted just when they are answered."""
        number = self._numbers = self._numbers + 1
        event = kind(m.DRIVER, number, about, *more)
        self.questions[number] = event, then
        if self.random.random() < 0.05:
            self.questions[number] = event, lambda payload, error: self.undo(event, payload, error)
        self.tell(event)

    def undo(self, event: Any, payload: Any, error: Any) -> None:
        answer = m.Answer(m.DRIVER, event.request, payload, error)
        self.withdraw(event, answer if error is None else None)

    def withdraw(self, event: Any, answer: Any = None) -> None:
        """Ctrl-C, or a timeout."""
        question = type(event).__name__.lower()
        self.tell(m.Withdrawn(m.DRIVER, event.request, question, event[2], answer))
        if type(event) is m.Fetch:
            self.unview(event.id, m.Dropped(m.DRIVER, ((event.id, 1),)))

    def give_up_asking(self) -> None:
        if self.questions:
            self.withdraw(self.questions.pop(self.random.choice(sorted(self.questions)))[0])

    def put(self) -> None:
        id_, size = self.fresh(), self.pages_of_value() * ALIGN
        inside = self.pick(self.refs, 1)
        if not size:
            self.tell(m.Put(m.DRIVER, id_, (m.INLINE, b"", (), inside)))
            self.refs[id_] += 1
            return

        def write(payload: Any, error: Any) -> None:
            if error is None:
                self.pages.write(payload[0], size, id_)
                still = tuple(ref for ref in inside if self.refs[ref] > 0)
                self.tell(m.Put(m.DRIVER, id_, (m.STORED, payload[0], (size,), still)))
                self.refs[id_] += 1

        self.ask(m.Reserve, size, self.growth(), then=write)

    def unview(self, id_: bytes, event: Any) -> None:
        self.views -= Counter((id_,))
        self.tell(event)

    def look_away(self) -> None:
        """A view of the driver's is gone."""
        waited_for = [e.id for e, _ in self.questions.values() if type(e) is m.Fetch]
        views = self.views - Counter(waited_for)
        if views:
            id_ = self.random.choice(sorted(views))
            self.unview(id_, m.Unviewed((id_,)))

    def let_go(self) -> None:
        if self.refs:
            id_ = self.random.choice(sorted(self.refs))
            self.refs -= Counter((id_,))
            self.dropped.append((id_, 1))
            if self.random.random() < 0.5:  # else they are counted before whatever comes next
                self.tell(m.Dropped(m.DRIVER, ()))

    def open(self) -> None:
        """Decode a value: the driver looks at it, and references inside become the driver's."""
        if not self.refs:
            return
        id_ = self.random.choice(sorted(self.refs))
        if self.scheduler.plain.knows(id_):  # nothing is inside
            return
        entry = self.scheduler.owned.objects.get(id_)
        assert entry is not None, "what the driver holds was forgotten"
        if entry.value is None:
            return
        if entry.value[0] not in m.OUT_OF_LINE:
            self.adopt(entry.value)
            return
        self.scheduler.owned.lend(m.DRIVER, id_)
        self.views[id_] += 1
        if self.scheduler.storage.memory.view(id_):
            self.pages.look(id_, entry.value)
            self.adopt(entry.value)
            return

        def look(value: Any, error: Any) -> None:
            if error is not None:
                self.unview(id_, m.Dropped(m.DRIVER, ((id_, 1),)))
                return
            self.pages.look(id_, value)
            self.adopt(value)
            if value[0] != m.STORED:
                self.unview(id_, m.Unviewed((id_,)))

        self.ask(m.Fetch, id_, then=look)

    def adopt(self, value: m.Value) -> None:
        self.scheduler.plain.unfold(value[3])
        for inner in value[3]:
            self.scheduler.owned.lend(m.DRIVER, inner)
            self.refs[inner] += 1

    def take_item(self) -> None:
        for stream in sorted(self.streams.keys() & self.refs.keys()):
            item = nth(stream, self.streams[stream] + 1)
            entry = self.scheduler.owned.objects.get(item)
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
            self.scheduler.plain.unfold(ids)
            task = self.scheduler.tasks.get(
                getattr(self.scheduler.owned.objects.get(ids[0]), "task", None)
            )
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
            args = self.large_arguments(self.refs)
            self.tell(self.called(m.DRIVER, task, actor, num_returns=num_returns, **args))
            self.sent(args)
            self.driver_owns(task, num_returns)

    def kill_actor(self) -> None:
        actor = self.some_actor()
        if actor is not None:
            self.tell(m.Killed(m.DRIVER, actor, self.random.random() < 0.5))
