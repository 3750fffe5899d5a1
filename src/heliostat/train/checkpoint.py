"""Checkpoint: a handle to a directory, here or beyond this machine. It holds a path, never the data."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Checkpoint"]

METADATA_FILE = ".metadata.json"


class Checkpoint:
    """A directory that something was saved in.

    Copying and pickling a Checkpoint copies the path, not the files.

    Args:
        path: The directory, or its address, such as `s3://bucket/model`.
        filesystem: The file system of pyarrow's or fsspec's that it is on; None for what the
            address says.

    Raises:
        TypeError: For a file system that is neither.
        ValueError: For an address of no known kind.

    Example:
        >>> import tempfile, pathlib
        >>> directory = tempfile.mkdtemp()
        >>> _ = pathlib.Path(directory, "step.txt").write_text("7")
        >>> checkpoint = Checkpoint.from_directory(directory)
        >>> with checkpoint.as_directory() as path:
        ...     pathlib.Path(path, "step.txt").read_text()
        '7'
    """

    def __init__(self, path: str | os.PathLike[str], filesystem: Any = None) -> None:
        if not os.fspath(path):
            raise ValueError("Checkpoint(path='') names no directory; '.' is the working directory")
        self.path, self._remote = locate("Checkpoint(path=...)", path, filesystem)

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "filesystem" in state:  # Ray has pickled it, which keeps the local file system, too
            where = (state["path"], state["filesystem"])
            state = dict(zip(("path", "_remote"), locate("Checkpoint", *where), strict=True))
        self.__dict__.update(state)

    @property
    def filesystem(self) -> Any:
        """The pyarrow file system that `path` is on."""
        return local_filesystem() if self._remote is None else self._remote

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """A Checkpoint of the directory at `path`. Nothing is copied.

        Args:
            path: A local directory.

        Returns:
            The handle.

        Example:
            >>> Checkpoint.from_directory("/tmp/model").path
            '/tmp/model'
        """
        return cls(path)

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Copy the files into a directory of your own.

        Args:
            path: Where to; made if it is not there. A new temporary directory if None.

        Returns:
            The path.

        Raises:
            FileNotFoundError: If the checkpoint's directory is gone.

        Example:
            >>> import tempfile
            >>> copy = Checkpoint.from_directory(tempfile.mkdtemp()).to_directory()
        """
        self._must_exist()
        target = tempfile.mkdtemp(prefix="checkpoint_") if path is None else os.fspath(path)
        if self._remote is None:
            shutil.copytree(self.path, target, dirs_exist_ok=True)
        else:
            os.makedirs(target, exist_ok=True)
            _beyond().download(self.path, target, self._remote)
        return target

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """The files as a local directory, for reading.

        Nothing is copied, unless it is beyond this machine: then the copy goes when you are done.

        Yields:
            The path.

        Raises:
            FileNotFoundError: If the checkpoint's directory is gone.

        Example:
            >>> import os, tempfile
            >>> with Checkpoint.from_directory(tempfile.mkdtemp()).as_directory() as path:
            ...     os.listdir(path)
            []
        """
        self._must_exist()
        if self._remote is None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as copy:
            _beyond().download(self.path, copy, self._remote)
            yield copy

    def get_metadata(self) -> dict[str, Any]:
        """What `set_metadata` and `update_metadata` stored beside the files.

        Example:
            >>> import tempfile
            >>> Checkpoint.from_directory(tempfile.mkdtemp()).get_metadata()
            {}
        """
        try:
            text = self._metadata_text()
        except FileNotFoundError:
            return {}
        metadata: dict[str, Any] = json.loads(text)
        return metadata

    def set_metadata(self, metadata: dict[str, Any]) -> None:
        """Store `metadata` beside the files, in place of what was there.

        Args:
            metadata: Anything that JSON can hold.

        Example:
            >>> import tempfile
            >>> checkpoint = Checkpoint.from_directory(tempfile.mkdtemp())
            >>> checkpoint.set_metadata({"rows": 7})
            >>> checkpoint.get_metadata()
            {'rows': 7}
        """
        self._must_exist()
        text = json.dumps(metadata)
        if self._remote is not None:
            _beyond().write(f"{self.path}/{METADATA_FILE}", text.encode(), self._remote)
            return
        staged = Path(self.path, f"{METADATA_FILE}.{os.getpid()}")
        staged.write_text(text, "utf-8")
        staged.replace(Path(self.path, METADATA_FILE))

    def update_metadata(self, metadata: dict[str, Any]) -> None:
        """Store `metadata` beside the files, on top of what was there.

        Args:
            metadata: Anything that JSON can hold.

        Example:
            >>> import tempfile
            >>> checkpoint = Checkpoint.from_directory(tempfile.mkdtemp())
            >>> checkpoint.set_metadata({"rows": 7})
            >>> checkpoint.update_metadata({"label": "tip"})
            >>> checkpoint.get_metadata()
            {'rows': 7, 'label': 'tip'}
        """
        self.set_metadata({**self.get_metadata(), **metadata})

    def _metadata_text(self) -> str:
        if self._remote is None:
            return Path(self.path, METADATA_FILE).read_text("utf-8")
        data: bytes = _beyond().read(f"{self.path}/{METADATA_FILE}", self._remote)
        return data.decode()

    def exists(self) -> bool:
        """Whether the directory is there."""
        if self._remote is None:
            return os.path.isdir(self.path)
        return bool(_beyond().is_directory(self.path, self._remote))

    def remove(self) -> None:
        """Remove the directory with all that is in it, if it is there."""
        if self._remote is None:
            shutil.rmtree(self.path, ignore_errors=True)
        elif self.exists():
            _beyond().remove(self.path, self._remote)

    @property
    def is_remote(self) -> bool:
        """Whether it is on a file system beyond this machine."""
        return self._remote is not None

    def _must_exist(self) -> None:
        if not self.exists():
            raise FileNotFoundError(f"the checkpoint's directory is not there: {self.path}")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Checkpoint)
            and self.path == other.path
            and bool(self._remote == other._remote)
        )

    def __hash__(self) -> int:
        return hash(self.path)

    def __fspath__(self) -> str:
        if self._remote is not None:
            raise TypeError(
                f"{self.path} is on {self._remote.type_name}, not on this machine; use "
                "as_directory() or to_directory()"
            )
        return self.path

    def __repr__(self) -> str:
        on = "local" if self._remote is None else self._remote.type_name
        return f"Checkpoint(filesystem={on}, path={self.path})"


