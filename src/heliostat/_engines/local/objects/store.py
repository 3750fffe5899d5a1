"""Objects in shared memory: write a value into the arena's segment, and read it without a copy.

The segment is anonymous (memfd): it has no name that could be left behind, and goes with the
last process. Every process maps it once. Which bytes hold what is decided by `arena.Arena` in the
driver; this file moves the bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from heliostat import _faults
from heliostat._core.codec import Buffer, Encoded
from heliostat._engines.local.objects import bulk_copy
from heliostat._engines.local.scheduling.arena import ALIGN
from heliostat._malloc import LARGEST_THRESHOLD
from heliostat.exceptions import ObjectStoreFullError

_LINE = 64  # buffers start on cache lines
# Parts of this size are worth keeping the memory for, in which the next is made.
_MUCH = range(LARGEST_THRESHOLD, 512 << 20)


def spans(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each part begins and ends, relative to the object."""
    start = 0
    for size in sizes:
        yield start, start + size
        start += -(-size // _LINE) * _LINE


def extent(sizes: Sequence[int]) -> int:
    """How many bytes an object with these parts needs."""
    return sum(-(-size // _LINE) * _LINE for size in sizes)


def create_segment(capacity: int) -> int:
    """An anonymous shared memory file of that size; memory is used only as it is written."""
    fd = os.memfd_create("heliostat", os.MFD_CLOEXEC)
    os.ftruncate(fd, capacity)
    return fd


def _copy(target: memoryview, source: Buffer) -> None:
    """Copy; large values with several threads.

    Only where numpy is loaded, because it copies without holding the interpreter's lock; large
    buffers without numpy about are rare.
    """
    numpy = sys.modules.get("numpy")
    if len(source) < bulk_copy.LEAST or numpy is None:
        target[:] = source
    else:
        bulk_copy.copy(numpy.frombuffer(target, "u1"), numpy.frombuffer(source, "u1"))


class _Pin:
    """Keeps an object's memory from being used again while views of it live."""

    release: Callable[[bytes], object]
    id: bytes

    def __del__(self) -> None:
        self.release(self.id)


@functools.lru_cache(maxsize=4096)
def _pin_class(size: int) -> Any:
    return type("Pin", (_Pin, ctypes.c_char * size), {})


class Store:
    """The mapped segment of one process."""

    def __init__(self, fd: int, capacity: int) -> None:
        self.fd = fd
        self.capacity = capacity
        self._map = mmap.mmap(fd, capacity)
        self._view = memoryview(self._map)
        self.wrote_much = False  # since somebody last looked

    def write(self, offset: int, encoded: Encoded, *, fresh: bool) -> tuple[int, ...]:
        """Write a value at `offset`; the sizes of its parts.

        Raises:
            ObjectStoreFullError: If the machine has no memory left for fresh pages.
        """
        parts: list[Buffer] = [encoded.data, *encoded.buffers]
        sizes = tuple(len(part) for part in parts)
        for part, (start, end) in zip(parts, spans(sizes), strict=True):
            if end - start in _MUCH:
                self.wrote_much = True
            if fresh:
                self.write_fresh(offset + start, part)
            else:
                _copy(self._view[offset + start : offset + end], part)
        return sizes

    def piece(self, offset: int, size: int) -> memoryview:
        """These bytes, as they are."""
        return self._view[offset : offset + size]

    def write_fresh(self, position: int, part: Buffer) -> None:
        """Write to memory that may not be there yet.

        Raises:
            ObjectStoreFullError: If the machine has none left.
        """
        # write() allocates the pages and can fail; touching a mapping would be SIGBUS instead.
        left = memoryview(part)
        try:
            _faults.point("store.write")
            while left:
                written = os.pwrite(self.fd, left, position)
                left, position = left[written:], position + written
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
                raise
            raise ObjectStoreFullError(
                f"the machine has no memory left for a value of {len(part):,} bytes in shared "
                "memory; drop references to other values, or init() with a smaller "
                "object_store_memory"
            ) from error

    def read(
        self, id_: bytes, offset: int, sizes: Sequence[int], release: Callable[[bytes], object]
    ) -> list[memoryview]:
        """Read-only views of an object's parts; `release(id_)` is called when all are gone."""
        size = -(-max(1, extent(sizes)) // ALIGN) * ALIGN
        pin = _pin_class(size).from_buffer(self._map, offset)
        pin.release, pin.id = release, id_
        whole = memoryview(pin).cast("B").toreadonly()
        return [whole[start:end] for start, end in spans(sizes)]

    def close(self) -> None:
        """Unmap, unless views of values are still in use: then the last of them does."""
        self._view.release()
        with contextlib.suppress(BufferError):
            self._map.close()
        del self._map  # the views that are left keep it, and nobody else does
        os.close(self.fd)
