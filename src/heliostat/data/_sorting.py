"""Sort rows: in memory if they fit, else as sorted runs on disk, merged a range of keys at a time.

Works on any iterator of blocks. Equal rows stay in their order, NaN and then null come last; the
order is the same however much memory there is.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from heliostat.data._batching import rebatch
from heliostat.data._spill import Extent, SpillFile, give_back_memory
from heliostat.data.arrays import from_numbers, to_numbers
from heliostat.data.block import concat, require_columns, take_columns, take_rows

# Sorted rows go on in blocks of this many.
ROWS_A_BLOCK = 1 << 17
FEW_VALUES = 1 << 16
# A run is written in about this many batches: while runs are merged, one of each is in memory.
BATCHES_A_RUN = 256
BATCH_BYTES = 4 << 20
LEAST_BATCH_BYTES = 32 << 10
# Runs are merged by ranges of keys of about this size, or a part of what a run may hold.
RANGE_BYTES = 64 << 20
RANGES_A_RUN = 8
# More runs than this are first merged into fewer: a batch of each is as much as one run.
FAN_IN = BATCHES_A_RUN
# From so many values it is guessed whether most of a column's are different.
SAMPLE = 1 << 10
FIRST_ROW = np.zeros(1, np.int64)


def sorted_blocks(
    blocks: Iterable[pa.Table],
    keys: Sequence[str],
    descending: Sequence[bool],
    memory_bytes: int,
) -> Iterator[pa.Table]:
    """All rows in the order of the keys.

    Args:
        blocks: In order.
        keys: Columns.
        descending: For each of them.
        memory_bytes: How many bytes of blocks are held before they go to disk; sorting takes about
            as much again.

    Yields:
        Blocks; one without rows if there are none.
    """
    held: list[pa.Table] = []
    size = 0
    empty: pa.Table | None = None
    with ExitStack() as stack:
        runs: Runs | None = None
        for block in blocks:
            if not block.num_rows:
                empty = block if empty is None else empty
                continue
            held.append(block)
            size += block.nbytes
            # Nobody else shall keep what is about to be sorted.
            del block
            if size >= memory_bytes:
                if runs is None:
                    runs = stack.enter_context(Runs(keys, descending, memory_bytes))
                runs.add(sorted_table(held, keys, descending))
                size = 0
                give_back_memory()
        if runs is None:
            yield from _in_memory(held, empty, keys, descending)
            return
        if held:
            runs.add(sorted_table(held, keys, descending))
        yield from runs.merged()


def _in_memory(
    held: list[pa.Table], empty: pa.Table | None, keys: Sequence[str], descending: Sequence[bool]
) -> Iterator[pa.Table]:
    if not held:
        if empty is not None:
            yield empty
        return
    whole = sorted_table(held, keys, descending)
    for start in range(0, whole.num_rows, ROWS_A_BLOCK):
        yield whole.slice(start, ROWS_A_BLOCK)


def sorted_table(
    tables: list[pa.Table], keys: Sequence[str], descending: Sequence[bool]
) -> pa.Table:
    """The rows of all tables as one that is in order.

    Args:
        tables: In order, at least one; the list is emptied, so that each column can go as soon as
            it was brought into order.
        keys: Columns.
        descending: For each of them.

    Returns:
        A new table.

    Raises:
        KeyError: if a key is not there.
    """
    whole = concat(tables)
    tables.clear()
    require_columns(keys, whole.column_names, "sort")
    order = sort_order([whole.column(key) for key in keys], descending)
    columns, names = whole.columns, whole.column_names
    del whole
    return take_columns(columns, names, order)


# -- what is on disk --------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Rows in order, on disk in batches; of each batch the keys of its first row are kept."""

    file: SpillFile
    batches: tuple[Extent, ...]
    heads: pa.Table


