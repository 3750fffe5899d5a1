"""What the threads of a process tell after a signal, each of itself."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from collections.abc import Callable

WAIT_S = 2.0  # for a thread to begin, and to end
LOOK_EVERY_S = 0.001
# Of the system call, where the C library is older than its function.
_TGKILL = {"x86_64": 234, "aarch64": 131}


def stacks(pid: int, number: int, read: Callable[[], str]) -> str:
    """The stacks of a process's threads that run Python, each told by that thread itself.

    A thread that tells of others reads their frames while they run on, and may crash. One that is
    stopped tells nothing.

    Args:
        pid: Of a process that has `faulthandler.register(number, all_threads=False)`.
        number: The signal.
        read: Gives all that was told up to now.

    Raises:
        OSError: If the process is gone.
    """
    told = []
    for thread in sorted(map(int, os.listdir(f"/proc/{pid}/task")), reverse=True):
        start = len(read())
        if _is_at_it(pid, thread, number) or not _send(pid, thread, number):
            continue  # it blocks signals, as threads of libraries do; or has ended meanwhile
        if not _has_told(pid, thread, number):
            break
        _, _, frames = read()[start:].partition("\n")
        if "File " in frames:
            told.append(f"Thread {thread} (most recent call first):\n{frames.rstrip()}")
    return "\n\n".join(told)


def _send(pid: int, thread: int, number: int) -> bool:
    libc, where = ctypes.CDLL(None), (pid, thread, number)
    if hasattr(libc, "tgkill"):
        return bool(libc.tgkill(*where) == 0)
    return bool(libc.syscall(_TGKILL[platform.machine()], *where) == 0)


def _is_at_it(pid: int, thread: int, number: int) -> bool:
    """Whether a signal waits for a thread, or is blocked: while it is handled, it is."""
    try:
        with open(f"/proc/{pid}/task/{thread}/status") as file:
            facts = dict(line.split(":", 1) for line in file)
    except OSError:
        return False
    return any(int(facts[name], 16) >> (number - 1) & 1 for name in ("SigPnd", "SigBlk"))


def _has_told(pid: int, thread: int, number: int) -> bool:
    """Wait until a thread has handled a signal; False if it does not come to it."""
    until, times_done = time.monotonic() + WAIT_S, 0
    while times_done < 2:  # between the two facts it may have been neither
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_EVERY_S)
        times_done = 0 if _is_at_it(pid, thread, number) else times_done + 1
    return True
