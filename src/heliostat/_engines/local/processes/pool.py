"""The zygotes of a session, and which worker was born where. Knows nothing of what workers do.

`main` has imported what the driver has; workers without an environment are forked from it.
`bare` has imported nothing but Heliostat: an environment's variables and files must be there
before libraries are imported. Environments with an interpreter of their own have their own zygote.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heliostat._engines.local.messages import (
    MAIL,
    Described,
    Message,
    NotBorn,
    Noted,
    Prepared,
    Unprepared,
)
from heliostat._engines.local.processes import oom
from heliostat._engines.local.processes.launch import (
    Ends,
    Exit,
    Forked,
    Launch,
    Spoiled,
    ZygoteProcess,
    of_the_driver,
)
from heliostat._engines.local.processes.preload import Preloads
from heliostat._engines.local.processes.zygote_stops import PATIENCE_S, ZygoteStops
from heliostat._engines.local.worker import threads

if TYPE_CHECKING:
    from heliostat._engines.local.processes.environments import Environments

UNBORN_S = 0.1  # a worker that could not be started is tried again not earlier than this


class Reports(Message):
    """Who hears of what.

    Attributes:
        watch: Has a descriptor watched, and something called when there is something to read.
        unwatch: The end of that.
        ended: Called when a worker has ended.
        event: Called with what the scheduler must know.
        announce: The same from any thread, after something that only one thread may do; False if
            the session has ended.
    """

    watch: Callable[[int, Callable[[], None]], None]
    unwatch: Callable[[int], None]
    ended: Callable[[Exit], None]
    event: Callable[[Unprepared | Noted], None]
    announce: Callable[[Prepared, Callable[[], None]], bool]


class Pool:
    """The zygotes and the workers forked from them.

    Args:
        segment: The file descriptor of the shared memory segment, and its size.
        facts: What every worker must know; marshal can carry it.
        reports: Who hears of what.
    """

    def __init__(
        self,
        segment: tuple[int, int],
        facts: Mapping[str, Any],
        reports: Reports,
    ) -> None:
        self._segment, capacity = segment
        environ, users_threads = threads.kept_single(os.environ)
        self._facts = {**facts, "capacity": capacity, "threads": users_threads}
        self._environ = {**environ, "HELIOSTAT_WORKER": "1"}
        self._reports = reports
        self._preloads = Preloads()
        self._modules: Sequence[str] = ()  # as many were imported here when one was last forked
        self.pids: dict[int, int] = {}
        self.all_pids: dict[int, int] = {}  # of workers that have ended, too
        # Workers that could not be started, and when to say so.
        self.unborn: deque[tuple[float, NotBorn]] = deque()
        self.inherited: dict[int, int] = {}  # bytes of the zygote that a worker was born with
        self._bare: ZygoteProcess | None = None
        self._environments: Environments | None = None  # most sessions have none
        self._of_environment: dict[bytes, ZygoteProcess] = {}
        self._zygotes: dict[int, ZygoteProcess] = {}  # of each worker
        self._stops = ZygoteStops()
        self._main = self._start()

    def _start(self) -> ZygoteProcess:
        zygote = self.start(of_the_driver(self._environ))
        self._watch(zygote)
        return zygote

    def _watch(self, zygote: ZygoteProcess) -> None:
        self._reports.watch(zygote.socket.fileno(), lambda: self._read(zygote))

    def _read(self, zygote: ZygoteProcess) -> None:
        for report in zygote.read():
            if type(report) is Forked:
                self.pids[report.proc] = self.all_pids[report.proc] = report.pid
                self.inherited[report.proc] = report.inherited
            elif type(report) is Exit:
                self._ended(report)
            elif type(report) is Spoiled:
                self._spoiled(report.module, report.reason)
            else:
                self._lost(zygote)

    def _ended(self, report: Exit) -> None:
        self.pids.pop(report.proc, None)
        self.inherited.pop(report.proc, None)
        self._zygotes.pop(report.proc, None)
        self._reports.ended(report)

    def start(self, launch: Launch) -> ZygoteProcess:
        """A zygote, which `adopt` makes known."""
        return ZygoteProcess(launch, self._segment, self._facts)

    def environ(self, variables: Mapping[str, str]) -> dict[str, str]:
        """What the zygote of an environment with these variables has."""
        return {**self._environ, **variables}

    def adopt(self, environment: bytes, zygote: ZygoteProcess) -> None:
        """Workers of this environment are born of that zygote from now on."""
        self._of_environment[environment] = zygote
        self._watch(zygote)

    def describe(self, event: Described) -> None:
        """Remember what an environment is."""
        if self._environments is None:
            from heliostat._engines.local.processes.environments import Environments  # noqa: PLC0415

            self._environments = Environments(self, self._reports.announce)
        self._environments.describe(event)

    def preload(self, modules: Sequence[str]) -> bool:
        """Have workers to come find these imported, too; False if they may not be."""
        modules = self._preloads.allowed(modules)
        self._main.preload(modules)
        return bool(modules)

    def prepare(self, environment: bytes) -> None:
        """Make an environment, on another thread."""
        assert self._environments is not None
        self._environments.prepare(environment)

    def fork(self, proc: int, environment: bytes) -> Ends:
        """A new worker. It can be written to at once.

        Raises:
            OSError: If there are not enough file descriptors left.
        """
        zygote = self._zygotes[proc] = self._zygote(environment)
        if not environment:
            if len(sys.modules) != self._preloads.seen:
                self._modules = self._preloads.wanted()
            return zygote.fork(proc, self._modules, {})
        assert self._environments is not None
        return zygote.fork(proc, (), self._environments.birth(environment))

    def _zygote(self, environment: bytes) -> ZygoteProcess:
        if not environment:
            return self._main
        own = self._of_environment.get(environment)
        if own is not None:
            return own
        if self._bare is None:
            self._bare = self._start()
        return self._bare

    def not_started(self, proc: int, error: OSError) -> None:
        """Note that `fork` failed; to be told a little later, so that nobody tries without pause."""
        why = f"it could not be started: {error}. `ulimit -n` says how many there may be"
        self._zygotes.pop(proc, None)
        self.unborn.append((time.monotonic() + UNBORN_S, NotBorn(proc, why)))

    def nudge(self, proc: int) -> None:
        """Make a busy worker read its socket now."""
        self.kill(proc, MAIL)

    def kill(self, proc: int, number: int) -> None:
        """Send a signal to a worker; SIGKILL goes to its whole process group."""
        zygote = self._zygotes.get(proc)
        if zygote is not None:
            zygote.kill(proc, number)

    def _lost(self, zygote: ZygoteProcess) -> None:
        """A zygote died, and its workers with it: start another where one is needed at any time."""
        self._reports.unwatch(zygote.socket.fileno())
        if zygote.importing:
            self._spoiled(zygote.importing, "the process died that imported it")
        zygote.close()
        if zygote is self._main:
            self._main = self._start()
        elif zygote is self._bare:
            self._bare = None
        for environment, own in list(self._of_environment.items()):
            if own is zygote:
                del self._of_environment[environment]
                self._reports.event(Unprepared(environment))
        for proc in list(zygote.procs):
            self._ended(Exit(proc, "the process that starts workers was killed", 0))

    def discard(self, environment: bytes) -> None:
        """Nobody needs this environment: end its zygote, if nobody else's workers are of it."""
        zygote = self._of_environment.pop(environment, None)
        if zygote is None and self._bare is not None and not self._bare.procs:
            zygote, self._bare = self._bare, None
        if zygote is not None:
            self._reports.unwatch(zygote.socket.fileno())
            zygote.close()

    def _spoiled(self, module: str, reason: str) -> None:
        if self._preloads.ban([module]) and sys.stderr is not None:
            sys.stderr.write(
                f"heliostat: {module} is not shared between workers, because {reason}; each "
                "imports it when it needs it\n"
            )

    def see_stopped(self, now: float) -> None:
        """Have zygotes go on that somebody has stopped, and say so."""
        stopped = [zygote.pid for zygote in self.zygotes() if oom.is_stopped(zygote.pid)]
        for pid in self._stops.look(stopped, now):
            why = (
                f"the process that starts workers (pid {pid}) was stopped for {PATIENCE_S:.0f} s, as "
                "by SIGSTOP, and was continued"
            )
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            self._reports.event(Noted(why))
            if sys.stderr is not None:
                sys.stderr.write(f"heliostat: {why}\n")

    def zygotes(self) -> list[ZygoteProcess]:
        """Every zygote there is."""
        found = [self._main, *self._of_environment.values()]
        return [*found, self._bare] if self._bare is not None else found

    def close(self) -> None:
        """End the zygotes, which end every worker first."""
        if self._environments is not None:
            self._environments.close()
        for zygote in self.zygotes():
            zygote.close()