def locate(what: str, path: str | os.PathLike[str], filesystem: Any = None) -> tuple[str, Any]:
    """An absolute local path and None; or a path on a file system of pyarrow's, and that.

    Raises:
        TypeError: For a file system that is neither pyarrow's nor fsspec's.
        ValueError: For an address of no known kind.
        ImportError: For one that needs a package.
    """
    text = os.fspath(path)
    if filesystem is None or getattr(filesystem, "type_name", None) == "local":
        scheme, found, _ = text.partition("://")
        if not found or scheme == "file":
            return str(local_path(what, text)), None
    where, remote = _beyond().resolve(text, filesystem)
    return where, remote


def _beyond() -> Any:
    try:
        from heliostat.train import _remote  # noqa: PLC0415 - pyarrow is slow to load
    except ImportError as error:
        raise ImportError(
            f"a directory beyond this machine needs a package: {error}; pip install "
            "'heliostat[data]'"
        ) from error
    return _remote


def local_path(what: str, path: str | os.PathLike[str]) -> Path:
    """`path` as an absolute local one.

    Raises:
        NotImplementedError: For an address of another file system, such as `s3://...`.
    """
    text = os.fspath(path)
    scheme, found, rest = text.partition("://")
    if not found:
        return Path(os.path.abspath(os.path.expanduser(text)))
    if scheme == "file":
        return Path(os.path.abspath(rest))
    raise NotImplementedError(
        f"{what}: {text!r} is not on a local file system; {scheme}:// is not offered yet, "
        "use a local or mounted directory"
    )


def local_filesystem() -> Any:
    """pyarrow's local file system; pyarrow is loaded only when somebody asks."""
    from pyarrow import fs  # noqa: PLC0415 - optional and slow to load

    return fs.LocalFileSystem()
