"""DeploymentState: what replicas a deployment has against what it should have. Pure.

Event in, commands out. It knows neither actors nor HTTP; the controller carries the commands out
and reports back.

A replica moves so, and in no other way::

    STARTING --up--> RUNNING --not wanted--> DRAINING --drained, or too late--> STOPPING
        |               |                        |                                |
        +--not wanted---|------------------------|------------------------------> |
        +------ lost ---+--------- lost ---------+-------------- lost ------------+--> forgotten
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from heliostat.serve.schema import (
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    ReplicaState,
)

STABLE_S = 10.0  # a replica that lived so long did not die of its start
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 30.0
_STARTING, _RUNNING = ReplicaState.STARTING, ReplicaState.RUNNING
_DRAINING, _STOPPING = ReplicaState.DRAINING, ReplicaState.STOPPING


class Deployed(NamedTuple):
    """The user wants this now; another version replaces the replicas."""

    version: str
    num_replicas: int
    failed_starts_allowed: int
    drain_s: float
    at_a_time: int = 1  # replicas that an update replaces together
    surge: int | None = None  # replicas beyond the number meanwhile; None: if there is room


class Scaled(NamedTuple):
    """As many replicas of the same version are wanted now: the load asks for it."""

    num_replicas: int


class Removed(NamedTuple):
    """The user wants no replica any more."""


class ReplicaUp(NamedTuple):
    """The constructor is done."""

    replica: str


class ReplicaLost(NamedTuple):
    """The replica's process is gone, or its constructor raised."""

    replica: str
    error: str


class Drained(NamedTuple):
    """The replica has finished its requests."""

    replica: str


class Starved(NamedTuple):
    """There is no room for a replica that should start."""

    replica: str
    lacks: str = ""  # of which resources, for people


class Tick(NamedTuple):
    """`next_tick` has come."""


class StartReplica(NamedTuple):
    """Make a replica of the deployed version."""

    replica: str


class DrainReplica(NamedTuple):
    """Let a replica finish what it has, and nothing else."""

    replica: str


class StopReplica(NamedTuple):
    """End a replica now."""

    replica: str


class Publish(NamedTuple):
    """Tell all callers which replicas there are."""

    replicas: tuple[str, ...]


Event = Deployed | Scaled | Removed | ReplicaUp | ReplicaLost | Drained | Starved | Tick
Command = StartReplica | DrainReplica | StopReplica | Publish

MOVES: dict[tuple[ReplicaState, str], ReplicaState] = {
    (_STARTING, "up"): _RUNNING,
    (_STARTING, "unwanted"): _STOPPING,
    (_RUNNING, "unwanted"): _DRAINING,
    (_DRAINING, "drained"): _STOPPING,
    (_DRAINING, "too late"): _STOPPING,
}


@dataclass
class _Replica:
    name: str
    version: str
    state: ReplicaState = _STARTING
    up_at: float = 0.0
    drain_until: float = 0.0
    story: deque[str] = field(default_factory=lambda: deque(["STARTING"], maxlen=16))


