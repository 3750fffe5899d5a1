"""A run's directory on a file system beyond this machine, such as an object store.

    <storage_path>/<run name>/
        run.jsonl              the log, written anew whenever it grows: such stores cannot append
        checkpoint_000000/     counts if the log has it
        .uploading/<name>      a checkpoint that ranks have begun; swept with what is not in the log

Nothing can be renamed into place there, so ranks copy their files to where they stay, all at once,
and the log says what is complete. Requests that fail for a passing reason are made again. Nobody
locks such a directory: two runs at once need two names.
"""

from __future__ import annotations

import logging
import os
import posixpath
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pyarrow import fs

from heliostat.data.datasource.paths import resolve as resolve_any
from heliostat.data.datasource.retry import retrying
from heliostat.train._reachable import check_reachable
from heliostat.train._sender import Sender
from heliostat.train._storage import LOG, NUMBERED, log_line, parse_log
from heliostat.train.checkpoint import Checkpoint

T = TypeVar("T")

UPLOADING = ".uploading"

_log = logging.getLogger("heliostat.train")


def resolve(path: str, filesystem: Any) -> tuple[str, Any]:
    """The path on its file system, and that as Arrow has it; None if it is this machine's.

    Raises:
        TypeError: For a file system that is neither Arrow's nor fsspec's.
        ValueError: For an address that nobody knows.
        ImportError: For one that needs a package.
    """
    found, inner = resolve_any(path, filesystem)
    if isinstance(found, fs.LocalFileSystem):
        return os.path.abspath(inner), None
    return inner.rstrip("/"), found


class RemoteDirectory:
    """The directory of one run, for its controller and for its ranks."""

    in_place = True

    def __init__(self, where: str, filesystem: Any) -> None:
        self.where = where
        self.filesystem = filesystem
        self._text = b""
        self._written = 0
        self._writing = threading.Lock()
        self._later = Sender("train-log")

    @classmethod
    def open(cls, root: str, filesystem: Any, name: str | None, prefix: str) -> RemoteDirectory:
        """Make the directory, or find the one of an earlier run of this name.

        Raises:
            OSError: If it cannot be made or written to; the path is named.
        """
        if filesystem.type_name.endswith("+memory"):
            raise ValueError(
                f"storage_path={root!r}: each process has a memory:// of its own, so that what ranks "
                "store there is lost; use a directory"
            )
        try:
            check_reachable(root, filesystem)
            retrying(lambda: filesystem.create_dir(root, recursive=True), filesystem)
            if name is None:
                name = _unused_name(root, filesystem, prefix)
            run = cls(posixpath.join(root, name), filesystem)
            run._try(lambda: filesystem.create_dir(run.where, recursive=True))
            if run.has(LOG):
                whole, newline, _ = run._read(LOG).rpartition(b"\n")
                run._text = whole + newline
                run._written = len(run._text)
            run.sweep()
        except ConnectionError:
            raise
        except OSError as error:
            raise type(error)(
                f"storage_path={root!r} on {filesystem.type_name} cannot be written to ({error}); "
                "look at its address and credentials"
            ) from error
        return run

    @property
    def name(self) -> str:
        """The run's."""
        return posixpath.basename(self.where)

    @property
    def boot(self) -> str:
        """Nothing: what is there does not go down with this machine."""
        return ""

    def entries(self) -> list[dict[str, Any]]:
        """What the log tells of the last run here; nothing in a new directory."""
        return parse_log(self._text.decode().splitlines(keepends=True), self._path(LOG))

    def checkpoint(self, name: str) -> Checkpoint:
        """The checkpoint of this name; one that stayed where it was has an absolute local path."""
        if os.path.isabs(name):
            return Checkpoint(name)
        return Checkpoint(self._path(name), self.filesystem)

    def has(self, name: str) -> bool:
        """Whether there is anything of this name."""
        if os.path.isabs(name):
            return os.path.isdir(name)
        found = self._try(lambda: self.filesystem.get_file_info(self._path(name)))
        return bool(found.type != fs.FileType.NotFound)

    def taken(self, name: str) -> bool:
        """Whether there is a checkpoint of this name, other than one that ranks have begun."""
        return self.has(name) and not self.has(f"{UPLOADING}/{name}")

    def store(self, source: Path, attempt: int, number: int, rank: int, name: str) -> str:
        """Copy a rank's files to where they stay. Runs in the rank's process."""
        marker = self._path(f"{UPLOADING}/{name}")
        self._try(lambda: self.filesystem.create_dir(self._path(UPLOADING), recursive=True))
        self._write(marker, b"")
        upload(source, self._path(name), self.filesystem)
        return name

    def keep(self, attempt: int, number: int, name: str) -> None:
        """Nothing is left to do: files are where they stay."""
        raise AssertionError(f"{name} was staged, but there is no stage in {self.where}")

    def delete(self, name: str) -> None:
        """Remove a checkpoint, which is out of the log."""
        try:
            if self.has(name):
                self.checkpoint(name).remove()
        except OSError as error:
            _log.warning("%s is surplus, but cannot be removed: %s", self._path(name), error)

    def sweep(self) -> None:
        """Remove what ranks have begun and the log does not have; only when no rank is writing."""
        try:
            self._sweep()
        except OSError as error:
            _log.warning("%s cannot be swept; the next run there does it: %s", self.where, error)

    def _sweep(self) -> None:
        begun = [entry.base_name for entry in self._list(UPLOADING)]
        if not begun:
            return
        known = {e["checkpoint"] for e in self.entries() if e["kind"] == "report"}
        for name in begun:
            if name not in known:
                self.delete(name)
        self._try(lambda: self.filesystem.delete_dir(self._path(UPLOADING)))

    def next_number(self) -> int:
        """One more than the highest number of any checkpoint here."""
        found = (NUMBERED.fullmatch(entry.base_name) for entry in self._list(""))
        return max((int(m[1]) + 1 for m in found if m), default=0)

    def append(self, kind: str, *, flush: bool = True, **fields: Any) -> None:
        """Add one line to the log; it is there on return if `flush`, or if it has a checkpoint."""
        self._text += log_line(kind, fields)
        if flush or fields.get("checkpoint"):
            self._write_log()
        else:
            self._later.submit(self._write_log)

    def close(self) -> None:
        """Write what is left of the log."""
        try:
            self._later.drain()
        except OSError as error:
            _log.warning("the last lines of %s are lost: %s", self._path(LOG), error)
        self._later.close()

    def _write_log(self) -> None:
        with self._writing:
            text = self._text
            if len(text) > self._written:  # else somebody has, with lines that came later
                self._write(self._path(LOG), text)
                self._written = len(text)

    def _path(self, name: str) -> str:
        return posixpath.join(self.where, name) if name else self.where

    def _list(self, name: str) -> list[Any]:
        chosen = fs.FileSelector(self._path(name), allow_not_found=True)
        found: list[Any] = self._try(lambda: self.filesystem.get_file_info(chosen))
        return [entry for entry in found if entry.base_name]

    def _read(self, name: str) -> bytes:
        return read(self._path(name), self.filesystem)

    def _write(self, path: str, data: bytes) -> None:
        write(path, data, self.filesystem)

    def _try(self, call: Callable[[], T]) -> T:
        return retrying(call, self.filesystem)


