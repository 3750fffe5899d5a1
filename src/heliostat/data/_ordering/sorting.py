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

from heliostat.data._batching import rebatch
from heliostat.data._ordering.held import HeldRuns
from heliostat.data._ordering.order import sort_order
from heliostat.data._ordering.reorder import cpu_threads, fitted
from heliostat.data._spill import Extent, SpillFile, give_back_memory
from heliostat.data.block import concat, take_columns, take_rows

# A run is written in about this many batches: while runs are merged, one of each is in memory.
BATCHES_A_RUN = 256
BATCH_BYTES = 4 << 20
LEAST_BATCH_BYTES = 32 << 10
# Runs are merged by ranges of keys of about this size, or a part of what a run may hold.
RANGE_BYTES = 64 << 20
RANGES_A_RUN = 8
# More runs than this are first merged into fewer: a batch of each is as much as one run.
FAN_IN = BATCHES_A_RUN
FIRST_ROW = np.zeros(1, np.int64)


def sorted_blocks(
    blocks: Iterable[pa.Table],
    keys: Sequence[str],
    descending: Sequence[bool],
    memory_bytes: int,
    schema: pa.Schema | None = None,
) -> Iterator[pa.Table]:
    """All rows in the order of the keys.

    Args:
        blocks: In order.
        keys: Columns.
        descending: For each of them.
        memory_bytes: How many bytes of blocks are held before they go to disk; sorting takes about
            as much again.
        schema: What blocks are cast to, if they are not of it.

    Yields:
        Blocks; one without rows if there are none.
    """
    empty: pa.Table | None = None
    with ExitStack() as stack:
        held = HeldRuns(keys, descending, stack.enter_context(cpu_threads()))
        runs: Runs | None = None
        for block in blocks:
            if not block.num_rows:
                empty = block if empty is None else empty
                continue
            held.add(block)
            # Nobody else shall keep what is about to be sorted.
            del block
            if held.size >= memory_bytes:
                if runs is None:
                    runs = stack.enter_context(Runs(keys, descending, memory_bytes))
                runs.add(held.merged())
                give_back_memory()
        if runs is not None:
            if held:
                runs.add(held.merged())
            made = runs.merged()
            yield from (fitted(block, schema) for block in made) if schema else made
        elif held:
            yield from held.merged(schema)
        elif empty is not None:
            yield fitted(empty, schema) if schema else empty


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

    def add(self, blocks: Iterator[pa.Table]) -> None:
        """Write a run, from blocks of one schema that are in order."""
        first = next(blocks)
        if not any(one.schema.equals(first.schema) for one in self._examples):
            # A row by itself: a slice would keep the whole block.
            self._examples.append(take_rows(first, FIRST_ROW))
        self._runs.append(self._written(self._file, itertools.chain([first], blocks)))

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
