"""GroupScheduler: which placement groups get their resources, and what it means to remove one. Pure.

Works on the tables of the Scheduler that it belongs to. A group takes all its bundles at once out
of the machine's resources; from then on work takes from the bundles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heliostat._core.options import Place
from heliostat._engines.local import failures
from heliostat._engines.local.messages import Grouped, Kill, Shape, Ungrouped, Value
from heliostat._engines.local.scheduling.groups import Group, Take
from heliostat._engines.local.scheduling.tasks import Task, WorkerState

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler

KEPT = 1_000  # groups that were removed, for those who ask what was


class GroupScheduler:
    """The placement groups of a session."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.groups: dict[bytes, Group] = {}
        self.pending: list[Group] = []  # in the order of their coming
        self._removed: deque[bytes] = deque()

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """The events that are decided here."""
        return {Ungrouped: self._ungrouped}

    def questions(self) -> dict[str, Callable[[int, Any], Any]]:
        """The questions that are answered here."""
        return {"group": lambda proc, payload: self._create(Grouped(*payload))}

    # Beginning

    def _create(self, grouped: Grouped) -> None:
        if grouped.name and any(
            group.alive()
            and (group.grouped.namespace, group.grouped.name) == (grouped.namespace, grouped.name)
            for group in self.groups.values()
        ):
            raise ValueError(
                f"a placement group named {grouped.name!r} exists already in namespace "
                f"{grouped.namespace!r}; remove it first, or use another name"
            )
        group = self.groups[grouped.id] = Group(grouped)
        self.scheduler.owned.hold((group.id,))  # its handles come and go
        self.pending.append(group)
        self.dispatch()

    def dispatch(self) -> None:
        """Give groups their resources, in the order of their coming, as far as resources reach."""
        for group in list(self.pending):
            supplies = self.scheduler.resources.take_bundles(group.grouped.bundles)
            if supplies is not None:
                self.pending.remove(group)
                group.receive(supplies)
                self.scheduler.resolve(group.id, group.grouped.handle)

    # Use

    def take(self, place: Place, shape: Shape) -> Take | None:
        """Take what `shape` asks for out of a bundle, if there is room now."""
        group = self.groups.get(place[0])
        if group is None or group.state != "created":
            return None
        for bundle in group.asked(place[1]):
            gpus = bundle.supply.take(shape)
            if gpus is not None:
                return bundle, gpus
        return None

    def gone(self, task: Task) -> Value | None:
        """The error of a task whose group was removed."""
        if task.place is None:
            return None
        group = self.groups.get(task.place[0])
        if group is not None and group.alive():
            return None
        return failures.group_removed(
            task.name, "an unknown one" if group is None else group.title()
        )

    # The end

    def _ungrouped(self, event: Ungrouped) -> None:
        group = self.groups.get(event.group)
        if group is None or not group.alive():
            return
        if group.state == "pending":
            self.pending.remove(group)
            group.move("removed")
            self._forget(group)
            error = failures.group_removed("get() of ready()", group.title())
            self.scheduler.resolve(group.id, error)
        else:
            group.move("removing")
        self._end_work(group)
        self._perhaps_removed(group)
        self.scheduler.dispatch()

    def _end_work(self, group: Group) -> None:
        """What waits in it fails, what runs in it is ended."""
        scheduler = self.scheduler
        for actor in scheduler.actors.of_group(group.id):
            if actor.state != "dead":  # an argument of its constructor came of the one before
                why = f"{group.title()} was removed"
                scheduler.actors.end(actor, why, death=failures.actor_group_removed)
        for worker in scheduler.workers.values():
            if worker.bundle is not None and worker.bundle.group is group and worker.actor is None:
                worker.killed = f"{group.title()} was removed"
                scheduler.out.append(Kill(worker.proc))
        for task in list(scheduler.tasks.values()):
            if task.place is None or task.place[0] != group.id or task.actor is not None:
                continue
            if task.state != "running" and task.id in scheduler.tasks:
                scheduler.cancellation.withdraw(
                    task, failures.group_removed(task.name, group.title())
                )

    def vacated(self, worker: WorkerState) -> None:
        """A worker has given back what it had of a bundle."""
        bundle, worker.bundle = worker.bundle, None
        if bundle is not None and bundle.group.state == "removing":
            self._perhaps_removed(bundle.group)

    def _perhaps_removed(self, group: Group) -> None:
        workers = self.scheduler.workers.values()
        if group.state != "removing" or any(
            worker.bundle is not None and worker.bundle.group is group for worker in workers
        ):
            return
        bundles, group.bundles = group.bundles, []
        self.scheduler.resources.give_bundles([bundle.supply for bundle in bundles])
        group.move("removed")
        self._forget(group)

    def _forget(self, group: Group) -> None:
        """Remember only so many of those that were."""
        self._removed.append(group.id)
        if len(self._removed) > KEPT:
            oldest = self._removed.popleft()
            del self.groups[oldest]
            self.scheduler.owned.release((oldest,))

    def forget_all(self) -> None:
        """As if there had never been any; all were removed."""
        self.groups.clear()
        self._removed.clear()

    def check(self) -> None:
        """Assert the invariants of the group tables."""
        assert [g for g in self.groups.values() if g.state == "pending"] == self.pending
        for group in self.groups.values():
            group.check()
        for worker in self.scheduler.workers.values():
            if worker.bundle is not None:
                assert worker.bundle in worker.bundle.group.bundles
                assert worker.shape is not None
        names = [g.grouped[4:6] for g in self.groups.values() if g.alive() and g.grouped.name]
        assert len(set(names)) == len(names)
