"""Stage, then rename: what a writer leaves behind is whole, or not there.

Files are written into a hidden directory beside their destination (names with a leading dot are
no data to any reader). When all are complete, one rename makes them the destination's: of the
directory, if there was none; of the only file; or of a directory of links to what was there and
to what is new, which takes the place of the old one in one step. What a killed writer left is
removed by the next one. On an object store uploads are completed together, at the end.
"""

import contextlib
import ctypes
import enum
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

from pyarrow import fs

__all__ = ["CANNOT", "SaveMode", "Staging", "files_below"]

_SUFFIX = ".staged"
# A file system that cannot swap directories or link files says one of these.
CANNOT = (
    errno.ENOSYS,
    errno.EINVAL,
    errno.EPERM,
    errno.EXDEV,
    errno.EBUSY,
    errno.EMLINK,
    errno.EOPNOTSUPP,
)


class SaveMode(enum.StrEnum):
    """What a writer does about what is at its destination already.

    Example:
        >>> SaveMode("overwrite") is SaveMode.OVERWRITE
        True
    """

    CREATE = "create"
    APPEND = "append"
    OVERWRITE = "overwrite"
    IGNORE = "ignore"
    ERROR = "error"
    UPSERT = "upsert"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"mode must be one of {[one.value for one in cls]}, got {value!r}")


def taken(path: str, filesystem: fs.FileSystem) -> bool:
    """Whether there is anything at a destination.

    Args:
        path: A directory.
        filesystem: Where it is.

    Returns:
        False if it is not there, or empty.

    Raises:
        NotADirectoryError: if it is a file.
    """
    kind = filesystem.get_file_info(path).type
    if kind == fs.FileType.File:
        raise NotADirectoryError(f"{path!r} is a file; files are written into a directory")
    if kind == fs.FileType.NotFound:
        return False
    return bool(filesystem.get_file_info(fs.FileSelector(path)))


class Staging:
    """One write to a directory of this machine, from its beginning to its commit.

    Args:
        path: The destination.
        mode: What to do about what is there; others than append and overwrite find nothing.
    """

    def __init__(self, path: str, mode: SaveMode) -> None:
        self._path = os.path.realpath(path)
        self._mode = mode
        self._parent, self._name = os.path.split(self._path)
        self._token = uuid.uuid4().hex[:12]
        self._lock: int | None = None
        self.directory = ""

    def begin(self) -> str:
        """Make the directory to write into.

        Returns:
            Its path.
        """
        os.makedirs(self._parent, exist_ok=True)
        with _locked(self._parent):
            self._remove_stale()
            self.directory = os.path.join(self._parent, f".{self._name}.{self._token}{_SUFFIX}")
            try:
                os.mkdir(self.directory)
            except PermissionError:
                # Only the destination itself may be written to.
                self.directory = os.path.join(self._path, f".{self._token}{_SUFFIX}")
                os.mkdir(self.directory)
            self._lock = os.open(self.directory, os.O_RDONLY)
            _try_lock(self._lock)
        return self.directory

    def commit(self) -> None:
        """Let what was written be seen, all at once."""
        try:
            with _locked(self._parent):
                self._commit()
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what was written and not committed."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def _commit(self) -> None:
        inside = os.path.dirname(self.directory) == self._path
        if not inside:
            with contextlib.suppress(OSError):
                # Also where an empty directory is; one that is not empty refuses.
                os.rename(self.directory, self._path)
                return
        if self._mode is SaveMode.OVERWRITE and not inside:
            _swap(self.directory, self._path)
            return
        if self._mode not in (SaveMode.APPEND, SaveMode.OVERWRITE):
            raise FileExistsError(f"{self._path!r} was written to by somebody else in the meantime")
        new = files_below(self.directory)
        if self._mode is SaveMode.APPEND and len(new) > 1 and not inside and self._merge():
            return
        if self._mode is SaveMode.OVERWRITE:
            for name in os.listdir(self._path):
                if not name.endswith(_SUFFIX):
                    _remove(os.path.join(self._path, name))
        for file in new:
            _move(self.directory, self._path, file)

    def _merge(self) -> bool:
        """Swap the destination for a directory with links to old and new; false if it cannot be."""
        merged = os.path.join(self._parent, f".{self._name}.{self._token}.merged{_SUFFIX}")
        try:
            _link_tree(self._path, merged)
            _link_tree(self.directory, merged)
            _swap(merged, self._path, exactly=True)
        except OSError as error:
            if error.errno not in CANNOT:
                raise
            return False
        else:
            # What others have put there since the links were made.
            for file in files_below(merged):
                if not os.path.lexists(os.path.join(self._path, file)):
                    _move(merged, self._path, file)
            return True
        finally:
            shutil.rmtree(merged, ignore_errors=True)

    def _remove_stale(self) -> None:
        """Remove what writers to the same destination have left that are not alive any more."""
        mine = (f".{self._name}.", _SUFFIX)
        for directory, start in ((self._parent, mine[0]), (self._path, ".")):
            with contextlib.suppress(OSError):
                for name in os.listdir(directory):
                    if name.startswith(start) and name.endswith(mine[1]):
                        _remove_if_dead(os.path.join(directory, name))


def _remove_if_dead(path: str) -> None:
    try:
        lock = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        if _try_lock(lock):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _locked(directory: str) -> Generator[None]:
    """One at a time begins or ends a write to a directory of this directory."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _swap(new: str, old: str, *, exactly: bool = False) -> None:
    """Let two directories change places: in one step, or in two where that is not offered."""
    try:
        _exchange(new, old)
    except OSError as error:
        if exactly or error.errno not in CANNOT:
            raise
        aside = f"{new}.old{_SUFFIX}"
        os.rename(old, aside)
        os.rename(new, old)
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: str, other: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), one, None, other)


def files_below(directory: str) -> list[str]:
    """The files below a directory, by their paths from there.

    Args:
        directory: Where.

    Returns:
        Their paths.
    """
    found = []
    for where, _, names in os.walk(directory):
        inner = os.path.relpath(where, directory)
        found += [name if inner == "." else os.path.join(inner, name) for name in names]
    return sorted(found)


def _link_tree(source: str, target: str) -> None:
    """Links to all files of one directory in another; a file of that name there is replaced."""
    for where, _, names in os.walk(source):
        if where != source and os.path.basename(where).endswith(_SUFFIX):
            continue
        directory = os.path.normpath(os.path.join(target, os.path.relpath(where, source)))
        if not os.path.isdir(directory):
            os.makedirs(directory)
            shutil.copystat(where, directory)
        for name in names:
            link = os.path.join(directory, name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(link)
            os.link(os.path.join(where, name), link, follow_symlinks=False)


def _move(source: str, target: str, file: str) -> None:
    destination = os.path.join(target, file)
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    os.replace(os.path.join(source, file), destination)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
