"""Where rows go: the protocol that users write sinks against, and the sinks that write files."""

import contextlib
import io
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pyarrow as pa
from pyarrow import fs

from heliostat.data._commit import SaveMode, Staging, taken
from heliostat.data.block import Block, BlockAccessor, Row, iter_rows
from heliostat.data.datasource.filename_provider import FilenameProvider
from heliostat.data.datasource.paths import contact
from heliostat.data.datasource.retry import retrying

__all__ = [
    "BlockBasedFileDatasink",
    "Datasink",
    "FileDatasink",
    "FilenameProvider",
    "RowBasedFileDatasink",
    "TaskContext",
    "WriteResult",
]

ReturnType = TypeVar("ReturnType")

# On an object store so many uploads at most stay open to be completed together.
OPEN_UPLOADS = 256
# What a reader knows packed files by.
ENDINGS = {"gzip": ".gz", "bz2": ".bz2", "zstd": ".zst", "brotli": ".br", "lz4": ".lz4"}
# So many requests of a commit are under way together.
AT_ONCE = 16


@dataclass
class TaskContext:
    """Which part of a write this is.

    Attributes:
        task_idx: Its number; parts with higher numbers have later rows.
        op_name: How the write is called.
        kwargs: `write_uuid`, which is the same for all parts of a write.
    """

    task_idx: int
    op_name: str = "Write"
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class WriteResult(Generic[ReturnType]):
    """What all parts of a write came to.

    Attributes:
        num_rows: Rows written.
        size_bytes: Their bytes in memory.
        write_returns: What `Datasink.write` returned, in the order of the rows.
    """

    num_rows: int
    size_bytes: int
    write_returns: list[ReturnType]


class Datasink(Generic[ReturnType]):
    """Where rows go; a class of yours with `write` takes them wherever you like.

    Example:
        >>> import heliostat as ray
        >>> class Count(ray.data.Datasink):
        ...     def write(self, blocks, ctx):
        ...         return sum(block.num_rows for block in blocks)
        ...
        ...     def on_write_complete(self, write_result):
        ...         print(sum(write_result.write_returns), "rows")
        >>> ray.data.range(10).write_datasink(Count())
        10 rows
    """

    def on_write_start(self, schema: pa.Schema | None = None) -> None:
        """Called in the driver before anything is written.

        Args:
            schema: The columns, if they are known.
        """

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> ReturnType:
        """Write some rows; called once for each part, in workers.

        Args:
            blocks: Arrow tables.
            ctx: Which part.

        Raises:
            NotImplementedError: unless a subclass says how.
        """
        raise NotImplementedError(f"{type(self).__name__} must define write")

    def on_write_complete(self, write_result: WriteResult[ReturnType]) -> None:
        """Called in the driver when all parts are written.

        Args:
            write_result: What they came to.
        """

    def on_write_failed(self, error: Exception) -> None:
        """Called in the driver when a part, or what makes the rows, has failed for good.

        Args:
            error: Why.
        """

    def get_name(self) -> str:
        """How it is called in progress and errors.

        Returns:
            The name of the class, without "Datasink" at its end.
        """
        name = type(self).__name__
        return name.removesuffix("Datasink") or name

    @property
    def supports_distributed_writes(self) -> bool:
        """Whether parts can be written in other processes than the driver.

        Returns:
            True, unless a subclass says otherwise.
        """
        return True

    @property
    def min_rows_per_write(self) -> int | None:
        """How many rows a part has at least.

        Returns:
            A number, or None for as many as there are in a block.
        """
        return None

    @property
    def min_bytes_per_write(self) -> int | None:
        """How many bytes a part has at least.

        Returns:
            A number, or None.
        """
        return None


