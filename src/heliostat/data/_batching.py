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


def rebatch(
    blocks: Iterable[pa.Table], batch_size: int | None, *, drop_last: bool = False
) -> Iterator[pa.Table]:
    """Cut a stream of blocks into tables of exactly `batch_size` rows; None keeps the blocks.

    Args:
        blocks: In order.
        batch_size: Rows a table, or None.
        drop_last: Leave out the last table if it is short.

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
        while block.num_rows - start >= batch_size:
            yield block.slice(start, batch_size)
            start += batch_size
        if start < block.num_rows:
            waiting.append(block.slice(start))
            rows += block.num_rows - start
    if rows and not drop_last:
        yield concat(list(waiting))


def shuffled(
    blocks: Iterable[pa.Table], buffer_rows: int, batch_size: int, seed: int | None
) -> Iterator[pa.Table]:
    """Draw batches at random from a buffer of at least `buffer_rows` rows.

    The buffer is shuffled by an index and copied once for each fill, not once for each batch.

    Args:
        blocks: In order.
        buffer_rows: How many rows to have at hand before drawing.
        batch_size: Rows a batch.
        seed: For the same order again.

    Yields:
        Tables of `batch_size` rows; the last is shorter.
    """
    rng = np.random.default_rng(seed)
    buffer: list[pa.Table] = []
    rows = 0
    for block in blocks:
        buffer.append(block)
        rows += block.num_rows
        if rows >= buffer_rows + batch_size:
            mixed = _mix(buffer, rng)
            # Keep `buffer_rows` rows back, so that later rows can come early too.
            cut = (rows - buffer_rows) // batch_size * batch_size
            for start in range(0, cut, batch_size):
                yield mixed.slice(start, batch_size)
            buffer = [mixed.slice(cut)]
            rows -= cut
    if rows:
        mixed = _mix(buffer, rng)
        for start in range(0, rows, batch_size):
            yield mixed.slice(start, batch_size)


def _mix(blocks: list[pa.Table], rng: np.random.Generator) -> pa.Table:
    whole = concat(blocks)
    return take_rows(whole, rng.permutation(whole.num_rows))


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


class _Ahead:
    """The thread's side of `prefetch`: fills a queue until it is told to stop."""

    def __init__(self, items: Iterator[Any], ahead: int) -> None:
        self._items = items
        self.ready: queue.Queue[Any] = queue.Queue(maxsize=ahead)
        self.stop = threading.Event()

    def run(self) -> None:
        try:
            for item in self._items:
                self._offer(item)
                if self.stop.is_set():
                    break
            self._offer(_END)
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer's thread
            self._offer(_Raised(error))
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()

    def _offer(self, item: Any) -> None:
        while not self.stop.is_set():
            try:
                self.ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return


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
            yield item
    finally:
        front.stop.set()
        # It may be waiting for a worker; then it cleans up when that is done.
        thread.join(timeout=1.0)
