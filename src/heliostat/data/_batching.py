"""Blocks to tables of a size: cut, shuffled through a buffer, prepared ahead.

Works on any iterator of blocks; it does not know where they come from.
"""

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from heliostat.data.block import concat, take_rows

T = TypeVar("T")

# Batches that are left together take no more than this.
SLAB_BYTES = 16 << 20
# When the pool has so many times the rows that are left, the others are let go.
KEPT = 4


def rebatch(
    blocks: Iterable[pa.Table],
    batch_size: int | None,
    *,
    drop_last: bool = False,
    slab: int = 1,
) -> Iterator[pa.Table]:
    """Cut a stream of blocks into tables of exactly `batch_size` rows; None keeps the blocks.

    Args:
        blocks: In order.
        batch_size: Rows a table, or None.
        drop_last: Leave out the last table if it is short.
        slab: Up to so many batches that are in one block are left together. No batch waits for more.

    Yields:
        Tables; views where one block holds the batch.
    """
    if batch_size is None:
        yield from (block for block in blocks if block.num_rows)
        return
    waiting: deque[pa.Table] = deque()
    rows = 0
    for block in blocks:
        start = 0
        if rows:
            start = min(batch_size - rows, block.num_rows)
            waiting.append(block.slice(0, start))
            rows += start
            if rows == batch_size:
                yield concat(list(waiting))
                waiting.clear()
                rows = 0
        most = slab
        if slab > 1:
            fit = SLAB_BYTES * block.num_rows // max(1, block.nbytes * batch_size)
            most = max(1, min(slab, fit))
        while batches := min(most, (block.num_rows - start) // batch_size):
            yield block.slice(start, batches * batch_size)
            start += batches * batch_size
        if start < block.num_rows:
            waiting.append(block.slice(start))
            rows += block.num_rows - start
    if rows and not drop_last:
        yield concat(list(waiting))


def shuffled(
    blocks: Iterable[pa.Table], buffer_rows: int, batch_size: int, seed: int | None
) -> Iterator[pa.Table]:
    """Draw batches at random from a buffer of at least `buffer_rows` rows.

    What is drawn is an index; the blocks stay as they are until most of their rows are gone.

    Args:
        blocks: In order.
        buffer_rows: How many rows to have at hand before drawing.
        batch_size: Rows a batch.
        seed: For the same order again.

    Yields:
        Tables of one or more batches; the last may be shorter.
    """
    rng = np.random.default_rng(seed)
    pool: list[pa.Table] = []
    held = 0
    # Which of the rows of the pool have not been drawn yet.
    left = np.empty(0, np.int64)
    for block in blocks:
        pool.append(block)
        left = np.concatenate([left, np.arange(held, held + block.num_rows)])
        held += block.num_rows
        # Keep `buffer_rows` rows back, so that later rows can come early too.
        drawn = (len(left) - buffer_rows) // batch_size * batch_size
        if drawn > 0:
            left = rng.permutation(left)
            yield _drawn(pool, left[:drawn], rng)
            left = np.sort(left[drawn:])
            if held > KEPT * len(left):
                pool, held = ([_picked(pool, left)], len(left)) if len(left) else ([], 0)
                left = np.arange(held)
    if len(left):
        yield _drawn(pool, rng.permutation(left), rng)


def _drawn(
    pool: list[pa.Table], positions: "np.ndarray[Any, Any]", rng: np.random.Generator
) -> pa.Table:
    if len(pool) == 1:
        return take_rows(pool[0], positions)
    # From each block in its order, and then, of these few rows alone, in any order.
    return take_rows(_picked(pool, np.sort(positions)), rng.permutation(len(positions)))


def _picked(pool: list[pa.Table], positions: "np.ndarray[Any, Any]") -> pa.Table:
    """The rows at these positions, which ascend, of many blocks."""
    starts = np.cumsum([0, *map(len, pool)])
    cuts = np.searchsorted(positions, starts)
    return concat(
        [
            take_rows(block, positions[cuts[number] : cuts[number + 1]] - starts[number])
            for number, block in enumerate(pool)
            if cuts[number] < cuts[number + 1]
        ]
    )


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


class _Ahead:
    """The thread's side of `prefetch`: fills a queue until it is told to stop."""

    def __init__(self, items: Iterator[Any], ahead: int) -> None:
        self._items = items
        # Two queues in C: one with a bound is written in Python, and takes longer than small batches.
        self.ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.room: queue.SimpleQueue[bool] = queue.SimpleQueue()
        for _ in range(ahead):
            self.room.put(True)

    def run(self) -> None:
        try:
            for item in self._items:
                self.ready.put(item)
                del item
                if not self.room.get():
                    return
            self.ready.put(_END)
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer's thread
            self.ready.put(_Raised(error))
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()


def prefetch(items: Iterator[T], ahead: int) -> Generator[T]:
    """Run an iterator in a thread that stays at most `ahead` items in front.

    The thread ends when the iterator does, or when this generator is closed.

    Args:
        items: What to run ahead of the consumer.
        ahead: How many items may wait.

    Yields:
        The same items.
    """
    front = _Ahead(items, ahead)
    thread = threading.Thread(target=front.run, name="heliostat-data-prefetch", daemon=True)
    thread.start()
    try:
        while (item := front.ready.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            front.room.put(True)
            yield item
    finally:
        front.room.put(False)
        # It may be waiting for a worker; then it cleans up when that is done.
        thread.join(timeout=1.0)


def joined(blocks: Iterable[pa.Table], most_bytes: int) -> Iterator[pa.Table]:
    """Small blocks of one schema that follow each other as one, of so many bytes at most."""
    held: list[pa.Table] = []
    held_bytes = 0
    for block in blocks:
        fits = held_bytes + block.nbytes <= most_bytes
        if held and not (fits and block.schema.equals(held[0].schema)):
            yield pa.concat_tables(held)
            held, held_bytes = [], 0
        held.append(block)
        held_bytes += block.nbytes
    if held:
        yield pa.concat_tables(held)
