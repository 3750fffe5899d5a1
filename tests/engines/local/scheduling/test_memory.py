"""What leaves shared memory and what comes back: whatever happens, nobody reads the wrong bytes.

`World` is the arena, the disk and the processes: it writes numbers where it is told, moves them
when asked to, and reads back what it wrote.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from heliostat._engines.local.messages import DRIVER, ReadIn, Truncate, WriteOut
from heliostat._engines.local.scheduling import memory as decided
from heliostat._engines.local.scheduling.arena import ALIGN
from heliostat._engines.local.scheduling.memory import ASK_S, GRACE_S, Memory, Request
from heliostat.exceptions import ObjectStoreFullError, OutOfDiskError

WHICH = st.integers(0, 50)
ROOM = 4  # pages
WORKER, OTHER = 1, 2


class World:
    """Memory, and what it decides about."""

    def __init__(self, room: int = ROOM) -> None:
        self.memory = Memory(room * ALIGN, lambda proc, id_: id_ in self.lent[proc])
        self.now = 100.0
        self.lent: dict[int, set[bytes]] = {WORKER: set(), OTHER: set()}
        self.bytes: dict[int, int] = {}  # of shared memory, by page: who wrote there
        self.disk: dict[int, int] = {}
        self.written: dict[bytes, int] = {}  # objects: what was written
        self.moves: deque[Any] = deque()
        self.fetching: dict[int, bytes] = {}  # number of the question -> object
        self.reserving: dict[int, int] = {}  # number of the question -> pages
        self.asked: deque[decided.AskBack] = deque()
        self.errors: list[Exception] = []
        self.busy: set[int] = set()
        self.unkept: list[Any] = []
        self._count = 0

    def look(self) -> None:
        """Let it decide, and carry out what it says."""
        if self.memory.waiting:
            self.memory.look(self.now, lambda proc: proc in self.busy)
        out, self.memory.out = self.memory.out, []
        for told in out:
            match told:
                case WriteOut() | ReadIn() | Truncate():
                    self.moves.append(told)
                case decided.AskBack():
                    self.asked.append(told)
                case decided.Granted(request, None):
                    self.check_bytes(self.fetching.pop(request.number))
                case decided.Granted(request, extent):
                    self.write(extent.offset, self.reserving.pop(request.number))
                case decided.Refused(request, error):
                    self.fetching.pop(request.number, None)
                    self.reserving.pop(request.number, None)
                    self.errors.append(error)
                case decided.Unkept(task, ids):
                    self.unkept.append((task, ids))
                case decided.Lost(id_, _):
                    self.forget(id_)
        self.memory.check()

    def put(self, pages: int, proc: int = DRIVER) -> bytes | None:
        """A new object; None if it has to wait for room."""
        self._count += 1
        request = Request(proc, self._count, pages * ALIGN)
        extent = self.memory.reserve(request, self.now)
        id_ = None
        if extent is None:
            self.reserving[self._count] = pages
        else:
            id_ = self.write(extent.offset, pages)
        self.look()
        return id_

    def write(self, offset: int, pages: int) -> bytes:
        self._count += 1
        id_ = self._count.to_bytes(4, "big")
        for page in range(pages):
            self.bytes[offset // ALIGN + page] = self._count
        self.written[id_] = self._count
        self.memory.add(id_, offset)
        return id_

    def fetch(self, id_: bytes, proc: int = DRIVER, task: Any = None) -> None:
        """A process wants to look at an object."""
        if task is None and self.memory.inside(id_):
            self.check_bytes(id_)
            if proc == DRIVER:
                self.memory.view(id_)
            else:
                self.lent[proc].add(id_)
                self.memory.sent(proc, id_)
        else:
            if proc != DRIVER:
                self.lent[proc].add(id_)
            self._count += 1
            self.fetching[self._count] = id_
            size = self.memory.objects[id_].size
            self.memory.wait(Request(proc, self._count, size, id_, task), self.now)
        self.look()

    def check_bytes(self, id_: bytes) -> None:
        held = self.memory.objects[id_]
        for page in range(held.size // ALIGN):
            assert self.bytes[held.offset // ALIGN + page] == self.written[id_], "wrong bytes"

    def die(self, proc: int) -> None:
        """A process ends."""
        for request in self.memory.waiting:
            if request.proc == proc:
                self.reserving.pop(request.number, None)
                self.fetching.pop(request.number, None)
        self.lent[proc].clear()
        self.memory.forget(proc)
        self.look()

    def give_back(self, proc: int) -> None:
        """A process answers the last request to let go."""
        for asked in [asked for asked in self.asked if asked.proc == proc]:
            self.asked.remove(asked)
            self.memory.returned(proc, asked.ticket, asked.ids)
        self.look()

    def free(self, id_: bytes) -> None:
        self.memory.free(id_)
        self.forget(id_)
        self.look()

    def forget(self, id_: bytes) -> None:
        del self.written[id_]
        for number in [n for n, wanted in self.fetching.items() if wanted == id_]:
            del self.fetching[number]
        self.memory.withdraw(lambda request: request.id == id_)
        for ids in self.lent.values():
            ids.discard(id_)

    def move(self, error: Exception | None = None) -> None:
        """The oldest move ends."""
        match self.moves.popleft():
            case WriteOut(id_, offset, size, slot):
                for page in range(size // ALIGN):
                    self.disk[slot // ALIGN + page] = self.bytes[offset // ALIGN + page]
                self.memory.written(id_, 7, error)
            case ReadIn(id_, offset, size, slot, checksum):
                assert checksum == 7
                for page in range(size // ALIGN):
                    self.bytes[offset // ALIGN + page] = self.disk[slot // ALIGN + page]
                self.memory.read(id_, error)
            case Truncate():
                if not self.moves:
                    self.disk.clear()
        self.look()

    def settle(self) -> None:
        while self.moves:
            self.move()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.look()

    def state(self, id_: bytes | None) -> str:
        assert id_ is not None
        return self.memory.objects[id_].state


def test_the_least_recently_used_object_leaves_first() -> None:
    world = World()
    first, second = world.put(2), world.put(2)
    assert first is not None
    world.fetch(first)
    world.memory.unview(first)
    assert world.put(2) is None
    world.settle()
    assert (world.state(first), world.state(second)) == ("here", "away")


def test_no_more_leaves_than_is_needed() -> None:
    world = World()
    ids = [world.put(1) for _ in range(4)]
    world.put(2)
    world.settle()
    assert [world.state(id_) for id_ in ids] == ["away", "away", "here", "here"]


def test_what_somebody_looks_at_stays() -> None:
    world = World()
    first, second = world.put(2), world.put(2)
    assert first is not None
    world.fetch(first)
    world.put(2)
    world.settle()
    assert (world.state(first), world.state(second)) == ("here", "away")


def test_what_comes_back_and_leaves_again_is_not_written_twice() -> None:
    world = World()
    first = world.put(4)
    assert first is not None
    second = None
    world.put(4)
    world.settle()
    world.fetch(first)
    world.settle()
    assert world.state(first) == "both"
    world.memory.unview(first)
    assert world.put(2) is None or second is None
    assert not any(isinstance(move, WriteOut) and move.id == first for move in world.moves)


def test_a_look_at_what_is_leaving_keeps_it() -> None:
    world = World()
    first = world.put(4)
    assert first is not None
    world.put(2)
    assert world.state(first) == "leaving"
    world.fetch(first)
    world.settle()
    assert world.state(first) == "both"


def test_a_process_that_was_told_a_place_is_asked_to_forget_it() -> None:
    world = World()
    first = world.put(4)
    assert first is not None
    world.fetch(first, WORKER)
    assert world.put(2) is None
    assert not world.moves
    world.give_back(WORKER)
    world.settle()
    assert world.state(first) == "away"


def test_an_answer_that_crossed_with_a_new_message_does_not_count() -> None:
    world = World()
    first = world.put(4)
    assert first is not None
    world.fetch(first, WORKER)
    world.put(2)
    world.fetch(first, WORKER)  # told again, while its answer is on the way
    world.give_back(WORKER)
    assert world.state(first) == "here"


def test_who_has_given_everything_back_is_not_asked() -> None:
    world = World()
    first = world.put(4)
    assert first is not None
    world.fetch(first, WORKER)
    world.lent[WORKER].clear()
    world.put(2)
    world.settle()
    assert world.state(first) == "away"


def test_no_room_and_nobody_who_could_make_some_is_an_error_after_a_while() -> None:
    world = World()
    first = world.put(4)
    assert first is not None
    world.fetch(first)
    world.put(2)
    world.wait(GRACE_S / 2)
    assert not world.errors
    world.wait(GRACE_S)
    assert isinstance(world.errors[0], ObjectStoreFullError)
    assert world.memory.deadline() is None


def test_a_busy_process_may_still_make_room() -> None:
    world = World()
    first = world.put(4)
    assert first is not None
    world.fetch(first, WORKER)
    world.busy.add(WORKER)
    world.put(2)
    for _ in range(100):
        world.wait(GRACE_S)
    assert not world.errors
    world.busy.clear()
    world.wait(GRACE_S)
    assert world.errors


def test_a_busy_process_that_waits_for_room_itself_makes_none() -> None:
    world = World()
    first = world.put(4)
    assert first is not None
    world.fetch(first, WORKER)
    world.busy.add(WORKER)
    world.put(2, WORKER)
    world.wait(2 * GRACE_S)
    assert world.errors


def test_who_does_not_answer_is_asked_again() -> None:
    world = World()
    first = world.put(4)
    assert first is not None
    world.fetch(first, WORKER)
    world.busy.add(WORKER)
    world.put(2)
    assert len(world.asked) == 1
    world.wait(ASK_S)
    assert len(world.asked) == 2


def test_a_full_disk_is_the_error_of_who_waits_and_of_nobody_else() -> None:
    world = World()
    first = world.put(4)
    world.put(2)
    world.move(OutOfDiskError("full"))
    assert isinstance(world.errors[0], OutOfDiskError)
    assert world.state(first) == "here"
    assert not world.memory.disk.used


def test_a_value_larger_than_everything_is_refused_at_once() -> None:
    world = World()
    with pytest.raises(ObjectStoreFullError, match="larger than the shared memory budget of"):
        world.put(ROOM + 1)


def test_memory_that_was_never_written_stays_fresh() -> None:
    memory = Memory(ROOM * ALIGN)
    extent = memory.reserve(Request(DRIVER, 1, 2 * ALIGN), 0.0)
    assert extent == (0, True)
    memory.unreserve(0)
    assert memory.reserve(Request(DRIVER, 2, ALIGN), 0.0) == (0, True)


def test_the_machine_may_have_less_memory_than_the_budget() -> None:
    world = World()
    first = world.put(2)
    world._count += 1
    request = Request(DRIVER, world._count, 2 * ALIGN)
    world.reserving[world._count] = 2
    assert world.memory.reserve(request, world.now, growth=ALIGN) is None
    world.look()
    world.settle()
    assert world.state(first) == "away", "its place is used again, rather than fresh memory"
    assert not world.reserving


def test_memory_that_the_machine_has_again_is_for_who_waits() -> None:
    world = World()
    world._count += 1
    world.reserving[world._count] = 2
    assert world.memory.reserve(Request(DRIVER, world._count, 2 * ALIGN), world.now, 0) is None
    world.look()
    assert world.reserving
    world.memory.grow(4 * ALIGN)
    world.look()
    assert not world.reserving


def test_what_a_task_keeps_that_cannot_be_sent_makes_room_for_who_holds_its_cpu() -> None:
    """Else they wait for each other for ever: it for the CPU, and the other for room."""
    world = World()
    old, new = world.put(4), world.put(4)
    assert old is not None
    assert new is None
    world.settle()
    (new,) = [id_ for id_ in world.written if id_ != old]
    world.fetch(old, task="ready")
    world.settle()
    assert world.state(old) == "both"
    world.busy.add(WORKER)
    world.put(2, WORKER)
    world.wait(2 * GRACE_S)
    world.look()
    world.settle()
    assert not world.errors
    assert not world.reserving
    assert world.unkept == [("ready", (old,))]


def test_no_task_takes_the_room_that_was_made_for_another() -> None:
    world = World()
    old, new = world.put(4), world.put(4)
    assert old is not None
    assert new is None
    world.settle()
    world.fetch(old, task="ready")
    world.settle()
    world.put(2, WORKER)
    first = world.memory.waiting[0]
    world.memory._unkeep_for(first)
    world.memory.waiting.append(Request(DRIVER, 0, 4 * ALIGN, old, "ready"))
    world.look()
    world.settle()
    assert not world.reserving


def test_tasks_are_served_one_after_the_other() -> None:
    """Else each of two could have half of what it needs, and wait for the other's for ever."""
    world = World()
    old = [world.put(2), world.put(2)]
    new = [world.put(2), world.put(2)]
    world.settle()
    assert [world.state(id_) for id_ in old] == ["away", "away"]
    new = [id_ for id_ in world.written if id_ not in old]
    for id_ in new:
        world.fetch(id_)
    world.fetch(old[0] or b"", task="first")
    world.fetch(old[1] or b"", task="second")
    world.memory.unview(new[0])
    world.look()
    world.settle()
    assert [world.state(id_) for id_ in old] == ["both", "away"]
    world.memory.unkeep("first")
    world.look()
    world.settle()
    assert [world.state(id_) for id_ in old] == ["away", "both"]


