"""Parquet: footers say what there is; each task reads some row groups of one file.

Reads through `pyarrow.fs`, so that local paths and URIs go the same way. Nothing that a file
holds is unpickled.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from heliostat.data._common_type import as_type, common_schema
from heliostat.data._failures import RAISE, OnError
from heliostat.data.arrays import RaggedTensorType, is_tensor, refuse_objects, tensors
from heliostat.data.block import require_columns, take_rows
from heliostat.data.datasource.datasink import BlockBasedFileDatasink
from heliostat.data.datasource.files import Shuffling, left_out, scalar, unreadable, with_constants
from heliostat.data.datasource.parquet_filter import Predicate
from heliostat.data.datasource.parquet_footer import ParquetFile, RowGroup, footer_of, open_file
from heliostat.data.datasource.partitioning import Partitioning
from heliostat.data.datasource.paths import Paths, find, resolve
from heliostat.data.datasource.retry import retrying
from heliostat.data.datasource.source import Part
from heliostat.data.datasource.writers import accepted, refuse_packing, write_columns

__all__ = ["ParquetDatasink", "ParquetSource", "open_parquet"]

EXTENSIONS = (".parquet", ".pq")
FOOTER_THREADS = 16
# So many footers on a disk of this machine are read before the threads have started.
FEW_FILES = 64
# So many values tell whether a column has few different ones.
SAMPLE = 1 << 13
HIVE = Partitioning("hive")


@dataclass(frozen=True)
class ParquetTask:
    """Some row groups of one file, perhaps only their first rows."""

    file: ParquetFile
    row_groups: tuple[RowGroup, ...]
    filesystem: fs.FileSystem
    schema: pa.Schema
    options: tuple[tuple[str, Any], ...]
    row_limit: int | None = None
    on_error: OnError = RAISE
    predicate: Predicate | None = None
    encoded: bool = False
    reads_anew: ClassVar[bool] = True

    @property
    def rows(self) -> int:
        """How many rows it will give; only reading tells, where a file or row may be left out."""
        return self._rows_told if self.on_error == RAISE and self.predicate is None else 0

    @property
    def _rows_told(self) -> int:
        """By the footer."""
        rows = sum(group.rows for group in self.row_groups)
        return rows if self.row_limit is None else min(rows, self.row_limit)

    @property
    def size_bytes(self) -> int:
        """About how much that is in memory."""
        rows = max(1, sum(group.rows for group in self.row_groups))
        size = sum(group.size_bytes for group in self.row_groups)
        kept = len(self.schema) / max(1, len(self.file.schema))
        return int(size * min(1.0, kept) * self._rows_told / rows)

    def read(self) -> Iterator[pa.Table]:
        """The rows, one table for each task, or less where only the first rows are wanted."""
        own, predicate = self.file.schema, self.predicate
        # Where Arrow sees just what the predicate is about, it leaves out row groups by their bounds.
        pushed = predicate is not None and not self.file.constants and predicate.fits(own)
        wanted = self.schema if predicate is None or pushed else predicate.schema
        present = [name for name in wanted.names if name in own.names]
        numbers = [group.number for group in self.row_groups]

        def read() -> pa.Table:
            if predicate is not None and pushed:
                return predicate.read(self.file.path, self.filesystem, numbers, present)
            few = self.file.few_texts if self.encoded else ()
            with open_file(self.file.path, self.filesystem, self.options, few) as opened:
                if self.row_limit is None:
                    several = len(present) > 1  # else it is not worth another thread
                    return opened.read_row_groups(numbers, present, use_threads=several)
                batches = opened.iter_batches(
                    min(self.row_limit, 1 << 16), row_groups=numbers, columns=present
                )
                return _first(batches, self.row_limit, opened.schema_arrow, present)

        try:
            table = retrying(read, self.filesystem)
        except (pa.ArrowException, OSError) as error:
            made = unreadable(self.file.path, "Parquet", error)
            made.__cause__ = error
            left_out(self.file.path, "Parquet", self.on_error, made)
            return
        if predicate is not None and not pushed:
            table = self._fitted(predicate.schema, table).filter(predicate.expression)
        yield self._fitted(self.schema, table)

    def _fitted(self, schema: pa.Schema, table: pa.Table) -> pa.Table:
        """The table with exactly these columns and types; some are in the path, or missing."""
        constants = dict(self.file.constants)
        columns: list[Any] = []
        for wanted in schema:
            if wanted.name in table.column_names:
                column = table.column(wanted.name)
                as_is = self.encoded and pa.types.is_dictionary(column.type)
                columns.append(column if as_is else _cast(column, wanted))
            elif wanted.name in constants:
                value = scalar(constants[wanted.name]).cast(wanted.type)
                columns.append(pa.repeat(value, table.num_rows))
            else:
                columns.append(pa.nulls(table.num_rows, wanted.type))
        if self.encoded:
            return pa.table(columns, names=schema.names)
        return pa.table(columns, schema=schema)


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files as one table."""

    files: tuple[ParquetFile, ...]
    filesystem: fs.FileSystem
    schema: pa.Schema
    options: tuple[tuple[str, Any], ...] = ()
    row_limit: int | None = None
    min_tasks: int = 1
    shuffling: Shuffling | None = field(default=None, compare=False)
    on_error: OnError = RAISE
    predicate: Predicate | None = None
    # Give few texts as a dictionary, whatever the schema says: who asks for it knows.
    encoded: bool = False
    reads_anew: ClassVar[bool] = True

    @property
    def rows(self) -> int | None:
        """From the footers; unknown, where a file or row may be left out after all."""
        return self._rows_told if self.on_error == RAISE and self.predicate is None else None

    @property
    def _rows_told(self) -> int:
        rows = sum(file.rows for file in self.files)
        return rows if self.row_limit is None else min(rows, self.row_limit)

    @property
    def size_bytes(self) -> int:
        """About how much that is in memory, of the columns that are read; by the footers."""
        rows = sum(file.rows for file in self.files)
        size = sum(group.size_bytes for file in self.files for group in file.row_groups)
        kept = len(self.schema) / max(1, len(self.files[0].schema))
        return int(size * min(1.0, kept) * self._rows_told / max(1, rows))

    @property
    def handful(self) -> frozenset[str]:
        """Columns of texts of which there are no more than a few hundred in each file."""
        if len(self.files) > FEW_FILES:  # each may have others
            return frozenset()
        return frozenset(set.intersection(*(set(file.handful) for file in self.files)))

    @property
    def no_nan(self) -> frozenset[str]:
        """Columns of which it is known that no row holds NaN."""
        known = set.intersection(*(file.no_nan for file in self.files))
        return frozenset(known if known and self._is_unchanged else ())

    def have_no_nan(self, columns: Iterable[str]) -> None:
        """Remember it of these files, for as long as they are what they are."""
        if self._is_unchanged:
            for file in self.files:
                file.no_nan.update(columns)

    @property
    def _is_unchanged(self) -> bool:
        return all(file.is_unchanged for file in self.files)

    @functools.cached_property
    def is_plain(self) -> bool:
        """Whether all rows of all files are read, which have these columns, of these types."""
        first = self.files[0].schema
        return (
            not self.options
            and self.shuffling is None
            and self.on_error == RAISE
            and self.predicate is None
            and all(
                not file.constants and (file.schema is first or file.schema.equals(first))
                for file in self.files
            )
            and all(
                one.name in first.names and first.field(one.name).type == one.type
                for one in self.schema
            )
        )

    @property
    def reads_in_driver(self) -> bool:
        """A disk is read best by Arrow's threads; a network by many workers at once."""
        return isinstance(self.filesystem, fs.LocalFileSystem) or len(self.files) == 1

    def describe(self) -> str:
        """Its name."""
        return "ReadParquet"

    def input_files(self) -> list[str]:
        """The paths."""
        return [file.path for file in self.files]

    def read_tasks(self, target_bytes: int) -> Sequence[Part]:
        """Neighbouring row groups of a file together, up to the size."""
        total = sum(group.size_bytes for file in self.files for group in file.row_groups)
        target_bytes = max(1, min(target_bytes, total // self.min_tasks))
        tasks: list[Part] = []
        left = self._rows_told
        files = self.files if self.shuffling is None else self.shuffling.order(self.files)
        for file in files:
            # A file that may be left out is read whole: all of it is there, or nothing.
            whole = self.on_error != RAISE
            for groups in _grouped(file.row_groups, 1 << 62 if whole else target_bytes):
                if left <= 0:
                    return tasks
                rows = sum(group.rows for group in groups)
                tasks.append(
                    ParquetTask(
                        # What a task does not read need not travel with it.
                        replace(file, row_groups=()),
                        groups,
                        self.filesystem,
                        self.schema,
                        self.options,
                        left if left < rows else None,
                        self.on_error,
                        self.predicate,
                        self.encoded,
                    )
                )
                left -= rows
        return tasks

    def select(self, columns: tuple[str, ...]) -> "ParquetSource":
        """The same files, fewer columns."""
        require_columns(columns, self.schema.names, "select_columns")
        return replace(self, schema=pa.schema([self.schema.field(name) for name in columns]))

    def head(self, rows: int) -> "ParquetSource | None":
        """The same files, the first rows."""
        if self.shuffling is not None or self.on_error != RAISE or self.predicate is not None:
            return None
        limit = rows if self.row_limit is None else min(rows, self.row_limit)
        return replace(self, row_limit=limit)


def open_parquet(
    paths: Paths,
    *,
    filesystem: Any = None,
    columns: Sequence[str] | None = None,
    include_paths: bool = False,
    extensions: str | Sequence[str] | None = EXTENSIONS,
    ignore_missing_paths: bool = False,
    options: tuple[tuple[str, Any], ...] = (),
    min_tasks: int = 1,
    partitioning: Partitioning | None = HIVE,
    partition_filter: Any = None,
    shuffling: Shuffling | None = None,
    skip_paths: Sequence[str] = (),
    on_error: OnError = RAISE,
    predicate: Any = None,
    schema: pa.Schema | None = None,
    tensor_columns: Mapping[str, tuple[Any, tuple[int, ...]]] | None = None,
) -> ParquetSource:
    """Find the files, read their footers and settle on one schema.

    Args:
        paths: Files, directories, globs or URIs.
        filesystem: Where they are, if the paths do not say.
        columns: What to keep.
        include_paths: Add a column `path`.
        extensions: Which files count; None for all.
        ignore_missing_paths: Leave out what is not there.
        options: For `pyarrow.parquet.ParquetFile`.
        min_tasks: Read in this many tasks at least, where there are row groups enough.
        partitioning: How values are written into paths.
        partition_filter: Which files to keep.
        shuffling: The order of files, if it is to be random.
        skip_paths: Files to leave out.
        on_error: What becomes of files that cannot be read.
        predicate: An expression of `pyarrow.compute`: which rows to keep.
        schema: The columns and types to read, instead of those of the files.
        tensor_columns: Columns of bytes that are arrays, with their type and shape.

    Returns:
        The source.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if a directory has no Parquet file, a file is not Parquet, or the predicate
            does not fit the columns.
        KeyError: if a column does not exist.
    """
    where, found = find(
        paths,
        kind="Parquet",
        filesystem=filesystem,
        extensions=extensions,
        ignore_missing=ignore_missing_paths,
    )
    left_out = {resolve(path, filesystem)[1] for path in skip_paths}
    found = [one for one in found if one.path not in left_out]
    listed = with_constants(found, partitioning, partition_filter, include_paths)
    if not listed:
        raise ValueError(f"no Parquet files are left of {paths!r}")
    if isinstance(where, fs.LocalFileSystem) and len(listed) <= FEW_FILES:
        read = [footer_of(one, where, options, on_error) for one in listed]
    else:
        with ThreadPoolExecutor(FOOTER_THREADS) as threads:
            read = list(threads.map(lambda one: footer_of(one, where, options, on_error), listed))
    files = [one for one in read if one is not None]
    if not files:
        raise ValueError(f"none of the {len(listed)} Parquet files of {paths!r} can be read")
    schema = schema or _common_schema(files)
    source = ParquetSource(
        tuple(files),
        where,
        with_tensors(schema, tensor_columns or {}),
        options,
        min_tasks=min_tasks,
        shuffling=shuffling,
        on_error=on_error,
        predicate=None if predicate is None else Predicate.of(predicate, schema),
    )
    if columns is not None:
        columns = list(columns)
        require_columns(columns, source.schema.names, "read_parquet")
        if include_paths and "path" not in columns:
            columns.append("path")
        source = source.select(tuple(columns))
    refuse_objects(source.schema, "read_parquet")
    return source


def _common_schema(files: Sequence[ParquetFile]) -> pa.Schema:
    whole = files[0].schema
    for file in files[1:]:
        if file.schema is whole or file.schema.equals(whole):
            continue
        try:
            whole = common_schema([whole, file.schema])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(
                f"the columns of {file.path!r} do not fit those of the files before it, "
                f"{files[0].path!r} first: {error}"
            ) from error
    constants = {name: value for file in files for name, value in file.constants}
    for name, value in constants.items():
        if name not in whole.names:
            whole = whole.append(pa.field(name, scalar(value).type))
    return whole


def with_tensors(
    schema: pa.Schema, columns: Mapping[str, tuple[Any, tuple[int, ...]]]
) -> pa.Schema:
    """The schema, with tensors for the bytes of columns, by numpy type and shape."""
    require_columns(list(columns), schema.names, "tensor_column_schema")
    for name, (dtype, shape) in columns.items():
        kind = schema.field(name).type
        if not any(test(kind) for test in _BYTES):
            raise ValueError(f"tensor_column_schema: column {name!r} is {kind}, not bytes")
        made: pa.DataType = tensors(np.zeros((1, *shape), dtype)).type
        schema = schema.set(schema.get_field_index(name), pa.field(name, made))
    return schema


_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


def _cast(column: Any, wanted: Any) -> Any:
    if column.type == wanted.type:
        return column
    if is_tensor(column.type) or isinstance(wanted.type, RaggedTensorType):
        return as_type(column, wanted.type)
    if not is_tensor(wanted.type):
        return column.cast(wanted.type)
    if column.null_count:
        raise ValueError(f"column {wanted.name!r} has nulls, which are no tensors")
    numbers = np.frombuffer(b"".join(column.to_pylist()), wanted.type.value_type.to_pandas_dtype())
    try:
        return tensors(numbers.reshape(len(column), *wanted.type.shape))
    except ValueError as error:
        raise ValueError(
            f"the bytes of column {wanted.name!r} are no {wanted.type.value_type} of shape "
            f"{list(wanted.type.shape)}: {error}"
        ) from error


def _grouped(groups: Sequence[RowGroup], target_bytes: int) -> Iterator[tuple[RowGroup, ...]]:
    together: list[RowGroup] = []
    size = 0
    for group in groups:
        if together and size + group.size_bytes > target_bytes:
            yield tuple(together)
            together, size = [], 0
        together.append(group)
        size += group.size_bytes
    if together:
        yield tuple(together)


def _first(
    batches: Iterator[pa.RecordBatch], rows: int, schema: pa.Schema, names: list[str]
) -> pa.Table:
    taken = []
    for batch in batches:
        taken.append(batch.slice(0, rows))
        rows -= batch.num_rows
        if rows <= 0:
            break
    return pa.Table.from_batches(taken, schema=pa.schema([schema.field(name) for name in names]))


class ParquetDatasink(BlockBasedFileDatasink):
    """Writes Parquet by Arrow.

    Args:
        path: The directory.
        arguments: For `pyarrow.parquet.write_table`.
        arguments_fn: Called for each file; its arguments come first.
        partition_cols: Columns that become directories.
        **options: Of every sink of files.
    """

    in_driver = True

    def __init__(
        self,
        path: Any,
        arguments: Mapping[str, Any],
        arguments_fn: Callable[[], Mapping[str, Any]] | None,
        partition_cols: Sequence[str],
        **options: Any,
    ) -> None:
        refuse_packing("write_parquet", options)
        super().__init__(path, file_format="parquet", **options)
        self._arguments = accepted("write_parquet", arguments, pq.write_table)
        self._arguments_fn = arguments_fn
        self._partition_cols = list(dict.fromkeys(partition_cols))
        self.tells_columns = not partition_cols

    def on_write_start(self, schema: pa.Schema | None = None) -> None:
        """Look at the columns to partition by, if they are known."""
        if schema is not None:
            self._check_columns(schema)

    def _check_columns(self, schema: pa.Schema) -> None:
        require_columns(self._partition_cols, schema.names, "write_parquet")
        if self._partition_cols and not set(schema.names) - set(self._partition_cols):
            raise ValueError("write_parquet: partition_cols must leave a column to write")
        for name in self._partition_cols:
            kind: pa.DataType = schema.field(name).type
            if pa.types.is_dictionary(kind):
                kind = kind.value_type
            if any(test(kind) for test in (*_BYTES, pa.types.is_nested)):
                raise ValueError(
                    f"write_parquet(partition_cols=[{name!r}]): {kind} has no text to name a "
                    "directory by; cast the column to string"
                )

    def parts_of(self, table: pa.Table) -> Sequence[tuple[str, pa.Table]]:
        """The rows of each combination of values, and its directory."""
        if not self._partition_cols:
            return [("", table)]
        self._check_columns(table.schema)
        return list(partitioned(table, self._partition_cols))

    def write_table(self, table: pa.Table, file: Any) -> None:
        """Write the rows."""
        refuse_objects(table.schema, "write_parquet")
        arguments = dict(self._arguments)
        if self._arguments_fn is not None:
            arguments.update(self._arguments_fn())
        arguments.setdefault("use_dictionary", _repeating(table))
        write_columns(table, file, lambda rows, file: pq.write_table(rows, file, **arguments))


def _repeating(table: pa.Table) -> bool | list[str]:
    """Columns to write by number of their value: not those of numbers that hardly repeat.

    For these a writer fills a dictionary only to give it up, which takes a quarter of its time.
    """

    def repeats(column: Any) -> bool:
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            return True
        return bool(2 * pc.count_distinct(column).as_py() <= len(column))

    names = [name for name in table.column_names if repeats(table.column(name).slice(0, SAMPLE))]
    # Parquet has other names for what is within columns, and would not know theirs.
    if any(pa.types.is_nested(table.schema.field(name).type) for name in names):
        return True
    return names


def partitioned(table: pa.Table, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """For each combination of values a directory `a=1/b=x`, and its rows in order, without them."""
    codes = np.zeros(table.num_rows, np.int64)
    for name in columns:
        column: Any = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        encoded = pa.concat_arrays(column.chunks).dictionary_encode(null_encoding="encode")
        codes = codes * max(1, len(encoded.dictionary)) + np.asarray(encoded.indices)
        # Only those that occur: the product of many columns would not fit.
        codes = np.unique(codes, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    cuts = np.flatnonzero(np.diff(codes[order], prepend=-1, append=codes.max() + 1))
    rest = table.drop_columns(list(columns))
    for start, stop in itertools.pairwise(cuts):
        rows = order[start:stop]
        values = [table.column(name)[int(rows[0])].as_py() for name in columns]
        yield "/".join(map(_hive, columns, values)), take_rows(rest, rows)


_NULL = "__HIVE_DEFAULT_PARTITION__"


def _hive(name: str, value: Any) -> str:
    text = _NULL if value is None else quote(str(value), safe=" ")
    if value == _NULL:
        raise ValueError(f"write_parquet: {value!r} in column {name!r} stands for null in paths")
    return f"{quote(name, safe=' ')}={text}"
