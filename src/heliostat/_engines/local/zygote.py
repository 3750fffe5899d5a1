"""The process that workers are forked from: single-threaded, and preloaded with what the driver has.

It forks, signals and buries workers as the driver says over a socket. When the driver is gone
(the socket ends), it ends all of them and itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import marshal
import mmap
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from heliostat._engines.local import worker
from heliostat._engines.local.pool import MAIL
from heliostat._engines.local.stamps import Stamped

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Zygote:
    """Serves one driver."""

    def __init__(self, control: socket.socket, segment: int) -> None:
        self._control = control
        self._segment = segment
        self._procs: dict[int, int] = {}  # pid -> worker
        self._pids: dict[int, int] = {}
        self._facts: dict[str, Any] = {}

    def serve(self) -> None:
        """Until the driver is gone."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == woken:
                    with contextlib.suppress(BlockingIOError):
                        os.read(woken, 4096)
                    self._bury()
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        """Carry out one message; False when the driver is gone."""
        try:
            data, fds, _, _ = socket.recv_fds(self._control, 1 << 20, 3)
        except ConnectionResetError:
            return False
        if not data:
            return False
        what, *rest = marshal.loads(data)
        if what == "facts":
            self._facts = rest[0]
        elif what == "fork":
            self._fork(rest[0], rest[1], fds)
        elif rest[0] in self._pids:
            _signal(self._pids[rest[0]], rest[1])
        return True

    def _fork(self, proc: int, modules: list[str], fds: list[int]) -> None:
        _preload(modules)
        pid = os.fork()
        if pid == 0:
            try:
                self._become(proc, fds)
            except BaseException:  # noqa: BLE001 - the child must never act as the zygote
                traceback.print_exc()
            finally:
                os._exit(1)
        self._procs[pid], self._pids[proc] = proc, pid
        for fd in fds:
            os.close(fd)
        self._tell("forked", proc, pid, _private_bytes())

    def _become(self, proc: int, fds: list[int]) -> NoReturn:
        """In the child: leave everything of the zygote behind and be a worker."""
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setpgid(0, 0)
        _offer_to_kernel()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        link, out, err = fds
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        sys.stdout, sys.stderr = Stamped(1), Stamped(2)
        _reseed()
        worker.main(proc, socket.socket(fileno=link), self._segment, self._facts)

    def _bury(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            proc = self._procs.pop(pid, None)
            if proc is not None:  # otherwise an orphan that a worker left behind
                del self._pids[proc]
                _signal(pid, signal.SIGKILL, group_only=True)
                self._tell("exited", proc, status)

    def _tell(self, what: str, proc: int, *numbers: int) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(marshal.dumps((what, proc, *numbers)))

    def end(self) -> None:
        """End every worker and what they started."""
        for pid in self._procs:
            _signal(pid, signal.SIGKILL)
        while True:
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            _signal(pid, signal.SIGKILL, group_only=True)
            for orphan in _children():
                _signal(orphan, signal.SIGKILL)


def _signal(pid: int, number: int, *, group_only: bool = False) -> None:
    """Signal a worker; with SIGKILL, whatever else is in its group too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not group_only:
            os.kill(pid, number)
        if number == signal.SIGKILL:
            os.killpg(pid, number)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:  # a kernel without this file: groups have been killed anyway
        return []


def _private_bytes() -> int:
    """Memory of this process that is not of files: a worker has as much when it is born."""
    with open("/proc/self/statm", "rb") as file:
        _, resident, shared, *_ = map(int, file.read().split())
    return (resident - shared) * mmap.PAGESIZE


def _preload(modules: list[str]) -> None:
    missing = [name for name in modules if name not in sys.modules]
    if not missing:
        return
    # We do not hear of the driver's death while we import; the kernel ends us then, and workers
    # die with us.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for name in missing:
        # A module that fails here fails again, with its traceback, in the task that imports it.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    _prctl(_PR_SET_PDEATHSIG, 0)
    gc.freeze()


def _offer_to_kernel() -> None:
    """If the kernel must end a process for want of memory, let it be a worker and not the driver."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _reseed() -> None:
    """Forked workers must not all draw the same random numbers. (`random` sees to itself.)"""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def main(control: int, segment: int) -> None:
    """Be the zygote: `control` is the socket to the driver, `segment` the shared memory."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(MAIL, signal.SIG_IGN)  # until a new worker has its own handler in place
    gc.freeze()
    zygote = Zygote(socket.socket(fileno=control), segment)
    try:
        zygote.serve()
    finally:
        zygote.end()
        os._exit(0)
