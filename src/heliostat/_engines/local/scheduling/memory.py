"""Memory: which objects are in shared memory, which on disk, and what moves between. Pure.

Whoever needs room gets it at once if there is some; otherwise objects that nobody looks at go to
disk, least recently used first, and it waits. Objects come back when they are wanted. An object is
in one state:

here       in shared memory
leaving    in shared memory, while its bytes are written to disk
both       in shared memory, with a copy on disk
away       on disk
coming     on disk, while its bytes are read into shared memory

It knows nothing of values, tasks and files: ranges, identifiers, processes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from heliostat._engines.local.messages import DRIVER, Message, ReadIn, Truncate, WriteOut
from heliostat._engines.local.scheduling.arena import Arena, Extent, aligned
from heliostat.exceptions import ObjectStoreFullError

ASK_S = 0.1  # how often processes are asked to let go of what they do not look at
GRACE_S = 0.5  # how long to wait for room when nothing moves and nobody is busy

MOVES = {
    ("here", "leaving"),
    ("leaving", "here"),  # it could not be written
    ("leaving", "both"),  # somebody looks at it again
    ("leaving", "away"),
    ("both", "away"),
    ("away", "coming"),
    ("coming", "both"),
}
_IN_MEMORY = ("here", "leaving", "both")


# What is to be done or told, in `Memory.out`


class Granted(Message):
    """A request for memory has its range, or one for an object finds it in memory, pinned."""

    request: Any
    extent: Extent | None


class Refused(Message):
    """A request cannot be fulfilled."""

    request: Any
    error: Exception


class Moved(Message):
    """An object is in shared memory at this offset now; or on disk, if None."""

    id: bytes
    offset: int | None


class Lost(Message):
    """An object's bytes on disk are not what was written. It is forgotten here."""

    id: bytes
    error: Exception


class Unkept(Message):
    """A task that was not sent yet has to have these brought into memory once more."""

    task: Any
    ids: tuple[bytes, ...]


class AskBack(Message):
    """Ask a process to let go of those that it does not look at."""

    proc: int
    ticket: int
    ids: tuple[bytes, ...]


class Request:
    """Somebody who waits for room: for a new value, or to have an object (`id`) in memory.

    Args:
        proc: The process that asks.
        number: Of its question.
        size: How much room, in bytes.
        id: The object to have in memory; None: room for a new one.
        task: The task that needs the object as an argument, and has not been sent yet.
    """

    __slots__ = ("id", "number", "proc", "size", "task")

    def __init__(
        self, proc: int, number: int, size: int, id_: bytes | None = None, task: Any = None
    ) -> None:
        self.proc, self.number, self.size, self.id, self.task = proc, number, size, id_, task


class Held:
    """One object."""

    __slots__ = (
        "checksum",
        "freed",
        "id",
        "keepers",
        "offset",
        "readers",
        "size",
        "slot",
        "state",
        "views",
    )

    def __init__(self, id_: bytes, offset: int, size: int) -> None:
        self.id = id_
        self.offset = offset
        self.size = size
        self.slot = -1
        self.checksum = 0
        self.state = "here"
        self.views = 0  # of the driver's
        self.keepers = 0  # tasks that fetched it and were not sent yet
        # Processes that may know where it is, with the ticket of the last request to let go.
        self.readers: dict[int, int] = {}
        self.freed = False  # nobody refers to it; it goes as soon as it is not being moved

    def move(self, state: str) -> None:
        """Go to another state; an impossible move is a bug in Memory."""
        assert (self.state, state) in MOVES, f"{self.id.hex()}: {self.state} -> {state}"
        self.state = state