def upload(source: Path, target: str, filesystem: Any) -> None:
    """Copy a local directory's files into one of the file system's."""
    retrying(lambda: filesystem.create_dir(target, recursive=True), filesystem)
    retrying(
        lambda: fs.copy_files(
            str(source), target, fs.LocalFileSystem(), filesystem, use_threads=False
        ),
        filesystem,
    )


def download(source: str, target: str, filesystem: Any) -> None:
    """Copy a directory's files into a local one.

    Raises:
        FileNotFoundError: If it is not there.
    """
    retrying(
        lambda: fs.copy_files(source, target, filesystem, fs.LocalFileSystem(), use_threads=False),
        filesystem,
    )


def read(path: str, filesystem: Any) -> bytes:
    """The whole of a file.

    Raises:
        FileNotFoundError: If it is not there.
    """

    def whole() -> bytes:
        with filesystem.open_input_stream(path) as stream:
            data: bytes = stream.read()
        return data

    return retrying(whole, filesystem)


def write(path: str, data: bytes, filesystem: Any) -> None:
    """Write a file, in place of one that is there."""

    def whole() -> None:
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)

    retrying(whole, filesystem)


def remove(path: str, filesystem: Any) -> None:
    """Remove a directory with all that is in it."""
    retrying(lambda: filesystem.delete_dir(path), filesystem)


def is_directory(path: str, filesystem: Any) -> bool:
    """Whether there is a directory."""
    found = retrying(lambda: filesystem.get_file_info(path), filesystem)
    return bool(found.type == fs.FileType.Directory)


def _unused_name(root: str, filesystem: Any, prefix: str) -> str:
    stem = f"{prefix}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    listed = retrying(lambda: filesystem.get_file_info(fs.FileSelector(root)), filesystem)
    there = {entry.base_name for entry in listed}
    return next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, 10_000))) if n not in there)