class Histories(RuleBasedStateMachine):
    """Anything in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def pick(self, which: int) -> bytes:
        known = sorted(self.world.written)
        return known[which % len(known)]

    @rule(pages=st.integers(1, ROOM), proc=st.sampled_from([DRIVER, DRIVER, WORKER]))
    def put(self, pages: int, proc: int) -> None:
        self.world.put(pages, proc)

    @precondition(lambda self: self.world.written)
    @rule(which=WHICH, proc=st.sampled_from([DRIVER, WORKER, OTHER]))
    def fetch(self, which: int, proc: int) -> None:
        self.world.fetch(self.pick(which), proc)

    @precondition(lambda self: self.world.written)
    @rule(which=WHICH)
    def look_away(self, which: int) -> None:
        id_ = self.pick(which)
        if self.world.memory.objects[id_].views:
            self.world.memory.unview(id_)
            self.world.look()

    @precondition(lambda self: self.world.written)
    @rule(which=WHICH)
    def free(self, which: int) -> None:
        id_ = self.pick(which)
        if not self.world.memory.objects[id_].views:
            self.world.free(id_)

    @rule(proc=st.sampled_from([WORKER, OTHER]))
    def give_back(self, proc: int) -> None:
        self.world.give_back(proc)

    @rule(proc=st.sampled_from([WORKER, OTHER]))
    def die(self, proc: int) -> None:
        self.world.die(proc)

    @precondition(lambda self: self.world.moves)
    @rule(fails=st.sampled_from([False, False, False, True]))
    def move(self, fails: bool) -> None:
        self.world.move(OSError("no") if fails else None)

    @rule(seconds=st.sampled_from([0.0, ASK_S, 2 * GRACE_S]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @invariant()
    def what_is_in_memory_is_what_was_written(self) -> None:
        world = self.world
        assert world.memory.objects.keys() == world.written.keys()
        for id_, held in world.memory.objects.items():
            where = world.disk if held.state == "away" else world.bytes
            start = (held.slot if held.state == "away" else held.offset) // ALIGN
            if held.state != "coming":
                assert where[start] == world.written[id_], f"{held.state}: wrong bytes"

    def teardown(self) -> None:
        """Everybody lets go; whoever waited is served or refused, and nothing is left."""
        world = self.world
        for proc in (WORKER, OTHER):
            world.die(proc)
        for _ in range(100):
            world.settle()
            for id_, held in world.memory.objects.items():
                for _ in range(held.views):
                    world.memory.unview(id_)
            if not world.memory.waiting:
                break
            world.wait(GRACE_S)
        assert not world.memory.waiting
        assert not world.reserving
        assert not world.fetching
        for id_ in list(world.written):
            world.free(id_)
        world.settle()
        assert not world.memory.arena.used
        assert not world.memory.disk.used


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.reuse, Phase.generate, Phase.shrink),
)