class Memory:
    """Grants ranges of the arena, and decides what leaves it for the disk.

    Args:
        capacity: Of the arena, in bytes.
        lent: Whether a process still has an object that it was given.
    """

    def __init__(
        self, capacity: int, lent: Callable[[int, bytes], bool] = lambda proc, id_: True
    ) -> None:
        self.arena = Arena(capacity)
        self.disk = Arena(1 << 62)
        self.objects: dict[bytes, Held] = {}  # least recently used first
        self.waiting: list[Request] = []  # who waits; tasks that were not sent yet come last
        self.away = 0  # objects that are not in memory
        self.out: list[Any] = []
        self.kept: dict[Any, list[bytes]] = {}  # what tasks fetched that were not sent yet
        self._moving: dict[bytes, Held] = {}  # leaving or coming, by the id that the move has
        self._lent = lent
        # offset -> by whom, the number of the question, whether fresh
        self.writing: dict[int, tuple[int, int, bool]] = {}
        self._growth: int | None = None  # memory of the machine that may be used in addition
        self._leaving = self._coming = 0  # bytes that are on their way
        self._ticket = 0
        self._urgent: Request | None = None  # no task has anything brought in before it
        self._asked = self._changed = 0.0

    # Room for new values

    def reserve(self, request: Request, now: float, growth: int | None = None) -> Extent | None:
        """Where the process may write; None if it has to wait for `Granted` or `Refused`.

        Raises:
            ObjectStoreFullError: If the value is larger than the whole arena.
        """
        if growth is not None:
            self.grow(growth)
        extent = self._grant(request)
        if extent is not None:
            return extent
        if aligned(request.size) > self.arena.capacity:
            raise self._full(request)
        self.wait(request, now)
        return None

    def grow(self, growth: int) -> None:
        """So much memory that was never used before may be used now."""
        self._growth = growth

    def _grant(self, request: Request) -> Extent | None:
        extent = self._allocate(request.size)
        if extent is not None:
            self.writing[extent.offset] = request.proc, request.number, extent.fresh
        return extent

    def _allocate(self, size: int) -> Extent | None:
        top = self.arena.top
        extent = self.arena.allocate(size, self._growth)
        if self._growth is not None:
            self._growth -= self.arena.top - top
        return extent

    def unreserve(self, offset: int) -> None:
        """The process could not write after all."""
        *_, fresh = self.writing.pop(offset)
        self.arena.free(offset, written=not fresh)

    def writes(self, proc: int, offset: int) -> bool:
        """Whether a process was given this range, and has not said which object it is."""
        return offset in self.writing and self.writing[offset][0] == proc

    def take_back(self, proc: int, number: int) -> None:
        """Who asked this does not want it any more: neither to wait for room, nor what it got."""
        self.withdraw(lambda r: r.task is None and (r.proc, r.number) == (proc, number))
        for offset, (by, asked, _) in list(self.writing.items()):
            if (by, asked) == (proc, number):
                self.unreserve(offset)

    def entrust(self, offset: int) -> None:
        """What was written stays if its writer dies: somebody will say which object it is."""
        self.writing[offset] = DRIVER, 0, False

    def discard(self, offset: int) -> None:
        """What was written came too late to be anybody's."""
        del self.writing[offset]
        self.arena.free(offset)

    def forget(self, proc: int) -> None:
        """The process is gone, with what it had begun to write and what it waited for."""
        for offset, (by, *_) in list(self.writing.items()):
            if by == proc:
                self.unreserve(offset)
        self.waiting = [r for r in self.waiting if r.proc != proc or r.task is not None]

    # Objects

    def add(self, id_: bytes, offset: int) -> None:
        """A value was written; from now on it is this object."""
        del self.writing[offset]
        self.objects[id_] = Held(id_, offset, self.arena.size_of(offset))

    def free(self, id_: bytes) -> None:
        """Nobody refers to the object any more."""
        held = self.objects.pop(id_)
        self.away -= held.state in ("away", "coming")
        if held.state in ("leaving", "coming"):
            held.freed = True
        else:
            self._let_go(held)

    def hide(self, id_: bytes, other: bytes) -> None:
        """Nobody can ask for the object any more; it stays where it is until `free(other)`."""
        held = self.objects.pop(id_)
        held.id, held.views = other, 1
        self.objects[other] = held

    # Who may not be moved

    def inside(self, id_: bytes) -> bool:
        """Whether the object is in shared memory."""
        held = self.objects.get(id_)
        return held is not None and held.state in _IN_MEMORY

    def view(self, id_: bytes) -> bool:
        """The driver looks at it, once more, if it is in memory."""
        held = self.objects.get(id_)
        if held is None or held.state not in _IN_MEMORY:
            return False
        held.views += 1
        self._touch(held)
        return True

    def unview(self, id_: bytes) -> None:
        """The driver has one view less."""
        held = self.objects.get(id_)
        if held is not None:  # else it was hidden
            held.views -= 1

    def sent(self, proc: int, id_: bytes) -> None:
        """A process was told where it is."""
        held = self.objects[id_]
        held.readers[proc] = 0
        self._touch(held)

    def _pin(self, request: Request, id_: bytes) -> None:
        """It stays for who asked for it: a task until it is sent, a process as long as it looks."""
        if request.task is not None:
            self.objects[id_].keepers += 1
            self.kept.setdefault(request.task, []).append(id_)
        elif request.proc == DRIVER:
            self.view(id_)
        else:
            self.sent(request.proc, id_)

    def unkeep(self, task: Any) -> None:
        """The task was sent, or never will be: what it fetched may go."""
        for id_ in self.kept.pop(task, ()):
            held = self.objects.get(id_)
            if held is not None:
                held.keepers -= 1

    def returned(self, proc: int, ticket: int, ids: Collection[bytes]) -> None:
        """A process does not look at these, and has forgotten where they are."""
        for id_ in ids:
            held = self.objects.get(id_)
            # It may have been told again, while its answer was on the way.
            if held is not None and held.readers.get(proc) == ticket:
                del held.readers[proc]

    def _touch(self, held: Held) -> None:
        del self.objects[held.id]
        self.objects[held.id] = held

    def _pinned(self, held: Held) -> bool:
        if held.views or held.keepers:
            return True
        for proc in list(held.readers):
            if not self._lent(proc, held.id):
                del held.readers[proc]
        return bool(held.readers)

    # Who waits

    def wait(self, request: Request, now: float) -> None:
        """Wait for room, or for an object."""
        if not self.waiting:
            self._changed = now
        if request.task is None:
            tasks = sum(other.task is not None for other in self.waiting)
            self.waiting.insert(len(self.waiting) - tasks, request)
        else:
            self.waiting.append(request)

    def withdraw(self, wanted: Callable[[Request], bool]) -> list[Request]:
        """Those who do not wait any more."""
        gone = [request for request in self.waiting if wanted(request)]
        self.waiting = [request for request in self.waiting if request not in gone]
        return gone

    def look(self, now: float, busy: Callable[[int], bool]) -> None:
        """Give who waits what there is now, and begin to make room for the others.

        Args:
            now: The time.
            busy: Whether a process does something after which it may let go of what it has.
        """
        self._serve(now)
        while (first := self._first()) is not None and self._make_room(first):
            self._serve(now)
        if first is None or self._leaving or self._coming:
            self._changed = now
        elif now >= self._asked + ASK_S:
            self._asked = now
            self._ask_back()
        if first is not None and now - self._changed >= GRACE_S and not self._may_change(busy):
            if not self._unkeep_for(first):
                self._refuse(first, self._full(first))
            self._changed = now

    def _unkeep_for(self, first: Request) -> bool:
        """Let go of what tasks wait with that were not sent yet; whether there was any."""
        others = [task for task in self.kept if task is not first.task]
        for task in others:
            ids = tuple(self.kept[task])
            self.unkeep(task)
            self.out.append(Unkept(task, ids))
        self._urgent = first
        return bool(others)

    def deadline(self) -> float | None:
        """When to look again although nothing happened."""
        return self._asked + ASK_S if self.waiting else None

    def _serve(self, now: float) -> None:
        for request in list(self.waiting):
            if request.task is not None and self._urgent in self.waiting:
                return
            if request.id is None:
                extent = self._grant(request)
                if extent is not None:
                    self.waiting.remove(request)
                    self.out.append(Granted(request, extent))
                    self._changed = now
            elif self.inside(request.id):
                self.waiting.remove(request)
                self._pin(request, request.id)
                self.out.append(Granted(request, None))
                self._changed = now
            elif not self._fetch(request.id) and request.task is not None:
                return  # in order: whoever is first has all it needs before the next has any

    def _fetch(self, id_: bytes) -> bool:
        """Begin to read an object, if there is room."""
        held = self.objects.get(id_)
        if held is None or held.state != "away":
            return True  # it is on its way, or is being made again
        extent = self._allocate(held.size)
        if extent is None:
            return False
        held.offset = extent.offset
        held.move("coming")
        self._moving[id_] = held
        self._coming += held.size
        self.out.append(ReadIn(id_, held.offset, held.size, held.slot, held.checksum))
        return True

    def _first(self) -> Request | None:
        """The first who waits for room."""
        for request in self.waiting:
            if request.id is None:
                return request
            held = self.objects.get(request.id)
            if held is not None and held.state == "away":
                return request
        return None

    def _make_room(self, request: Request) -> bool:
        """Let objects go until there is room, or soon will be; whether there is some now."""
        size = aligned(request.size)
        for held in list(self._evictable()):
            if self._leaving and self.arena.room(self._growth) + self._leaving >= size:
                return False
            if held.state == "both":
                self.arena.free(held.offset)
                self._left(held)
                return True
            held.slot = self.disk.allocate(held.size).offset  # type: ignore[union-attr]  # no end
            held.move("leaving")
            self._moving[held.id] = held
            self._leaving += held.size
            self.out.append(WriteOut(held.id, held.offset, held.size, held.slot))
        return False

    def _evictable(self) -> Iterator[Held]:
        for held in self.objects.values():
            if held.state in ("here", "both") and not self._pinned(held):
                yield held

    def _ask_back(self) -> None:
        self._ticket += 1
        asked: dict[int, list[bytes]] = {}
        for held in self.objects.values():
            if held.state in ("here", "both") and not held.views and not held.keepers:
                for proc in held.readers:
                    held.readers[proc] = self._ticket
                    asked.setdefault(proc, []).append(held.id)
        self.out.extend(AskBack(proc, self._ticket, tuple(ids)) for proc, ids in asked.items())

    def _may_change(self, busy: Callable[[int], bool]) -> bool:
        """Whether somebody who does not wait for room itself may let go of something."""
        if self._leaving or self._coming:
            return True
        stuck = {request.proc for request in self.waiting if request.task is None}
        if any(by == DRIVER or by not in stuck for by, *_ in self.writing.values()):
            return True
        procs = {proc for held in self.objects.values() for proc in held.readers}
        return any(busy(proc) for proc in procs - stuck)

    def _refuse(self, request: Request, error: Exception) -> None:
        self.waiting.remove(request)
        self.out.append(Refused(request, error))

    def _full(self, request: Request) -> ObjectStoreFullError:
        arena = self.arena
        what = "a value" if request.id is None else "an object that is on disk,"
        budget = f"the shared memory budget of {arena.capacity:,} bytes"
        if request.size > arena.capacity:
            return ObjectStoreFullError(
                f"{what} of {request.size:,} bytes is larger than {budget}, so it does not fit even "
                "with everything else on disk. Pass it in pieces, or "
                "init(object_store_memory=...) with more"
            )
        return ObjectStoreFullError(
            f"{what} of {request.size:,} bytes does not fit into {budget}: {arena.used:,} are in "
            f"use and cannot be moved to disk now, and the largest free range has "
            f"{arena.largest():,}. Drop arrays and references that are not needed, pass smaller "
            "pieces, or init(object_store_memory=...) with more"
        )

    # What was moved

    def written(self, id_: bytes, checksum: int, error: Exception | None) -> None:
        """An object's bytes are on disk, or could not be written."""
        held = self._moving.pop(id_)
        self._leaving -= held.size
        if held.freed:
            self._let_go(held)
        elif error is not None:
            held.move("here")
            self._free_slot(held)
            first = self._first()
            if first is not None:
                self._refuse(first, error)
        else:
            held.checksum = checksum
            held.move("both")
            if not self._pinned(held):
                self.arena.free(held.offset)
                self._left(held)

    def read(self, id_: bytes, error: Exception | None) -> None:
        """An object's bytes are in memory again, or could not be read."""
        held = self._moving.pop(id_)
        self._coming -= held.size
        if held.freed:
            self._let_go(held)
            return
        self.away -= 1
        if error is not None:
            del self.objects[id_]
            self._let_go(held)
            self.out.append(Lost(id_, error))
        else:
            held.move("both")
            self._touch(held)
            self.out.append(Moved(id_, held.offset))

    def _left(self, held: Held) -> None:
        held.move("away")
        self.away += 1
        self.out.append(Moved(held.id, None))

    def _let_go(self, held: Held) -> None:
        if held.state != "away":
            self.arena.free(held.offset)
        self._free_slot(held)

    def _free_slot(self, held: Held) -> None:
        if held.slot < 0:
            return
        self.disk.free(held.slot)
        held.slot = -1
        if not self.disk.used:
            self.disk = Arena(self.disk.capacity)
            self.out.append(Truncate())

    def check(self) -> None:
        """Assert that ranges, states and sums agree."""
        self.arena.check()
        self.disk.check()
        every = [*self.objects.values(), *(h for h in self._moving.values() if h.freed)]
        inside = [h for h in every if h.state != "away"]
        ranges = sorted([*(h.offset for h in inside), *self.writing])
        assert len(set(ranges)) == len(ranges), "two objects in one place"
        assert self.arena.used == sum(map(self.arena.size_of, ranges))
        slots = {h.slot for h in every if h.slot >= 0}
        assert self.disk.used == sum(map(self.disk.size_of, slots))
        for held in every:
            assert (held.slot >= 0) == (held.state != "here"), held.state
            assert (held.state in ("leaving", "coming")) == (held in self._moving.values())
            pinned = held.views or held.keepers
            assert not pinned or held.state in _IN_MEMORY, f"{held.state}, and somebody looks at it"
        away = [h for h in self.objects.values() if h.state in ("away", "coming")]
        assert self.away == len(away)
        leaving = [h.size for h in self._moving.values() if h.state == "leaving"]
        assert self._leaving == sum(leaving)
