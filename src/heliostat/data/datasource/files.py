"""Files of any format as a source: which there are, how they are shared out, what their paths tell.

A `Format` turns one file into tables and knows nothing of all this.
"""

import io
import itertools
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import pyarrow as pa
from pyarrow import fs

from heliostat.data._batching import joined
from heliostat.data._failures import RAISE, Failures, OnError
from heliostat.data.block import require_columns
from heliostat.data.datasource.paths import Found
from heliostat.data.datasource.retry import RetryingFile
from heliostat.data.datasource.source import Part

__all__ = ["File", "FileShuffleConfig", "FileSource", "Format", "OpenFile", "Shuffling"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

# At least so many tasks where there are files enough; what is done with each row may be slow.
PIECES = 16
# Small tables of one task become one block up to this size.
TOGETHER_BYTES = 4 << 20
UNKNOWN_BYTES = 1 << 20


@dataclass(frozen=True)
class FileShuffleConfig:
    """Reads files in a random order.

    Args:
        seed: For the same order again; None for a new one each time.
        reseed_after_execution: With a seed: whether each execution has another order, the same
            ones in each run of the program.

    Raises:
        ValueError: if the seed is no int.

    Example:
        >>> FileShuffleConfig(seed=7).get_seed(execution_idx=1)
        8
    """

    seed: int | None = None
    reseed_after_execution: bool = True

    def __post_init__(self) -> None:
        if self.seed is not None and (isinstance(self.seed, bool) or self.seed != int(self.seed)):
            raise ValueError(f"seed must be an int or None, got {self.seed!r}")

    def get_seed(self, execution_idx: int = 0) -> int | None:
        """The seed of an execution.

        Args:
            execution_idx: Which execution of the dataset, counted from 0.

        Returns:
            A seed, or None for a new order each time.
        """
        if self.seed is None or not self.reseed_after_execution:
            return self.seed
        return self.seed + execution_idx


class Shuffling:
    """The order of files, anew for each execution.

    Args:
        config: What the user asked for.
    """

    def __init__(self, config: FileShuffleConfig) -> None:
        self._config = config
        self._executions = itertools.count()

    def order(self, files: Sequence[T]) -> list[T]:
        """The files in the order of the next execution.

        Args:
            files: In their own order.

        Returns:
            All of them.
        """
        shuffled = list(files)
        random.Random(self._config.get_seed(next(self._executions))).shuffle(shuffled)
        return shuffled


@dataclass(frozen=True)
class File:
    """One file, and the columns whose values its path tells."""

    path: str
    size: int
    constants: tuple[tuple[str, Any], ...] = ()


class OpenFile:
    """A file as a format takes it: as a stream, as bytes, or for reading here and there.

    Args:
        file: Which.
        filesystem: Where it is.
        arguments: `compression` and `buffer_size`.
    """

    def __init__(
        self, file: File, filesystem: fs.FileSystem, arguments: tuple[tuple[str, Any], ...]
    ) -> None:
        self.path = file.path
        self.size = file.size
        self._filesystem = filesystem
        self._arguments = dict(arguments)

    @property
    def is_local(self) -> bool:
        """Whether it is on a disk of this machine."""
        return isinstance(self._filesystem, fs.LocalFileSystem)

    @property
    def compression(self) -> Any:
        """How its bytes are packed: as asked for, or by the end of its name."""
        asked = self._arguments.get("compression", "detect")
        if asked != "detect":
            return asked
        if self.path.endswith(".br"):  # which Arrow unpacks, but does not know by its name
            return "brotli"
        try:
            return pa.Codec.detect(self.path).name
        except (ValueError, TypeError):
            return None

    def random_access(self) -> Any:
        """A file that can be sought in, as it lies there."""
        if self.is_local:
            return self._filesystem.open_input_file(self.path)
        return RetryingFile(self._filesystem, self.path).native()

    def stream(self) -> Any:
        """Its content, unpacked."""
        if self.is_local:
            return self._filesystem.open_input_stream(
                self.path,
                compression=self.compression,
                buffer_size=self._arguments.get("buffer_size"),
            )
        packed = RetryingFile(self._filesystem, self.path).native()
        compression = self.compression
        return packed if compression is None else pa.CompressedInputStream(packed, compression)

    def content(self) -> bytes:
        """All its content, unpacked."""
        if self.is_local and self.compression is None:
            with open(self.path, "rb") as file:
                return file.read()
        with self.stream() as stream:
            return bytes(stream.read())

    def buffer(self) -> io.BytesIO:
        """All its content as a file in memory."""
        return io.BytesIO(self.content())


class Format(Protocol):
    """How one file becomes tables."""

    @property
    def name(self) -> str:
        """As in `ReadCSV`."""

    @property
    def in_driver(self) -> bool:
        """Whether Arrow's threads read it; if not, workers do."""

    @property
    def expansion(self) -> float:
        """About how much larger it is in memory than in a file."""

    @property
    def row_columns(self) -> tuple[str, ...]:
        """If each file is one row, the columns of that; else none."""

    @property
    def schema(self) -> pa.Schema | None:
        """Its columns, if they are always the same."""

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """The rows, with at least these columns."""


@dataclass(frozen=True)
class FileTask:
    """Some whole files, one after the other."""

    files: tuple[File, ...]
    filesystem: fs.FileSystem
    format: Format
    open_arguments: tuple[tuple[str, Any], ...]
    columns: tuple[str, ...] | None
    on_error: OnError = RAISE

    @property
    def rows(self) -> int:
        """One each, or unknown."""
        return len(self.files) if _is_row_each(self.format, self.on_error) else 0

    @property
    def size_bytes(self) -> int:
        """By the sizes of the files."""
        size = sum(file.size or UNKNOWN_BYTES for file in self.files)
        return int(size * self.format.expansion)

    def read(self) -> Iterator[pa.Table]:
        """The rows; small tables together."""
        tables = itertools.chain.from_iterable(map(self._tables, self.files))
        yield from joined(tables, TOGETHER_BYTES)

    def _tables(self, file: File) -> Iterator[pa.Table]:
        """The rows of a file; what the user wants of one that cannot be read."""
        if self.on_error.action == "raise":
            yield from self._one(file)
            return
        try:
            # All of it before any goes on: a file is there, or it is not.
            tables = list(self._one(file))
        except (OSError, ValueError) as error:
            left_out(file.path, self.format.name, self.on_error, error)
            if self.on_error.action == "null":
                yield self._null(file)
        else:
            yield from tables

    def _null(self, file: File) -> pa.Table:
        """A row without values, but for what its path tells."""
        schema, names = self.format.schema, self.format.row_columns
        kinds = [pa.null() if schema is None else schema.field(name).type for name in names]
        nulls = [pa.nulls(1, kind) for kind in kinds]
        row = with_columns(pa.table(nulls, names=list(names)), dict(file.constants))
        return row if self.columns is None else row.select(list(self.columns))

    def _one(self, file: File) -> Iterator[pa.Table]:
        constants = dict(file.constants)
        wanted = None
        if self.columns is not None:
            wanted = [name for name in self.columns if name not in constants]
        opened = OpenFile(file, self.filesystem, self.open_arguments)
        try:
            for table in self.format.read(opened, wanted):
                table = with_columns(table, constants)
                if self.columns is not None:
                    require_columns(self.columns, table.column_names, f"{file.path!r}")
                    table = table.select(list(self.columns))
                yield table
        except (KeyError, NotImplementedError, MemoryError, ImportError):
            raise
        except Exception as error:
            raise unreadable(file.path, self.format.name, error) from error


# Of what is missing. Its type alone: a scalar that is made on import would load pandas.
_KINDS: dict[Any, pa.DataType] = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def scalar(value: Any) -> Any:
    """The value of a path as Arrow has it; one that is missing counts as text.

    Args:
        value: A string, number, truth value or None, or a scalar already.

    Returns:
        A scalar.
    """
    if isinstance(value, pa.Scalar):
        return value
    return pa.scalar(value, pa.string() if value is None else None)


def _missing(kind: Any) -> Any:
    """What is missing, of a column that is not of texts."""
    return pa.scalar(None, _KINDS[kind]) if kind in _KINDS else None


def with_columns(table: pa.Table, constants: Mapping[str, Any]) -> pa.Table:
    """The table with a column for each constant that it does not have.

    Args:
        table: Any.
        constants: Column to the value of each of its rows.

    Returns:
        The table, perhaps wider.
    """
    for name, value in constants.items():
        if name not in table.column_names:
            column: Any = pa.repeat(scalar(value), table.num_rows)
            table = table.append_column(name, column)
    return table


def left_out(path: str, name: str, on_error: OnError, error: Exception) -> None:
    """Tell that a file cannot be read, and save the reason if that is wanted.

    Args:
        path: The file.
        name: Of the format.
        on_error: What the user said.
        error: What was raised.

    Raises:
        Exception: the error, where the user said nothing else.
    """
    Failures(on_error, f"Read{name}").add({"path": path}, error)
    logger.warning("%r is left out: %s", path, error)


def _is_row_each(form: Format, on_error: OnError) -> bool:
    """Whether each file is one row, whatever is in it."""
    return bool(form.row_columns) and on_error.action in ("raise", "null")


def unreadable(path: str, name: str, error: Exception) -> Exception:
    """The error with the file's name; of the class that says what it is.

    Args:
        path: The file.
        name: Of the format.
        error: What was raised.

    Returns:
        The error to raise.
    """
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"no such file: {path!r}")
    if isinstance(error, PermissionError):
        return PermissionError(f"may not read {path!r}: {error}")
    if type(error) is OSError and error.errno:
        return OSError(error.errno, f"cannot read {path!r}: {error}")
    return ValueError(f"cannot read {path!r} as {name}: {error or type(error).__name__}")


