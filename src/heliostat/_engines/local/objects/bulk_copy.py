"""Copies of more than a cache holds: with several threads, and past the caches where that can be.

An ordinary store reads a line of memory before it overwrites it, so that a copy moves three bytes
for one. Stores that go past the caches (*non-temporal*) spare the first of these; the C library uses
them only above three quarters of what it takes for the cache, 192 MB here. Fourteen instructions do
it, and no package that we could ask for has them (benchmarks/copies.py has the figures; decision 011).
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import sys
import threading
from collections.abc import Callable
from typing import Any

LEAST = 8 << 20  # smaller ones are faster alone
_LEAST_PAST_CACHES = 32 << 20  # what is smaller may be read out of a cache soon
_HELPERS = 1  # threads beside this one; with more of them two CPUs are not faster
_PIECE = 4 << 20
_LINE = 64  # bytes that one turn of the loop moves
# copy(to: rdi, of: rsi, size: rdx), of whole lines to a place at 16 bytes:
_X86_64 = bytes.fromhex(
    "f30f6f06 f30f6f4e10 f30f6f5620 f30f6f5e30"  # copy: movdqu xmm0..3, [rsi + 0, 16, 32, 48]
    "660fe707 660fe74f10 660fe75720 660fe75f30"  #       movntdq [rdi + 0, 16, 32, 48], xmm0..3
    "4883c640 4883c740 4883ea40 75cc"  #                 add rsi, 64; add rdi, 64; sub rdx, 64; jnz copy
    "0faef8 c3"  #                                       sfence; ret
)


@functools.cache
def past_caches() -> Callable[[int, int, int], None] | None:
    """What copies whole lines of memory, given addresses and size; None if this machine has none.

    The interpreter's lock is not held meanwhile.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    page = mmap.mmap(-1, mmap.PAGESIZE)
    page.write(_X86_64)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    size = ctypes.c_size_t(mmap.PAGESIZE)
    protect = ctypes.CDLL(None).mprotect
    if protect(ctypes.c_void_p(address), size, mmap.PROT_READ | mmap.PROT_EXEC):
        return None  # a hardened system: no code but from files
    function: Any = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_size_t)(address)
    function.page = page  # lives as long as what is in it
    return function  # type: ignore[no-any-return]


def copy(to: Any, of: Any) -> None:
    """Copy one numpy array of bytes to another of the same length."""
    size, lines = len(of), past_caches() if len(of) >= _LEAST_PAST_CACHES else None
    target, source = to.ctypes.data, of.ctypes.data
    if target % 16:
        lines = None
    starts = iter(range(0, size, _PIECE))  # shared: each thread takes the next piece

    def work() -> None:
        for start in starts:
            done, end = start, min(start + _PIECE, size)
            if lines is not None and end - start >= _LINE:
                done += (end - start) // _LINE * _LINE
                lines(target + start, source + start, done - start)
            to[done:end] = of[done:end]

    helpers = [threading.Thread(target=work) for _ in range(_HELPERS)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
