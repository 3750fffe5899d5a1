"""The zygotes of a session, one process and socket each, and which worker was born where.

It knows nothing of what workers do.

`main` has imported what the driver has; workers without an environment are forked from it.
`bare` has imported nothing but Heliostat: an environment's variables and files must be there
before libraries are imported. Environments with an interpreter of their own have their own zygote.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from heliostat._engines.local.messages import (
    MAIL,
    Described,
    Message,
    NotBorn,
    Noted,
    Prepared,
    Unprepared,
)
from heliostat._engines.local.processes import oom, zygote_start
from heliostat._engines.local.processes.preload import Preloads
from heliostat._engines.local.processes.zygote_stops import PATIENCE_S, ZygoteStops
from heliostat._engines.local.transport.conn import Ends
from heliostat._engines.local.worker import threads

if TYPE_CHECKING:
    from heliostat._engines.local.processes.environments import Environments

UNBORN_S = 0.1  # a worker that could not be started is tried again not earlier than this
_ENDS_IN_S = 0.2  # how long a zygote may take to end its workers and itself


class Launch(NamedTuple):
    """How a zygote is started.

    Attributes:
        command: The interpreter, and arguments to it.
        environ: Its environment variables.
        own_packages: Whether what is installed for that interpreter comes before what the driver
            has; otherwise it imports from where the driver does, and nowhere else.
        log: Where its output goes; None: where the driver's goes.
    """

    command: tuple[str, ...]
    environ: dict[str, str]
    own_packages: bool = False
    log: int | None = None


class Forked(Message):
    """A worker was born."""

    proc: int
    pid: int
    inherited: int  # bytes of the zygote that it was born with


class Exit(Message):
    """A worker process has ended."""

    proc: int
    reason: str
    signal: int  # that ended it; 0 if none did
    peak: int  # bytes it had in memory at most


class Spoiled(Message):
    """A library that must not be imported before a fork: the zygote goes on without it."""

    module: str
    reason: str


class Lost(Message):
    """The zygote itself is gone."""


Report = Forked | Exit | Spoiled | Lost


class ZygoteProcess:
    """The driver's end of one zygote.

    Args:
        launch: How to start it.
        segment: The file descriptor of the shared memory segment.
        facts: What every worker must know; marshal can carry it.
    """

    def __init__(self, launch: Launch, segment: int, facts: Mapping[str, Any]) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        first = max(theirs.fileno(), segment, launch.log or 0, 9) + 1  # overwrite nothing needed
        actions: list[tuple[Any, ...]] = [  # in this order: a driver may lack its first descriptors
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), first),
            (os.POSIX_SPAWN_DUP2, segment, first + 1),
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        ]
        if launch.log is not None:
            actions += [(os.POSIX_SPAWN_DUP2, launch.log, target) for target in (1, 2)]
        arguments = zygote_start.arguments(first, first + 1, own_packages=launch.own_packages)
        try:
            self.pid = os.posix_spawnp(
                launch.command[0],
                [*launch.command, *arguments],
                launch.environ,
                file_actions=actions,
                setsid=True,
            )
        except OSError:
            self.socket.close()
            raise
        finally:
            theirs.close()
        self.procs: dict[int, int | None] = {}  # the workers that it was asked for, and their pids
        self.importing = ""  # what it is in the middle of importing
        self._preloaded: set[str] = set()
        self._send(("facts", dict(facts)))

    def fork(self, proc: int, modules: Sequence[str], birth: Mapping[str, Any]) -> Ends:
        """A new worker. It can be written to at once.

        Args:
            proc: Its number.
            modules: What it shall have imported already.
            birth: What sets it apart from other workers of this zygote; marshal can carry it.

        Raises:
            OSError: If there are not enough file descriptors left.
        """
        with contextlib.ExitStack() as undo:
            ours, theirs = map(undo.enter_context, socket.socketpair())
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            handover, taken = map(undo.enter_context, pair)
            ends: list[int] = []
            for _ in range(2):
                ends += os.pipe()
                undo.callback(os.close, ends[-2])
                undo.callback(os.close, ends[-1])
            undo.pop_all()
        out_read, out_write, err_read, err_write = ends
        self.procs[proc] = None
        self.preload(modules)
        self._send(("fork", proc, dict(birth)), [s.fileno() for s in (theirs, taken)] + ends[1::2])
        theirs.close()
        taken.close()
        os.close(out_write)
        os.close(err_write)
        return Ends(ours, handover, out_read, err_read)

    def preload(self, modules: Sequence[str]) -> None:
        """Have it import these, for workers that it is asked for later."""
        new = [name for name in modules if name not in self._preloaded]
        if new:
            self._preloaded.update(new)
            self._send(("preload", new))

    def kill(self, proc: int, number: int) -> None:
        """Send a signal to a worker; SIGKILL goes to its whole process group."""
        self._send(("kill", proc, int(number)))

    def _send(self, message: tuple[Any, ...], fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self.socket, [marshal.dumps(message)], fds or [])
        except OSError as error:
            if error.errno not in (32, 104):  # EPIPE, ECONNRESET: its end is news enough
                raise

    def read(self) -> Iterator[Report]:
        """What the zygote reports."""
        try:
            data = self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            yield Lost()
            return
        what, *rest = marshal.loads(data)
        if what == "forked":
            self.procs[rest[0]] = rest[1]
            yield Forked(*rest)
        elif what == "exited":
            proc, status, peak = rest
            self.procs.pop(proc, None)
            yield Exit(proc, describe(status), os.WTERMSIG(status), peak)
        elif what == "spoiled":
            yield Spoiled(*rest)
        elif what == "importing":
            self.importing = rest[0]

    def greeted(self, timeout_s: float | None) -> bool:
        """Wait until it is there; False if it ended instead.

        Raises:
            TimeoutError: If the time is over.
        """
        if not select.select([self.socket], [], [], timeout_s)[0]:
            raise TimeoutError
        try:
            return bool(self.socket.recv(1 << 16))
        except ConnectionResetError:
            return False

    def kill_at_once(self) -> None:
        """End it, on the way to becoming a zygote or not; `close` must follow."""
        _kill_group(self.pid)

    def close(self) -> None:
        """End the zygote, which ends every worker first."""
        self.socket.close()
        try:
            self._kill_if_slow()
            os.waitpid(self.pid, 0)
        except (ChildProcessError, ProcessLookupError):  # somebody else waited for it
            return

    def _kill_if_slow(self) -> None:
        """A zygote in the middle of a long import does not hear us; its workers die with it."""
        ended = os.pidfd_open(self.pid)
        try:
            if not select.select([ended], [], [], _ENDS_IN_S)[0]:
                for pid in filter(None, self.procs.values()):
                    _kill_group(pid)
                _kill_group(self.pid)
        finally:
            os.close(ended)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def describe(status: int) -> str:
    """How a process ended, in words, from its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        known = {signal_.value: signal_.name for signal_ in signal.Signals}
        return f"it was killed by {known.get(number, 'a signal')} (signal {number})"
    return f"it ended with exit code {os.waitstatus_to_exitcode(status)}"


def of_the_driver(environ: Mapping[str, str]) -> Launch:
    """The driver's own interpreter, with these variables."""
    return Launch((sys.executable,), dict(environ))


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
            self._ended(Exit(proc, "the process that starts workers was killed", 0, 0))

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
