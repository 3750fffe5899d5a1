"""Stage, then rename: what a writer leaves behind is whole, or not there.

Files are written into a hidden directory beside their destination (names with a leading dot are
no data to any reader) and moved when all of them are complete. On an object store each file
appears when its upload is complete; there is no rename to wait for.
"""

import enum
import os
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager

from pyarrow import fs

__all__ = ["SaveMode", "staged"]


class SaveMode(enum.StrEnum):
    """What a writer does about what is at its destination already.

    Example:
        >>> SaveMode("overwrite") is SaveMode.OVERWRITE
        True
    """

    APPEND = "append"
    OVERWRITE = "overwrite"
    IGNORE = "ignore"
    ERROR = "error"
    CREATE = "create"


@contextmanager
def staged(path: str, filesystem: fs.FileSystem, mode: SaveMode) -> Generator[str | None]:
    """A directory to write files into, which become those of `path` when the block ends well.

    Args:
        path: The destination directory.
        filesystem: Where it is.
        mode: What to do if there is something.

    Yields:
        The directory to write into, or None if there is nothing to do.

    Raises:
        FileExistsError: if the mode does not allow what is there.
    """
    taken = filesystem.get_file_info(path).type != fs.FileType.NotFound and bool(
        filesystem.get_file_info(fs.FileSelector(path))
    )
    if taken and mode in (SaveMode.ERROR, SaveMode.CREATE):
        raise FileExistsError(
            f"{path!r} is not empty and mode is {mode.value!r}; "
            "use mode='append' or mode='overwrite', or another path"
        )
    if taken and mode is SaveMode.IGNORE:
        yield None
    elif isinstance(filesystem, fs.LocalFileSystem):
        with _local(path, taken, mode is SaveMode.OVERWRITE) as stage:
            yield stage
    else:
        if taken and mode is SaveMode.OVERWRITE:
            raise NotImplementedError(
                "mode='overwrite' on an object store cannot be all or nothing; "
                "write to another path"
            )
        yield path


@contextmanager
def _local(path: str, taken: bool, overwrite: bool) -> Generator[str]:
    token = uuid.uuid4().hex[:12]
    parent, name = os.path.split(path.rstrip("/"))
    stage = os.path.join(parent, f".{name}.{token}.staged")
    os.makedirs(stage)
    try:
        yield stage
        if taken and not overwrite:
            # Each file is whole; a reader in between sees some of them.
            for file in sorted(os.listdir(stage)):
                os.rename(os.path.join(stage, file), os.path.join(path, file))
        elif taken:
            old = os.path.join(parent, f".{name}.{token}.old")
            os.rename(path, old)
            os.rename(stage, path)
            shutil.rmtree(old)
        else:
            if os.path.isdir(path):
                os.rmdir(path)
            os.rename(stage, path)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
