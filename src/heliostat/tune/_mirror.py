"""Mirror: copies what a study writes here to where it is kept beyond this machine, as it grows.

A thread copies what has changed, the log last, so that the log there never speaks of what is not there.
Checkpoints that are surplus go when the log there says so. An object store cannot append: a file that has
grown is written anew. Nobody locks a directory there: two studies at once need two names.
"""

import contextlib
import fcntl
import glob
import logging
import os
import posixpath
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyarrow import fs

from heliostat.train._reachable import check_reachable
from heliostat.train._remote import read, write
from heliostat.tune._beyond import Beyond
from heliostat.tune._snapshot import LOG_PREFIX, TUNER_FILE

# Rest so many times as long as the last round took, so that small files are not sent again and again.
_REST = 2.0
_AGAIN_S = 2.0
_AT_ONCE = 8
_PREFIX, _LOCK = "heliostat_study_", "in-use"
# A study's files are in its directory and in those of its trials; below that are checkpoints.
_DEPTH = 2

_log = logging.getLogger("heliostat.tune")


class Mirror:
    """A study's directory here, as long as this is used, and the one beyond this machine.

    Args:
        there: The directory on its file system.
        filesystem: One of pyarrow's.

    Raises:
        OSError: Nobody answers there, or it cannot be written to; the path is named.
    """

    def __init__(self, there: str, filesystem: Any) -> None:
        check_reachable(there, filesystem)
        _sweep()
        parent = tempfile.mkdtemp(prefix=_PREFIX)
        here = os.path.join(parent, posixpath.basename(there))
        self.beyond = Beyond(here, there, filesystem)
        self._lock = _lock(parent)
        self._remove = weakref.finalize(self, _let_go, parent, self._lock)
        self._sent: dict[str, tuple[int, int]] = {}
        self._changed = threading.Condition()
        self._wanted = self._over = self._warned = False
        self._surplus: list[str] = []
        self._thread: threading.Thread | None = None
        try:
            os.mkdir(here)
            filesystem.create_dir(there, recursive=True)
        except OSError as error:
            self._remove()
            raise type(error)(
                f"storage_path: {there!r} on {filesystem.type_name} cannot be written to ({error}); "
                "look at its address and credentials"
            ) from error

    @property
    def here(self) -> Path:
        """The directory here."""
        return Path(self.beyond.here)

    def fetch(self) -> None:
        """Bring the study's files here; checkpoints stay where they are."""
        where, filesystem = self.beyond.there, self.beyond.filesystem
        names = []
        for info in filesystem.get_file_info(fs.FileSelector(where, recursive=True)):
            name = posixpath.relpath(info.path, where)
            if info.type == fs.FileType.File and name.count("/") < _DEPTH:
                names.append((name, info.mtime_ns))
        self._each(self._bring, names)

    def _bring(self, entry: tuple[str, int | None]) -> None:
        name, when = entry
        target = self.here / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read(f"{self.beyond.there}/{name}", self.beyond.filesystem))
        if when is not None:
            os.utime(target, ns=(when, when))  # the newest log is found by its time
        status = target.stat()
        self._sent[name] = (status.st_mtime_ns, status.st_size)

    def update(self) -> None:
        """Something was written here: let it be copied soon."""
        with self._changed:
            if self._thread is None:
                self._over = False
                self._thread = threading.Thread(target=self._serve, name="tune-mirror", daemon=True)
                self._thread.start()
            self._wanted = True
            self._changed.notify()

    def delete(self, path: str) -> None:
        """Remove a checkpoint there, when the log there says that it is surplus.

        Args:
            path: The path that it has here.
        """
        with self._changed:
            self._surplus.append(path)
        self.update()

    def close(self) -> None:
        """Copy what is left; what cannot be copied stays here, and is named."""
        with self._changed:
            thread, self._thread, self._over = self._thread, None, True
            self._changed.notify()
        if thread is not None:
            thread.join()
        try:
            self._send()
        except OSError as error:
            if self._remove.detach() is not None:
                (self.here.parent / _LOCK).unlink()
                os.close(self._lock)
            _log.error(
                "the end of the study cannot be written to %s (%s); it is in %s",
                self.beyond.there, error, self.beyond.here,
            )  # fmt: skip

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._over)
                if self._over:
                    return
                self._wanted = False
            began, rest = time.monotonic(), 0.0
            try:
                self._send()
            except OSError as error:
                rest, self._wanted = _AGAIN_S, True
                if not self._warned:
                    self._warned = True
                    _log.warning(
                        "%s cannot be written to; it is tried again: %s", self.beyond.there, error
                    )
            rest = max(rest, _REST * (time.monotonic() - began))
            with self._changed:
                self._changed.wait_for(lambda: self._over, rest)

    def _send(self) -> None:
        """Copy what has changed, then the log, then remove what it calls surplus."""
        with self._changed:
            surplus, self._surplus = self._surplus, []
        try:
            # Logs before others, by their text: it speaks of nothing that is not here by then.
            logs = {path.name: path.read_bytes() for path in self._logs()}
            self._each(self._copy, self._changes())
            for name, text in logs.items():
                if self._sent.get(name) != (0, len(text)):
                    write(f"{self.beyond.there}/{name}", text, self.beyond.filesystem)
                    self._sent[name] = (0, len(text))
        except OSError:
            with self._changed:
                self._surplus = surplus + self._surplus
            raise
        for path in surplus:
            self.beyond.checkpoint(path).remove()

    def _logs(self) -> Iterable[Path]:
        return self.here.glob(f"{LOG_PREFIX}*.jsonl")

    def _changes(self) -> list[tuple[str, tuple[int, int]]]:
        """Files that are not there as they are here, without logs."""
        found = []
        for file in self._files():
            name = os.path.relpath(file.path, self.here)
            if ".stage-" in name or name.startswith(LOG_PREFIX):
                continue
            with contextlib.suppress(FileNotFoundError):  # it has just been removed or renamed
                status = file.stat()
                state = (status.st_mtime_ns, status.st_size)
                if self._sent.get(name) != state:
                    found.append((name, state))
        return found

    def _files(self) -> Iterator[os.DirEntry[str]]:
        """The study's own files, and those of its trials."""
        folders = [str(self.here)]
        for _ in range(_DEPTH):
            entries: list[os.DirEntry[str]] = []
            for folder in folders:
                with contextlib.suppress(FileNotFoundError), os.scandir(folder) as listed:
                    entries += listed
            yield from (entry for entry in entries if entry.is_file())
            folders = [entry.path for entry in entries if entry.is_dir()]

    def _copy(self, change: tuple[str, tuple[int, int]]) -> None:
        name, state = change
        try:
            data = (self.here / name).read_bytes()
        except FileNotFoundError:  # written anew under its name right now
            return
        there, filesystem = f"{self.beyond.there}/{name}", self.beyond.filesystem
        try:
            write(there, data, filesystem)
        except FileNotFoundError:  # a trial's first file, where directories have to be made
            filesystem.create_dir(posixpath.dirname(there), recursive=True)
            write(there, data, filesystem)
        self._sent[name] = state

    def _each(self, work: Callable[[Any], None], items: list[Any]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(work, items):
                pass


def _lock(parent: str) -> int:
    """Show that a directory has somebody, for as long as this process lives."""
    new, lock = os.path.join(parent, f"{_LOCK}.new"), os.path.join(parent, _LOCK)
    held = os.open(new, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    os.rename(new, lock)  # whoever sees it sees it locked
    return held


def _let_go(parent: str, held: int) -> None:
    shutil.rmtree(parent, ignore_errors=True)
    os.close(held)


def _sweep() -> None:
    """Remove what processes that were killed have left: nobody holds its lock any more."""
    for lock in glob.glob(os.path.join(tempfile.gettempdir(), f"{_PREFIX}*", _LOCK)):
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            found = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(os.path.dirname(lock), ignore_errors=True)
            finally:
                os.close(found)


def exists(there: str, filesystem: Any) -> bool:
    """Whether there is a study in a directory beyond this machine."""
    check_reachable(there, filesystem)
    found = filesystem.get_file_info(fs.FileSelector(there, allow_not_found=True))
    names = {info.base_name for info in found}
    return TUNER_FILE in names and any(
        name.startswith(LOG_PREFIX) and name.endswith(".jsonl") for name in names
    )


def unused(there: str, filesystem: Any) -> str:
    """The path, or one like it that nothing has."""
    number = 1
    path = there
    while filesystem.get_file_info(path).type != fs.FileType.NotFound:
        number += 1
        path = f"{there}_{number}"
    return path