class FileDatasink(Datasink[list[str]]):
    """Writes files into a directory: all of them are seen at its end, or none.

    Args:
        path: The directory, or a URI.
        filesystem: Where it is, if the path does not say.
        try_create_dir: Make the directory if it is not there.
        open_stream_args: `compression` and `buffer_size` of the files.
        filename_provider: Names the files.
        dataset_uuid: What names begin with.
        file_format: What names end with.
        mode: What to do about what is there.

    Raises:
        FileExistsError: when the write starts, if the mode does not allow what is there.
    """

    # Whether Arrow's threads do the work: then no worker is needed for it.
    in_driver = False
    # Whether a packed file is read by the end of its name, such as `.csv.gz`.
    tells_packing = True
    # Whether a file without rows is written where there are no rows, for its columns.
    tells_columns = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        filesystem: Any = None,
        try_create_dir: bool = True,
        open_stream_args: Mapping[str, Any] | None = None,
        filename_provider: FilenameProvider | None = None,
        dataset_uuid: str | None = None,
        file_format: str | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
    ) -> None:
        if os.fspath(path).startswith(("http://", "https://")):
            raise NotImplementedError(
                f"{os.fspath(path)!r}: over HTTP files are read only; write to a directory or a store"
            )
        self.filesystem, self.path = contact(path, filesystem)
        self.mode = SaveMode(mode)
        if self.mode is SaveMode.UPSERT:
            raise ValueError("mode='upsert' is for tables; files can be appended or overwritten")
        if filename_provider is not None and not isinstance(filename_provider, FilenameProvider):
            raise TypeError(
                f"filename_provider must be a FilenameProvider, got {filename_provider!r}"
            )
        self.try_create_dir = try_create_dir
        self.open_stream_args = dict(open_stream_args or {})
        packing = ENDINGS.get(self.open_stream_args.get("compression", ""), "")
        ending = file_format and file_format + packing * self.tells_packing
        self.filename_provider = filename_provider or FilenameProvider(dataset_uuid, ending)
        self.file_format = file_format
        self.write_uuid = uuid.uuid4().hex[:12]
        self.directory = self.path
        self._staging: Staging | None = None
        self._uploads: list[Any] = []
        self._uploaded: list[str] = []
        self._before: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        # What holds locks and uploads stays in the driver.
        return {**self.__dict__, "_staging": None, "_uploads": [], "_uploaded": []}

    @property
    def is_local(self) -> bool:
        """Whether it writes to a disk of this machine.

        Returns:
            False for object stores and the like.
        """
        return isinstance(self.filesystem, fs.LocalFileSystem)

    @property
    def supports_distributed_writes(self) -> bool:
        """Uploads that are completed together are held by one process.

        Returns:
            Whether the files are on this machine.
        """
        return self.is_local

    @property
    def _has_directories(self) -> bool:
        return self.filesystem.type_name not in ("s3", "gcs", "abfs")

    def begin(self) -> bool:
        """Look at what is there, and make a place to write to.

        Returns:
            False if there is nothing to do.

        Raises:
            FileExistsError: if the mode does not allow what is there.
            FileNotFoundError: if the directory is not there and shall not be made.
        """
        there = retrying(lambda: taken(self.path, self.filesystem), self.filesystem)
        if there and self.mode in (SaveMode.ERROR, SaveMode.CREATE):
            raise FileExistsError(
                f"{self.path!r} is not empty and mode is {self.mode.value!r}; "
                "use mode='append' or mode='overwrite', or another path"
            )
        if there and self.mode is SaveMode.IGNORE:
            return False
        if there and self.mode is SaveMode.APPEND:
            self.tells_columns = False
        if self.is_local:
            if not self.try_create_dir and not os.path.isdir(self.path):
                raise FileNotFoundError(f"no such directory: {self.path!r}")
            self._staging = Staging(self.path, self.mode)
            self.directory = self._staging.begin()
            return True
        if self._has_directories and self.try_create_dir:
            self.filesystem.create_dir(self.path, recursive=True)
        if there:
            selector = fs.FileSelector(self.path, recursive=True)
            infos = retrying(lambda: self.filesystem.get_file_info(selector), self.filesystem)
            self._before = [info.path for info in infos if info.type == fs.FileType.File]
        return True

    def open_output_stream(self, path: str) -> Any:
        """A new file to write into.

        Args:
            path: Within the directory that is written.

        Returns:
            An open file of Arrow's.
        """
        if self.is_local:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        return self.filesystem.open_output_stream(path, **self.open_stream_args)

    def write_file(self, name: str, fill: Callable[[Any], None]) -> str:
        """Write one file.

        Args:
            name: Its path from the directory.
            fill: Writes its content into an open file.

        Returns:
            The name.

        Raises:
            ValueError: if the name leads out of the directory.
        """
        inner = os.path.normpath(name)
        if os.path.isabs(inner) or inner.startswith("..") or inner == ".":
            raise ValueError(f"{name!r} is no name for a file in the directory")
        path = f"{self.directory}/{inner}"
        if self.is_local:
            with self.open_output_stream(path) as file:
                fill(file)
            return inner
        content = io.BytesIO()
        fill(pa.PythonFile(content, mode="w"))
        self._upload(path, content.getbuffer())
        return inner

    def _upload(self, path: str, content: memoryview) -> None:
        def upload() -> Any:
            stream = self.open_output_stream(path)
            stream.write(content)
            return stream

        if self._has_directories:
            self.filesystem.create_dir(os.path.dirname(path), recursive=True)
        self._uploaded.append(path)
        stream = retrying(upload, self.filesystem)
        # Completed with the others. What fails then is written once more, whole.
        self._uploads.append((path, stream, content))
        if len(self._uploads) > OPEN_UPLOADS:
            self._complete(*self._uploads.pop(0))

    def _complete(self, path: str, stream: Any, content: memoryview) -> None:
        try:
            stream.close()
        except OSError:

            def again() -> None:
                with self.open_output_stream(path) as file:
                    file.write(content)

            retrying(again, self.filesystem)

    def on_write_complete(self, write_result: WriteResult[list[str]]) -> None:
        """Let the files be seen.

        Args:
            write_result: Their names.

        Raises:
            ValueError: if two have one name.
        """
        names = [name for names in write_result.write_returns for name in names or ()]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(
                f"the filename_provider gave the name {twice!r} to two files; "
                "use write_uuid, task_index and row_index in names"
            )
        if self._staging is not None:
            self._staging.commit()
            return
        # A store can do no two things in one step: they are done at once, so that who reads
        # meanwhile has little time to see one without the other.
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="heliostat-data-commit") as threads:
            list(threads.map(lambda one: self._complete(*one), self._uploads))
            self._uploads.clear()
            old = sorted(set(self._before) - set(self._uploaded))
            # What is new is whole: whatever happens from here on, it stays.
            self._uploaded.clear()
            if self.mode is not SaveMode.OVERWRITE:
                return
            left = [one for one in threads.map(self._remove, old) if one is not None]
        if left:
            path, error = left[0]
            raise OSError(
                f"the new files in {self.path!r} are complete, but {len(left)} of what was there "
                f"before could not be removed, {path!r} first ({error}); remove them, or write again"
            ) from error

    def _remove(self, path: str) -> tuple[str, OSError] | None:
        """Remove a file that is overwritten by others; what went wrong, if it is still there."""
        try:
            retrying(lambda: self.filesystem.delete_file(path), self.filesystem)
        except OSError as error:
            return None if isinstance(error, FileNotFoundError) else (path, error)
        return None

    def on_write_failed(self, error: Exception) -> None:
        """Remove what was written.

        Args:
            error: Why.
        """
        if self._staging is not None:
            self._staging.abort()
            return
        self._uploads.clear()
        # A file whose name was there is the old one or the new one: removed, it would be neither.
        for path in set(self._uploaded) - set(self._before):
            with contextlib.suppress(OSError):
                self.filesystem.delete_file(path)


