"""Steps that take all blocks at once, in the driver: cut anew, or in another order."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from heliostat.data._batching import rebatch
from heliostat.data._ordering.order import with_one_zero
from heliostat.data._plan import GatheringStep, Groups, Repartition, ShuffleBlocks
from heliostat.data.block import concat, require_columns, take_rows

# Groups go on in about this many blocks: a constant, so that they do not depend on the machine.
GROUP_BLOCKS = 16


def rearranged(blocks: list[pa.Table], step: GatheringStep) -> Iterator[pa.Table]:
    """All blocks, as the step has them."""
    full = [block for block in blocks if block.num_rows]
    if not full:
        yield from blocks[:1]
        return
    match step:
        case ShuffleBlocks(seed):
            order = np.random.default_rng(seed).permutation(len(full))
            yield from (full[number] for number in order)
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
    column = with_one_zero(column)
    try:
        indices = column.combine_chunks().dictionary_encode().indices
    except pa.ArrowNotImplementedError as error:
        raise TypeError(
            f"values of type {column.type} cannot be told apart here; take a column of numbers, "
            "texts or times that is made of them, with map or with_column"
        ) from error
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


def stratified(
    table: pa.Table, column: str, test_size: int | float
) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Which rows are for training and which for testing: of each value the last ones are.

    Args:
        table: The rows.
        column: Whose values have the same share in both.
        test_size: The share of each for testing, rounded down; or how many rows in all, of each
            its share rounded down or up.

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
    shares = counts * (test_size if isinstance(test_size, float) else test_size / len(codes))
    tested = np.floor(shares + 1e-9)
    if isinstance(test_size, int):
        # Largest remainders first, as for seats in a parliament (Hamilton's method).
        more = np.argsort(tested - shares, kind="stable")[: test_size - int(tested.sum())]
        tested[more] += 1
    testing[order] = place >= np.repeat(counts - tested, counts)
    return np.flatnonzero(~testing), np.flatnonzero(testing)
