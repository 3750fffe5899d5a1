"""Checkpoint: a handle to a directory. It holds a path, never the data."""

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
        path: The directory; a `file://` address will do.
        filesystem: None, or a `pyarrow.fs.LocalFileSystem`.

    Raises:
        NotImplementedError: For a directory that is not on a local file system.

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
        check_local(filesystem)
        self.path = str(local_path("Checkpoint(path=...)", path))

    @property
    def filesystem(self) -> Any:
        """The pyarrow file system that `path` is on."""
        return local_filesystem()

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
        shutil.copytree(self.path, target, dirs_exist_ok=True)
        return target

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """The files as a local directory, for reading. Nothing is copied.

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
        yield self.path

    def get_metadata(self) -> dict[str, Any]:
        """What `set_metadata` and `update_metadata` stored beside the files.

        Example:
            >>> import tempfile
            >>> Checkpoint.from_directory(tempfile.mkdtemp()).get_metadata()
            {}
        """
        try:
            text = Path(self.path, METADATA_FILE).read_text("utf-8")
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

    def _must_exist(self) -> None:
        if not os.path.isdir(self.path):
            raise FileNotFoundError(f"the checkpoint's directory is not there: {self.path}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checkpoint) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"Checkpoint(path={self.path})"


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


def check_local(filesystem: Any) -> None:
    """Refuse any pyarrow file system but the local one."""
    if filesystem is not None and getattr(filesystem, "type_name", None) != "local":
        raise NotImplementedError(
            f"filesystem={filesystem!r} is not offered yet; use a local or mounted directory"
        )


def local_filesystem() -> Any:
    """pyarrow's local file system; pyarrow is loaded only when somebody asks."""
    from pyarrow import fs  # noqa: PLC0415 - optional and slow to load

    return fs.LocalFileSystem()
