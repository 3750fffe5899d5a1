"""What the process of a rank gets that other workers do not: its share of the CPUs, and memory it keeps.

A rank runs one loop for long, where other workers run whatever comes. It knows nothing of loops.
"""

from __future__ import annotations

import ctypes
import os

# Of glibc's mallopt(3).
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
MMAP_THRESHOLD_BYTES = 32 << 20  # the most that glibc takes
KEPT_BYTES = 512 << 20


def prepare() -> None:
    """Make this process a rank's. Once is enough; it must have no other thread that allocates much."""
    _lead_a_session()
    _keep_freed_memory()


def _lead_a_session() -> None:
    """Leave the session that all workers are in, as the processes of torchrun have one each.

    Linux divides the CPUs between sessions first (sched_autogroup), so that N ranks in one session
    get as much of a busy machine as a single process of somebody else.
    """
    pid = os.getpid()
    if os.getsid(0) == pid:
        return
    # Only who does not lead a group may lead a session, which has a group of the same number.
    try:
        os.setpgid(0, os.getsid(0))
        os.setsid()
    except PermissionError:  # a backend has started processes, which must stay in our group
        os.setpgid(0, pid)


def _keep_freed_memory() -> None:
    """Keep what is freed in one step for the next.

    By default glibc returns large blocks to the kernel, which clears them page by page when the
    next step asks for them again: a sixth of the CPU time of a small CNN.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return  # somebody has chosen already
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return
    # The loop has a thread of its own, whose arena would be unmapped as soon as it is empty.
    mallopt(ARENA_MAX, 1)
    mallopt(MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
    mallopt(TRIM_THRESHOLD, KEPT_BYTES)