class DeploymentState:
    """Which replicas one deployment has, and which it should have.

    Args:
        name: Replicas are called `name#1`, `name#2`, ...
        numbers: Where their numbers come from, if not counted from 1.
    """

    def __init__(self, name: str, numbers: Iterator[int] | None = None) -> None:
        self.name = name
        self._numbers = numbers or itertools.count(1)
        self.target = Deployed("", 0, 1, 0.0)
        self.removed = False
        self.failed = False
        self.was_healthy = False
        self.message = ""
        self._scaling: DeploymentStatus | None = None
        self._replicas: dict[str, _Replica] = {}
        self._published: tuple[str, ...] = ()
        self._failed_starts = 0
        self._crashes = 0
        self._start_after = 0.0
        self._starved: set[str] = set()

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event in; the commands are to be carried out in order."""
        commands: list[Command] = []
        match event:
            case Deployed():
                self._deployed(event)
            case Scaled(number):
                self._scaled(number)
            case Removed():
                self.removed, self.target = True, self.target._replace(num_replicas=0)
            case ReplicaUp(replica):
                self._up(replica, now)
            case ReplicaLost(replica, error):
                self._lost(replica, error, now)
            case Drained(replica):
                self._move(replica, "drained", commands)
            case Starved(replica, lacks):
                self._starve(replica, lacks)
            case Tick():
                self._end_late_drains(now, commands)
        self._reconcile(now, commands)
        if self.is_complete:
            self.was_healthy, self._scaling = True, None
        return commands

    def next_tick(self, now: float) -> float | None:
        """When `Tick` is wanted next, if at all; the controller sleeps until then."""
        times = [r.drain_until for r in self._in(_DRAINING)]
        if self._start_after > now and self._missing() > 0:
            times.append(self._start_after)
        return min(times, default=None)

    @property
    def is_gone(self) -> bool:
        """Removed, and no replica left."""
        return self.removed and not self._replicas

    @property
    def is_complete(self) -> bool:
        """As many replicas run as are wanted, all of the wanted version."""
        running = self._in(_RUNNING)
        return (
            not self.failed
            and len(running) == self.target.num_replicas
            and all(r.version == self.target.version for r in running)
        )

    def overview(self) -> DeploymentStatusOverview:
        """What `serve.status()` shows of it."""
        counts: dict[ReplicaState, int] = {}
        for replica in self._replicas.values():
            counts[replica.state] = counts.get(replica.state, 0) + 1
        return DeploymentStatusOverview(*self._status(), counts, self.message)

    def replicas(self) -> dict[str, ReplicaState]:
        """The state of each."""
        return {name: replica.state for name, replica in self._replicas.items()}

    def check(self) -> None:
        """Assert what must always be true."""
        current = self._current()
        assert len(current) <= max(self.target.num_replicas, 0), (self.target, self._stories())
        assert set(self._published) == {r.name for r in self._in(_RUNNING)}, self._stories()
        assert all(r.version == self.target.version for r in self._in(_STARTING)), self._stories()
        assert not (self.failed and self._in(_STARTING)), self._stories()
        assert not self.removed or not self._published, self._stories()

    def _status(self) -> tuple[DeploymentStatus, DeploymentStatusTrigger]:
        if self.removed:
            return DeploymentStatus.UPDATING, DeploymentStatusTrigger.DELETING
        if self.failed:
            return DeploymentStatus.DEPLOY_FAILED, DeploymentStatusTrigger.REPLICA_STARTUP_FAILED
        if self.is_complete:
            return DeploymentStatus.HEALTHY, DeploymentStatusTrigger.CONFIG_UPDATE_COMPLETED
        if self._scaling is not None:
            return self._scaling, DeploymentStatusTrigger.AUTOSCALING
        if self.was_healthy:
            return DeploymentStatus.UNHEALTHY, DeploymentStatusTrigger.CONFIG_UPDATE_COMPLETED
        return DeploymentStatus.UPDATING, DeploymentStatusTrigger.CONFIG_UPDATE_STARTED

    def _deployed(self, event: Deployed) -> None:
        if event.version != self.target.version or self.removed:
            self._failed_starts = self._crashes = 0
            self._start_after = 0.0
        self.target = event
        self.removed = self.failed = self.was_healthy = False
        self._scaling = None
        self.message = ""
        self._failed_starts = 0

    def _scaled(self, number: int) -> None:
        if self.removed or number == self.target.num_replicas:
            return
        grows = number > self.target.num_replicas
        self._scaling = DeploymentStatus.UPSCALING if grows else DeploymentStatus.DOWNSCALING
        self.target = self.target._replace(num_replicas=number)

    def _up(self, name: str, now: float) -> None:
        replica = self._replicas.get(name)
        if replica is None or replica.state != _STARTING:
            return  # it was given up while its constructor ran
        self._to(replica, MOVES[_STARTING, "up"])
        replica.up_at = now
        self._failed_starts = 0
        if name in self._starved:
            self._starved.discard(name)
            self.message = ""

    def _starve(self, name: str, lacks: str) -> None:
        replica = self._replicas.get(name)
        if replica is not None and replica.state == _STARTING:
            self._starved.add(name)
            self.message = f"replica {name} waits for room: {lacks}"

    def _lost(self, name: str, error: str, now: float) -> None:
        replica = self._replicas.pop(name, None)
        self._starved.discard(name)
        if replica is None or replica.state in (_DRAINING, _STOPPING):
            return
        self.message = error
        if replica.state == _STARTING:
            self._failed_starts += 1
            allowed = self.target.failed_starts_allowed
            self.failed = not self.was_healthy and self._failed_starts >= allowed
        elif now - replica.up_at >= STABLE_S:
            self._crashes = 0
        else:
            self._crashes += 1
        in_a_row = max(self._failed_starts, self._crashes)
        delay_s = (
            min(FIRST_DELAY_S * 2 ** min(in_a_row - 1, 16), LONGEST_DELAY_S) if in_a_row else 0
        )
        self._start_after = now + delay_s

    def _end_late_drains(self, now: float, commands: list[Command]) -> None:
        for replica in self._in(_DRAINING):
            if now >= replica.drain_until:
                self._move(replica.name, "too late", commands)

    def _reconcile(self, now: float, commands: list[Command]) -> None:
        unwanted = self._unwanted()
        for replica in unwanted:
            self._move(replica.name, "unwanted", commands)
            replica.drain_until = now + self.target.drain_s
        if now >= self._start_after:
            commands += [StartReplica(self._make()) for _ in range(self._missing())]
        running = tuple(r.name for r in self._in(_RUNNING))
        if running != self._published:
            self._published = running
            # First, so that no caller is sent to a replica that drains.
            commands.insert(0, Publish(running))

    def _unwanted(self) -> list[_Replica]:
        """Replicas to end: of an old version when the new one can do without, and too many."""
        wanted, version = self.target.num_replicas, self.target.version
        starting, running = self._in(_STARTING), self._in(_RUNNING)
        new = [r for r in running if r.version == version]
        old = [r for r in running if r.version != version]
        spare = len(old) + min(len(new), wanted) - wanted
        ending = [r for r in starting if r.version != version or self.failed]
        new += [r for r in starting if r not in ending]
        if self.target.surge == 0 and not self.failed:
            spare += min(self.target.at_a_time, wanted)  # the old end before the new begin
        elif not (self.target.surge or self._in(_DRAINING) or self._in(_STOPPING)):
            # No room to start the new before the old ends: end one, and only one at a time.
            spare = max(spare, min(len(self._starved & {r.name for r in starting}), 1))
        return ending + new[wanted:] + old[: max(spare, 0)]

    def _missing(self) -> int:
        """How many replicas to start now; beside old ones, a few at a time."""
        if self.failed:
            return 0
        starting, running = self._in(_STARTING), self._in(_RUNNING)
        missing = self.target.num_replicas - len(self._current())
        if any(r.version != self.target.version for r in running):
            missing = min(missing, self.target.at_a_time - len(starting))
            if self.target.surge is not None:
                most = self.target.num_replicas + self.target.surge
                missing = min(missing, most - len(starting) - len(running))
        return missing

    def _make(self) -> str:
        name = f"{self.name}#{next(self._numbers)}"
        self._replicas[name] = _Replica(name, self.target.version)
        return name

    def _move(self, name: str, why: str, commands: list[Command]) -> None:
        replica = self._replicas.get(name)
        state = None if replica is None else MOVES.get((replica.state, why))
        if replica is None or state is None:
            return  # late news
        self._to(replica, state)
        if state == _DRAINING:
            commands.append(DrainReplica(name))
        elif state == _STOPPING:
            commands.append(StopReplica(name))

    def _to(self, replica: _Replica, state: ReplicaState) -> None:
        replica.state = state
        replica.story.append(state)

    def _in(self, state: ReplicaState) -> list[_Replica]:
        return [r for r in self._replicas.values() if r.state == state]

    def _current(self) -> list[_Replica]:
        """Living replicas of the wanted version."""
        return [
            r
            for r in self._replicas.values()
            if r.version == self.target.version and r.state in (_STARTING, _RUNNING)
        ]

    def _stories(self) -> dict[str, list[str]]:
        return {r.name: list(r.story) for r in self._replicas.values()}
