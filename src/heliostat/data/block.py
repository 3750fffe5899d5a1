"""A block is a `pyarrow.Table`; these are the pure functions on it, and the handle that travels.

Rows are dicts, batches are what a user's function sees: a dict of numpy arrays, a pandas
DataFrame or a Table. A `Bundle` is a view (first row, number of rows) of a block that lies
either in this process or in the object store. This file knows nothing of plans or stages.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import heliostat
from heliostat.data._common_type import common_schema, fitted
from heliostat.data.arrays import (
    MANY_COLUMNS,
    from_numbers,
    has_few_texts,
    is_frame,
    is_tensor,
    row_maker,
    to_arrow,
    to_numpy,
    values_of,
    without_views,
)
from heliostat.exceptions import ObjectLostError

if TYPE_CHECKING:
    import pandas as pd

Block: TypeAlias = pa.Table
DataBatch: TypeAlias = "dict[str, np.ndarray[Any, Any]] | pd.DataFrame | pa.Table"
Row: TypeAlias = dict[str, Any]

BATCH_FORMATS = ("default", "numpy", "pandas", "pyarrow")
# Below this a block travels inside the message; above it, through shared memory.
INLINE_BYTES = 64 << 10
# Above this many values, columns are worked on by several threads.
MANY_VALUES = 1 << 18
# Up to so many rows, numbers are made faster by Arrow itself than by way of numpy.
FEW_ROWS = 64


def check_batch_format(batch_format: str | None) -> str:
    """Return the format by its plain name; `default` and None mean numpy and pyarrow as in Ray.

    Args:
        batch_format: One of `default`, `numpy`, `pandas`, `pyarrow`, or None.

    Returns:
        `numpy`, `pandas` or `pyarrow`.

    Raises:
        ValueError: for any other name.

    Example:
        >>> check_batch_format("default")
        'numpy'
    """
    if batch_format == "default":
        return "numpy"
    if batch_format is None:
        return "pyarrow"
    if batch_format not in BATCH_FORMATS:
        raise ValueError(
            f"batch_format must be one of {list(BATCH_FORMATS)} or None, got {batch_format!r}"
        )
    return batch_format


def to_batch(
    table: Block, batch_format: str, *, writable: bool = False, owned: bool = False
) -> Any:
    """Turn a block into a batch of the given format.

    Args:
        table: The block.
        batch_format: `numpy`, `pandas` or `pyarrow`.
        writable: Copy numpy arrays that would be read-only views of the block.
        owned: Nobody else has the block, so that views of it may be written to.

    Returns:
        A dict of arrays, a DataFrame or the table itself.

    Example:
        >>> to_batch(pa.table({"a": [1, 2]}), "numpy")
        {'a': array([1, 2])}
    """
    if batch_format == "pyarrow":
        return table
    if batch_format == "pandas":
        return _to_pandas(table)
    return {
        name: to_numpy(column, writable, owned)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def from_batch(batch: Any, source: str = "the function", like: pa.Schema | None = None) -> Block:
    """Turn what a user's function returned into a block.

    Args:
        batch: A dict of columns, a DataFrame, a Table or a RecordBatch.
        source: Who returned it, for errors.
        like: What the function was given: lists stay lists where a batch of equally long ones
            looks like tensors.

    Returns:
        The block.

    Raises:
        ValueError: if it is none of these, two columns have one name, or different lengths.

    Example:
        >>> from_batch({"a": [1, 2]}).num_rows
        2
    """
    if isinstance(batch, pa.RecordBatch):
        batch = pa.Table.from_batches([batch])
    if isinstance(batch, pa.Table):
        require_names(batch.column_names, source)
        return without_views(batch)
    if is_frame(batch):
        columns = {str(name): batch[name] for name in batch.columns}
        if len(columns) != batch.shape[1]:
            require_names([str(name) for name in batch.columns], source)
    elif isinstance(batch, Mapping):
        columns = {str(name): column for name, column in batch.items()}
    else:
        raise ValueError(
            f"{source} must return a dict of columns, a pandas DataFrame or a pyarrow Table "
            f"(or yield them), got {type(batch).__name__}: {batch!r:.80}"
        )
    arrays = {name: to_arrow(column, name, source) for name, column in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{source} returned columns of different lengths: {lengths}")
    if like is not None:
        arrays = {name: _as_before(array, name, like) for name, array in arrays.items()}
    return pa.table(arrays)


def _as_before(array: Any, name: str, like: pa.Schema) -> Any:
    index = like.get_field_index(name)
    kind = like.field(index).type if index >= 0 else None
    if kind is None or not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return array
    if isinstance(array.type, pa.FixedShapeTensorType) and len(array.type.shape) == 1:
        return array.storage.cast(pa.list_(array.type.value_type))
    return array


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Block:
    """Turn rows into a block; a column that a row lacks is null there.

    Example:
        >>> from_rows([{"a": 1}, {"a": 2, "b": "x"}]).column_names
        ['a', 'b']
    """
    columns = _columns_of(rows)
    if rows and not columns:
        raise ValueError(f"rows need a column at least, and none of {len(rows)} has any")
    return pa.table(
        {str(name): to_arrow(values, str(name), "the rows") for name, values in columns.items()}
    )


def _columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[Any, list[Any]]:
    first = rows[0] if rows else {}
    # Nearly always all rows have the same columns; then each is one loop without questions.
    if all(map(len(first).__eq__, map(len, rows))):
        try:
            return {name: [row[name] for row in rows] for name in first}
        except KeyError:
            pass
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def iter_rows(table: Block) -> Iterator[Row]:
    """The rows of a block as dicts of Python values; tensors as numpy arrays.

    Example:
        >>> list(iter_rows(pa.table({"a": [1, 2]})))
        [{'a': 1}, {'a': 2}]
    """
    names = table.column_names
    if not names:
        return
    row = row_maker(tuple(names)) if len(names) <= MANY_COLUMNS else None
    # A slice at a time keeps the Python values of a large block from existing all at once.
    for start in range(0, table.num_rows, 4096):
        part = table.slice(start, 4096)
        few = part.num_rows <= FEW_ROWS
        columns = [
            column.to_pylist() if few and _is_number(column.type) else values_of(column)
            for column in part.columns
        ]
        if row is not None:
            yield from map(row, *columns)
        else:
            yield from (dict(zip(names, values, strict=True)) for values in zip(*columns))  # noqa: B905


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_float64(kind)


def concat(tables: Sequence[Block]) -> Block:
    """One block of many; types that differ are promoted where nothing is lost.

    Args:
        tables: Blocks, in order.

    Returns:
        One block with all rows.

    Raises:
        ValueError: if a column has types that cannot be combined.

    Example:
        >>> concat([pa.table({"a": [1]}), pa.table({"a": [2.5]})]).column("a").to_pylist()
        [1.0, 2.5]
    """
    full = [table for table in tables if table.num_rows]
    if len(full) == 1:
        return full[0]
    if not full:
        return tables[0] if tables else pa.table({})
    try:
        if not all(table.schema.equals(full[0].schema) for table in full[1:]):
            full = fitted(full)
        return pa.concat_tables(full, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"blocks whose columns do not fit together: {error}") from error


def take_rows(table: Block, indices: "np.ndarray[Any, Any]") -> Block:
    """The rows at these positions, in this order.

    Example:
        >>> take_rows(pa.table({"a": [1, 2, 3]}), np.array([2, 0])).column("a").to_pylist()
        [3, 1]
    """
    if not table.num_columns:
        return table
    return take_columns(table.columns, table.column_names, indices)


def take_columns(
    columns: "list[Any]",
    names: Sequence[str],
    indices: "np.ndarray[Any, Any]",
    threaded: bool = True,
) -> Block:
    """The rows at these positions of the columns of a table.

    Args:
        columns: Chunked arrays. The list is emptied: each goes as soon as its rows are taken, if
            nobody else has it, so that a large table never exists twice.
        names: Of the columns.
        indices: Positions.
        threaded: Several columns at once, if they are long.

    Returns:
        A new block.
    """
    positions = from_numbers(np.ascontiguousarray(indices))

    def taken(number: int) -> Any:
        column, columns[number] = columns[number], None
        if isinstance(column.type, pa.FixedShapeTensorType):
            return to_arrow(to_numpy(column, False)[indices], names[number], "take")
        few = len(indices) >= MANY_VALUES and has_few_texts(column)
        whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        del column
        if few and isinstance(whole, pa.Array):
            # Numbers are moved, and the texts put in their places in one go at the end.
            whole = whole.dictionary_encode()
            return whole.dictionary.take(whole.indices.take(positions))
        return whole.take(positions)

    # What takes longest begins first, so that no thread is left with it at the end.
    order = sorted(
        range(len(names)), key=lambda number: pa.types.is_primitive(columns[number].type)
    )
    if not threaded or len(indices) * len(names) < MANY_VALUES:
        made = list(map(taken, order))
    else:
        # Arrow takes with one thread, and waits for memory most of the time.
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            made = list(threads.map(taken, order))
    columns.clear()
    placed = dict(zip(order, made, strict=True))
    return pa.table([placed[number] for number in range(len(names))], names=list(names))


def compact(table: Block) -> Block:
    """The same rows without the buffers of a larger table that a slice would drag along."""
    if table.get_total_buffer_size() <= 2 * table.nbytes + 4096:
        return table
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


def require_names(names: Sequence[str], source: str) -> None:
    """Raise if two columns have one name: rows and batches could hold only one of them.

    Args:
        names: Of the columns.
        source: Where they come from, for the error.

    Raises:
        ValueError: which names them.
    """
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"two columns from {source} are named {', '.join(map(repr, twice))}; rename one"
        )


def require_columns(names: Sequence[str], known: Sequence[str], verb: str) -> None:
    """Raise if any of the names is not a column.

    Args:
        names: What was asked for.
        known: The columns there are.
        verb: Who asks, for the error.

    Raises:
        KeyError: which lists the columns there are.
    """
    missing = [name for name in names if name not in known]
    if missing:
        raise KeyError(
            f"{verb}: no column named {', '.join(map(repr, missing))}; "
            f"the columns are {list(known)}"
        )


def _to_pandas(table: Block) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 - see is_frame

    tensors = [
        name
        for name, kind in zip(table.column_names, table.schema.types, strict=True)
        if is_tensor(kind)
    ]
    kept = table.drop_columns(tensors)
    frame = kept.to_pandas(ignore_metadata=True)
    for name in filter(lambda name: _is_inexact(kept.column(name)), kept.column_names):
        frame[name] = kept.column(name).to_pandas(types_mapper=pd.ArrowDtype)
    if not tensors:
        return frame
    frame.index = pd.RangeIndex(table.num_rows)
    for name in tensors:
        frame[name] = pd.Series(list(to_numpy(table.column(name), True)), dtype=object)
    return frame[table.column_names]


def _is_inexact(column: Any) -> bool:
    """Whether it has integers that no float, which pandas has beside nulls, can hold."""
    wide = pa.types.is_integer(column.type) and column.type.bit_width == 64 and column.null_count
    ends: Any = pc.min_max(column).as_py() if wide else {}
    return any(abs(end or 0) > 2**53 for end in ends.values())


def _session() -> str | None:
    if not heliostat.is_initialized():
        return None
    return str(heliostat.get_runtime_context().get_job_id())


class Cell:
    """Where one block lies: in this process, in the object store, or in both.

    Pickled into another process it goes through the store, and only once.
    """

    __slots__ = ("_lock", "_ref", "_session", "_table")

    def __init__(self, table: Block | None = None, ref: Any = None) -> None:
        self._table = table
        self._ref = ref
        self._session = None if ref is None else _session()
        self._lock = threading.Lock()

    @property
    def is_local(self) -> bool:
        """Whether the block can be had without asking the store."""
        return self._table is not None

    def table(self) -> Block:
        """The block itself; from the store it is mapped, not copied."""
        if self._table is None:
            self._expect_session()
            self._table = heliostat.get(self._ref)
        return self._table

    def share(self) -> Any:
        """The block as something to pass to a task: a ref, or the table if it is small."""
        with self._lock:
            if self._ref is None:
                assert self._table is not None
                self._table = compact(self._table)
                if self._table.nbytes <= INLINE_BYTES:
                    return self._table
                self._ref = heliostat.put(self._table)
                self._session = _session()
                # What the store holds is mapped on the next use; a second copy is not kept.
                self._table = None
            self._expect_session()
            return self._ref

    def _expect_session(self) -> None:
        if self._session != _session():
            raise ObjectLostError(
                "these rows were in the object store of a session that has ended; make the "
                "dataset again, or write it to files before shutdown()"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        if self._ref is None and not heliostat.is_initialized():
            assert self._table is not None
            return Cell, (compact(self._table),)
        shared = self.share()
        return (Cell, (shared,)) if isinstance(shared, pa.Table) else (Cell, (None, shared))


@dataclass(frozen=True, slots=True)
class Bundle:
    """A run of rows of one block, with what is known about it without looking."""

    cell: Cell = field(repr=False)
    start: int
    rows: int
    size_bytes: int
    schema: pa.Schema = field(repr=False)

    @classmethod
    def of(cls, table: Block) -> Self:
        """All rows of a table in this process."""
        return cls(Cell(table), 0, table.num_rows, table.nbytes, table.schema)

    def table(self) -> Block:
        """The rows, without a copy."""
        whole = self.cell.table()
        if self.rows == whole.num_rows:
            return whole
        return whole.slice(self.start, self.rows)

    def view(self, start: int, rows: int) -> "Bundle":
        """A part of these rows; nothing is copied."""
        assert 0 <= start <= start + rows <= self.rows
        if rows == self.rows:
            return self
        size = self.size_bytes * rows // self.rows if self.rows else 0
        return Bundle(self.cell, self.start + start, rows, size, self.schema)


def schema_of_blocks(bundles: Sequence[Bundle]) -> pa.Schema | None:
    """The columns of all blocks, in types that hold all of their values; None if there are none.

    Where blocks do not fit together, the columns of the first.
    """
    schemas = [one.schema for one in bundles if one.rows] or [one.schema for one in bundles]
    try:
        return common_schema(schemas) if schemas else None
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return schemas[0]


@dataclass(frozen=True)
class BlockMetadata:
    """What is known about a block without looking into it, as users' Datasources tell it.

    Attributes:
        num_rows: How many rows, if that is known.
        size_bytes: How many bytes in memory, if that is known.
        input_files: The files it comes from.
        exec_stats: Not used.
        task_exec_stats: Not used.
    """

    num_rows: int | None = None
    size_bytes: int | None = None
    exec_stats: Any = None
    input_files: Sequence[str] | None = None
    task_exec_stats: Any = None


class BlockAccessor:
    """A block with the methods by which users' sinks and sources look into it.

    Args:
        table: The block.

    Example:
        >>> BlockAccessor.for_block(pa.table({"a": [1, 2]})).num_rows()
        2
    """

    def __init__(self, table: Block) -> None:
        self._table = table

    @staticmethod
    def for_block(block: Any) -> "BlockAccessor":
        """The accessor of a table, a DataFrame or a dict of columns.

        Args:
            block: Any of them.

        Returns:
            The accessor.
        """
        return BlockAccessor(from_batch(block, "for_block"))

    def num_rows(self) -> int:
        """How many rows."""
        return int(self._table.num_rows)

    def size_bytes(self) -> int:
        """How many bytes in memory."""
        return int(self._table.nbytes)

    def schema(self) -> pa.Schema:
        """The columns."""
        return self._table.schema

    def to_arrow(self) -> Block:
        """As an Arrow table."""
        return self._table

    def to_pandas(self) -> "pd.DataFrame":
        """As a DataFrame."""
        return _to_pandas(self._table)

    def to_numpy(self, columns: str | Sequence[str] | None = None) -> Any:
        """As an array of one column, or a dict of arrays."""
        if isinstance(columns, str):
            return to_numpy(self._table.column(columns), False)
        table = self._table if columns is None else self._table.select(list(columns))
        return to_batch(table, "numpy")

    def to_batch_format(self, batch_format: str | None) -> Any:
        """As a batch of a format."""
        return to_batch(self._table, check_batch_format(batch_format))

    def iter_rows(self, public_row_format: bool = True) -> Iterator[Row]:
        """The rows, as dicts."""
        return iter_rows(self._table)

    def count(self, on: str, ignore_nulls: bool = False) -> int:
        """How many values a column has."""
        column = self._table.column(on)
        return len(column) - (column.null_count if ignore_nulls else 0)

    def sum(self, on: str, ignore_nulls: bool) -> Any:
        """The sum of a column; None of no values, and of nulls that are not ignored."""
        return pc.sum(self._table.column(on), skip_nulls=ignore_nulls).as_py()

    def mean(self, on: str, ignore_nulls: bool) -> Any:
        """The mean of a column; None as `sum`."""
        return pc.mean(self._table.column(on), skip_nulls=ignore_nulls).as_py()

    def min(self, on: str, ignore_nulls: bool) -> Any:
        """The least value of a column; None as `sum`."""
        return pc.min(self._table.column(on), skip_nulls=ignore_nulls).as_py()

    def max(self, on: str, ignore_nulls: bool) -> Any:
        """The greatest value of a column; None as `sum`."""
        return pc.max(self._table.column(on), skip_nulls=ignore_nulls).as_py()


class Position(NamedTuple):
    """How a bundle is named in a message: which argument, which rows."""

    argument: int
    start: int
    rows: int
