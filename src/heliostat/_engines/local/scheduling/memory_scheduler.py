"""MemoryScheduler: what it means for values and tasks that objects leave memory and come back. Pure.

`Memory` decides what moves; this class works on the tables of the Scheduler that it belongs to. A
value says where it is, so it changes when its object moves. A task whose arguments are on disk
waits for them before it is given to a worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heliostat._engines.local import failures
from heliostat._engines.local import messages as m
from heliostat._engines.local.messages import DRIVER, SPILLED, STORED
from heliostat._engines.local.scheduling import memory
from heliostat._engines.local.scheduling.arena import Extent
from heliostat._engines.local.scheduling.memory import Memory, Request
from heliostat.exceptions import ObjectStoreFullError

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler
    from heliostat._engines.local.scheduling.tasks import Task

FETCHING = 4  # tasks whose arguments are read from disk at once


class MemoryScheduler:
    """The shared memory of a session, and the disk behind it."""

    def __init__(self, scheduler: Scheduler, capacity: int) -> None:
        self.scheduler = scheduler
        self.memory = Memory(capacity, scheduler.owned.has)
        # Questions for objects that were lost and are being made again.
        self.sought: dict[bytes, list[tuple[int, int]]] = {}

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """The events that are decided here."""
        return {
            m.Reserve: self._reserve,
            m.Unreserve: self._unreserve,
            m.Fetch: self._fetch,
            m.Withdrawn: self._withdrawn,
            m.Unviewed: self._unviewed,
            m.Forgotten: self._forgotten,
            m.Written: self._moved,
            m.Read: self._moved,
        }

    # Questions

    def resolved(self, id_: bytes) -> None:
        """An object that was lost is there again, or never will be: answer who asked for it."""
        for proc, number in self.sought.pop(id_, ()):
            self._fetch(m.Fetch(proc, number, id_))

    def forget_all(self) -> None:
        """Nobody has any object any more: tell who waits for one."""
        for request in self.memory.withdraw(lambda request: request.id is not None):
            assert request.id is not None
            self._fetch(m.Fetch(request.proc, request.number, request.id))
        for id_ in list(self.sought):
            self.resolved(id_)

    def _reserve(self, event: m.Reserve) -> None:
        request = Request(event.proc, event.request, event.size)
        extent: Extent | None = None
        error: ObjectStoreFullError | None = None
        try:
            extent = self.memory.reserve(request, self.scheduler.now, event.growth)
            if extent is None:
                return
        except ObjectStoreFullError as full:
            error = full
        where = None if extent is None else tuple(extent)
        self.scheduler.out.append(m.Answer(event.proc, event.request, where, error))

    def _unreserve(self, event: m.Unreserve) -> None:
        if self.memory.writes(event.proc, event.offset):  # else it is an object already
            self.memory.unreserve(event.offset)
        self.scheduler.out.append(m.Answer(event.proc, event.request, None, None))

    def _fetch(self, event: m.Fetch) -> None:
        """A process wants to read an object that was on disk when it last heard of it."""
        proc, number, id_ = event
        entry = self.scheduler.owned.objects.get(id_)
        value = failures.lost(id_) if entry is None else entry.value
        if value is None:
            self.sought.setdefault(id_, []).append((proc, number))
        elif value[0] == SPILLED:
            size = self.memory.objects[id_].size
            self.memory.wait(Request(proc, number, size, id_), self.scheduler.now)
        else:
            if value[0] == STORED and proc == DRIVER:
                self.memory.view(id_)
            elif value[0] == STORED:
                self.memory.sent(proc, id_)
            self.scheduler.out.append(m.Answer(proc, number, value, None))

    def _withdrawn(self, event: m.Withdrawn) -> None:
        """A process does not want its answer any more; if it is there, it is undone."""
        proc, number, question, about, answer = event
        self.memory.take_back(proc, number)
        for seekers in self.sought.values():
            if (proc, number) in seekers:
                seekers.remove((proc, number))
        if answer is None or answer.error is not None:
            return
        if question == "fetch" and answer.payload[0] == STORED:
            self.memory.unview(about)
        elif question in ("create", "find", "actor"):  # a handle that nobody took
            self.scheduler.owned.drop(answer.payload[0], 1)

    def _forgotten(self, event: m.Forgotten) -> None:
        self.memory.returned(event.proc, event.ticket, event.ids)
        worker = self.scheduler.workers.get(event.proc)
        if worker is not None and event.busy:
            worker.called = self.scheduler.now

    def _unviewed(self, event: m.Unviewed) -> None:
        for id_ in event.ids:
            self.memory.unview(id_)
            self.scheduler.owned.drop(id_, 1)

    def _moved(self, event: m.Written | m.Read) -> None:
        if self.scheduler.owned.unheld:  # the driver dropped it just before the news of it came
            self.scheduler.sweep()
        (self.memory.read if isinstance(event, m.Read) else self.memory.written)(*event)

    # Tasks

    def absent(self, task: Task) -> bool:
        """`Scheduler.absent` of a task, where some are."""
        scheduler, objects = self.scheduler, self.memory.objects
        needs = dict.fromkeys(task.needed())
        lost = [id_ for id_ in needs if scheduler.owned.objects[id_].value is None]
        stored = [id_ for id_ in needs if id_ in objects]
        if not lost and all(map(self.memory.inside, stored)):
            return False
        task.move("waiting")
        for id_ in lost:  # what made it runs once more
            task.missing += 1
            scheduler.waiting.setdefault(id_, []).append(task)
        for id_ in stored:
            self._await(task, id_)
        return True

    def some_absent(self) -> bool:
        """Whether the argument of a task that is ready may be absent."""
        return bool(self.memory.away or self.scheduler.lineage.again)

    def _await(self, task: Task, id_: bytes) -> None:
        task.missing += 1
        size = self.memory.objects[id_].size
        self.memory.wait(Request(DRIVER, 0, size, id_, task), self.scheduler.now)

    def first_is_here(self, queue: deque[Task]) -> bool:
        """Whether the first task can be sent; those whose arguments are on disk wait for them."""
        while queue and self.some_absent():
            if self.full():
                return False
            if not self.absent(queue[0]):
                return True
            task = queue.popleft()
            if not queue:
                self.scheduler.ready.pop(task.lane(), None)
        return bool(queue)

    def full(self) -> bool:
        """Whether enough tasks wait for arguments from disk already."""
        return len({r.task.id for r in self.memory.waiting if r.task is not None}) >= FETCHING

    def stop_waiting(self, task: Task) -> None:
        """It does not need its arguments any more."""
        self.memory.withdraw(lambda request: request.task is task)

    # What Memory says

    def look(self) -> bool:
        """Carry on with what waits for room, and tell those concerned; whether there was any."""
        if self.memory.waiting:
            self.memory.look(self.scheduler.now, self._busy)
        out, self.memory.out = self.memory.out, []
        for told in out:
            self._told(told)
        return bool(out)

    def _busy(self, proc: int) -> bool:
        worker = self.scheduler.workers.get(proc)
        if worker is None or worker.blocked:
            return False
        if worker.actor is None:
            return bool(worker.tasks)
        actor = self.scheduler.actors.actors.get(worker.actor)
        if actor is None:
            return False
        called = self.scheduler.now - worker.called < memory.GRACE_S  # directly, unknown here
        return bool(actor.calls) or actor.maker.state == "running" or called

    def _told(self, told: Any) -> None:
        match told:
            case memory.Granted(request, extent):
                self._granted(request, extent)
            case memory.Refused(request, error):
                self._refused(request, error)
            case memory.Moved(id_, offset):
                entry = self.scheduler.owned.objects.get(id_)
                if entry is None:
                    return  # a task that was refused before it in the same breath held it last
                assert entry.value is not None
                where = (SPILLED, 0) if offset is None else (STORED, offset)
                entry.value = (*where, *entry.value[2:])
            case memory.AskBack(proc, ticket, ids):
                self.scheduler.out.append(m.Send(proc, m.LetGo(ticket, ids)))
                self.scheduler.out.append(m.Nudge(proc))
            case memory.Unkept(task, ids):
                if task.state == "waiting":
                    for id_ in ids:
                        self._await(task, id_)
            case memory.Lost(id_, error):
                self._lost(id_, error)
            case _:
                self.scheduler.out.append(told)

    def _granted(self, request: Request, extent: Any) -> None:
        if request.task is not None:
            self._arrived(request.task)
        elif request.id is not None:
            value = self.scheduler.owned.objects[request.id].value
            self.scheduler.out.append(m.Answer(request.proc, request.number, value, None))
        else:
            self.scheduler.out.append(m.Answer(request.proc, request.number, tuple(extent), None))

    def _refused(self, request: Request, error: Exception) -> None:
        if request.task is not None:
            self.scheduler.give_up(request.task, failures.as_value(error))
        else:
            self.scheduler.out.append(m.Answer(request.proc, request.number, None, error))

    def _arrived(self, task: Task) -> None:
        task.missing -= 1
        if not task.missing and task.state == "waiting":
            task.move("ready")
            self.scheduler.argument_ready(task, first=True)

    def _lost(self, id_: bytes, error: Exception) -> None:
        """Its bytes are gone: its task runs again, or its value is an error now."""
        scheduler = self.scheduler
        waited = self.memory.withdraw(lambda request: request.id == id_)
        entry = scheduler.owned.objects[id_]
        assert entry.value is not None
        inside, entry.value = entry.value[3], None
        obstacle = scheduler.lineage.obstacle(id_)
        if obstacle is None:
            scheduler.lineage.rebuild(id_)
        else:
            entry.value = failures.unreadable(id_, error, *obstacle)
            scheduler.lineage.freed(id_)
        scheduler.owned.release(inside)
        for request in waited:
            if request.task is None:
                self._fetch(m.Fetch(request.proc, request.number, id_))
            elif obstacle is None:
                scheduler.waiting.setdefault(id_, []).append(request.task)
            else:
                self._arrived(request.task)
