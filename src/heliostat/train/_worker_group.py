"""WorkerGroup: N ranks, each an actor; and LocalGroup: one rank in this process.

Both start and number ranks, hand out work and news, and end. They decide nothing: an error of
a rank is news like any other.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import heliostat
from heliostat.exceptions import RayActorError, RayTaskError
from heliostat.train._stacks import Ear, stacks_of
from heliostat.train._worker import RAISED_AT, Assignment, Done, Loop, Place, TrainWorker
from heliostat.train.session import Meeting, Question, Reply, Report, Stored
from heliostat.util.placement_group import (
    PlacementGroup,
    placement_group,
    remove_placement_group,
)

# After so long without all ranks, say what is missing; and again each time.
TELL_EVERY_S = 30.0

_log = logging.getLogger("heliostat.train")


class Failure(NamedTuple):
    """A rank's loop raised, at that time, or the rank's process died."""

    error: Exception
    died: bool = False
    at: float = math.inf


class News(NamedTuple):
    """What one rank has to say."""

    rank: int
    what: Report | Stored | Question | Meeting | Done | Failure


class Group(Protocol):
    """Ranks, as the controller sees them."""

    places: list[Place]

    def begin(self, assignments: Sequence[Assignment], loop: Loop) -> None:
        """Give every rank its number, data and loop."""
        ...

    def advance(self, ranks: Sequence[int], reply: Reply | None) -> None:
        """Let these ranks' loops go on, which wait for a reply; None for those that do not."""
        ...

    def news(self, timeout_s: float | None, also: Sequence[Any] = ()) -> list[News]:
        """Wait until a rank has something to say or one of these refs is there, at most so long."""
        ...

    def stacks(self) -> dict[int, str]:
        """What each rank's threads are doing, for ranks in processes of their own."""
        ...

    def stop(self) -> None:
        """End all ranks, whatever they are doing."""
        ...


