"""The bytes of a simulated cluster: what was written where, in memory and on disk."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling.arena import ALIGN
from heliostat._engines.local.scheduling.scheduler import Scheduler
from heliostat.exceptions import OutOfDiskError

Move = m.WriteOut | m.ReadIn | m.Truncate


class Full(Exception):
    """There is no room for a value, or who waited for it was cancelled."""


class Pages:
    """Shared memory and the file on disk, page by page: each has the name of the object in it.

    Args:
        scheduler: Says where objects are.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.memory = scheduler.storage.memory
        self.inside: dict[int, bytes] = {}
        self.disk: dict[int, bytes] = {}
        self.moves: deque[Move] = deque()

    def write(self, offset: int, size: int, id_: bytes) -> None:
        """A process writes a value where it was told."""
        for page in range(offset, offset + size, ALIGN):
            self.inside[page] = id_

    def look(self, id_: bytes, value: m.Value) -> None:
        """A process that was told where an object is looks at it."""
        if value[0] == m.STORED:
            held = self.memory.objects[id_]
            assert held.state in ("here", "leaving", "both"), f"{held.state}, and somebody looks"
            assert held.offset == value[1], "moved before it was read"
            found = {self.inside[page] for page in range(value[1], value[1] + held.size, ALIGN)}
            assert found == {id_}, f"{id_.hex()} was overwritten"

    def move(self, random: Random, danger: float) -> Any:
        """The oldest move is done: the event that tells of it; None if nobody is told."""
        match self.moves.popleft():
            case m.WriteOut(id_, offset, size, slot):
                if random.random() < danger:
                    return m.Written(id_, 0, OutOfDiskError("no room"))
                for page in range(0, size, ALIGN):
                    self.disk[slot + page] = self.inside[offset + page]
                return m.Written(id_, 7, None)
            case m.ReadIn(id_, offset, size, slot, _):
                for page in range(0, size, ALIGN):
                    self.inside[offset + page] = self.disk[slot + page]
                return m.Read(id_, OSError("damaged") if random.random() < danger else None)
            case _:
                return None
