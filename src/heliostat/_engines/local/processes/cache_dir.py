"""Directories of this user on this machine: one that is kept, one for each session, which is not.

Every directory is private (0700). A session's is locked while its driver lives, so that the next
session can tell which were left behind by drivers that were killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator

_VARIABLE = "HELIOSTAT_CACHE_DIR"


def root() -> str:
    """The directory that is kept: HELIOSTAT_CACHE_DIR, or `heliostat` among the user's caches.

    Without a home that can be written to it is one in the directory for temporary files.

    Raises:
        OSError: If there is none that is ours alone.
    """
    asked = os.environ.get(_VARIABLE)
    if asked:
        return _private(os.path.abspath(asked))
    home = os.path.expanduser("~")
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    if os.path.isabs(caches):
        with contextlib.suppress(OSError):
            return _private(os.path.join(caches, "heliostat"))
    return _private(os.path.join(tempfile.gettempdir(), f"heliostat-{os.getuid()}"))


def _private(path: str) -> str:
    os.makedirs(path, mode=0o700, exist_ok=True)
    found = os.stat(path, follow_symlinks=False)
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(
            f"{path} can be written to by others; set {_VARIABLE} to a directory that is yours"
        )
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} cannot be written to; set {_VARIABLE} to another directory")
    return path


def below(name: str) -> str:
    """A directory in the one that is kept."""
    return _private(os.path.join(root(), name))


class SessionDirectory:
    """The directory of one session; made when it is first asked for, and removed with it."""

    def __init__(self) -> None:
        self._path = ""
        self._lock = -1

    def path(self) -> str:
        """Where it is."""
        if not self._path:
            sessions = below("sessions")
            _sweep(sessions)
            path = os.path.join(sessions, f"{os.getpid()}-{secrets.token_hex(6)}")
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.mkdir(path, 0o700)
            self._path = path
        return self._path

    def close(self) -> None:
        """Remove it."""
        if self._path:
            _remove(self._path)
            os.close(self._lock)
            self._path = ""


def _sweep(sessions: str) -> None:
    """Remove what was left by drivers that are gone."""
    for lock in os.listdir(sessions):
        if not lock.endswith(".lock"):
            continue
        path = os.path.join(sessions, lock)
        with contextlib.suppress(OSError), locked(path, wait=False):
            _remove(path.removesuffix(".lock"))


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}.lock")


@contextlib.contextmanager
def locked(path: str, *, wait: bool = True) -> Iterator[int]:
    """Hold the lock of that file, which is made if need be.

    Args:
        path: The file.
        wait: Whether to wait for whoever has it.

    Yields:
        Its descriptor.

    Raises:
        BlockingIOError: If somebody has it, and we do not wait.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield fd
    finally:
        os.close(fd)