class RowBasedFileDatasink(FileDatasink):
    """Writes each row into a file of its own; define `write_row_to_file`.

    Example:
        >>> import heliostat as ray
        >>> class Notes(ray.data.RowBasedFileDatasink):
        ...     def write_row_to_file(self, row, file):
        ...         file.write(str(row["id"]).encode())
        >>> ray.data.range(2).write_datasink(Notes("notes", file_format="txt"))
        >>> ray.data.read_text("notes").take_all()
        [{'text': '0'}, {'text': '1'}]
    """

    def write_row_to_file(self, row: Row, file: Any) -> None:
        """Write a row.

        Args:
            row: A dict.
            file: An open file.

        Raises:
            NotImplementedError: unless a subclass says how.
        """
        raise NotImplementedError(f"{type(self).__name__} must define write_row_to_file")

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> list[str]:
        """Write each row.

        Args:
            blocks: Arrow tables.
            ctx: Which part.

        Returns:
            The names of the files.
        """
        names = []
        for block_index, block in enumerate(blocks):
            for row_index, row in enumerate(iter_rows(block)):
                name = self.filename_provider.get_filename_for_row(
                    row, self.write_uuid, ctx.task_idx, block_index, row_index
                )

                def fill(file: Any, row: Row = row) -> None:
                    self.write_row_to_file(row, file)

                names.append(self.write_file(name, fill))
        return names


