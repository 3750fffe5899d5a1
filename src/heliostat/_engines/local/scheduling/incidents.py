"""Incidents: what went wrong with processes, for who asks later. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

KEPT = 1000


class Incident(NamedTuple):
    """One of them."""

    at: float  # on the scheduler's clock
    severity: str
    message: str
    proc: int


class Incidents:
    """The last thousand of a session.

    Example:
        >>> incidents = Incidents()
        >>> incidents.note(1.0, "ERROR", "it broke", 7)
        >>> [incident.message for _, incident in incidents]
        ['it broke']
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Incident]] = deque(maxlen=KEPT)
        self._count = 0

    def note(self, at: float, severity: str, message: str, proc: int) -> None:
        """Remember one; `proc` is the worker that it is about."""
        self._count += 1
        self._kept.append((self._count, Incident(at, severity, message, proc)))

    def __iter__(self) -> Iterator[tuple[int, Incident]]:
        """Their numbers, from 1, and they."""
        return iter(self._kept)
