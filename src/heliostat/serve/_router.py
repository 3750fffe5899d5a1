"""Router: which replica gets a request. Pure: a table, counts, and a generator that is passed in.

It knows names of replicas, not actors, and no queue: `_dispatch.py` keeps what waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random


class Router:
    """Counts the requests of this process on every replica, and picks the less busy of two.

    Of a request for a model it is one of those that have the model, as long as one is free;
    else the one that has the fewest models.
    """

    def __init__(self) -> None:
        self.loads: dict[str, int] = {}
        self._names: list[str] = []  # of the same replicas, to pick from
        self._capacity = 0
        self._queue_limit: int | None = None
        self._models: dict[str, set[str]] = {}  # as the replicas say
        self._sent: dict[str, set[str]] = {}  # models asked of them, of which they say nothing yet

    def publish(
        self,
        replicas: Sequence[str],
        max_ongoing_requests: int,
        max_queued_requests: int,
        models: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """The replicas there are now; counts of those that stay are kept."""
        self.loads = {name: self.loads.get(name, 0) for name in replicas}
        self._names = list(self.loads)
        self._capacity = max_ongoing_requests
        self._queue_limit = None if max_queued_requests < 0 else max_queued_requests
        self._models = {name: set((models or {}).get(name, ())) for name in replicas}
        self._sent = {name: self._sent.get(name, set()) - self._models[name] for name in replicas}

    def admits(self, waiting: int) -> bool:
        """Whether one more request may wait, beside `waiting` that have no replica yet."""
        if self._queue_limit is None:
            return True
        ahead = waiting + sum(self.loads.values())
        return ahead < len(self.loads) * self._capacity + self._queue_limit

    def assign(self, rng: Random, model_id: str = "") -> str | None:
        """A replica for one request, counted as busy with it; None when none is free."""
        two = rng.sample(self._names, min(2, len(self._names)))
        # Nearly always both have room, and nobody has to look at all replicas.
        if model_id or not two or any(self.loads[name] >= self._capacity for name in two):
            free = [name for name, load in self.loads.items() if load < self._capacity]
            if not free:
                return None
            free = self._with_model(free, model_id) if model_id else free
            two = rng.sample(free, min(2, len(free)))
        chosen = min(two, key=self.loads.__getitem__)
        self.loads[chosen] += 1
        if model_id and model_id not in self._models[chosen]:
            self._sent[chosen].add(model_id)
        return chosen

    def take(self, replica: str) -> None:
        """Count one request on a replica that somebody else has chosen."""
        self.loads[replica] += 1

    def finished(self, replica: str) -> None:
        """A request on this replica is over."""
        if replica in self.loads:
            self.loads[replica] -= 1

    def lost(self, replica: str) -> None:
        """This replica is dead: choose it no more, whatever the last table said."""
        if self.loads.pop(replica, None) is not None:
            self._names.remove(replica)
        self._models.pop(replica, None)
        self._sent.pop(replica, None)

    def check(self) -> None:
        """Assert what must always be true."""
        assert all(0 <= load <= self._capacity for load in self.loads.values()), self.loads
        assert list(self.loads) == self._names
        assert self._models.keys() == self._sent.keys() == self.loads.keys()

    def _with_model(self, free: list[str], model_id: str) -> list[str]:
        models = {name: self._models[name] | self._sent[name] for name in free}
        having = [name for name in free if model_id in models[name]]
        if having:
            return having
        fewest = min(len(models[name]) for name in free)
        return [name for name in free if len(models[name]) == fewest]
