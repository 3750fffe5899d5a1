"""Out of memory: which worker to end before the kernel ends one for us.

`choose` decides, from numbers; `Watch` reads them now and then, in a thread of its own. A worker
that is over what its task asked for as `memory` ends. When the machine (or container) is nearly
full, the task that began last ends, one that may be retried before one that may not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

EVERY_S = 0.25
THRESHOLD = 0.95  # of the memory there is; HELIOSTAT_MEMORY_THRESHOLD overrides it
_CGROUP = Path("/sys/fs/cgroup")


class Usage(NamedTuple):
    """A worker that runs something."""

    proc: int
    name: str  # of the task or actor
    rss: int  # bytes of its own, without shared memory
    limit: int  # bytes that it asked for; 0: nothing in particular
    since: float
    retriable: bool


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
    if used < threshold * total or not workers:
        return None
    last = max(workers, key=lambda worker: (worker.retriable, worker.since))
    return Victim(
        last.proc,
        f"the machine's memory was nearly full ({_bytes(used)} of {_bytes(total)}), and "
        f"{last.name}, which used {_bytes(last.rss)}, had begun last",
    )


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


class Watch:
    """Looks every quarter of a second.

    Args:
        look: Called each time; ends whoever has to be ended.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heliostat-memory", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._look()

    def end(self) -> None:
        """Stop, and wait until it has stopped."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()


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


def private_bytes(pid: int | None) -> int:
    """What a process has in memory that is not of files; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def machine_bytes() -> tuple[int, int]:
    """Bytes in use and bytes there are, of the machine or of the container if that has fewer."""
    with open("/proc/meminfo", "rb") as file:
        found = dict(line.split(b":", 1) for line in file)
    total, free = (int(found[name].split()[0]) * 1024 for name in (b"MemTotal", b"MemAvailable"))
    used = total - free
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        current = int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no limit, or another kind of cgroup
        return used, total
    if limit < total:
        return current - int(stat.get("inactive_file", 0)), limit
    return used, total