class BlockBasedFileDatasink(FileDatasink):
    """Writes each block into a file; define `write_block_to_file`.

    Args:
        path: The directory, or a URI.
        min_rows_per_file: Put as many rows into each file but the last.
        **file_datasink_kwargs: The other arguments of `RowBasedFileDatasink`.

    Example:
        >>> import heliostat as ray
        >>> class Counts(ray.data.BlockBasedFileDatasink):
        ...     def write_block_to_file(self, block, file):
        ...         file.write(f"{block.num_rows()}".encode())
        >>> ray.data.range(5).write_datasink(Counts("counts", min_rows_per_file=5))
        >>> ray.data.read_text("counts").take_all()
        [{'text': '5'}]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        min_rows_per_file: int | None = None,
        **file_datasink_kwargs: Any,
    ) -> None:
        super().__init__(path, **file_datasink_kwargs)
        self._min_rows_per_file = min_rows_per_file

    @property
    def min_rows_per_write(self) -> int | None:
        """How many rows a file has, but the last.

        Returns:
            A number, or None for as many as there are in a block.
        """
        return self._min_rows_per_file

    def write_block_to_file(self, block: Any, file: Any) -> None:
        """Write a block.

        Args:
            block: A BlockAccessor: `num_rows()`, `to_arrow()`, `to_pandas()`, `iter_rows()`.
            file: An open file.

        Raises:
            NotImplementedError: unless a subclass says how.
        """
        raise NotImplementedError(f"{type(self).__name__} must define write_block_to_file")

    def write_table(self, table: pa.Table, file: Any) -> None:
        """The same for sinks of ours, which take tables as they are.

        Args:
            table: The rows.
            file: An open file.
        """
        self.write_block_to_file(BlockAccessor(table), file)

    def parts_of(self, table: pa.Table) -> Sequence[tuple[str, pa.Table]]:
        """What goes into files of its own: a directory for each part, and its rows.

        Args:
            table: The rows.

        Returns:
            Pairs; one with no directory unless a subclass partitions.
        """
        return [("", table)]

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> list[str]:
        """Write each block.

        Args:
            blocks: Arrow tables.
            ctx: Which part.

        Returns:
            The names of the files.
        """
        names = []
        for block_index, block in enumerate(blocks):
            if not block.num_rows and not self.tells_columns:
                continue
            name = self.filename_provider.get_filename_for_block(
                block, self.write_uuid, ctx.task_idx, block_index
            )
            for directory, rows in self.parts_of(block):

                def fill(file: Any, rows: pa.Table = rows) -> None:
                    self.write_table(rows, file)

                names.append(self.write_file(os.path.join(directory, name), fill))
        return names
