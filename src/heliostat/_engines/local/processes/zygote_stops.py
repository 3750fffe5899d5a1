"""What it means that a zygote is stopped, as by SIGSTOP: it goes on after a while. Pure.

Its workers run on meanwhile, but none is born and none can be ended, and all who wait for that would
wait without end. Ending it would end its workers.
"""

from __future__ import annotations

from collections.abc import Collection

PATIENCE_S = 2.0  # it may be stopped for this long, by somebody who continues it


class ZygoteStops:
    """Since when zygotes are stopped.

    Example:
        >>> stops = ZygoteStops()
        >>> stops.look([7], 10.0), stops.look([7], 11.0), stops.look([7], 12.0)
        ([], [], [7])
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def look(self, stopped: Collection[int], now: float) -> list[int]:
        """Which of these processes are to go on now; those that are not named are not stopped."""
        self._since = {pid: self._since.get(pid, now) for pid in stopped}
        due = [pid for pid, since in self._since.items() if now - since >= PATIENCE_S]
        for pid in due:
            del self._since[pid]
        return due
