"""DuckDB's files on disk: they are removed also if this process is killed while a query runs.

They have names, which DuckDB opens them by; so a shell waits beside the query, hears of the end of
this process by the end of its input, and removes them.
"""

import atexit
import contextlib
import functools
import glob
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator

_IDLE_S = 0.25
_REMOVE_UNLESS_TOLD = 'read -r _ || rm -rf -- "$0"'


def folder_of(pid: int) -> str:
    """Where the queries of a process put what does not fit into memory."""
    return os.path.join(tempfile.gettempdir(), f"heliostat-{os.getuid()}-{pid}-duckdb")


def remove_stale_folders() -> None:
    """What processes have left that were killed together with their shell, or before it was there."""
    pattern = os.path.join(tempfile.gettempdir(), f"heliostat-{os.getuid()}-*-duckdb")
    for folder in glob.glob(pattern):
        owner = folder.split("-")[-2]
        if os.path.exists(f"/proc/{owner}"):
            continue
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)


@contextlib.contextmanager
def removed_if_killed() -> Iterator[None]:
    """While a query runs that may need disk, and a moment longer: the next one has the same shell."""
    guard = _guard(folder_of(os.getpid()))
    guard.enter()
    try:
        yield
    finally:
        guard.leave()


@functools.cache
def _guard(folder: str) -> "_Guard":
    guard = _Guard(folder)
    atexit.register(guard.end)
    return guard


class _Guard:
    """The shell of a process. To start one takes as long as a twentieth of a short query."""

    def __init__(self, folder: str) -> None:
        self._folder, self._owner = folder, os.getpid()
        self._lock = threading.Lock()
        self._shell: subprocess.Popen[bytes] | None = None
        self._queries = 0
        self._used = False

    def enter(self) -> None:
        """A query begins."""
        with self._lock:
            self._queries += 1
            if self._shell is not None and self._shell.poll() is None:
                return
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _REMOVE_UNLESS_TOLD, self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Not one of those that Ctrl-C, or a kill of the whole group, reaches.
                start_new_session=True,
            )
            waits = threading.Thread(
                target=self._end_when_idle, args=(self._shell,), name="heliostat-temp", daemon=True
            )
        waits.start()

    def leave(self) -> None:
        """A query has ended."""
        with self._lock:
            self._queries -= 1
            self._used = True

    def end(self, *, if_idle: bool = False) -> None:
        """Tell the shell that there is nothing to remove."""
        if os.getpid() != self._owner:  # a fork has it, too, and its end is not the owner's
            return
        with self._lock:
            used, self._used = self._used, False
            if if_idle and (self._queries or used):
                return
            shell, self._shell = self._shell, None
        if shell is not None:
            # It may have been killed itself.
            with contextlib.suppress(BrokenPipeError):
                shell.communicate(b"\n")
            shell.wait()

    def _end_when_idle(self, shell: "subprocess.Popen[bytes]") -> None:
        while self._shell is shell:
            time.sleep(_IDLE_S)
            self.end(if_idle=True)
