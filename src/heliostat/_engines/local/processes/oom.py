"""Out of memory: which worker to end before the kernel ends one for us; and who is stopped.

`choose` decides, from numbers; `Watch` reads them now and then, in a thread of its own: the less
memory is left, the more often. A worker that is over what its task asked for as `memory` ends.
When the machine (or container) is nearly full, the task that began last ends, one that may be
retried before one that may not. Should the kernel be faster, `Kernel` knows that it was.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from heliostat import _cgroups as cgroups
from heliostat._engines.local.scheduling.worker_scheduler import Usage

SELDOM_S, OFTEN_S = 0.25, 0.005  # between two looks
FASTEST = 4e9  # bytes that tasks may take within a second
BY_KERNEL = "the kernel ended it, for the machine or container had no memory left"
RECENT_S = 2.0  # a worker that ends may be the one that the kernel was seen to end
LEAST_SHARE = 1 / 100  # of the memory there is: the kernel ends who has much
THRESHOLD = 0.95  # of the memory there is; HELIOSTAT_MEMORY_THRESHOLD overrides it


class Victim(NamedTuple):
    """Whom to end, and why."""

    proc: int
    reason: str


def choose(workers: Sequence[Usage], used: int, total: int, threshold: float) -> Victim | None:
    """Whom to end now, if anybody.

    Args:
        workers: Those that run something.
        used: Bytes in use on the whole machine.
        total: Bytes there are.
        threshold: The share of `total` that may be used.

    Example:
        >>> busy = [Usage(1, "f", 300, 0, 1.0, True), Usage(2, "g", 100, 200, 2.0, True)]
        >>> choose(busy, 500, 1000, 0.95) is None
        True
        >>> choose(busy, 960, 1000, 0.95).proc
        2
    """
    for worker in workers:
        if worker.limit and worker.rss > worker.limit:
            asked = f"more than the {_bytes(worker.limit)} that it asked for with memory="
            return Victim(worker.proc, f"{worker.name} used {_bytes(worker.rss)}, {asked}")
    if used <= threshold * total or not workers:
        return None
    last = max(workers, key=lambda worker: (worker.retriable, worker.since))
    return Victim(
        last.proc,
        f"the memory of the machine or container was nearly full ({_bytes(used)} of {_bytes(total)}), and "
        f"{last.name}, which used {_bytes(last.rss)}, had begun last",
    )


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def pause_s(used: int, total: int, threshold: float) -> float:
    """When to look again: before what is left can be used up."""
    return min(SELDOM_S, max(OFTEN_S, (threshold * total - used) / FASTEST / 2))


class Watch:
    """Looks now and then.

    Args:
        busy: Workers that run something, with what they use.
        end: Called with whoever has to be ended.
        see_stopped: Looks for workers that the kernel does not let run.

    Attributes:
        kernel: What it was seen to do.
    """

    def __init__(
        self,
        busy: Callable[[], list[Usage]],
        end: Callable[[Victim], None],
        see_stopped: Callable[[], None],
    ) -> None:
        self._busy, self._end, self._see_stopped = busy, end, see_stopped
        self._threshold = threshold()
        self.kernel = Kernel()
        # Tasks may begin to take memory right after we saw that none runs.
        self._idle_s = pause_s(0, machine_bytes()[1], self._threshold)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heliostat-memory", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _watch(self) -> None:
        next_s = self._idle_s
        while not self._stop.wait(next_s):
            with contextlib.suppress(OSError):  # no descriptor is free to look with: later
                next_s = self._look()

    def _look(self) -> float:
        self._see_stopped()
        self.kernel.look()
        workers = self._busy()
        if not workers:
            return self._idle_s
        used, total = machine_bytes()
        victim = choose(workers, used, total, self._threshold)
        if victim is not None:
            self._end(victim)
        return pause_s(used, total, self._threshold)

    def end(self) -> None:
        """Stop, and wait until it has stopped."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()


class Kernel:
    """What the kernel did: it ends processes by itself when no memory is left.

    It counts them and does not say which; not only ours.
    """

    def __init__(self) -> None:
        self._kills = _kills()
        self._rose_at = -math.inf

    def look(self) -> None:
        """See whether it has ended any; to be called now and then."""
        before, self._kills = self._kills, _kills()
        if self._kills > before:
            self._rose_at = time.monotonic()

    def has_ended(self, peak: int) -> bool:
        """Whether it was the kernel that has just killed a worker of ours.

        Args:
            peak: Bytes that the worker had at most.
        """
        self.look()
        recently = time.monotonic() - self._rose_at < RECENT_S
        return recently and peak >= LEAST_SHARE * machine_bytes()[1]


def _kills() -> int:
    """Processes that the kernel has ended in our cgroups and on the whole machine."""
    found = cgroups.oom_kills()
    with contextlib.suppress(OSError), open("/proc/vmstat", "rb") as file:
        found += sum(int(line.split()[1]) for line in file if line[:9] == b"oom_kill ")
    return found


def threshold() -> float:
    """The share of memory that may be used.

    Raises:
        ValueError: If HELIOSTAT_MEMORY_THRESHOLD is no number above 0 and up to 1.
    """
    text = os.environ.get("HELIOSTAT_MEMORY_THRESHOLD")
    if not text:
        return THRESHOLD
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(f"HELIOSTAT_MEMORY_THRESHOLD must be above 0 and at most 1, got {text!r}")
    return share


def grown_by(pid: int | None, inherited: int | None) -> int:
    """Bytes that a worker has taken since it was forked; 0 if it is gone, or was not born yet."""
    return 0 if inherited is None else max(0, private_bytes(pid) - inherited)


def is_stopped(pid: int | None) -> bool:
    """Whether a process was stopped by a signal, and not continued."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False


def private_bytes(pid: int | None) -> int:
    """What a process has in memory that is not of files; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except OSError:
        return 0
    return (resident - shared) * mmap.PAGESIZE


def machine_bytes() -> tuple[int, int]:
    """Bytes in use and bytes there are, of the machine or of the container, whichever is fuller."""
    with open("/proc/meminfo", "rb") as file:
        found = dict(line.split(b":", 1) for line in file)
    total, free = (int(found[name].split()[0]) * 1024 for name in (b"MemTotal", b"MemAvailable"))
    used = total - free
    ours = cgroups.memory()
    if ours is not None and ours.limit < total and ours.used / ours.limit > used / total:
        return ours
    return used, total
