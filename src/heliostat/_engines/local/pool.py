"""Start, signal and bury worker processes, through the zygote. Knows nothing of what they do."""

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
from collections.abc import Iterator
from typing import Any, NamedTuple

MAIL = signal.SIGRTMIN + 7  # tells a busy worker to read its socket now

UNBORN_S = 0.1  # a worker that could not be started is tried again not earlier than this
_PATIENCE_S = 0.2  # how long the zygote may take to end its workers and itself

# Imported in the zygote as soon as the driver has them, so that every worker has them at once.
PRELOADED = (
    "asyncio",
    "numpy",
    "pandas",
    "pyarrow",
    "pyarrow.parquet",
    "scipy",
    "sklearn",
    "xgboost",
    "heliostat.data",
    "heliostat.train",
    "heliostat.train.xgboost",
    "heliostat.tune",
    "heliostat.serve",
)

_START = (
    "import sys; sys.path[:] = sys.argv[3].split(chr(10)); "
    "from heliostat._engines.local.zygote import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)


class Ends(NamedTuple):
    """The driver's ends of a new worker: its socket, and its output."""

    socket: socket.socket
    stdout: int
    stderr: int


class Exit(NamedTuple):
    """A worker process has ended."""

    proc: int
    reason: str
    signal: int  # that ended it; 0 if none did


class Pool:
    """The zygote and the workers forked from it.

    Args:
        segment: The file descriptor of the shared memory segment, and its size.
        facts: What every worker must know; marshal can carry it.
    """

    def __init__(self, segment: tuple[int, int], facts: dict[str, Any]) -> None:
        self._segment = segment
        self._facts = facts
        self.pids: dict[int, int] = {}
        self.all_pids: dict[int, int] = {}  # of workers that have ended, too
        # Workers that could not be started: when to say so, which, and why.
        self.unborn: deque[tuple[float, int, str]] = deque()
        self.inherited: dict[int, int] = {}  # bytes of the zygote that a worker was born with
        self._start()

    def _start(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd, capacity = self._segment
        first = max(theirs.fileno(), fd, 9) + 1  # targets must not overwrite what is still needed
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), first),
            (os.POSIX_SPAWN_DUP2, fd, first + 1),
        ]
        path = "\n".join(entry for entry in sys.path if "\n" not in entry)
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", _START, str(first), str(first + 1), path],
            _environment(),
            file_actions=actions,
            setsid=True,
        )
        theirs.close()
        self._send(("facts", {**self._facts, "capacity": capacity}))

    def fork(self, proc: int) -> Ends:
        """A new worker. It can be written to at once.

        Raises:
            OSError: If there are not enough file descriptors left.
        """
        with contextlib.ExitStack() as undo:
            ours, theirs = map(undo.enter_context, socket.socketpair())
            ends: list[int] = []
            for _ in range(2):
                ends += os.pipe()
                undo.callback(os.close, ends[-2])
                undo.callback(os.close, ends[-1])
            undo.pop_all()
        out_read, out_write, err_read, err_write = ends
        loaded = [name for name in PRELOADED if name in sys.modules]
        self._send(("fork", proc, loaded), [theirs.fileno(), out_write, err_write])
        theirs.close()
        os.close(out_write)
        os.close(err_write)
        return Ends(ours, out_read, err_read)

    def not_started(self, proc: int, error: OSError) -> None:
        """Note that `fork` failed; to be told a little later, so that nobody tries without pause."""
        why = f"it could not be started: {error}. `ulimit -n` says how many there may be"
        self.unborn.append((time.monotonic() + UNBORN_S, proc, why))

    def kill(self, proc: int, number: int) -> None:
        """Send a signal to a worker; SIGKILL goes to its whole process group."""
        self._send(("kill", proc, int(number)))

    def _send(self, message: tuple[Any, ...], fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self.socket, [marshal.dumps(message)], fds or [])
        except OSError as error:
            if error.errno not in (32, 104):  # EPIPE, ECONNRESET: its end is news enough
                raise

    def read(self) -> Iterator[Exit | None]:
        """What the zygote reports; None if it is gone."""
        try:
            data = self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            yield None
            return
        what, proc, *numbers = marshal.loads(data)
        if what == "forked":
            self.pids[proc] = self.all_pids[proc] = numbers[0]
            self.inherited[proc] = numbers[1]
        else:
            self.pids.pop(proc, None)
            self.inherited.pop(proc, None)
            yield Exit(proc, describe(numbers[0]), os.WTERMSIG(numbers[0]))

    def restart(self) -> None:
        """A new zygote in place of one that died."""
        self.close()
        self._start()

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
                for pid in self.pids.values():
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(pid, signal.SIGKILL)
                os.kill(self.pid, signal.SIGKILL)
        finally:
            os.close(ended)


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


def _environment() -> dict[str, str]:
    # One thread per worker unless the user says otherwise: there is a worker for each CPU.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**threads, **os.environ, "HELIOSTAT_WORKER": "1"}