class WorkerGroup:
    """N ranks, each an actor of its own.

    Args:
        size: The number of ranks.
        resources: What each reserves.
        more: Further options of the actor of each, by rank.
        strategy: How the ranks lie on the nodes of a cluster that has several; as they come if empty.

    Example:
        A backend gets one of these::

            class Hello(Backend):
                def on_start(self, worker_group, backend_config):
                    worker_group.execute(print, "hello from every rank")
    """

    def __init__(
        self,
        size: int,
        resources: Mapping[str, float],
        more: Callable[[int], Mapping[str, Any]] = lambda rank: {},
        strategy: str = "",
    ) -> None:
        custom = dict(resources)
        options: dict[str, Any] = {
            "num_cpus": custom.pop("CPU", 0), "num_gpus": custom.pop("GPU", 0),
        }  # fmt: skip
        options.update(resources=custom, max_restarts=0)
        self.workers: list[Any] = []
        self.places: list[Place] = []
        self._ears: list[Ear | None] = []
        self._pending: dict[Any, int] = {}
        self._reserved: PlacementGroup | None = None
        try:
            if strategy and any(resources.values()) and len(heliostat.nodes()) > 1:
                self._reserved = placement_group([dict(resources)] * size, strategy=strategy)
                options["placement_group"] = self._reserved
            for rank in range(size):
                if self._reserved is not None:
                    options["placement_group_bundle_index"] = rank
                self.workers.append(_RANK.options(**options, **more(rank)).remote())
            self._number_ranks(self._wait_for_places())
        except BaseException:
            self.stop()
            raise

    def _wait_for_places(self) -> list[Place]:
        refs = [worker.describe.remote() for worker in self.workers]
        began = time.monotonic()
        while True:
            ready, missing = heliostat.wait(refs, num_returns=len(refs), timeout=TELL_EVERY_S)
            if not missing:
                break
            _log.warning(
                "%d of %d ranks wait for resources since %.0f s; free now: %s",
                len(missing), len(refs), time.monotonic() - began,
                heliostat.available_resources(),
            )  # fmt: skip
        places: list[Place] = heliostat.get(ready)
        return places

    def _number_ranks(self, places: Sequence[Place]) -> None:
        """Ranks of one node follow each other; the first node is that of the first worker."""
        nodes = list(dict.fromkeys(place.node_id for place in places))
        order = sorted(range(len(places)), key=lambda i: nodes.index(places[i].node_id))
        self.places = [places[i] for i in order]
        self.workers = [self.workers[i] for i in order]

    def __len__(self) -> int:
        return len(self.workers)

    @property
    def shares_a_process(self) -> bool:
        """Whether ranks live in one process, so that they take turns instead of running at once."""
        return len({place.pid for place in self.places}) < len(self.places)

    def execute_async(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Call a function on every rank; returns a ref for each."""
        return [worker.execute.remote(function, *args, **kwargs) for worker in self.workers]

    def execute(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Call a function on every rank; returns what each returned, by rank."""
        values: list[Any] = heliostat.get(self.execute_async(function, *args, **kwargs))
        return values

    def execute_single(
        self, rank: int, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Call a function on one rank; returns what it returned."""
        return heliostat.get(self.workers[rank].execute.remote(function, *args, **kwargs))

    def begin(self, assignments: Sequence[Assignment], loop: Loop) -> None:
        """Give every rank its number, data and loop."""
        # Once into the store, however many ranks there are.
        loop_ref = heliostat.put(loop)
        own = self.places[0].pid != os.getpid()
        self._ears = heliostat.get([
            worker.begin.remote(assignment, loop_ref, own)
            for worker, assignment in zip(self.workers, assignments, strict=True)
        ])  # fmt: skip

    def advance(self, ranks: Sequence[int], reply: Reply | None) -> None:
        """Let these ranks' loops go on, which wait for a reply; None for those that do not."""
        for rank in ranks:
            self._pending[self.workers[rank].advance.remote(reply)] = rank

    def news(self, timeout_s: float | None, also: Sequence[Any] = ()) -> list[News]:
        """Wait until a rank has something to say or one of these refs is there, at most so long."""
        refs = [*self._pending, *also]
        ready, rest = heliostat.wait(refs, num_returns=1, timeout=timeout_s)
        if ready and rest:
            more, _ = heliostat.wait(rest, num_returns=len(rest), timeout=0)
            ready += more
        return [
            News(self._pending.pop(ref), _outcome(ref)) for ref in ready if ref in self._pending
        ]

    def stacks(self) -> dict[int, str]:
        """What each rank's threads are doing. A rank tells even while it hangs in native code."""
        return {rank: stacks_of(ear) for rank, ear in enumerate(self._ears) if ear is not None}

    def stop(self) -> None:
        """End all ranks, whatever they are doing."""
        if self.places and self.places[0].pid == os.getpid():
            # Killing an actor of one's own process does not end its loop's thread.
            for worker in self.workers:
                worker.release.remote()
        for worker in self.workers:
            heliostat.kill(worker)
        self._pending.clear()
        if self._reserved is not None:
            remove_placement_group(self._reserved)


class LocalGroup:
    """One rank in this process and no actor: `num_workers=0`."""

    def __init__(self) -> None:
        self._worker = TrainWorker()
        self.places = [Place("local", os.getpid(), "localhost", ())]
        self._reply: Reply | None = None
        self._waits = False

    def begin(self, assignments: Sequence[Assignment], loop: Loop) -> None:
        """Give the rank its number, data and loop."""
        self._worker.begin(assignments[0], loop)

    def advance(self, ranks: Sequence[int], reply: Reply | None) -> None:
        """The loop goes on when somebody asks for news."""
        self._reply, self._waits = reply, True

    def news(self, timeout_s: float | None, also: Sequence[Any] = ()) -> list[News]:
        """Run the loop until it has something to say; there is nobody else to listen to."""
        if not self._waits:  # the loop asks what only the others can tell
            heliostat.wait(list(also), num_returns=1, timeout=timeout_s)
            return []
        self._waits = False
        try:
            return [News(0, self._worker.advance(self._reply))]
        # The loop is the user's: what it raises is news.
        except Exception as error:  # noqa: BLE001
            return [News(0, Failure(error))]

    def stacks(self) -> dict[int, str]:
        """Nothing: this process is the user's own."""
        return {}

    def stop(self) -> None:
        """End the loop if it waits in report()."""
        self._worker.release()


def room_for(resources: Mapping[str, float]) -> int:
    """How many more ranks, each with these resources, fit into what is free."""
    free = heliostat.available_resources()
    # A hundredth of a thousandth: sums of fractions are not exact.
    return int(min(free.get(name, 0) / each + 1e-5 for name, each in resources.items() if each))


def _outcome(ref: Any) -> Report | Stored | Question | Meeting | Done | Failure:
    try:
        outcome: Report | Stored | Question | Meeting | Done = heliostat.get(ref)
    # The loop is the user's: what it raises is news.
    except Exception as error:  # noqa: BLE001
        cause = error.cause if isinstance(error, RayTaskError) else error
        return Failure(error, is_death(error), getattr(cause, RAISED_AT, math.inf))
    return outcome


def is_death(error: Exception) -> bool:
    """Whether a rank's process is gone, rather than its code having raised."""
    # A loop may raise RayActorError itself, about an actor of its own.
    return isinstance(error, RayActorError) and not isinstance(error, RayTaskError)


_RANK = heliostat.remote(TrainWorker)
