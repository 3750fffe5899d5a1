"""Validations: which checkpoint is validated next, one at a time. A part of the decider Run.

It does not know what validating is, nor ranks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from heliostat.train._run_messages import (
    CancelValidation,
    Command,
    Record,
    Status,
    Validate,
    Validated,
    Validation,
)


class Wanted(NamedTuple):
    """A checkpoint that is to be validated."""

    name: str
    validation: Validation


@dataclass
class Validations:
    """A queue of checkpoints of which the first is being validated.

    Attributes:
        queue: Those that are not validated yet.
        deadline: When the running one takes too long; a `tick` is due then.
    """

    queue: deque[Wanted] = field(default_factory=deque)
    deadline: float | None = None
    _running: bool = False

    @property
    def names(self) -> set[str]:
        """Those that are not validated yet, and must stay on disk."""
        return {wanted.name for wanted in self.queue}

    def add(self, name: str, validation: Validation, now: float) -> list[Command]:
        """Validate this one, too."""
        self.queue.append(Wanted(name, validation))
        return self._next(now)

    def ended(self, event: Validated, now: float) -> list[Command]:
        """The running one is over; news of another is late, and dropped."""
        if not self._running or self.queue[0].name != event.name:
            return []
        status: Status = "VALIDATED" if event.error is None else "VALIDATION_FAILED"
        return self._over(Record(event.name, event.metrics, status), now)

    def tick(self, now: float) -> list[Command]:
        """Cancel the running one if it takes too long."""
        if self.deadline is None or now < self.deadline:
            return []
        name = self.queue[0].name
        timed_out = Record(name, {}, "VALIDATION_TIMEOUT")
        return [CancelValidation(name), *self._over(timed_out, now)]

    def stop(self) -> list[Command]:
        """Validate no more; what is not validated stays so, for a run that goes on from here."""
        commands: list[Command] = [CancelValidation(self.queue[0].name)] if self._running else []
        self.queue.clear()
        self._running, self.deadline = False, None
        return commands

    def _over(self, record: Record, now: float) -> list[Command]:
        self.queue.popleft()
        self._running, self.deadline = False, None
        return [record, *self._next(now)]

    def _next(self, now: float) -> list[Command]:
        if self._running or not self.queue:
            return []
        self._running = True
        name, (fn_kwargs, timeout_s) = self.queue[0]
        self.deadline = None if timeout_s is None else now + timeout_s
        return [Validate(name, fn_kwargs)]
