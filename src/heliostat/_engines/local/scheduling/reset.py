"""Reset: end all work of a session and forget its objects, as if it had just begun. Pure.

For tests that share a session. What is kept: idle worker processes with what they have imported,
functions that were sent, and how long they took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heliostat._engines.local import failures
from heliostat._engines.local.messages import (
    DRIVER,
    SPILLED,
    STORED,
    Cancelled,
    Command,
    Dropped,
    Killed,
    Ungrouped,
    Value,
)
from heliostat._engines.local.scheduling.ownership import Entry

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler

PATIENCE_S = 30.0  # processes that were killed are gone long before


def step(scheduler: Scheduler, now: float) -> tuple[list[Command], bool]:
    """What to do next, and whether all is done then."""
    if at_rest(scheduler):
        return forget(scheduler, now), True
    return stop(scheduler, now), False


def at_rest(scheduler: Scheduler) -> bool:
    """Whether nothing runs, waits or is about to end."""
    actors = scheduler.actors.actors.values()
    return (
        not scheduler.tasks
        and all(actor.state == "dead" for actor in actors)
        and all(group.state == "removed" for group in scheduler.groups.groups.values())
        and len(scheduler.idle) == len(scheduler.workers)
    )


def stop(scheduler: Scheduler, now: float) -> list[Command]:
    """End every actor and every task, without mercy; again if their last words asked for more."""
    commands: list[Command] = []
    for actor in list(scheduler.actors.actors.values()):
        if actor.state != "dead" and not _ends(scheduler, actor.worker):
            commands += scheduler.handle(Killed(DRIVER, actor.id, False), now)
    for group in list(scheduler.groups.groups.values()):
        commands += scheduler.handle(Ungrouped(group.id), now)
    for task in list(scheduler.tasks.values()):
        if task.id not in scheduler.tasks or task.actor is not None:
            continue
        if task.state != "running" or not _ends(scheduler, task.worker.proc):
            scheduler.cancel_task(task, Cancelled(DRIVER, task.id, True, False))
    return commands + scheduler.handle(Dropped(DRIVER, ()), now)


def _ends(scheduler: Scheduler, proc: int | None) -> bool:
    worker = scheduler.workers.get(proc or 0)
    return worker is not None and bool(worker.killed)


def forget(scheduler: Scheduler, now: float) -> list[Command]:
    """Let go of every object. To get one that somebody still refers to is an error from now on."""
    objects = scheduler.owned.objects
    scheduler.plain.forget_all()
    scheduler.actors.actors.clear()
    scheduler.actors.names.clear()
    scheduler.groups.forget_all()
    scheduler.ended.clear()
    scheduler.staff.totals.clear()
    scheduler.lineage.clear()
    for id_, entry in list(objects.items()):
        if _hidden(id_) in objects or objects.get(id_) is not entry:
            continue
        if entry.value is not None and entry.value[0] == STORED:
            _hide(scheduler, id_, entry)
            continue
        del objects[id_]
        if entry.items:
            scheduler.owned.release(entry.items)
        if entry.value is not None:
            scheduler.owned.release(entry.value[3])
            if entry.value[0] == SPILLED:
                scheduler.storage.memory.free(id_)
    scheduler.storage.forget_all()
    return scheduler.handle(Dropped(DRIVER, ()), now)


def _hide(scheduler: Scheduler, id_: bytes, entry: Entry) -> None:
    """Its memory stays while there are views of it, for nobody may write there; the value is lost."""
    assert entry.value is not None
    hidden = _hidden(id_)
    scheduler.storage.memory.hide(id_, hidden)
    memory = scheduler.owned.objects[hidden] = Entry(None)
    memory.count, memory.value = 1, entry.value
    kind, head, parts, _ = failures.lost(id_)
    lost: Value = (kind, head, parts, (hidden,))
    entry.value, entry.task = lost, None


def _hidden(id_: bytes) -> bytes:
    """The identifier of an object's memory, and back."""
    return bytes(byte ^ 0xFF for byte in id_)
