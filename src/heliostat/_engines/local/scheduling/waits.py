"""What waits for what: sentences for people, and cycles that will never end. Pure.

Reads the tables of the Scheduler, and changes nothing. A worker's main thread says what it waits
for (`Waits`) when it has waited for a while, so short waits cost nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from heliostat._core.ids import nth
from heliostat._core.options import UNIT
from heliostat._engines.local.messages import DRIVER

if TYPE_CHECKING:
    from heliostat._core.resources import Supply
    from heliostat._engines.local.messages import Shape
    from heliostat._engines.local.scheduling.actors import Actor
    from heliostat._engines.local.scheduling.groups import Bundle, Group
    from heliostat._engines.local.scheduling.scheduler import Scheduler
    from heliostat._engines.local.scheduling.tasks import Task


def maker(scheduler: Scheduler, id_: bytes) -> Task | None:
    """The task that will make this object, or this item of a stream."""
    entry = scheduler.owned.objects.get(id_)
    if entry is not None and entry.value is not None:
        return None
    made_by = entry.task if entry is not None and entry.task else nth(id_, 0)
    return scheduler.tasks.get(made_by)


class Why:
    """Says in words why something is not there yet.

    Args:
        scheduler: Whose tables to read.
        pids: The operating system's numbers of workers.
        now: The time, on the scheduler's clock.
    """

    def __init__(self, scheduler: Scheduler, pids: Mapping[int, int], now: float) -> None:
        self._scheduler = scheduler
        self._pids = pids
        self._now = now

    def absent(self, id_: bytes) -> bool:
        """Whether an object is not there, and something is to make it."""
        group = self._scheduler.groups.groups.get(id_)
        pending = group is not None and group.state == "pending"
        return pending or maker(self._scheduler, id_) is not None

    def reason(self, id_: bytes) -> str:
        """Why an object is not there."""
        group = self._scheduler.groups.groups.get(id_)
        if group is not None:
            return f"{group.title()} waits for {self.group(group)}"
        task = maker(self._scheduler, id_)
        if task is None:
            return "nothing that runs makes it"
        return f"{task.name} {self.state(task)}"

    def state(self, task: Task) -> str:
        """What a task does, or waits for."""
        if task.state == "waiting":
            needs = [self.reason(need) for need in task.event.needs if self.absent(need)]
            return "waits for its arguments: " + _list([*needs, *self._memory(DRIVER, task)])
        actor = actor_of(self._scheduler, task)
        if task.state == "running":
            return self._running(task, actor)
        if actor is None or task is actor.maker:
            return "waits for " + self._resources(task)
        return self._queued(task, actor)

    def _running(self, task: Task, actor: Actor | None) -> str:
        worker = task.worker
        first = self._scheduler.staff.running_in(worker)
        pid = self._pids.get(worker.proc)
        where = f"worker process {pid}" if pid else "a worker process that starts"
        if first is not None and first is not task and not overlaps(actor):
            return f"comes after {first.name}, which {self._running(first, actor)}"
        what = "is being constructed" if actor is not None and task is actor.maker else "runs"
        text = f"{what} for {self._now - task.since:.0f} s in {where}"
        waits = [*map(self._name, worker.waits), *self._memory(worker.proc, None)]
        return f"{text}, where it waits for {_list(waits)}" if waits else text

    def driver(self) -> list[str]:
        """What the driver's threads wait for in shared memory."""
        return [f"the driver waits for {what}" for what in self._memory(DRIVER, None)]

    def _memory(self, proc: int, task: Task | None) -> Iterator[str]:
        """What a process, or a task that was not sent yet, waits for in shared memory."""
        storage = self._scheduler.storage
        for request in storage.memory.waiting:
            size = f"{request.size / 1e6:,.1f} MB"
            if request.task is not task or (task is None and request.proc != proc):
                continue
            if request.id is None:
                yield f"room in shared memory for a value of {size}"
            else:
                yield f"object {request.id.hex()} of {size} to come back from disk"
        for id_, seekers in storage.sought.items():
            if task is None and any(seeker == proc for seeker, _ in seekers):
                yield f"object {id_.hex()}, which was lost and is made again"

    def _queued(self, task: Task, actor: Actor) -> str:
        if actor.state != "alive":
            return f"waits for its actor, which {self.state(actor.maker)}"
        ahead = actor.queue.index(task) if task in actor.queue else 0
        first = actor.queue[0] if ahead else None
        text = f"is in the queue of its actor behind {len(actor.calls) + ahead} calls"
        return text if first is None else f"{text}; the first, {first.name}, {self.state(first)}"

    def group(self, group: Group) -> str:
        """What a placement group waits for."""
        wanted: Counter[str] = Counter()
        for bundle in group.grouped.bundles:
            wanted.update(dict(bundle))
        return self._lacking(self._scheduler.resources, tuple(wanted.items()), None)

    def _resources(self, task: Task) -> str:
        if task.place is None:
            return self._lacking(self._scheduler.resources, task.shape, None)
        group = self._scheduler.groups.groups[task.place[0]]
        if group.state == "pending":
            return f"{group.title()}, which waits for {self.group(group)}"
        bundles = group.asked(task.place[1])
        where = bundles[0] if len(bundles) == 1 else None
        if where is None:
            return f"room in one of the bundles of {group.title()}"
        return f"{self._lacking(where.supply, task.shape, where)} in a bundle of {group.title()}"

    def _lacking(self, supply: Supply, shape: Shape, bundle: Bundle | None) -> str:
        free = supply.free
        lacks = {name: units for name, units in shape if units > free.get(name, 0)}
        if not lacks:
            return "a worker process" if "GPU" not in dict(shape) else "GPUs that are free enough"
        amounts = ", ".join(
            f"{name}: {units / UNIT:g} asked for, {max(0, free.get(name, 0)) / UNIT:g} free"
            for name, units in lacks.items()
        )
        return f"resources ({amounts}), held by {_list(self._holders(lacks, bundle))}"

    def _holders(self, names: Collection[str], bundle: Bundle | None) -> Iterator[str]:
        """Who has these resources, of the machine's or of a bundle's."""
        for worker in self._scheduler.workers.values():
            if worker.bundle is not bundle or not any(n in names for n, _ in worker.shape or ()):
                continue
            task = self._scheduler.staff.running_in(worker)
            if worker.actor is not None:
                actor = self._scheduler.actors.actors.get(worker.actor)
                yield "an actor that ends" if actor is None else f"actor {actor.created.name}"
            elif worker.shape and task is not None:
                yield task.name
        for other in self._scheduler.groups.groups.values() if bundle is None else ():
            if any(name in names for part in other.bundles for name in part.supply.total):
                yield other.title()

    def _name(self, id_: bytes) -> str:
        group = self._scheduler.groups.groups.get(id_)
        if group is not None:
            return group.title()
        task = maker(self._scheduler, id_)
        return task.name if task is not None else f"object {id_.hex()}"


