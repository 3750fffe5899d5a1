"""What a network breaks now and then is tried again: a bounded number of times, each time later.

Local disks are left alone: what fails there fails again.
"""

import io
import itertools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs

from heliostat.data._failures import says
from heliostat.data.context import DataContext

__all__ = ["RetryingFile", "Seekable", "retrying"]

T = TypeVar("T")

ATTEMPTS = 6
FIRST_DELAY_S = 0.05
# One request to an object store; a file is read in pieces of this size at most.
PIECE_BYTES = 8 << 20

_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_DENIED_SIGNS = ("access_denied", "accessdenied", "invalid_access_key", "signature")
# What asks for a file's facts gets an answer without words: a number alone.
_EXPIRED_SIGNS = (
    *("expiredtoken", "expired_token", "token has expired", "token is expired"),
    *("session has expired", "http status 400"),
)
_FINAL_SIGNS = (
    *_DENIED_SIGNS,
    *_EXPIRED_SIGNS,
    "no_such_bucket",
    "no_such_key",
    "nosuchbucket",
    "not found",
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
        PermissionError: if a store refuses the credentials.
        OSError: if it goes on failing, or for another reason that will not pass.
    """
    if isinstance(filesystem, fs.LocalFileSystem):
        return call()
    began = time.monotonic()
    for attempt in itertools.count(1):
        try:
            return call()
        except OSError as error:
            text = str(error).lower()
            if any(sign in text for sign in _DENIED_SIGNS):
                raise PermissionError(
                    f"{error}; give credentials, for S3 in AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY; a public bucket needs none: s3://anonymous@bucket/key"
                ) from error
            if any(sign in text for sign in _EXPIRED_SIGNS):
                raise OSError(
                    f"{error}; if the credentials are of a session that has expired, get new ones: "
                    "for S3 in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
                ) from error
            if not is_transient(error):
                raise
            if attempt == ATTEMPTS:
                took = f"tried {ATTEMPTS} times within {time.monotonic() - began:.1f} s"
                # Other libraries' errors want to be made of other things.
                kind = type(error) if type(error).__module__ == "builtins" else OSError
                raise kind(f"{error}; {took}, to no avail") from error
            time.sleep(FIRST_DELAY_S * 2 ** (attempt - 1))
    raise AssertionError


class Seekable(io.RawIOBase):
    """A file of a known size, for reading from anywhere.

    Args:
        size: Of the file.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0

    def read_at(self, size: int, start: int) -> bytes:
        """At most as many bytes from there on, all of which are inside the file."""
        raise NotImplementedError

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
        return self._size

    def readinto(self, buffer: Any) -> int:
        """Fill as much of the buffer as one request gives."""
        view = memoryview(buffer).cast("B")
        want = min(len(view), max(0, self._size - self._position))
        data = self.read_at(want, self._position) if want else b""
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


class RetryingFile(Seekable):
    """A file beyond this machine, for reading: a broken request is made again where it broke off.

    Args:
        filesystem: Where it is.
        path: Which.
    """

    def __init__(self, filesystem: fs.FileSystem, path: str) -> None:
        self._filesystem = filesystem
        self._path = path
        self._file: Any = None
        super().__init__(retrying(self._opened, filesystem).size())

    def _opened(self) -> Any:
        if self._file is None:
            self._file = self._filesystem.open_input_file(self._path)
        return self._file

    def _piece(self, size: int, start: int) -> bytes:
        try:
            data: bytes = self._opened().read_at(size, start)
        except OSError:
            # The connection may be what broke: the next try has a new one.
            self._file = None
            raise
        return data

    def read_at(self, size: int, start: int) -> bytes:
        """What one request gives, which is tried again."""
        size = min(size, PIECE_BYTES)
        return retrying(lambda: self._piece(size, start), self._filesystem)

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
