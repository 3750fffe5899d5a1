"""EnvironmentScheduler: which environments are there, being prepared, or not needed any more. Pure.

described   somebody has said what it is
preparing   its packages are installed, its files copied; whatever needs it waits in its queue
ready       workers can be born in it

An environment that fails is described again: what waits for it fails, and the next task tries anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heliostat._engines.local import failures
from heliostat._engines.local import messages as m
from heliostat._engines.local.messages import Value
from heliostat._engines.local.scheduling.tasks import WorkerState

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler

UNUSED_S = 10.0  # an environment without workers is discarded after this

MOVES = {
    ("described", "preparing"),
    ("described", "ready"),  # there is nothing to prepare
    ("preparing", "ready"),
    ("preparing", "described"),
    ("ready", "described"),
}


class Environment:
    """An environment as the scheduler sees it."""

    __slots__ = ("at_once", "begun", "error", "key", "state", "text", "took_s", "unused")

    def __init__(self, key: bytes, text: str, *, at_once: bool) -> None:
        self.key, self.text = key, text
        self.begun = self.took_s = 0.0  # when it was last prepared, and how long that took
        self.error: Value | None = None  # why it could not be
        self.at_once = at_once
        self.state = "described"
        self.unused: float | None = None  # since when it has no worker; None: it has some

    def move(self, state: str) -> None:
        """Go to another state; an impossible move is a bug in the scheduler."""
        assert (self.state, state) in MOVES, f"environment: {self.state} -> {state}"
        self.state = state


class EnvironmentScheduler:
    """The environments of a session. The key of the driver's own is empty."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.home = b""  # what `init` asked for: its workers are kept as those without one are
        self.known: dict[bytes, Environment] = {}
        self._early = False  # workers are to be started once `home` is there

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """The events that are decided here."""
        return {
            m.Described: self._described,
            m.Home: self._home,
            m.Prepared: self._prepared,
            m.Unprepared: self._unprepared,
            m.Unfit: self._unfit,
        }

    def _described(self, event: m.Described) -> None:
        if event.env not in self.known:
            self.known[event.env] = Environment(event.env, event.text, at_once=event.at_once)

    def _home(self, event: m.Home) -> None:
        self.home, self._early = event.env, event.early
        if self._early and self.usable(event.env):
            self._start_early()

    def _start_early(self) -> None:
        self._early = False
        self.scheduler.start_idle(self.home)

    def usable(self, key: bytes) -> bool:
        """Whether a worker can be born in it now; if not, it is being prepared."""
        environment = self.known[key]
        if environment.state == "described":
            if environment.at_once:
                environment.move("ready")
                environment.unused = self.scheduler.now
            else:
                environment.move("preparing")
                environment.begun, environment.error = self.scheduler.now, None
                self.scheduler.out.append(m.Prepare(key))
        return environment.state == "ready"

    def born(self, key: bytes) -> None:
        """A worker of it is started."""
        self.known[key].unused = None

    def _prepared(self, event: m.Prepared) -> None:
        environment = self.known[event.env]
        environment.took_s = self.scheduler.now - environment.begun
        environment.error = event.error
        if event.error is not None:
            environment.move("described")
            self._fail_all(event.env, event.error)
        else:
            environment.move("ready")
            environment.unused = self.scheduler.now
        self.scheduler.dispatch()
        if self._early and event.env == self.home and event.error is None:
            self._start_early()

    def _unprepared(self, event: m.Unprepared) -> None:
        environment = self.known[event.env]
        if environment.state == "ready":
            environment.move("described")

    def _unfit(self, event: m.Unfit) -> None:
        """A worker could not be born: neither could another."""
        scheduler = self.scheduler
        worker = scheduler.workers.get(event.proc)
        if worker is None:
            return
        worker.killed = worker.killed or "its environment could not be set up"
        worker.doom = self.known[worker.env].error = event.error
        for task in worker.tasks:
            task.retries = 0
        if worker in scheduler.idle:
            scheduler.idle.remove(worker)
        if worker.actor is not None:
            scheduler.actors.unfit(worker.actor, event.error)
        self._fail_all(worker.env, event.error)
        scheduler.dispatch()

    def _fail_all(self, key: bytes, error: Value) -> None:
        scheduler = self.scheduler
        why = f"an environment could not be made: {failures.text(error)}"
        scheduler.staff.incidents.note(scheduler.now, "ERROR", why, 0)
        for lane, queue in list(scheduler.ready.items()):
            if lane[1] == key:
                scheduler.ready.pop(lane, None)
                for task in queue:
                    scheduler.fail(task, error)
        scheduler.actors.fail_waiting(key, error)

    # Workers of environments leave when they are idle; then their environment is discarded

    def worker_lost(self, worker: WorkerState) -> None:
        """Perhaps it was the last of its environment."""
        if all(w.env != worker.env for w in self.scheduler.workers.values()):
            self.known[worker.env].unused = self.scheduler.now

    def surplus(self) -> WorkerState | None:
        """An idle worker that leaves early, because too many environments have idle ones."""
        idle = [w for w in self.scheduler.idle if w.env != self.home]
        return idle[0] if len(idle) > self.scheduler.kept else None

    def tick(self) -> None:
        """Discard what nobody has used for a while."""
        for environment in self.known.values():
            if self._due(environment) <= self.scheduler.now:
                environment.unused = None
                environment.move("described")
                self.scheduler.out.append(m.Discard(environment.key))

    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min(map(self._due, self.known.values()), default=float("inf"))

    def _due(self, environment: Environment) -> float:
        if environment.unused is None or environment.state != "ready":
            return float("inf")
        if environment.key == self.home or any(
            lane[1] == environment.key for lane in self.scheduler.ready
        ):
            return float("inf")
        return environment.unused + UNUSED_S

    def check(self) -> None:
        """Assert the invariants of the environments."""
        for lane in self.scheduler.ready:
            assert not lane[1] or lane[1] in self.known
        for worker in self.scheduler.workers.values():
            assert not worker.env or worker.env in self.known
