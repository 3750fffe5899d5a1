"""Who keeps an object alive, and when it may be dropped. Counting only; no I/O.

An object is held by the driver's references and views (one each), by what was delivered to
worker processes (given back with `Dropped`), by tasks that wait for it, by values that contain a
reference to it, and by streams for items that nobody took yet. What an actor's process has of the
actor itself does not keep it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

from heliostat._engines.local.messages import DRIVER, OUT_OF_LINE, Value


class Entry:
    """One object: its count, its value once it is there, and the task that makes it."""

    __slots__ = ("count", "items", "task", "value", "wanted")

    def __init__(self, task: bytes | None) -> None:
        self.count = 0
        self.value: Value | None = None
        self.task = task
        self.wanted: set[int] | None = None  # processes to deliver the value to
        self.items: set[bytes] | None = None  # a stream's items that nobody took yet


class Ownership:
    """The table of all objects of a session."""

    def __init__(self) -> None:
        self.objects: dict[bytes, Entry] = {}
        self._lent: defaultdict[int, dict[bytes, int]] = defaultdict(dict)
        self._own: dict[int, bytes] = {}  # the actor that a process hosts
        self._ends: deque[tuple[bytes, Entry]] = deque()  # objects whose count came to zero
        self.freed: list[bytes] = []  # objects in the arena or on disk that nobody holds any more
        self.unheld: list[bytes] = []  # entries without holders and value, e.g. actors to end

    def create(self, id_: bytes, proc: int, task: bytes | None) -> Entry:
        """A new object, held once by the process that asked for it."""
        entry = self.objects[id_] = Entry(task)
        entry.count = 1
        if proc != DRIVER:
            self._lend(proc, id_, 1)
        return entry

    def ensure(self, id_: bytes) -> Entry:
        """The object's entry; made if it is not known (an item that was not yielded yet)."""
        entry = self.objects.get(id_)
        if entry is None:
            entry = self.objects[id_] = Entry(None)
        return entry

    def hold(self, ids: Iterable[bytes]) -> None:
        """Keep these alive for a task or a value."""
        for id_ in ids:
            self.ensure(id_).count += 1

    def release(self, ids: Iterable[bytes]) -> None:
        """The end of `hold`."""
        for id_ in ids:
            self.drop(id_, 1)

    def lend(self, proc: int, id_: bytes) -> None:
        """The process was given the object, or a reference to it."""
        if proc == DRIVER:
            self.ensure(id_).count += 1
            return
        if not self._own or self._own.get(proc) != id_:
            self.ensure(id_).count += 1
        self._lend(proc, id_, 1)

    def become(self, proc: int, actor: bytes) -> None:
        """The process hosts this actor from now on."""
        self._own[proc] = actor
        already = self._lent[proc].get(actor)
        if already:
            self.drop(actor, already)

    def _lend(self, proc: int, id_: bytes, times: int) -> None:
        lent = self._lent[proc]
        lent[id_] = lent.get(id_, 0) + times

    def give_back(self, proc: int, id_: bytes, times: int) -> None:
        """A worker process has no use for the object any more."""
        lent = self._lent[proc]
        left = lent.get(id_, 0) - times
        assert left >= 0, f"worker {proc} gave back more than it was lent"
        if left:
            lent[id_] = left
        else:
            del lent[id_]
        if not self._own or self._own.get(proc) != id_:
            self.drop(id_, times)

    def has(self, proc: int, id_: bytes) -> bool:
        """Whether a worker process holds what it was lent."""
        return id_ in self._lent.get(proc, ())

    def holders(self) -> dict[bytes, dict[int, int]]:
        """Which worker processes hold each object, and how often."""
        found: defaultdict[bytes, dict[int, int]] = defaultdict(dict)
        for proc, lent in self._lent.items():
            for id_, times in lent.items():
                found[id_][proc] = times
        return found

    def forget(self, proc: int) -> None:
        """A process is gone, and all that it held."""
        own = self._own.pop(proc, None)
        for id_, times in self._lent.pop(proc, {}).items():
            if id_ != own:
                self.drop(id_, times)

    def drop(self, id_: bytes, times: int) -> None:
        """Lower the count; at zero the value goes, and what only it referred to."""
        entry = self.objects.get(id_)
        if entry is None:
            return
        entry.count -= times
        if entry.count > 0:
            return
        value = entry.value
        if value is None or value[3] or entry.items or self._ends:
            self._end(id_, entry)
        else:  # nearly always: nothing else goes with it
            del self.objects[id_]
            self.unheld.append(id_)
            if value[0] in OUT_OF_LINE:
                self.freed.append(id_)

    def _end(self, id_: bytes, entry: Entry) -> None:
        # One after the other, not one inside the other: references can form a long chain.
        self._ends.append((id_, entry))
        if len(self._ends) > 1:
            return
        while self._ends:
            self._unhold(*self._ends[0])
            self._ends.popleft()

    def _unhold(self, id_: bytes, entry: Entry) -> None:
        if entry.items:
            items, entry.items = entry.items, None
            self.release(items)
        self.unheld.append(id_)
        if entry.value is None:
            if entry.task is None:
                self.objects.pop(id_, None)
            return
        if self.objects.pop(id_, None) is None:
            return  # its end was noted twice
        if entry.value[0] in OUT_OF_LINE:
            self.freed.append(id_)
        self.release(entry.value[3])

    def resolve(self, id_: bytes, value: Value) -> Entry:
        """The value is there. It goes at once if nobody holds it."""
        entry = self.objects.get(id_)
        if entry is None:
            entry = self.objects[id_] = Entry(None)
        entry.value, entry.task = value, None
        if value[3]:
            self.hold(value[3])
        return entry

    def settle(self, id_: bytes, entry: Entry) -> None:
        """After a resolved value was delivered: let it go if nobody holds it."""
        if entry.count <= 0 and id_ in self.objects:
            self._end(id_, entry)

    def check(self) -> None:
        """Assert that counts are sane."""
        all_lent: dict[bytes, int] = {}
        for proc, held in self._lent.items():
            for id_, times in held.items():
                if id_ == self._own.get(proc):
                    continue
                all_lent[id_] = all_lent.get(id_, 0) + times
        for id_, entry in self.objects.items():
            lent = all_lent.get(id_, 0)
            assert entry.count >= lent, f"{id_.hex()}: {entry.count} held, {lent} lent to workers"
            assert entry.count > 0 or entry.value is None, f"{id_.hex()}: a value nobody holds"
