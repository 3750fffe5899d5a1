"""What an execution does where memory is short: blocks on disk, and allocators that keep nothing.

The blocks are in one file without a name, which vanishes with its process. It knows nothing of what
they are for.
"""

import contextlib
import errno
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, Self

import pyarrow as pa

from heliostat import _malloc
from heliostat.exceptions import OutOfDiskError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# What is larger is mapped by itself, and goes back to the system as soon as it is let go.
_MAPPED_BYTES = 256 << 10


_ARROWS_OWN = pa.default_memory_pool()

# Who has had so much of Arrow's memory is looked at: idle is who holds the same after a moment.
_MUCH_BYTES = 64 << 20
_MANY_BYTES = 8 << 20
_IDLE_S = 0.25
_PIECES, _PIECE_BYTES = 20, 40 << 20


class _Thrift:
    """How many want memory to be given back at once, and where Arrow took it from before."""

    lock = threading.Lock()
    count = 0
    pool = _ARROWS_OWN


@contextlib.contextmanager
def thrift() -> Iterator[None]:
    """Have Arrow and numpy give back at once what is let go, as long as anybody is in the context.

    Arrow's own allocator is faster, but keeps for later about as much as is in use: without it a
    sort takes little more than half the memory.
    """
    with _Thrift.lock:
        if _Thrift.count == 0:
            _Thrift.pool = pa.default_memory_pool()
            pa.set_memory_pool(pa.system_memory_pool())
            _malloc.map_above(_MAPPED_BYTES)
        _Thrift.count += 1
    try:
        yield
    finally:
        with _Thrift.lock:
            _Thrift.count -= 1
            if _Thrift.count == 0:
                pa.set_memory_pool(_Thrift.pool)


def give_back_memory() -> None:
    """Let the system have what allocators keep for later: where memory is short, they keep much."""
    # Arrow takes from its own allocator for itself, also while we take from the system's.
    for pool in (_ARROWS_OWN, pa.default_memory_pool()):
        pool.release_unused()
    _malloc.trim()


def give_back_in_thrift() -> None:
    """The same where somebody is in `thrift`: each thread has something of its own to give back."""
    if _Thrift.count:
        give_back_memory()


class Gathered:
    """Blocks for somebody who holds all of them: if they are many, allocators keep nothing beside.

    That is told at the first blocks and at the end of the context: it takes a millisecond, which a
    few rows are not worth.

    Args:
        blocks: An iterator of them; nothing here keeps one that was taken.
    """

    def __init__(self, blocks: Iterator[pa.Table]) -> None:
        self._blocks = blocks
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bytes > _MANY_BYTES:
            give_back_memory()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pa.Table:
        block = next(self._blocks)
        before, self._bytes = self._bytes, self._bytes + block.nbytes
        if before <= _MANY_BYTES < self._bytes:
            give_back_memory()
        return block


class _Idle:
    """Who looks whether nobody takes memory any more; none where little was ever taken."""

    lock = threading.Lock()
    thread: threading.Thread | None = None
    asked = False


def give_back_when_idle() -> None:
    """Once nobody takes memory, and again when what is in use is let go, give back what is kept."""
    if (_ARROWS_OWN.max_memory() or 0) < _MUCH_BYTES:
        return
    with _Idle.lock:
        _Idle.asked = True
        if _Idle.thread is None or not _Idle.thread.is_alive():
            _Idle.thread = threading.Thread(target=_watch, name="heliostat-idle", daemon=True)
            _Idle.thread.start()


def _watch() -> None:
    given_back_at, before = -1, _ARROWS_OWN.bytes_allocated()
    while True:
        time.sleep(_IDLE_S)
        now, last = _ARROWS_OWN.bytes_allocated(), before
        asked, _Idle.asked, before = _Idle.asked, False, now
        if asked:  # whatever ended a moment ago may be followed by more
            given_back_at = -1
        if asked or now != last or now == given_back_at:
            continue
        # mimalloc does it at once for the main thread only; but with each large block that anybody
        # lets go, it gives back a few pieces that nobody has used for a while.
        for _ in range(_PIECES):
            pa.allocate_buffer(_PIECE_BYTES, memory_pool=_ARROWS_OWN)
            time.sleep(_IDLE_S / 8)
        _malloc.trim()
        given_back_at = now
        with _Idle.lock:
            if now < _MUCH_BYTES and not _Idle.asked:
                _Idle.thread = None
                return


class Extent(NamedTuple):
    """Where a block lies in the file."""

    start: int
    size: int


class SpillFile:
    """A file to put blocks into and to take them from, in any order.

    Example:
        >>> with SpillFile() as file:
        ...     extent = file.write(pa.table({"a": [1, 2]}))
        ...     file.read(extent).column("a").to_pylist()
        [1, 2]
    """

    def __init__(self) -> None:
        # On Linux it has no name from its birth on: nothing is left, however the process ends.
        self._file = tempfile.TemporaryFile(prefix="heliostat-", buffering=0)  # noqa: SIM115
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """How much was written."""
        return self._end

    def write(self, table: pa.Table) -> Extent:
        """Put a block at the end of the file.

        Args:
            table: The block; of a slice only its own rows are written.

        Returns:
            Where it lies.

        Raises:
            OutOfDiskError: if the disk is full.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        content = sink.getvalue()
        extent = Extent(self._end, content.size)
        left = memoryview(content)
        try:
            while left:
                written = os.pwrite(self._file.fileno(), left, self._end)
                self._end += written
                left = left[written:]
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise OutOfDiskError(
                f"{tempfile.gettempdir()} has no room for rows that do not fit into memory "
                f"({self._end:,} bytes of them are there): {error.strerror}. Make room there, "
                "name another directory in TMPDIR, or raise DataContext.memory_budget_bytes"
            ) from error
        return extent

    def read(self, extent: Extent) -> pa.Table:
        """A block that was put there."""
        content = pa.allocate_buffer(extent.size)
        view = memoryview(content)
        done = 0
        while done < extent.size:
            read = os.preadv(self._file.fileno(), [view[done:]], extent.start + done)
            assert read, "a file that only this process knows is shorter than what was written"
            done += read
        return pa.ipc.open_stream(content).read_all()

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()
