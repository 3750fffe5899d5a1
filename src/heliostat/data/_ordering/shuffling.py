"""Bring all rows into a random order: in memory if they fit, else by buckets on disk.

Each row is given one of a fixed number of buckets, and the rows of a bucket are permuted. The order
depends on the seed and the order of the rows, not on blocks, memory or workers.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data._ordering.reorder import cpu_threads, fitted, reordered
from heliostat.data._spill import Extent, SpillFile, give_back_memory
from heliostat.data.block import concat, take_columns

# A constant, because the order depends on it. As many fit into a byte, by which one sorts fast.
BUCKETS = 256


def shuffled_blocks(
    blocks: Iterable[pa.Table],
    seed: int | None,
    memory_bytes: int,
    schema: pa.Schema | None = None,
) -> Iterator[pa.Table]:
    """All rows in a random order.

    Args:
        blocks: In order.
        seed: For the same order again.
        memory_bytes: How many bytes of blocks are held before they go to disk; shuffling takes
            about as much again.
        schema: What blocks are cast to, if they are not of it.

    Yields:
        Blocks; one without rows if there are none.
    """
    seed = int(np.random.default_rng().integers(1 << 62)) if seed is None else seed
    draws = np.random.default_rng(seed)
    held: list[pa.Table] = []
    size = 0
    empty: pa.Table | None = None
    with ExitStack() as stack:
        file: SpillFile | None = None
        spilled: list[list[Extent]] = [[] for _ in range(BUCKETS)]
        for block in blocks:
            if not block.num_rows:
                empty = block if empty is None else empty
                continue
            held.append(block)
            size += block.nbytes
            # Nobody else shall keep what is about to be taken apart.
            del block
            if size >= memory_bytes:
                file = stack.enter_context(SpillFile()) if file is None else file
                _spill(file, spilled, held, draws)
                size = 0
                give_back_memory()
        if file is None:
            if held:
                yield from _in_memory(held, draws, seed, schema)
            elif empty is not None:
                yield fitted(empty, schema) if schema else empty
            return
        if held:
            _spill(file, spilled, held, draws)
        for bucket, extents in enumerate(spilled):
            if extents:
                table = concat([file.read(extent) for extent in extents])
                order = _permutation(seed, bucket, table.num_rows)
                made = take_columns(table.columns, table.column_names, order)
                yield fitted(made, schema) if schema else made


def _in_memory(
    held: list[pa.Table], draws: np.random.Generator, seed: int, schema: pa.Schema | None
) -> Iterator[pa.Table]:
    def order(_: pa.Table) -> "np.ndarray[Any, Any]":
        positions, ends = _by_bucket(rows, draws)
        for bucket in range(BUCKETS):
            part = positions[ends[bucket] : ends[bucket + 1]]
            part[:] = part[_permutation(seed, bucket, len(part))]
        return positions

    rows = sum(len(table) for table in held)
    with cpu_threads() as threads:
        yield from reordered(held, order, [], threads, schema)


def _spill(
    file: SpillFile, spilled: list[list[Extent]], held: list[pa.Table], draws: np.random.Generator
) -> None:
    order, ends = _by_bucket(sum(len(table) for table in held), draws)
    whole = _taken(held, order)
    for bucket in range(BUCKETS):
        start, stop = int(ends[bucket]), int(ends[bucket + 1])
        if stop > start:
            spilled[bucket].append(file.write(whole.slice(start, stop - start)))


def _taken(held: list[pa.Table], order: "np.ndarray[Any, Any]") -> pa.Table:
    whole = concat(held)
    held.clear()
    columns, names = whole.columns, whole.column_names
    del whole
    return take_columns(columns, names, order)


def _by_bucket(
    rows: int, draws: np.random.Generator
) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """The rows' positions bucket by bucket, and where each bucket begins."""
    # Floats, of which one takes as much of the stream however many are drawn at once.
    buckets = (draws.random(rows) * BUCKETS).astype(np.uint8)
    ends = np.concatenate([[0], np.cumsum(np.bincount(buckets, minlength=BUCKETS))])
    return np.argsort(buckets, kind="stable"), ends


def _permutation(seed: int, bucket: int, rows: int) -> "np.ndarray[Any, Any]":
    return np.random.default_rng([seed, bucket]).permutation(rows)
