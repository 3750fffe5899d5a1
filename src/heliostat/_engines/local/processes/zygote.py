"""The process that workers are forked from: single-threaded, and preloaded with what the driver has.

It forks, signals and buries workers as the driver says over a socket. When the driver is gone
(the socket ends), it ends all of them and itself.

A library that starts threads when it is imported, or initialises a GPU, would not survive a fork.
The zygote that has imported one becomes a fresh zygote without it: the same process, with the same
workers, runs its program from the start.
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
import time
import traceback
from typing import Any, NoReturn

from heliostat import _faults
from heliostat._engines.local.messages import MAIL
from heliostat._engines.local.worker import stacks, worker
from heliostat._engines.local.worker.birth import be_born
from heliostat._engines.local.worker.stamps import Stamped

_SETTLE_S = 0.05  # a thread that an import has started may end by itself this soon
# Threads that survive a fork, by what they call themselves: jemalloc (it comes with pyarrow) ends
# its own before one and starts it again when it needs it.
_HARMLESS = {"jemalloc_bg_thd"}
_DEVICES = ("/dev/nvidia", "/dev/kfd")  # a process that has them open has initialised a GPU

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Zygote:
    """Serves one driver."""

    def __init__(self, control: socket.socket, segment: int, state: str) -> None:
        self._control = control
        self._segment = segment
        self._facts: dict[str, Any] = {}
        self._procs: dict[int, int] = {}  # pid -> worker
        self._loaded: list[str] = []
        self._command = sys.orig_argv
        self._begun_anew = bool(state)
        if state:
            *self._command, _ = self._command
            self._facts, self._procs, self._loaded = marshal.loads(bytes.fromhex(state))
        self._pids = {proc: pid for pid, proc in self._procs.items()}

    def serve(self) -> None:
        """Until the driver is gone."""
        self._tell("ready")
        if self._begun_anew:
            again, self._loaded = self._loaded, []
            self._preload(again)
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        self._bury()  # those that ended while this process had another program
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
            data, fds, _, _ = socket.recv_fds(self._control, 1 << 20, 4)
        except ConnectionResetError:
            return False
        if not data:
            return False
        what, *rest = marshal.loads(data)
        if what == "facts":
            self._facts = rest[0]
        elif what == "preload":
            self._preload(rest[0])
        elif what == "fork":
            self._fork(rest[0], rest[1], fds)
        elif rest[0] in self._pids:
            _signal(self._pids[rest[0]], rest[1])
        return True

    def _preload(self, modules: list[str]) -> None:
        """Import these; if one of them must not be here when we fork, start anew without it."""
        missing = [name for name in modules if name not in sys.modules]
        if not missing:
            return
        # We do not hear of the driver's death while we import; the kernel ends us then, and workers
        # die with us.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for position, name in enumerate(missing):
            if name in sys.modules:
                continue
            self._tell("importing", name)
            # A module that fails here fails again, with its traceback, in the task that imports it.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
            reason = _why_not_fork(name)
            if reason:
                self._tell("spoiled", name, reason)
                to_come = missing[position + 1 :]
                # To import one of its parts is to import it.
                self._start_anew([one for one in to_come if not one.startswith(f"{name}.")])
            self._loaded.append(name)
        self._tell("importing", "")
        _prctl(_PR_SET_PDEATHSIG, 0)
        gc.freeze()

    def _start_anew(self, to_come: list[str]) -> NoReturn:
        _prctl(_PR_SET_PDEATHSIG, 0)
        modules = [*self._loaded, *to_come]
        state = marshal.dumps((self._facts, self._procs, modules)).hex()
        os.set_inheritable(self._control.fileno(), True)
        os.execv(sys.executable, [sys.executable, *self._command[1:], state])

    def _fork(self, proc: int, birth: dict[str, Any], fds: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                self._become(proc, birth, fds)
            except BaseException:  # noqa: BLE001 - the child must never act as the zygote
                traceback.print_exc()
            finally:
                os._exit(1)
        self._procs[pid], self._pids[proc] = proc, pid
        for fd in fds:
            os.close(fd)
        self._tell("forked", proc, pid, _private_bytes())

    def _become(self, proc: int, birth: dict[str, Any], fds: list[int]) -> NoReturn:
        """In the child: leave everything of the zygote behind and be a worker."""
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setpgid(0, 0)
        _offer_to_kernel()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        link, handover, out, err = fds
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        sys.stdout, sys.stderr = Stamped(1), Stamped(2)
        _reseed()
        stacks.listen()
        be_born(birth)
        sockets = socket.socket(fileno=link), socket.socket(fileno=handover)
        worker.main(proc, sockets, self._segment, self._facts, birth)

    def _bury(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            proc = self._procs.pop(pid, None)
            if proc is not None:  # otherwise an orphan that a worker left behind
                del self._pids[proc]
                _signal(pid, signal.SIGKILL, group_only=True)
                self._tell("exited", proc, status, used.ru_maxrss * 1024)

    def _tell(self, what: str, *facts: int | str) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(marshal.dumps((what, *facts)))

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


def _threads() -> list[str]:
    """The names of other threads of this process that a fork would not copy."""
    names = []
    for thread in os.listdir("/proc/self/task"):
        if int(thread) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/comm") as file:
                names.append(file.read().strip())
    return [name for name in names if name not in _HARMLESS]


def _why_not_fork(module: str) -> str:
    """Why this process, which has just imported `module`, must not be forked; empty if it may."""
    deadline = time.monotonic() + _SETTLE_S
    while threads := _threads():
        if time.monotonic() > deadline:
            return f"it started threads when it was imported ({', '.join(threads)})"
        time.sleep(0.001)
    try:
        _faults.point("zygote.gpu")
    except OSError:
        return "it initialised a GPU when it was imported"
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{fd}").startswith(_DEVICES):
                return "it initialised a GPU when it was imported"
    return ""


def _offer_to_kernel() -> None:
    """If the kernel must end a process for want of memory, let it be a worker and not the driver."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _reseed() -> None:
    """Forked workers must not all draw the same random numbers. (`random` sees to itself.)"""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def main(control: int, segment: int, state: str) -> None:
    """Be the zygote: `control` is the socket to the driver, `segment` the shared memory.

    `state` is what a zygote that had to start anew leaves to itself; empty at first.
    """
    for fd in (1, 2):  # otherwise a descriptor of ours would take their place
        with contextlib.suppress(OSError):
            os.fstat(fd)
            continue
        os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(MAIL, signal.SIG_IGN)  # until a new worker has its own handler in place
    gc.freeze()
    zygote = Zygote(socket.socket(fileno=control), segment, state)
    try:
        zygote.serve()
    finally:
        zygote.end()
        os._exit(0)