@dataclass(frozen=True)
class FileSource:
    """Files of one format as one table."""

    files: tuple[File, ...]
    filesystem: fs.FileSystem
    format: Format
    open_arguments: tuple[tuple[str, Any], ...] = ()
    columns: tuple[str, ...] | None = None
    min_tasks: int | None = None
    shuffling: Shuffling | None = field(default=None, compare=False)
    on_error: OnError = RAISE

    @property
    def schema(self) -> pa.Schema | None:
        """Known if the format always has the same."""
        schema = self.format.schema
        if schema is None:
            return None
        for name, value in self.files[0].constants if self.files else ():
            if name not in schema.names:
                schema = schema.append(pa.field(name, scalar(value).type))
        if self.columns is None:
            return schema
        require_columns(self.columns, schema.names, "select_columns")
        return pa.schema([schema.field(name) for name in self.columns])

    @property
    def rows(self) -> int | None:
        """Known if each file is one."""
        return len(self.files) if _is_row_each(self.format, self.on_error) else None

    @property
    def reads_in_driver(self) -> bool:
        """As the format says, for files on this machine."""
        return self.format.in_driver and isinstance(self.filesystem, fs.LocalFileSystem)

    def describe(self) -> str:
        """Its name."""
        return f"Read{self.format.name}"

    def input_files(self) -> list[str]:
        """The paths."""
        return [file.path for file in self.files]

    def read_tasks(self, target_bytes: int) -> Sequence[Part]:
        """Neighbouring files together, about as many bytes in each task."""
        files = self.files if self.shuffling is None else self.shuffling.order(self.files)
        whole = self._task(tuple(files)).size_bytes
        wanted = max(self.min_tasks or PIECES, -(-whole // max(1, target_bytes)))
        wanted = min(wanted, len(files))
        shares: list[list[File]] = [[] for _ in range(wanted)]
        done = 0
        for file in files:
            size = self._task((file,)).size_bytes
            # The middle of a file decides on which side of a cut it lies.
            shares[min(wanted - 1, (2 * done + size) * wanted // max(1, 2 * whole))].append(file)
            done += size
        return [self._task(tuple(share)) for share in shares if share]

    def _task(self, files: tuple[File, ...]) -> FileTask:
        return FileTask(
            files, self.filesystem, self.format, self.open_arguments, self.columns, self.on_error
        )

    def select(self, columns: tuple[str, ...]) -> "FileSource":
        """The same files, fewer columns."""
        narrow = replace(self, columns=columns)
        assert narrow.schema is None or narrow.schema.names == list(columns)
        return narrow

    def head(self, rows: int) -> "FileSource | None":
        """The first files, if each is a row."""
        if not _is_row_each(self.format, self.on_error) or self.shuffling is not None:
            return None
        return replace(self, files=self.files[:rows])


def with_constants(
    found: Sequence[Found], partitioning: Any, partition_filter: Any, include_paths: bool
) -> list[File]:
    """The files to read, with what their paths tell.

    Args:
        found: All there are.
        partitioning: How values are written into paths, or None.
        partition_filter: Which to keep, or None.
        include_paths: Add the path itself.

    Returns:
        Files, in the same order.
    """
    if partition_filter is not None:
        kept = set(partition_filter([one.path for one in found]))
        found = [one for one in found if one.path in kept]
    # What a path tells is told by its directories: those of files beside each other tell the same.
    told: dict[tuple[str, str], tuple[tuple[str, Any], ...]] = {}
    files = []
    for path, base, size in found:
        constants: tuple[tuple[str, Any], ...] = ()
        if partitioning is not None:
            place = path.rpartition("/")[0], base
            if place not in told:
                values = partitioning.values(path, base)
                kinds = partitioning.field_types or {}
                told[place] = tuple(
                    (name, _missing(kinds.get(name)) if value is None else value)
                    for name, value in values.items()
                )
            constants = told[place]
        if include_paths:
            constants = tuple({**dict(constants), "path": path}.items())
        files.append(File(path, size, constants))
    return files
