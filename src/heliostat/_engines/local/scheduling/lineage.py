"""Lineage: which task made a large object, so that it can be made again if its bytes are lost. Pure.

Only tasks with a result out of line are remembered: in shared memory or on disk. They are forgotten
with the last reference to their results and to whatever was made from those, or, the oldest first,
when what is remembered grows too large. Arguments that were passed by value are not kept for this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heliostat._core.ids import nth
from heliostat._engines.local.scheduling.tasks import Task

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler

MOST_BYTES = 64 << 20  # of what is remembered
_COST = 1000  # what an origin takes beside its arguments


class Origin:
    """How an object was made."""

    __slots__ = ("heirs", "results", "size", "sources", "task")

    def __init__(self, task: Task, results: set[bytes], sources: set[bytes]) -> None:
        self.task = task
        self.results = results  # out of line, and not freed yet
        self.sources = sources  # remembered tasks whose results are its arguments
        self.heirs = 0  # remembered tasks whose arguments are its results
        _, data, buffers, _ = task.event.call
        self.size = _COST + len(data) + sum(map(len, buffers))


class Lineage:
    """The origins of a session's objects; works on the tables of the Scheduler.

    Args:
        scheduler: Whose tasks are remembered.
        most: How many bytes to remember.
    """

    def __init__(self, scheduler: Scheduler, most: int = MOST_BYTES) -> None:
        self.origins: dict[bytes, Origin] = {}  # by task; the oldest first
        self.again: set[bytes] = set()  # tasks that run once more
        self.size = 0
        self._scheduler = scheduler
        self._most = most

    def remember(self, task: Task, results: set[bytes]) -> None:
        """A task has ended, and these of its results are out of line."""
        old = self.origins.get(task.id)
        if old is not None:  # it ran once more
            old.task, old.results = task, old.results | results
            return
        event = task.event
        if task.num_returns < 1 or event.call_id is not None or (task.actor and not task.retries):
            return
        needed = {nth(id_, 0) for id_ in (*event.needs, *event.call[3])}
        sources = {source for source in needed if source in self.origins}
        for source in sources:
            self.origins[source].heirs += 1
        origin = self.origins[task.id] = Origin(task, results, sources)
        self.size += origin.size
        while self.size > self._most:
            self._forget(next(iter(self.origins)))

    def has(self, id_: bytes) -> bool:
        """Whether a result is there already, from an earlier run of its task."""
        entry = self._scheduler.owned.objects.get(id_)
        return entry is not None and entry.value is not None

    def ran_again(self, task: bytes) -> bool:
        """Whether a task that has ended had run before, and its results were lost."""
        ran = task in self.again
        self.again.discard(task)
        return ran

    def freed(self, id_: bytes) -> None:
        """Nobody refers to an object any more."""
        origin = self.origins.get(nth(id_, 0))
        if origin is not None:
            origin.results.discard(id_)
            self._perhaps_forget(nth(id_, 0))

    def _perhaps_forget(self, task: bytes) -> None:
        ends = [task]  # one after the other: they can form a long chain
        while ends:
            origin = self.origins.get(ends[-1])
            if origin is None or origin.results or origin.heirs:
                ends.pop()
                continue
            last = ends.pop()
            ends.extend(self._forget(last))

    def _forget(self, task: bytes) -> set[bytes]:
        origin = self.origins.pop(task)
        self.size -= origin.size
        for source in origin.sources:
            if source in self.origins:
                self.origins[source].heirs -= 1
        return origin.sources

    def clear(self) -> None:
        """Forget all."""
        self.origins.clear()
        self.again.clear()
        self.size = 0

    # Making an object again

    def obstacle(self, id_: bytes) -> tuple[str, bool] | None:
        """Why an object cannot be made again, and whether it could have been; None if it can."""
        seen: set[bytes] = set()
        looks = [(id_, "")]
        while looks:
            wanted, whose = looks.pop()
            task = nth(wanted, 0)
            if task in seen or self._makes_again(task):
                continue
            seen.add(task)
            origin = self.origins.get(task)
            if origin is None:
                if not whose:
                    return (
                        "It cannot be made again: put() or a generator made it, or what made it is "
                        "forgotten",
                        False,
                    )
                return f"{whose} cannot run again: its argument {wanted.hex()} is gone", True
            if origin.task.retries == 0:
                return f"{origin.task.name} must not run again: its retries are used up", bool(
                    whose
                )
            why = self._scheduler.actors.obstacle(origin.task)
            if why:
                return why, True
            needs = (*origin.task.event.needs, *origin.task.event.call[3])
            looks.extend((need, origin.task.name) for need in needs if self._gone(need))
        return None

    def _makes_again(self, task: bytes) -> bool:
        """Whether it is under way, and has not made what was lost; a stream has."""
        running = self._scheduler.tasks.get(task)
        return running is not None and running.num_returns >= 0

    def _gone(self, id_: bytes) -> bool:
        entry = self._scheduler.owned.objects.get(id_)
        return entry is None or (entry.value is None and entry.task is None)

    def rebuild(self, id_: bytes) -> None:
        """Run the task that made an object again, and before it those that made its arguments."""
        again: dict[bytes, Task] = {}
        looks = [nth(id_, 0)]
        while looks:
            task = looks.pop()
            if task in again or task in self._scheduler.tasks:
                continue
            old = self.origins[task].task
            new = again[task] = old.again()
            looks.extend(nth(need, 0) for need in self._needs(new) if self._gone(need))
        for new in again.values():
            self._hold(new)
        for new in again.values():
            self._scheduler.admit_again(new)

    def _needs(self, task: Task) -> tuple[bytes, ...]:
        return (*task.event.needs, *task.event.call[3])

    def _hold(self, task: Task) -> None:
        """Its results are its to make, unless they are there; its arguments are needed."""
        scheduler = self._scheduler
        owned = scheduler.owned
        scheduler.tasks[task.id] = task
        self.again.add(task.id)
        for index in range(task.num_returns):
            entry = owned.ensure(nth(task.id, index))
            if entry.value is None:
                entry.task = task.id
        task.holds = self._needs(task)
        owned.hold(task.holds)

    def check(self) -> None:
        """Assert that what is remembered is needed."""
        assert self.size == sum(origin.size for origin in self.origins.values())
        heirs = dict.fromkeys(self.origins, 0)
        for task, origin in self.origins.items():
            assert origin.results or origin.heirs or task in self._scheduler.tasks
            for source in origin.sources:
                if source in heirs:
                    heirs[source] += 1
        assert all(origin.heirs == heirs[task] for task, origin in self.origins.items())