def actor_of(scheduler: Scheduler, task: Task) -> Actor | None:
    """The actor whose call or constructor a task is."""
    return scheduler.actors.actors.get(task.actor) if task.actor is not None else None


def overlaps(actor: Actor | None) -> bool:
    """Whether calls of an actor may run at once."""
    return actor is not None and actor.created.out_of_order


def _list(parts: Iterable[str], most: int = 4) -> str:
    texts = list(dict.fromkeys(parts))
    if len(texts) > most:
        return ", ".join(texts[:most]) + f" and {len(texts) - most} more"
    return ", ".join(texts) or "nothing that is known"


# Cycles


def deadlock(scheduler: Scheduler, proc: int) -> str | None:
    """The cycle of waits that process `proc` is in, in words; None while it may still go on.

    A task can go on unless it said that it waits and none of what it waits for can come. What can
    come is found from the tasks that run freely, outwards; only who is left waits for ever. In
    doubt (a free resource may appear, a call overlaps others) it can go on.
    """
    search = _Search(scheduler)
    worker = scheduler.workers[proc]
    stuck = worker.waits and not any(search.may_come(id_) for id_ in worker.waits)
    return search.cycle(proc) if stuck else None


class _Search:
    """One look at all the tables; remembers which tasks can go on."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._known: set[bytes] = set()
        left = [task for task in scheduler.tasks.values() if task.state != "done"]
        found = True
        while found:
            stuck = [task for task in left if not self._goes_on(task)]
            found = len(stuck) < len(left)
            left = stuck

    def _goes_on(self, task: Task) -> bool:
        if self._can_go_on(task):
            self._known.add(task.id)
            return True
        return False

    def may_come(self, id_: bytes) -> bool:
        task = maker(self._scheduler, id_)
        return task is None or task.id in self._known

    def _can_go_on(self, task: Task) -> bool:
        actor = actor_of(self._scheduler, task)
        if task.state == "running":
            return self._runs_on(task, actor)
        if not all(self.may_come(need) for need in task.event.needs):
            return False
        if actor is None or task is actor.maker or actor.state != "alive":
            return True
        return all(call.id in self._known for call in _ahead(task, actor))

    def _runs_on(self, task: Task, actor: Actor | None) -> bool:
        worker = task.worker
        if task.direct and (task.ended or worker.proc not in self._scheduler.workers):
            return True  # its caller is about to hear
        first = self._scheduler.staff.running_in(worker)
        if first is not None and first is not task and not overlaps(actor):
            # A worker of tasks gives back what it has not begun when the first one waits.
            return worker.actor is None or first.id in self._known
        return not worker.waits or any(self.may_come(id_) for id_ in worker.waits)

    def cycle(self, proc: int) -> str:
        """Follow the waits from `proc` until they come back."""
        steps: list[str] = []
        seen: set[bytes] = set()
        task = self._scheduler.staff.running_in(self._scheduler.workers[proc])
        while task is not None and task.id not in seen:
            seen.add(task.id)
            link, blocker = self._blocker(task)
            if blocker is not None:
                steps.append(f"  {task.name} {link} {blocker.name}")
            task = blocker
        return "\n".join(steps)

    def _blocker(self, task: Task) -> tuple[str, Task | None]:
        """How a task waits, and for the end of which other."""
        actor = actor_of(self._scheduler, task)
        if task.state == "running":
            first = self._scheduler.staff.running_in(task.worker)
            if first is not None and first is not task and not overlaps(actor):
                return "comes in the same process after", first
            stuck = self._stuck(task.worker.waits)
            if stuck is task and first is not None:
                return "needs the event loop of its process, which is blocked by", first
            return "waits for the result of", stuck
        needed = self._stuck(task.event.needs)
        if needed is not None or actor is None:
            return "needs as an argument the result of", needed
        ahead = [call for call in _ahead(task, actor) if call.id not in self._known]
        return "comes in the queue of its actor after", ahead[0] if ahead else None

    def _stuck(self, ids: Iterable[bytes]) -> Task | None:
        makers = [maker(self._scheduler, id_) for id_ in ids]
        return next((t for t in makers if t is not None and t.id not in self._known), None)


def _ahead(task: Task, actor: Actor) -> list[Task]:
    """The calls that have to end, or to begin, before this one is sent to its actor."""
    if overlaps(actor):
        return []
    queued = itertools.takewhile(lambda other: other is not task, actor.queue)
    return [*actor.calls.values(), *queued]
