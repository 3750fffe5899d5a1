"""Router: which replica gets a request. Pure: a table, counts, and a generator that is passed in.

It knows names of replicas, not actors, and no queue: `_dispatch.py` keeps what waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


class Router:
    """Counts the requests of this process on every replica, and picks the less busy of two."""

    def __init__(self) -> None:
        self.loads: dict[str, int] = {}
        self._capacity = 0
        self._queue_limit: int | None = None

    def publish(
        self, replicas: Sequence[str], max_ongoing_requests: int, max_queued_requests: int
    ) -> None:
        """The replicas there are now; counts of those that stay are kept."""
        self.loads = {name: self.loads.get(name, 0) for name in replicas}
        self._capacity = max_ongoing_requests
        self._queue_limit = None if max_queued_requests < 0 else max_queued_requests

    def admits(self, waiting: int) -> bool:
        """Whether one more request may wait, beside `waiting` that have no replica yet."""
        if self._queue_limit is None:
            return True
        ahead = waiting + sum(self.loads.values())
        return ahead < len(self.loads) * self._capacity + self._queue_limit

    def assign(self, rng: Random) -> str | None:
        """A replica for one request, counted as busy with it; None when there is none."""
        names = list(self.loads)
        if not names:
            return None
        chosen = names[0]
        if len(names) > 1:
            one, two = rng.sample(names, 2)
            chosen = one if self.loads[one] <= self.loads[two] else two
        self.loads[chosen] += 1
        return chosen

    def finished(self, replica: str) -> None:
        """A request on this replica is over."""
        if replica in self.loads:
            self.loads[replica] -= 1

    def lost(self, replica: str) -> None:
        """This replica is dead: choose it no more, whatever the last table said."""
        self.loads.pop(replica, None)

    def check(self) -> None:
        """Assert what must always be true."""
        assert all(load >= 0 for load in self.loads.values()), self.loads
