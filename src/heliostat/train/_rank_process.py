"""What the process of a rank gets that other workers do not: its share of the CPUs, and memory it keeps.

A rank runs one loop for long, where other workers run whatever comes. It knows nothing of loops.
"""

from __future__ import annotations

import os

from heliostat import _malloc

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
    _malloc.keep_in_one_heap(KEPT_BYTES)
