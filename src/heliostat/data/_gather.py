"""Steps that take all blocks at once, in the driver: sorted, cut anew, in another order."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from heliostat.data._batching import rebatch
from heliostat.data._plan import GatheringStep, Groups, Repartition, ShuffleBlocks, SortRows
from heliostat.data.block import concat, require_columns, take_rows

# Sorted rows go on in blocks of this many.
ROWS_A_BLOCK = 1 << 17
FEW_VALUES = 1 << 16
# Groups go on in about this many blocks: a constant, so that they do not depend on the machine.
GROUP_BLOCKS = 16


def rearranged(blocks: list[pa.Table], step: GatheringStep) -> Iterator[pa.Table]:
    """All blocks, as the step has them.

    Args:
        blocks: In order.
        step: What to do.

    Yields:
        Blocks.
    """
    full = [block for block in blocks if block.num_rows]
    if not full:
        yield from blocks[:1]
        return
    match step:
        case ShuffleBlocks(seed):
            order = np.random.default_rng(seed).permutation(len(full))
            yield from (full[number] for number in order)
        case SortRows(keys, descending):
            yield from sorted_rows(full, keys, descending)
        case Groups(keys):
            yield from _whole_groups(concat(full), keys)
        case Repartition(_, int() as rows):
            yield from rebatch(full, rows)
        case Repartition(blocks=int() as number, keys=()):
            yield from _cut(full, number)
        case Repartition(number, _, keys):
            yield from _by_keys(concat(full), keys, number or len(full))


def _whole_groups(whole: pa.Table, keys: Sequence[str]) -> Iterator[pa.Table]:
    """Some blocks, none of which ends inside a group."""
    starts = boundaries(whole, keys)
    start = 0
    for part in range(1, GROUP_BLOCKS + 1):
        # The first group that begins at or after this share of the rows.
        at = int(np.searchsorted(starts, whole.num_rows * part // GROUP_BLOCKS))
        stop = whole.num_rows if at == len(starts) else int(starts[at])
        if stop > start:
            yield whole.slice(start, stop - start)
            start = stop


def boundaries(table: pa.Table, keys: Sequence[str]) -> "np.ndarray[Any, Any]":
    """Where groups begin in rows that are in the order of the keys.

    Args:
        table: The rows.
        keys: Columns; none makes one group.

    Returns:
        Positions, ascending, from 0.

    Example:
        >>> boundaries(pa.table({"k": [1, 1, None, None, 3]}), ["k"]).tolist()
        [0, 2, 4]
    """
    require_columns(keys, table.column_names, "groupby")
    new = np.zeros(table.num_rows, bool)
    new[:1] = True
    for key in keys:
        codes = _codes(table.column(key))
        new[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(new)


def _codes(column: Any) -> "np.ndarray[Any, Any]":
    """A number for each different value; null has one, too."""
    indices = column.combine_chunks().dictionary_encode().indices
    codes: np.ndarray[Any, Any] = pc.fill_null(indices, -1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64)


def _cut(blocks: list[pa.Table], number: int) -> Iterator[pa.Table]:
    """So many blocks, as even as can be; views where one block holds all."""
    whole = pa.concat_tables(blocks) if _alike(blocks) else concat(blocks)
    cuts = [whole.num_rows * part // number for part in range(number + 1)]
    for start, stop in itertools.pairwise(cuts):
        yield whole.slice(start, stop - start)


def _alike(blocks: list[pa.Table]) -> bool:
    return all(block.schema.equals(blocks[0].schema) for block in blocks)


def _by_keys(whole: pa.Table, keys: Sequence[str], number: int) -> Iterator[pa.Table]:
    """Rows with equal keys into one block."""
    require_columns(keys, whole.column_names, "repartition")
    place = np.zeros(whole.num_rows, np.int64)
    for key in keys:
        codes = _codes(whole.column(key))
        _, place = np.unique(place * (codes.max(initial=0) + 2) + codes + 1, return_inverse=True)
    place %= number
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(number + 1))
    for start, stop in itertools.pairwise(ends):
        if stop > start:
            yield take_rows(whole, order[start:stop])


def sorted_rows(
    blocks: list[pa.Table], keys: Sequence[str], descending: Sequence[bool]
) -> Iterator[pa.Table]:
    """All rows in the order of the keys; equal ones as they came; NaN, then null, last.

    Args:
        blocks: In order.
        keys: Columns.
        descending: For each of them.

    Yields:
        Blocks.
    """
    whole = concat(blocks)
    require_columns(keys, whole.column_names, "sort")
    order = sort_order([whole.column(key) for key in keys], descending)
    # A column at a time for all rows: of each only one more copy exists for a moment.
    taken = take_rows(whole, order)
    for start in range(0, len(order), ROWS_A_BLOCK):
        yield taken.slice(start, ROWS_A_BLOCK)


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
        if order is None:
            order = np.argsort(ranks, kind="stable")
        else:
            order = order[np.argsort(ranks[order], kind="stable")]
    assert order is not None
    return order


def _ranks(column: Any, down: bool) -> "np.ndarray[Any, Any]":
    """A small integer for each value, in the order wanted: radix sorts are fast and stable."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_floating(column.type):
        # Zero has two signs and one place.
        column = pc.add(column, pa.scalar(0.0, column.type))
    encoded = column.dictionary_encode()
    values = encoded.dictionary
    place: Any = "descending" if down else "ascending"
    order = pc.array_sort_indices(values, order=place, null_placement="at_end").to_numpy()
    rank = np.empty(len(values) + 1, np.uint16 if len(values) < FEW_VALUES - 1 else np.uint32)
    rank[order] = np.arange(len(values))
    rank[len(values)] = len(values)
    codes = pc.fill_null(encoded.indices, len(values))
    ranks: np.ndarray[Any, Any] = rank[codes.to_numpy(zero_copy_only=False)]
    return ranks


def stratified(
    table: pa.Table, column: str, test_share: float
) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Which rows are for training and which for testing: of each value the last ones are.

    Args:
        table: The rows.
        column: Whose values have the same share in both.
        test_share: How many of each are for testing.

    Returns:
        Positions of both, ascending.

    Raises:
        KeyError: if the column does not exist.
    """
    require_columns([column], table.column_names, "train_test_split")
    codes = _codes(table.column(column))
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, codes[order][1:] != codes[order][:-1]])
    counts = np.diff(np.r_[starts, len(codes)])
    place = np.arange(len(codes)) - np.repeat(starts, counts)
    testing = np.empty(len(codes), bool)
    testing[order] = place >= np.repeat(counts - np.rint(counts * test_share), counts)
    return np.flatnonzero(~testing), np.flatnonzero(testing)
