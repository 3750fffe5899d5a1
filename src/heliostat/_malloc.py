"""What the C library's allocator does with memory that is freed: gives it back at once, or keeps it.

By default glibc maps every block of more than 32 MB by itself and gives it back when it is freed;
the kernel then clears it page by page when the next task or step asks for as much. All of this is
for glibc: other C libraries are left as they are, and so is one that the user has set up.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from typing import Any

LARGEST_THRESHOLD = 32 << 20  # that glibc takes: every larger block is mapped
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # of mallopt(3)
_MMAP_MAX_AT_FIRST = 65_536


@functools.cache
def _libc() -> Any:
    """The C library, if it is glibc and nobody has chosen for it."""
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") else None


def keep_in_one_heap(most_bytes: int) -> None:
    """Keep what all threads free, blocks of more than `LARGEST_THRESHOLD` excepted."""
    if libc := _libc():
        libc.mallopt(_ARENA_MAX, 1)  # that of another thread is unmapped as soon as it is empty
        libc.mallopt(_MMAP_THRESHOLD, LARGEST_THRESHOLD)
        libc.mallopt(_TRIM_THRESHOLD, most_bytes)


def keep_large(most_bytes: int) -> None:
    """Keep blocks of any size for the next that is as large, until `give_back`."""
    if libc := _libc():
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, most_bytes)


def keep_small(size_bytes: int) -> None:
    """Have blocks of up to so many bytes used again and not mapped anew, if nobody has chosen.

    glibc learns it from a block that was mapped and is freed, and then keeps twice as much.
    """
    if libc := _libc():
        libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
        libc.free(libc.malloc(ctypes.c_size_t(size_bytes)))


def map_above(threshold: int) -> None:
    """Give back every freed block of more than `threshold` bytes, from now on."""
    if libc := _libc():
        libc.mallopt(_MMAP_MAX, _MMAP_MAX_AT_FIRST)
        libc.mallopt(_MMAP_THRESHOLD, threshold)


def give_back() -> None:
    """Give back all that is kept, and keep no large block any more."""
    if libc := _libc():
        # Setting any of them ends glibc's own learning: this is where it would have come to.
        libc.mallopt(_TRIM_THRESHOLD, 2 * LARGEST_THRESHOLD)
        map_above(LARGEST_THRESHOLD)
        trim()


def give_back_idle() -> None:
    """Give back what this thread has freed, also to Arrow, whose allocator asks the one that had it."""
    # Another thread may be in the middle of importing it.
    if pool := getattr(sys.modules.get("pyarrow"), "default_memory_pool", None):
        pool().release_unused()
    trim()


def trim() -> None:
    """Give back what is kept now, whoever has set that up, and go on as before."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
