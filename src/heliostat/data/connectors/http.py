"""Files over HTTP, by fsspec: what is not there and what was answered badly are told apart.

fsspec says that a file is not there whatever the answer was, and of a file whose server gives no
parts of files it reads the beginning only.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import fs

from heliostat.data.datasource.retry import Seekable

__all__ = ["HttpFiles"]

_PASSING = (408, 425, 429)
# What is asked for at least, as readers take little at a time.
_AHEAD_BYTES = 5 << 20


class HttpFiles(fs.FSSpecHandler):
    """A filesystem of fsspec's as Arrow wants it. Its errors are OSErrors, which say the status."""

    fs: Any

    def get_file_info(self, paths: Sequence[str]) -> list[Any]:
        """Which of these are there, and their sizes."""
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> Any:
        try:
            with _told(path):
                return fs.FileInfo(path, fs.FileType.File, size=self.fs.info(path)["size"])
        except FileNotFoundError:
            return fs.FileInfo(path, fs.FileType.NotFound)

    def open_input_file(self, path: str) -> Any:
        """A file to read from anywhere."""
        with _told(path):
            return pa.PythonFile(_Page(self.fs, path), mode="r")

    open_input_stream = open_input_file


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn what fsspec and aiohttp raise into the OSError that it is."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, FileNotFoundError) else error
        status = getattr(cause, "status", None)
        if cause is None or status in (404, 410):
            raise FileNotFoundError(path) from error
        if status is None:
            raise OSError(f"{path}: {cause or type(cause).__name__}") from error
        kind = OSError if status >= 500 or status in _PASSING else PermissionError
        raise kind(f"the server answered {status} for {path}") from error


class _Page(Seekable):
    """One file; what was read last is kept, and all of it if the server gives no parts."""

    def __init__(self, filesystem: Any, path: str) -> None:
        size = filesystem.info(path)["size"]
        # A page that is made as it is sent has no size before.
        self._data = b"" if size is not None else filesystem.cat_file(path)
        self._first = 0
        self._filesystem, self._path = filesystem, path
        super().__init__(len(self._data) if size is None else size)

    def read_at(self, size: int, start: int) -> bytes:
        """Bytes that are there."""
        stop = start + size
        if not self._first <= start < stop <= self._first + len(self._data):
            ahead = min(max(stop, start + _AHEAD_BYTES), self.size())
            with _told(self._path):
                self._data = self._filesystem.cat_file(self._path, start, ahead)
                self._first = start
                if len(self._data) < ahead - start:
                    raise OSError(f"it broke off at byte {start + len(self._data)}")
            if len(self._data) > ahead - start:  # it gave all
                self._first = 0
        return self._data[start - self._first : stop - self._first]
