"""Start a zygote and talk to it: one process, one socket. Knows nothing of what its workers do."""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from heliostat._engines.local.messages import Message
from heliostat._engines.local.processes import zygote_start

_PATIENCE_S = 0.2  # how long a zygote may take to end its workers and itself


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


class Ends(NamedTuple):
    """The driver's ends of a new worker: its socket, the one for handing over others, its output."""

    socket: socket.socket
    handover: socket.socket
    stdout: int
    stderr: int


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
            self.procs.pop(rest[0], None)
            yield Exit(rest[0], describe(rest[1]), os.WTERMSIG(rest[1]))
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
            if not select.select([ended], [], [], _PATIENCE_S)[0]:
                for pid in filter(None, self.procs.values()):
                    _kill_group(pid)
                _kill_group(self.pid)
        finally:
            os.close(ended)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def describe(status: int) -> str:
    """How a process ended, in words, from its wait status.

    Example:
        >>> describe(9), describe(256)
        ('it was killed by SIGKILL (signal 9)', 'it ended with exit code 1')
    """
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        known = {signal_.value: signal_.name for signal_ in signal.Signals}
        return f"it was killed by {known.get(number, 'a signal')} (signal {number})"
    return f"it ended with exit code {os.waitstatus_to_exitcode(status)}"


def of_the_driver(environ: Mapping[str, str]) -> Launch:
    """The driver's own interpreter, with these variables."""
    return Launch((sys.executable,), dict(environ))
