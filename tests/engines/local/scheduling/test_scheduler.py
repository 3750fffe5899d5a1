"""The scheduler against a simulated cluster: whatever happens, every task ends and nothing is kept.

`World` plays the driver and the workers by the rules that the real ones follow: it answers the
commands, counts what it was lent as a worker does, and may do anything that users can do.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from heliostat._core.ids import nth
from heliostat._core.options import UNIT, Place
from heliostat._core.resources import Supply
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling.scheduler import Scheduler
from heliostat._engines.local.scheduling.tasks import Task
from tests.engines.local.scheduling.simulated_world import exposed_by

TOTAL = {"CPU": 2 * UNIT, "GPU": UNIT}
WHICH = st.integers(0, 50)
ENVS = {b"vars": True, b"packages": False}  # key -> whether there is nothing to prepare
SIZE = 4096  # of every value in memory, which has room for three
SHAPES: list[m.Shape] = [
    (("CPU", UNIT),),
    (("CPU", UNIT // 2),),
    (("CPU", 2 * UNIT),),
    (("GPU", UNIT // 2),),
    (),
]
BUNDLES: list[tuple[m.Shape, ...]] = [
    ((("CPU", UNIT),),),
    ((("CPU", UNIT),), (("CPU", UNIT // 2), ("GPU", UNIT // 2))),
    ((("GPU", UNIT),), (("CPU", UNIT // 2),)),
    ((("CPU", 2 * UNIT), ("GPU", UNIT)),),
]
T = TypeVar("T")
NOTHING: m.Value = (m.INLINE, b"", (), ())


class SimWorker:
    """A worker process: what it was sent, what it was lent."""

    def __init__(self, proc: int) -> None:
        self.proc = proc
        self.inbox: deque[Any] = deque()
        self.running: Any = None
        self.blocked = False
        self.lent: Counter[bytes] = Counter()
        self.yielded = 0
        self.actor: bytes | None = None
        self.leaving = ""
        self.env = b""
        self.served = False


class World:
    """One driver, its workers, and the scheduler between them."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(TOTAL, 3 * SIZE)
        self.now = 0.0
        self.workers: dict[int, SimWorker] = {}
        self.refs: Counter[bytes] = Counter()
        self.streams: dict[bytes, int] = {}
        self.actors: set[bytes] = set()
        self.moves: deque[Any] = deque()  # asked for, to or from disk
        self.later: deque[Any] = deque()  # what workers say in return
        self.resolved: set[bytes] = set()
        self.groups: dict[bytes, tuple[m.Shape, ...]] = {}
        self.started: Counter[bytes] = Counter()
        self.preparing: set[bytes] = set()
        self.prepared = {b""}
        self._ids = self.asked = 0

    # What all processes can do

    def fresh(self) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(12, "big") + bytes(4)

    def value(self, proc: int, *, stored: bool, inside: tuple[bytes, ...] = ()) -> m.Value:
        """A value; in memory, if it is to be there and the process gets room at once."""
        if stored:
            self.asked += 1
            for answer in self.tell(m.Reserve(proc, self.asked, SIZE, None)):
                if answer.error is None:
                    return (m.STORED, answer.payload[0], (8,), inside)
            self.tell(m.Withdrawn(proc, self.asked, "reserve", SIZE, None))
        return (m.INLINE, b"", (), inside)

    def tell(self, event: Any) -> list[Any]:
        """An event, and what the scheduler makes of it."""
        self.now += 0.001
        answers = []
        if getattr(event, "proc", None) == m.DRIVER:
            self.scheduler.plain.unfold(exposed_by(event))
        for command in self.scheduler.handle(event, self.now):
            if isinstance(command, m.Answer):
                answers.append(command)
            else:
                self.perform(command)
        self.scheduler.check()
        while self.later:
            self.tell(self.later.popleft())
        return answers

    def perform(self, command: Any) -> None:
        match command:
            case m.Spawn(proc, env):
                assert proc not in self.workers
                assert ENVS.get(env) or env in self.prepared, "born where nothing is prepared"
                self.workers[proc] = SimWorker(proc)
                self.workers[proc].env = env
            case m.Prepare(env):
                assert env not in self.preparing, "prepared twice at once"
                self.preparing.add(env)
            case m.Discard(env):
                assert all(worker.env != env for worker in self.workers.values())
                self.prepared.discard(env)
            case m.Send(proc, message):
                self.receive(self.workers[proc], message)
            case m.Kill(proc):
                self.workers[proc].leaving = "killed"
            case m.WriteOut() | m.ReadIn():
                self.moves.append(command)
            case m.Truncate():
                assert not any(isinstance(move, m.ReadIn) for move in self.moves)
            case m.Resolve(id_, _):
                assert id_ not in self.resolved or id_ in self.actors, "resolved twice"
                self.resolved.add(id_)
            case m.Nudge():
                pass
            case _:
                raise AssertionError(f"unknown command {command}")

    def receive(self, worker: SimWorker, message: Any) -> None:
        """What a worker process does with its mail."""
        match message:
            case m.Run() | m.Make() | m.Call():
                if not isinstance(message, m.Call):
                    task = self.scheduler.tasks[message.task]
                    assert worker.env == task.event.env, "sent into another environment"
                self.borrow(worker, message.call_id, message.call)
                for id_, value in message.needs:
                    self.borrow(worker, id_, value)
                if isinstance(message, m.Make):
                    worker.actor = message.task
                worker.inbox.append(message)
            case m.Deliver(id_, value):
                self.look_at(id_, value)
                worker.lent[id_] += 1
                worker.lent.update(value[3])
            case m.LetGo(ticket, ids):
                self.later.append(m.Forgotten(worker.proc, ticket, self.unused(worker, ids), False))
            case m.Cancel() | m.GiveBack():
                worker.inbox.append(message)
            case m.Credit() | m.Deadlocked():
                pass
            case m.Stop():
                worker.leaving = worker.leaving or "stopped"
            case _:
                raise AssertionError(f"unknown message {message}")

    def borrow(self, worker: SimWorker, id_: bytes | None, value: m.Value) -> None:
        if value[0] == m.STORED and id_ is not None:
            self.look_at(id_, value)
            worker.lent[id_] += 1
        worker.lent.update(value[3])

    def look_at(self, id_: bytes, value: m.Value) -> None:
        """A process was told where a value is."""
        assert value[0] != m.STORED or self.scheduler.owned.objects.get(id_).value == value, (
            "told a wrong place"
        )

    def unused(self, worker: SimWorker, ids: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Those that came with no task that is not ended."""
        tasks = [*worker.inbox, *([worker.running] if worker.running else [])]
        used = {id_ for t in tasks if hasattr(t, "needs") for id_, _ in t.needs}
        return tuple(id_ for id_ in ids if id_ not in used)

    def submit(
        self,
        proc: int,
        *,
        needs: tuple[bytes, ...] = (),
        inside: tuple[bytes, ...] = (),
        shape: m.Shape = SHAPES[0],
        num_returns: int = 1,
        retries: int = 0,
        parent: bytes | None = None,
        place: Place | None = None,
        max_calls: int = 0,
        env: bytes = b"",
    ) -> bytes:
        task = self.fresh()
        self.describe(env)
        call: m.Value = (m.INLINE, b"", (), inside)
        self.tell(
            m.Submitted(
                proc, task, shape_key(shape), "f", num_returns, shape, retries, False, call, None,
                tuple(range(len(needs))), needs, parent, place, max_calls, env,
            )
        )  # fmt: skip
        self.own(proc, task, num_returns)
        return task

    def describe(self, env: bytes) -> None:
        if env:
            self.tell(m.Described(m.DRIVER, env, "", b"", ENVS[env]))

    def prepare(self, env: bytes, *, failed: bool) -> None:
        self.preparing.remove(env)
        if not failed:
            self.prepared.add(env)
        self.tell(m.Prepared(env, (m.ERROR, b"\x80\x05N.", (), ()) if failed else None))

    def create(
        self,
        shape: m.Shape,
        restarts: int,
        needs: tuple[bytes, ...],
        name: str,
        *,
        out_of_order: bool = False,
        place: Place | None = None,
        env: bytes = b"",
    ) -> bytes:
        actor = self.fresh()
        self.describe(env)
        self.actors.add(actor)
        created = m.Created(
            m.DRIVER, actor, b"class", "A", shape, restarts, 0, 0, name, "", False, (),
            out_of_order, b"", NOTHING, None, tuple(range(len(needs))), needs, None, place, env,
        )  # fmt: skip
        if name:
            (answer,) = self.tell(m.Asked(m.DRIVER, 0, "create", (tuple(created), True)))
            assert answer.error is None
            actor = answer.payload[0]
        else:
            self.tell(created)
        self.refs[actor] += 1
        return actor

    def call(self, actor: bytes, needs: tuple[bytes, ...], num_returns: int, retries: int) -> bytes:
        task = self.fresh()
        self.tell(
            m.Called(
                m.DRIVER, task, actor, "method", num_returns, retries, False, NOTHING, None,
                tuple(range(len(needs))), needs, None, "", 0, 0,
            )
        )  # fmt: skip
        self.own(m.DRIVER, task, num_returns)
        return task

    def group(self, bundles: tuple[m.Shape, ...], name: str) -> bytes:
        group = self.fresh()
        asked = m.Grouped(m.DRIVER, group, bundles, "PACK", name, "", False, NOTHING)
        (answer,) = self.tell(m.Asked(m.DRIVER, 0, "group", tuple(asked)))
        if answer.error is None:
            self.groups[group] = bundles
        return group

    def ungroup(self, group: bytes) -> None:
        self.tell(m.Ungrouped(group))

    def living_groups(self) -> list[bytes]:
        return [id_ for id_ in self.groups if self.scheduler.groups.groups[id_].alive()]

    def own(self, proc: int, task: bytes, num_returns: int) -> None:
        made = [nth(task, index) for index in range(num_returns)] if num_returns > 0 else [task]
        held = self.refs if proc == m.DRIVER else self.workers[proc].lent
        held.update(made)
        if num_returns < 0 and proc == m.DRIVER:
            self.streams[task] = 0
        if num_returns == 0:
            self.drop(proc, task, 1)

    def drop(self, proc: int, id_: bytes, times: int) -> None:
        held = self.refs if proc == m.DRIVER else self.workers[proc].lent
        held[id_] -= times
        if not held[id_]:
            del held[id_]
        self.tell(m.Dropped(proc, ((id_, times),)))

    def put(self, proc: int, value: m.Value) -> bytes:
        id_ = self.fresh()
        self.tell(m.Put(proc, id_, value))
        (self.refs if proc == m.DRIVER else self.workers[proc].lent)[id_] += 1
        return id_

    # What the driver can do

    def open(self, id_: bytes) -> None:
        """Decode a value: references inside become the driver's."""
        entry = self.scheduler.owned.objects.get(id_)
        if entry is not None and entry.value is not None:
            for inner in entry.value[3]:
                self.scheduler.plain.unfold((inner,))
                self.scheduler.owned.lend(m.DRIVER, inner)
                self.refs[inner] += 1

    def take_item(self, stream: bytes) -> None:
        item = nth(stream, self.streams[stream] + 1)
        entry = self.scheduler.owned.objects.get(item)
        if entry is None or entry.value is None or entry.value[0] == m.END:
            return
        self.scheduler.owned.lend(m.DRIVER, item)
        self.refs[item] += 1
        self.streams[stream] += 1
        self.tell(m.Taken(m.DRIVER, stream, item))

    # What workers do

    def begin(self, worker: SimWorker) -> None:
        """Look at the mail, and begin what is next."""
        while worker.inbox and worker.running is None and not worker.leaving:
            message = worker.inbox.popleft()
            if isinstance(message, (m.Run, m.Make, m.Call)):
                worker.running, worker.yielded, worker.served = message, 0, True
                self.started[message.task] += 1

    def answer_mail(self, worker: SimWorker) -> None:
        """A busy worker that was nudged: gives back what it has not begun."""
        self.begin(worker)
        if any(isinstance(message, m.GiveBack) for message in worker.inbox):
            unbegun = self.unbegun(worker)
            if unbegun and worker.actor is None:
                self.tell(m.Returned(worker.proc, unbegun))

    def unbegun(self, worker: SimWorker) -> tuple[bytes, ...]:
        ids = tuple(message.task for message in worker.inbox if isinstance(message, m.Run))
        worker.inbox = deque(
            message
            for message in worker.inbox
            if not isinstance(message, (m.Run, m.GiveBack, m.Cancel))
        )
        return ids

    def finish(
        self, worker: SimWorker, *, failure: int = 0, stored: bool = False, nest: bool = False
    ) -> None:
        message, worker.running = worker.running, None
        made = isinstance(message, m.Make)
        count = 1 if made else message.num_returns
        stored, nest = stored and not made, nest and not made  # a constructor returns None
        inside = (self.put(worker.proc, self.value(worker.proc, stored=stored)),) if nest else ()
        if failure:
            values: tuple[m.Value, ...] = ((m.ERROR, b"\x80\x05N.", (), ()),)
        else:
            returns = 1 if count < 0 else count
            values = tuple(
                self.value(worker.proc, stored=stored, inside=inside) for _ in range(returns)
            )
        keep = worker.actor is not None and nest
        drops = () if keep else tuple(worker.lent.items())
        if not keep:
            worker.lent.clear()
        self.tell(m.Finished(worker.proc, message.task, values, failure, 0.0001, drops))

    def yield_item(self, worker: SimWorker, *, stored: bool) -> None:
        position, worker.yielded = worker.yielded, worker.yielded + 1
        value = self.value(worker.proc, stored=stored)
        self.tell(m.Yielded(worker.proc, worker.running.task, position, value))

    def block(self, worker: SimWorker) -> None:
        worker.blocked = True
        self.tell(m.Blocked(worker.proc, self.unbegun(worker)))

    def resume(self, worker: SimWorker) -> None:
        worker.blocked = False
        self.tell(m.Resumed(worker.proc))
        unbegun = self.unbegun(worker)
        if unbegun:
            self.tell(m.Returned(worker.proc, unbegun))

    def lose(self, worker: SimWorker, reason: str) -> None:
        del self.workers[worker.proc]
        self.tell(m.WorkerLost(worker.proc, worker.leaving or reason))

    def move(self, error: Exception | None = None) -> None:
        """The oldest move to or from disk ends."""
        move = self.moves.popleft()
        if isinstance(move, m.WriteOut):
            self.tell(m.Written(move.id, 7, error))
        else:
            assert move.checksum == 7
            if error is not None:  # what made it may run again, and what made that
                self.resolved.clear()
            self.tell(m.Read(move.id, error))

    # The end of all

    def settle(self) -> None:
        """Let every worker do all that it was sent."""
        for _ in range(10_000):
            for env in list(self.preparing):
                self.prepare(env, failed=False)
            if self.moves:
                self.move()
                continue
            for worker in list(self.workers.values()):
                if worker.leaving:
                    self.lose(worker, "")
                    break
                if worker.blocked:
                    self.resume(worker)
                    break
                self.begin(worker)
                if worker.running is not None:
                    self.finish(worker)
                    break
                if worker.lent and worker.actor is None:
                    self.tell(m.Dropped(worker.proc, tuple(worker.lent.items())))
                    worker.lent.clear()
                    break
            else:
                return
        raise AssertionError("the cluster does not come to rest")


def shape_key(shape: m.Shape) -> bytes:
    return repr(shape).encode()


class Cluster(RuleBasedStateMachine):
    """Anything may happen in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def pick(self, which: int, most: int) -> tuple[bytes, ...]:
        """Up to `most` of the references that the driver holds, handles of actors left out."""
        known = sorted(self.world.refs.keys() - self.world.actors)
        count = min(which % (most + 1), len(known))
        return tuple(known[(which + step) % len(known)] for step in range(count))

    def place(self, which: int, shape: m.Shape) -> Place | None:
        """A bundle that is large enough, of a group that there is or was; or none."""
        places: list[Place] = []
        for group, bundles in self.world.groups.items():
            large = [
                n for n, there in enumerate(bundles) if Supply(dict(there)).take(shape) is not None
            ]
            places += [(group, number, False) for number in (*large, -1) if large]
        return choose(which, places) if places and which % 3 else None

    @rule(bundles=st.sampled_from(BUNDLES), name=st.sampled_from(["", "", "one"]))
    def group(self, bundles: tuple[m.Shape, ...], name: str) -> None:
        self.world.group(bundles, name)

    @precondition(lambda self: self.world.living_groups())
    @rule(which=WHICH, restarts=st.sampled_from([0, -1]), busy=st.booleans())
    def move_in(self, which: int, restarts: int, busy: bool) -> None:
        """A living group gets an actor, as far as it has room, and something in its queues."""
        place = (choose(which, self.world.living_groups()), -1, False)
        actor = self.world.create((), restarts, (), "", place=place)
        for worker in list(self.world.workers.values()):
            self.world.begin(worker)
            if worker.actor == actor and worker.running is not None:
                self.world.finish(worker)
        self.world.call(actor, (), 1, 1)
        if busy:
            self.world.submit(m.DRIVER, shape=(), retries=which % 2, place=place)

    @precondition(lambda self: self.world.living_groups())
    @rule(which=WHICH)
    def ungroup(self, which: int) -> None:
        self.world.ungroup(choose(which, self.world.living_groups()))

    @precondition(lambda self: self.world.groups)
    @rule(which=WHICH)
    def ungroup_once_more(self, which: int) -> None:
        self.world.ungroup(choose(which, sorted(self.world.groups)))

    @rule(
        which=WHICH,
        shape=st.sampled_from(SHAPES),
        num_returns=st.sampled_from([1, 1, 1, 0, 2, -1]),
        retries=st.sampled_from([0, 1, 3]),
        max_calls=st.sampled_from([0, 0, 1, 2]),
        env=st.sampled_from([b"", b"", *ENVS]),
    )
    def submit(
        self,
        which: int,
        shape: m.Shape,
        num_returns: int,
        retries: int,
        max_calls: int,
        env: bytes,
    ) -> None:
        handles = tuple(sorted(self.world.actors & self.world.refs.keys()))[: which % 2]
        if handles:
            shape = ()  # else it may wait for ever for what the actor that it keeps alive holds
        self.world.submit(
            m.DRIVER, needs=self.pick(which, 2), inside=self.pick(which, 1) + handles,
            shape=shape, num_returns=num_returns, retries=retries, place=self.place(which, shape),
            max_calls=max_calls, env=env,
        )  # fmt: skip

    @precondition(lambda self: self.world.preparing)
    @rule(which=WHICH, failed=st.booleans())
    def prepare(self, which: int, failed: bool) -> None:
        self.world.prepare(choose(which, sorted(self.world.preparing)), failed=failed)

    @rule(which=WHICH)
    def be_unfit(self, which: int) -> None:
        new = [w for w in self.world.workers.values() if w.env and not w.served and not w.leaving]
        if new:
            worker = choose(which, new)
            self.world.tell(m.Unfit(worker.proc, (m.ERROR, b"\x80\x05N.", (), ())))
            self.world.lose(worker, "exit code 1")

    @rule()
    def foresee(self) -> None:
        self.world.tell(m.Foreseen(("torch",)))

    @rule()
    def lose_the_zygote_of_an_environment(self) -> None:
        for worker in [w for w in self.world.workers.values() if w.env == b"packages"]:
            worker.leaving = worker.leaving or "killed"
        if b"packages" in self.world.prepared:
            self.world.prepared.discard(b"packages")
            self.world.tell(m.Unprepared(b"packages"))

    @rule(which=WHICH, stored=st.booleans())
    def put(self, which: int, stored: bool) -> None:
        inside = self.pick(which, 1)
        self.world.put(m.DRIVER, self.world.value(m.DRIVER, stored=stored, inside=inside))

    @precondition(lambda self: self.world.refs)
    @rule(which=WHICH)
    def drop(self, which: int) -> None:
        id_ = choose(which, sorted(self.world.refs))
        self.world.drop(m.DRIVER, id_, 1)

    @precondition(lambda self: self.world.refs)
    @rule(which=WHICH)
    def open(self, which: int) -> None:
        self.world.open(choose(which, sorted(self.world.refs)))

    @precondition(lambda self: any(s in self.world.refs for s in self.world.streams))
    @rule(which=WHICH)
    def take_item(self, which: int) -> None:
        held = [stream for stream in self.world.streams if stream in self.world.refs]
        self.world.take_item(choose(which, sorted(held)))

    @precondition(lambda self: self.world.refs)
    @rule(which=WHICH, force=st.booleans(), recursive=st.booleans())
    def cancel(self, which: int, force: bool, recursive: bool) -> None:
        id_ = choose(which, sorted(self.world.refs))
        if id_ not in self.world.actors:
            self.world.tell(m.Cancelled(m.DRIVER, id_, force, recursive))

    @rule(
        which=WHICH,
        shape=st.sampled_from([SHAPES[0], SHAPES[4], SHAPES[3]]),
        restarts=st.sampled_from([0, 1, -1]),
        name=st.sampled_from(["", "", "one"]),
        free=st.booleans(),
        env=st.sampled_from([b"", b"", *ENVS]),
    )
    def create(
        self, which: int, shape: m.Shape, restarts: int, name: str, free: bool, env: bytes
    ) -> None:
        needs, place = self.pick(which, 1), self.place(which, shape)
        self.world.create(shape, restarts, needs, name, out_of_order=free, place=place, env=env)

    @precondition(lambda self: self.world.actors & self.world.refs.keys())
    @rule(which=WHICH, num_returns=st.sampled_from([1, 2, -1]), retries=st.sampled_from([0, 1]))
    def call(self, which: int, num_returns: int, retries: int) -> None:
        held = sorted(self.world.actors & self.world.refs.keys())
        needs = self.pick(which, 1)
        self.world.call(choose(which, held), needs, num_returns, retries)

    @precondition(lambda self: self.world.actors & self.world.refs.keys())
    @rule(which=WHICH, restart=st.booleans())
    def kill(self, which: int, restart: bool) -> None:
        held = sorted(self.world.actors & self.world.refs.keys())
        self.world.tell(m.Killed(m.DRIVER, choose(which, held), restart))

    def worker(self, which: int, *, running: bool) -> SimWorker | None:
        """A worker; one that is in the middle of something if `running`."""
        for worker in self.world.workers.values():
            if not worker.blocked:
                self.world.begin(worker)
        some = [
            proc
            for proc, worker in sorted(self.world.workers.items())
            if not running or (worker.running is not None and not worker.blocked)
        ]
        return self.world.workers[choose(which, some)] if some else None

    @rule(
        which=WHICH,
        failure=st.sampled_from([0, 0, 0, 1, 2]),
        stored=st.booleans(),
        nest=st.booleans(),
    )
    def finish(self, which: int, failure: int, stored: bool, nest: bool) -> None:
        worker = self.worker(which, running=True)
        if worker is not None:
            self.world.finish(worker, failure=failure, stored=stored, nest=nest)

    @rule(which=WHICH, stored=st.booleans())
    def yield_item(self, which: int, stored: bool) -> None:
        worker = self.worker(which, running=True)
        if worker is not None and getattr(worker.running, "num_returns", 1) < 0:
            self.world.yield_item(worker, stored=stored)

    @rule(which=WHICH)
    def block_and_submit(self, which: int) -> None:
        worker = self.worker(which, running=True)
        if worker is not None and isinstance(worker.running, m.Run):
            child = self.world.submit(worker.proc, parent=worker.running.task)
            self.world.block(worker)
            self.world.tell(m.Wanted(worker.proc, (child,)))

    @rule(which=WHICH)
    def resume(self, which: int) -> None:
        blocked = [w for w in self.world.workers.values() if w.blocked]
        if blocked:
            self.world.resume(blocked[0])

    @rule(which=WHICH, reason=st.sampled_from(["signal 9", "exit code 1"]))
    def lose(self, which: int, reason: str) -> None:
        worker = self.worker(which, running=False)
        if worker is not None:
            self.world.lose(worker, reason)

    @rule(seconds=st.sampled_from([0.03, 11.0]))
    def tick(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.tell(m.Tick(None))
        for worker in list(self.world.workers.values()):
            self.world.answer_mail(worker)

    @precondition(lambda self: self.world.moves)
    @rule(fails=st.sampled_from([False, False, False, True]))
    def move(self, fails: bool) -> None:
        self.world.move(OSError("no") if fails else None)

    @rule()
    def bury(self) -> None:
        for worker in list(self.world.workers.values()):
            if worker.leaving:
                self.world.lose(worker, "")

    @invariant()
    def what_the_driver_holds_is_there(self) -> None:
        for id_ in self.world.refs:
            if self.world.scheduler.plain.knows(id_):
                continue
            entry = self.world.scheduler.owned.objects.get(id_)
            assert entry is not None, f"{id_.hex()} is held and was forgotten"
            if entry.value is not None and entry.value[0] in m.OUT_OF_LINE:
                assert id_ in self.world.scheduler.storage.memory.objects, "freed while it was held"

    @invariant()
    def what_can_run_runs(self) -> None:
        scheduler = self.world.scheduler
        for lane, queue in scheduler.ready.items():
            if queue and lane[1] not in self.world.preparing:
                assert not fits(scheduler, queue[0]), f"{lane} is free, and {len(queue)} tasks wait"
        for group in scheduler.groups.pending:
            supplies = scheduler.resources.take_bundles(group.grouped.bundles)
            assert supplies is None, "a group waits for what is free"

    @invariant()
    def what_is_set_aside_is_nobody_elses(self) -> None:
        world, scheduler = self.world, self.world.scheduler
        counted: Counter[str] = Counter()
        for worker in scheduler.workers.values():
            if worker.bundle is None:
                counted.update(dict(worker.shape or ()))
        for group in scheduler.groups.groups.values():
            for bundle in group.bundles:
                counted.update(bundle.supply.total)
        lent = [w for w in scheduler.workers.values() if w.blocked and w.bundle is None]
        for worker in lent:
            counted["CPU"] -= dict(worker.shape or ()).get("CPU", 0)
        for name, total in TOTAL.items():
            assert scheduler.resources.free[name] == total - counted[name]
        assert set(world.groups) <= set(scheduler.groups.groups)

    def teardown(self) -> None:
        """Everything ends, and then nothing is left."""
        world = self.world
        world.settle()
        scheduler = world.scheduler
        for id_, times in list(world.refs.items()):
            world.drop(m.DRIVER, id_, times)
        world.settle()
        for group in world.groups:
            world.ungroup(group)
        world.settle()
        if scheduler.tasks:  # users can lock themselves up: a task wants what an actor holds that
            for actor in sorted(scheduler.actors.actors):  # waits for the task
                world.tell(m.Killed(m.DRIVER, actor, False))
            world.settle()
        assert not scheduler.tasks, "tasks that never ended"
        assert not scheduler.waiting, "tasks that wait for what will never come"
        assert set(scheduler.owned.objects) == set(world.groups), "objects that nobody holds"
        assert all(g.state == "removed" for g in scheduler.groups.groups.values())
        assert not scheduler.actors.actors, "actors that nobody can reach"
        assert scheduler.resources.free == TOTAL, "resources that nobody holds"
        memory = scheduler.storage.memory
        assert not memory.arena.used, "memory that nobody can read"
        assert not memory.disk.used, "room on disk that nobody can read"
        assert not scheduler.lineage.origins, "how things were made that nobody has"


def choose(which: int, some: Sequence[T]) -> T:
    return some[which % len(some)]


def fits(scheduler: Scheduler, task: Task) -> bool:
    taken = scheduler.take(task)
    if taken is None:
        return False
    bundle, gpus = taken
    (scheduler.resources if bundle is None else bundle.supply).give(task.shape, gpus)
    return True


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.reuse, Phase.generate, Phase.shrink),
)
