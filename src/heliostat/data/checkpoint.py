"""Ray's way to ask for writes that go on where a killed run stopped: by the context, for all."""

import hashlib
import os
from enum import Enum
from typing import Any

__all__ = ["CheckpointBackend", "CheckpointConfig"]

_PLACE = "RAY_DATA_CHECKPOINT_PATH_BUCKET"


class CheckpointBackend(Enum):
    """Where checkpoints are kept."""

    CLOUD_OBJECT_STORAGE = "CLOUD_OBJECT_STORAGE"
    FILE_STORAGE = "FILE_STORAGE"


_OFFERED: dict[str, tuple[Any, ...]] = {
    "delete_checkpoint_on_success": (True,),
    "override_filesystem": (None,),
    "override_backend": (None, CheckpointBackend.FILE_STORAGE),
    "checkpoint_path_partition_filter": (None,),
    "checkpoint_filter_cls": (None,),
    "checkpoint_manager_cls": (None,),
}


class CheckpointConfig:
    """Writes of files keep what is finished, and go on from there when the program is run again.

    Set it on `DataContext.get_current().checkpoint_config`. It is the `checkpoint` of the writers
    of files, for those that are not given one, and for the same plans: a read followed by functions
    of rows or batches. What is finished is known by the parts that are read.

    Args:
        id_column: The column by which Ray tells rows apart; the rows that are written must have it.
        checkpoint_path: A directory of this machine; each target has a folder in it. By default
            `ray_data_checkpoint` in what `RAY_DATA_CHECKPOINT_PATH_BUCKET` names.
        write_num_threads: Not needed: what is kept are the files themselves.
        **options: Of Ray's others only the defaults: what is kept goes when all is written.

    Raises:
        ValueError: if the column or the path is missing.
        NotImplementedError: if something is not offered.

    Example:
        >>> CheckpointConfig("id", "/tmp/checkpoints").backend.name
        'FILE_STORAGE'
    """

    def __init__(
        self,
        id_column: str | None = None,
        checkpoint_path: str | os.PathLike[str] | None = None,
        *,
        write_num_threads: int = 3,
        **options: Any,
    ) -> None:
        if not isinstance(id_column, str) or not id_column:
            raise ValueError(f"id_column must be the name of a column, got {id_column!r}")
        path = None if checkpoint_path is None else os.fspath(checkpoint_path)
        if path is None and _PLACE in os.environ:
            path = os.path.join(os.environ[_PLACE], "ray_data_checkpoint")
        if path is None:
            raise ValueError(f"give a checkpoint_path, or set {_PLACE}")
        path = path.removeprefix("file://")
        if "://" in path:
            options["checkpoint_path"] = path
        for name, value in options.items():
            if value not in _OFFERED.get(name, ()):
                raise NotImplementedError(
                    f"CheckpointConfig({name}={value!r}) is not offered: checkpoints are kept on "
                    "this machine, as files, until all is written"
                )
        self.id_column = id_column
        self.checkpoint_path = path
        self.delete_checkpoint_on_success = True
        self.backend = CheckpointBackend.FILE_STORAGE
        self.write_num_threads = write_num_threads

    def folder(self, target: str) -> str:
        """Where the finished parts of a target are kept."""
        name = hashlib.blake2b(target.encode(), digest_size=8).hexdigest()
        return os.path.join(self.checkpoint_path, name)