class Runs:
    """Sorted runs in the order in which their rows came.

    Args:
        keys: Columns.
        descending: For each of them.
        memory_bytes: How large a run is.
    """

    def __init__(self, keys: Sequence[str], descending: Sequence[bool], memory_bytes: int) -> None:
        self._keys = list(keys)
        self._descending = descending
        batch_bytes = max(LEAST_BATCH_BYTES, memory_bytes // BATCHES_A_RUN)
        self._batch_bytes = min(BATCH_BYTES, batch_bytes)
        self._range_bytes = min(RANGE_BYTES, memory_bytes // RANGES_A_RUN)
        self._file = SpillFile()
        self._runs: list[Run] = []
        # A row of each different schema: what is read is made alike by them.
        self._examples: list[pa.Table] = []

    def __enter__(self) -> "Runs":
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def add(self, table: pa.Table) -> None:
        """Write a run."""
        if not any(one.schema.equals(table.schema) for one in self._examples):
            # A row by itself: a slice would keep the whole run.
            self._examples.append(take_rows(table, FIRST_ROW))
        self._runs.append(self._written(self._file, iter([table])))

    def _written(self, file: SpillFile, tables: Iterator[pa.Table]) -> Run:
        first = next(tables)
        rows = max(1, first.num_rows * self._batch_bytes // max(1, first.nbytes))
        extents: list[Extent] = []
        heads: list[pa.Table] = []
        stream = itertools.chain([first], tables)
        del first
        for batch in rebatch(stream, rows):
            extents.append(file.write(batch))
            # Apart from the batch, which would stay as long as its first row.
            heads.append(take_rows(batch.select(self._keys), FIRST_ROW))
        return Run(file, tuple(extents), concat(heads).combine_chunks())

    def merged(self) -> Iterator[pa.Table]:
        """All rows in order.

        Yields:
            Blocks.
        """
        while len(self._runs) > FAN_IN:
            with ExitStack() as stack:
                # Each level has a file of its own, so that the disk is given back after it.
                file = stack.enter_context(SpillFile())
                groups = [
                    self._runs[start : start + FAN_IN]
                    for start in range(0, len(self._runs), FAN_IN)
                ]
                self._runs = [self._written(file, self._merge(group)) for group in groups]
                self._file.close()
                self._file = file
                stack.pop_all()
        yield from self._merge(self._runs)

    def _merge(self, runs: Sequence[Run]) -> Iterator[pa.Table]:
        heads = self._alike(concat([run.heads for run in runs]))
        order = sort_order([heads.column(key) for key in self._keys], self._descending)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        starts = np.cumsum([0, *(len(run.batches) for run in runs)])
        inputs = [
            _Input(run, place[start:stop], self._examples)
            for run, (start, stop) in zip(runs, itertools.pairwise(starts), strict=True)
        ]
        step = max(1, self._range_bytes // self._batch_bytes)
        # The first row of a batch bounds a range: all before it, of whatever run, comes before.
        for bound in range(step, len(order), step):
            give_back_memory()
            for one in inputs:
                one.load(bound)
            head = int(order[bound])
            owner = int(np.searchsorted(starts, head, side="right")) - 1
            yield from self._first(inputs, owner, heads.slice(head, 1))
        for one in inputs:
            one.load(len(order))
        yield from self._first(inputs, None, None)

    def _first(
        self, inputs: Sequence["_Input"], owner: int | None, head: pa.Table | None
    ) -> Iterator[pa.Table]:
        """The rows before this head of a batch that follows in `owner`, taken out of the inputs."""
        parts: list[pa.Table] = []
        bound = -1
        for number, one in enumerate(inputs):
            parts.append(one.waiting.select(self._keys))
            if number == owner:
                assert head is not None
                # After the rows of its run and before those of the next: its place among equals.
                bound = sum(len(part) for part in parts)
                parts.append(head)
        keys = pa.concat_tables(parts) if len(parts) > 1 else parts[0]
        order = sort_order([keys.column(key) for key in self._keys], self._descending)
        if head is not None:
            order = order[: int(np.flatnonzero(order == bound)[0])]
            order = order - (order > bound)
        lengths = [len(one.waiting) for one in inputs]
        starts = np.cumsum([0, *lengths])
        which = np.searchsorted(starts, order, side="right") - 1
        counts = np.bincount(which, minlength=len(inputs))
        moved = np.cumsum([0, *counts])[:-1] - starts[:-1]
        tables = [one.take(int(count)) for one, count in zip(inputs, counts, strict=True)]
        if len(order):
            whole = pa.concat_tables(tables)
            yield take_columns(whole.columns, whole.column_names, order + moved[which])

    def _alike(self, heads: pa.Table) -> pa.Table:
        if len(self._examples) < 2:
            return heads
        examples = [one.select(self._keys) for one in self._examples]
        return concat([*examples, heads]).slice(len(examples))


class _Input:
    """A run while it is merged: what was read of it and not given yet.

    Args:
        run: The run.
        places: Where the first rows of its batches stand among those of all runs.
        examples: A row of each schema there is.
    """

    def __init__(
        self, run: Run, places: "np.ndarray[Any, Any]", examples: Sequence[pa.Table]
    ) -> None:
        self._run = run
        self._places = places
        self._examples = examples if len(examples) > 1 else ()
        self._read = 0
        like = concat(examples) if len(examples) > 1 else examples[0]
        self.waiting: pa.Table = like.slice(0, 0)

    def load(self, bound: int) -> None:
        """Read the batches whose first rows stand before this place."""
        stop = int(np.searchsorted(self._places, bound))
        batches = [self._batch(number) for number in range(self._read, stop)]
        self._read = max(self._read, stop)
        if batches:
            self.waiting = pa.concat_tables([self.waiting, *batches])

    def _batch(self, number: int) -> pa.Table:
        batch = self._run.file.read(self._run.batches[number])
        if not self._examples:
            return batch
        return concat([*self._examples, batch]).slice(len(self._examples))

    def take(self, rows: int) -> pa.Table:
        """The first rows, which are no longer here then."""
        taken = self.waiting.slice(0, rows)
        self.waiting = self.waiting.slice(rows)
        return taken


# -- order ------------------------------------------------------------------------------------


def sort_order(columns: Sequence[Any], descending: Sequence[bool]) -> "np.ndarray[Any, Any]":
    """The positions that bring rows into order, stable.

    Args:
        columns: The keys.
        descending: For each of them.

    Returns:
        Positions.

    Example:
        >>> sort_order([pa.chunked_array([[2, None, 1, 2]])], [True]).tolist()
        [0, 3, 2, 1]
    """
    order: np.ndarray[Any, Any] | None = None
    # From the last key to the first: each stable sort keeps the order of those before it.
    for column, down in reversed(list(zip(columns, descending, strict=True))):
        ranks = _ranks(column, down)
        order = _stable(ranks) if order is None else order[_stable(ranks[order])]
    assert order is not None
    return order


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of a type are sorted here for sure, as the native engine would.

    Args:
        kind: Of a column.

    Returns:
        True for numbers, texts, truth values and times.

    Example:
        >>> is_plain(pa.int8()), is_plain(pa.list_(pa.int8()))
        (True, False)
    """
    checks = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_date,
        pa.types.is_timestamp,
    )
    return any(check(kind) for check in checks)


def _stable(ranks: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Argsort, stable. Up to 16 bits by radix; wider ones fast, and then equal ones are mended."""
    if ranks.dtype.itemsize <= 2:
        return np.argsort(ranks, kind="stable")
    order = np.argsort(ranks)
    ordered = ranks[order]
    # NaN, which comes last, is not even equal to itself.
    same = (ordered[1:] == ordered[:-1]) | (ordered[:-1] != ordered[:-1])
    if not same.any():
        return order
    tied = np.zeros(len(order), bool)
    tied[1:] |= same
    tied[:-1] |= same
    where = np.flatnonzero(tied)
    group = np.cumsum(~np.r_[False, same])[where]
    members = order[where]
    order[where] = members[np.lexsort((members, group))]
    return order


def _ranks(column: Any, down: bool) -> "np.ndarray[Any, Any]":
    """Something to sort by for each value: a small integer, or the value itself if it is a number.

    Radix sorts of small integers are fast and stable; where most values are different, numbering
    them takes longer than sorting them.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_floating(column.type):
        # Zero has two signs and one place.
        zero = from_numbers(np.zeros(1, "f4" if pa.types.is_float32(column.type) else "f8"))
        column = pc.add(column, zero[0])
    if _are_different_numbers(column):
        values = to_numbers(column)
        if not down:
            return values
        return -values if values.dtype.kind == "f" else ~values
    return _numbered(column, down)


def _are_different_numbers(column: Any) -> bool:
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not number or column.null_count or len(column) < SAMPLE:
        return False
    sample = to_numbers(column)[:: len(column) // SAMPLE]
    return len(np.unique(sample)) > len(sample) * 0.9


def _numbered(column: Any, down: bool) -> "np.ndarray[Any, Any]":
    encoded = column.dictionary_encode()
    values = encoded.dictionary
    place: Any = "descending" if down else "ascending"
    order = to_numbers(pc.array_sort_indices(values, order=place, null_placement="at_end"))
    rank = np.empty(len(values) + 1, np.uint16 if len(values) < FEW_VALUES - 1 else np.uint32)
    rank[order] = np.arange(len(values))
    rank[len(values)] = len(values)
    codes = encoded.indices
    if codes.null_count:
        codes = pc.fill_null(codes, len(values))
    ranks: np.ndarray[Any, Any] = rank[to_numbers(codes)]
    return ranks
