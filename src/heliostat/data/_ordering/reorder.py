"""The rows of many blocks in another order, a block at a time, by several threads.

Arrow takes rows with one thread, which waits for memory most of the time. So columns are joined
while the order is still being found out, and later blocks are taken while earlier ones are used:
the rows are never there twice.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat import _malloc
from heliostat.data.arrays import has_few_texts
from heliostat.data.block import MANY_VALUES, concat, take_columns

# Rows go on in blocks of this many, or of about so many bytes where a row is large.
ROWS_A_BLOCK = 1 << 17
BLOCK_BYTES = 16 << 20
# Of several arrays of a number for each row of a block, while it is made.
KEPT_BYTES = 8 * ROWS_A_BLOCK * 8


def cpu_threads() -> ThreadPoolExecutor:
    """As many as there are CPUs for this process; one starts when there is something to do."""
    # What numpy makes for each block would have to be cleared by the kernel each time.
    _malloc.keep_small(KEPT_BYTES)
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)))


def in_turn(
    threads: Executor, make: Callable[[int], pa.Table], numbers: Iterable[int]
) -> Iterator[pa.Table]:
    """What is made of each number, in order; a few are made ahead."""
    ahead: deque[Future[pa.Table]] = deque()
    for number in numbers:
        ahead.append(threads.submit(make, number))
        if len(ahead) > len(os.sched_getaffinity(0)):
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def rows_a_block(rows: int, size_bytes: int) -> int:
    """How many rows go on together, of so many of this size."""
    return max(1, min(ROWS_A_BLOCK, rows * BLOCK_BYTES // max(1, size_bytes)))


def reordered(
    tables: list[pa.Table],
    order: "Callable[[pa.Table], np.ndarray[Any, Any]]",
    keys: Sequence[str],
    threads: Executor,
    schema: pa.Schema | None = None,
) -> Iterator[pa.Table]:
    """All rows in an order.

    Args:
        tables: In order, at least one; the list is emptied, so that each column can go as soon as
            it was joined.
        order: Gives the positions of the rows, from the columns it needs.
        keys: These columns.
        threads: Take rows.
        schema: What blocks are cast to, if they are not of it.

    Yields:
        Blocks.
    """
    whole = concat(tables)
    tables.clear()
    rows = rows_a_block(whole.num_rows, whole.nbytes)
    schema = schema or whole.schema
    names, columns, needed = whole.column_names, whole.columns, whole.select(list(keys))
    # Columns that several blocks are taken from are joined once.
    many = whole.num_rows > rows or whole.num_rows * len(names) >= MANY_VALUES
    del whole
    if many:
        begun = [threads.submit(_joined, columns, number) for number in range(len(names))]
        positions = order(needed)
        columns = [one.result() for one in begun]
        begun.clear()
    else:
        positions = order(needed)
    del needed

    def block(start: int) -> pa.Table:
        part = positions[start : start + rows]
        return fitted(take_columns(list(columns), names, part, threaded=False), schema)

    starts = range(0, len(positions), rows)
    yield from in_turn(threads, block, starts) if many else map(block, starts)


def _joined(columns: list[Any], number: int) -> Any:
    """A column as one chunk, few texts as numbers of a dictionary; in the list it stays no longer."""
    column, columns[number] = columns[number], None
    few = has_few_texts(column)
    whole = column if column.num_chunks == 1 else column.combine_chunks()
    # What is too long for one chunk stays in several.
    whole = pa.chunked_array([whole]) if isinstance(whole, pa.Array) else whole
    return whole.dictionary_encode() if few else whole


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with these types: with the texts of those that are numbers of a dictionary."""
    if table.schema.equals(schema):
        return table
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.table(columns, schema=schema)
