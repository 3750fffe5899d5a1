"""Where a study is that is kept beyond this machine, such as in an object store.

Trials work in a directory here, which a Mirror copies there; checkpoints are there only. Both have the
same names below the study's directory, and paths in a Trial are those of here.
"""

from pathlib import Path
from typing import Any, NamedTuple

from heliostat.train import Checkpoint
from heliostat.train.checkpoint import locate

__all__ = ["Beyond", "find"]


class Beyond(NamedTuple):
    """A study's directory here, and the one there with the same names in it."""

    here: str
    there: str
    filesystem: Any

    def path(self, local: str) -> str:
        """The path there of one here."""
        return self.there + local.removeprefix(self.here)

    def checkpoint(self, local: str) -> Checkpoint:
        """The checkpoint that is there under the name that this path has here."""
        return Checkpoint(self.path(local), self.filesystem)

    def keep(self, checkpoint: Checkpoint, target: str) -> str:
        """Copy a checkpoint there, unless it is; it counts when the study's log has it.

        Args:
            checkpoint: From anywhere.
            target: The path that it has here.

        Returns:
            That path, or the one that it has already.
        """
        below = f"{self.there}/"
        if checkpoint.is_remote and checkpoint.path.startswith(below):  # such as a trainer's
            return f"{self.here}/{checkpoint.path.removeprefix(below)}"
        # An attempt that was killed while it copied leaves files of the same name.
        self.checkpoint(target).remove()
        from heliostat.train._remote import upload  # noqa: PLC0415 - pyarrow is slow to load

        with checkpoint.as_directory() as source:
            upload(Path(source), self.path(target), self.filesystem)
        return target


def find(what: str, path: Any, filesystem: Any) -> tuple[str, Any]:
    """An absolute local path and None, or a path on a file system of pyarrow's, and that.

    Raises:
        TypeError: For a file system that is neither pyarrow's nor fsspec's.
        ValueError: For an address of no known kind, or memory that no other process sees.
        ImportError: For one that needs a package.
    """
    where, remote = locate(what, path, filesystem)
    if remote is not None and remote.type_name.endswith("+memory"):
        raise ValueError(
            f"{what}={path!r}: each process has a memory:// of its own, so that what trials store "
            "there is lost; use a directory"
        )
    return where, remote
