"""Cancellation: what is stopped, at once or when it is heard of. Pure.

Works on the tables of the Scheduler that it belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heliostat._engines.local import failures
from heliostat._engines.local import messages as m
from heliostat._engines.local.messages import Value
from heliostat._engines.local.scheduling.tasks import Task

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler


class Cancellation:
    """The ends that somebody wants."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler

    def cancel(self, event: m.Cancelled) -> None:
        """Stop the task of a value, if it has not ended."""
        entry = self.scheduler.owned.objects.get(event.id)
        task = self.scheduler.tasks.get(entry.task) if entry is not None and entry.task else None
        if task is not None:
            self.cancel_task(task, event)

    def cancel_task(self, task: Task, event: m.Cancelled) -> None:
        """Stop it, and what it has asked for if the event says so."""
        if event.recursive:
            for child in task.children or ():
                if child in self.scheduler.tasks:
                    self.cancel_task(self.scheduler.tasks[child], event)
        if task.state == "running":
            self.cancel_running(task, force=event.force, recursive=event.recursive)
            return
        self.withdraw(task, failures.cancelled(task.name))

    def withdraw(self, task: Task, error: Value) -> None:
        """A task that has not begun will not run; this error is its result."""
        if task.actor is not None:
            self.scheduler.actors.unqueue(task)
        elif task.state == "ready":
            self.scheduler.ready[task.lane()].remove(task)
        self.scheduler.fail(task, error)

    def cancel_running(self, task: Task, *, force: bool, recursive: bool = False) -> None:
        """Interrupt it, or end its process."""
        worker = task.worker
        task.cancelled = True
        if force and task.actor is None:
            worker.killed = "it was ended by cancel(force=True)"
            self.scheduler.out.append(m.Kill(worker.proc))
        else:
            self.scheduler.out.append(m.Send(worker.proc, m.Cancel(task.id, recursive)))
            self.scheduler.out.append(m.Nudge(worker.proc))

    def stop_waiting(self, task: Task) -> None:
        """It does not need its arguments any more."""
        scheduler = self.scheduler
        if scheduler.storage.memory.waiting:
            scheduler.storage.stop_waiting(task)
        for need in task.event.needs:
            waiting = scheduler.waiting.get(need)
            if waiting and task in waiting:
                waiting.remove(task)
                if not waiting:
                    del scheduler.waiting[need]
