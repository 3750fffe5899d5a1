"""What a network breaks now and then is tried again: a bounded number of times, each time later.

Local disks are left alone: what fails there fails again.
"""

import io
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs

from heliostat.data._failures import says
from heliostat.data.context import DataContext

__all__ = ["RetryingFile", "retrying"]

T = TypeVar("T")

ATTEMPTS = 6
FIRST_DELAY_S = 0.05
# One request to an object store; a file is read in pieces of this size at most.
PIECE_BYTES = 8 << 20

_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_FINAL_SIGNS = (
    "access_denied",
    "accessdenied",
    "invalid_access_key",
    "no_such_bucket",
    "no_such_key",
    "nosuchbucket",
    "not found",
    "signature",
    "http status 403",
    "http status 404",
)


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help.

    Args:
        error: What a filesystem raised.

    Returns:
        False for what a path, its contents or credentials are to blame for, unless the user has
        said that it is to be tried again (`DataContext.retried_io_errors`).

    Example:
        >>> is_transient(OSError("AWS Error SLOW_DOWN")), is_transient(FileNotFoundError("x"))
        (True, False)
    """
    if says(DataContext.get_current().retried_io_errors, str(error)):
        return True
    if isinstance(error, _FINAL) or not isinstance(error, OSError):
        return False
    text = str(error).lower()
    return not any(sign in text for sign in _FINAL_SIGNS)


def retrying(call: Callable[[], T], filesystem: fs.FileSystem) -> T:
    """Call it; on a filesystem beyond this machine again if it fails for a passing reason.

    Args:
        call: May be called several times.
        filesystem: What it uses.

    Returns:
        What it returns.

    Raises:
        OSError: if it goes on failing, or for a reason that will not pass.
    """
    if isinstance(filesystem, fs.LocalFileSystem):
        return call()
    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except OSError as error:
            if not is_transient(error):
                raise
            time.sleep(FIRST_DELAY_S * 2**attempt)
    return call()


class RetryingFile(io.RawIOBase):
    """A file beyond this machine, for reading: a broken request is made again where it broke off.

    Args:
        filesystem: Where it is.
        path: Which.
    """

    def __init__(self, filesystem: fs.FileSystem, path: str) -> None:
        self._filesystem = filesystem
        self._path = path
        self._file: Any = None
        self._position = 0
        self._size = retrying(self._opened, filesystem).size()

    def _opened(self) -> Any:
        if self._file is None:
            self._file = self._filesystem.open_input_file(self._path)
        return self._file

    def _piece(self, size: int) -> bytes:
        try:
            data: bytes = self._opened().read_at(size, self._position)
        except OSError:
            # The connection may be what broke: the next try has a new one.
            self._file = None
            raise
        return data

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read on from there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def size(self) -> int:
        """How many bytes it has."""
        return int(self._size)

    def readinto(self, buffer: Any) -> int:
        """Fill as much of the buffer as one request gives."""
        view = memoryview(buffer).cast("B")
        want = min(len(view), PIECE_BYTES, max(0, self._size - self._position))
        if not want:
            return 0
        data = retrying(lambda: self._piece(want), self._filesystem)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Let go of the connection."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()

    def native(self) -> pa.PythonFile:
        """As Arrow wants it.

        Returns:
            A file of Arrow's over this one.
        """
        return pa.PythonFile(self, mode="r")
