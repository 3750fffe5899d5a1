"""Blocks that are held in memory to be sorted.

Where the key is one number, each is sorted by a thread while the next is read, and in the end they
are merged a range of keys at a time, by threads too: what is moved at once fits into a cache of the
processor, and no row is there twice. Else all rows are put into order at the end.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data._ordering.order import as_numbers, is_searched, sort_order
from heliostat.data._ordering.reorder import fitted, in_turn, reordered, rows_a_block
from heliostat.data.block import concat, require_columns, take_columns

# A run is of at least so many bytes, if there are: merging takes some time for each.
RUN_BYTES = 8 << 20
# A range begins at one of so many rows that it may be long.
CHOICES = 64


class HeldRuns:
    """Takes blocks, gives all their rows in order.

    Args:
        keys: Columns.
        descending: For each of them.
        threads: Sort and merge.

    Attributes:
        size: Bytes of the blocks that are held.
    """

    def __init__(self, keys: Sequence[str], descending: Sequence[bool], threads: Executor) -> None:
        self.size = 0
        self._keys = list(keys)
        self._descending = descending
        self._threads = threads
        # Not a run yet, and not in order.
        self._loose: list[pa.Table] = []
        self._loose_bytes = 0
        self._runs: list[Future[pa.Table]] = []

    def __bool__(self) -> bool:
        """Whether it holds any; rows may take no bytes."""
        return bool(self._runs or self._loose)

    def add(self, block: pa.Table) -> None:
        """Hold a block, which may lack a column that others have."""
        self.size += block.nbytes
        self._loose.append(block)
        self._loose_bytes += block.nbytes
        if self._loose_bytes >= RUN_BYTES and self._are_runs(block.schema):
            self._close_run()

    def _close_run(self) -> None:
        blocks, self._loose, self._loose_bytes = self._loose, [], 0
        self._runs.append(self._threads.submit(self._sorted, blocks))

    def _sorted(self, blocks: list[pa.Table]) -> pa.Table:
        whole = concat(blocks)
        blocks.clear()
        order = self._order(whole.select(self._keys))
        columns, names = whole.columns, whole.column_names
        del whole
        return take_columns(columns, names, order, threaded=False)

    def _order(self, keys: pa.Table) -> "np.ndarray[Any, Any]":
        return sort_order(keys.columns, self._descending)

    def merged(self, schema: pa.Schema | None = None) -> Iterator[pa.Table]:
        """All rows in order; after it, none is held.

        Args:
            schema: What blocks are cast to, if they are not of it.

        Yields:
            Blocks.

        Raises:
            KeyError: if a key is in no block.
        """
        self.size = 0
        if self._runs and any(self._are_runs(block.schema) for block in self._loose):
            self._close_run()
        runs, blocks = [run.result() for run in self._runs], self._loose
        self._runs, self._loose, self._loose_bytes = [], [], 0
        # Only runs are in order: blocks that are too few for one are not.
        if len(runs) > 1 and not blocks and self._can_merge(runs):
            yield from self._ranges(runs, schema or runs[0].schema)
        elif tables := [*runs, *blocks]:
            # Runs keep the order of equal rows: they are as good as the blocks they are made of.
            del runs, blocks
            require_columns(
                self._keys, [name for one in tables for name in one.column_names], "sort"
            )
            yield from reordered(tables, self._order, self._keys, self._threads, schema)

    def _can_merge(self, tables: list[pa.Table]) -> bool:
        schema, key = tables[0].schema, self._keys[0]
        return self._are_runs(schema) and all(
            table.schema.equals(schema) and not table.column(key).null_count for table in tables
        )

    def _are_runs(self, schema: pa.Schema) -> bool:
        at = schema.get_field_index(self._keys[0])
        return len(self._keys) == 1 and at >= 0 and is_searched(schema.field(at).type)

    def _ranges(self, runs: list[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
        numbers = [as_numbers(run.column(self._keys[0]), self._descending[0]) for run in runs]
        rows = rows_a_block(sum(map(len, runs)), sum(run.nbytes for run in runs))
        cuts = _cuts(numbers, rows)

        def block(number: int) -> pa.Table:
            slices = [slice(*of) for of in cuts[:, number : number + 2].tolist()]
            keys = [one[part] for one, part in zip(numbers, slices, strict=True)]
            parts = [run[part] for run, part in zip(runs, slices, strict=True)]
            # Runs are in order, and this is made to find and use it.
            order = np.argsort(np.concatenate(keys), kind="stable")
            whole = pa.concat_tables(parts)
            made = take_columns(whole.columns, whole.column_names, order, threaded=False)
            return fitted(made, schema)

        return in_turn(self._threads, block, range(cuts.shape[1] - 1))


def _cuts(numbers: "list[np.ndarray[Any, Any]]", rows: int) -> "np.ndarray[Any, Any]":
    """Where ranges of about so many rows begin and end in each run: a column for each cut.

    A cut is before a row of some run. Of equal rows those of earlier runs come before it.
    """
    step = max(1, rows // CHOICES)
    places = [np.arange(step, len(one), step) for one in numbers]
    values = np.concatenate([one[at] for one, at in zip(numbers, places, strict=True)])
    owners = np.repeat(np.arange(len(numbers)), [len(at) for at in places])
    chosen = np.argsort(values, kind="stable")[:: rows // step][1:]
    owner, place, value = owners[chosen], np.concatenate(places)[chosen], values[chosen]
    inner = [
        np.where(
            owner == number,
            place,
            np.where(
                owner > number, np.searchsorted(one, value, "right"), np.searchsorted(one, value)
            ),
        )
        for number, one in enumerate(numbers)
    ]
    first = np.zeros(len(numbers), np.int64)
    return np.column_stack([first, np.stack(inner), [len(one) for one in numbers]])
