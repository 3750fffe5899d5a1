"""Machine: what all of it uses, whoever uses it, from /proc; rates since it was looked at before."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

SECTOR = 512  # bytes, in /proc/diskstats on every disk
RATES = {
    "node_disk_io_read": "node_disk_io_read_speed",
    "node_disk_io_write": "node_disk_io_write_speed",
    "node_disk_io_read_count": "node_disk_read_iops",
    "node_disk_io_write_count": "node_disk_write_iops",
    "node_network_sent": "node_network_send_speed",
    "node_network_received": "node_network_receive_speed",
}


class Machine:
    """The machine, as its owner watches it.

    Args:
        proc: Where the kernel tells of it.

    Example:
        >>> Machine().look()["node_cpu_count"] >= 1
        True
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._before: dict[str, float] = {}
        self._before_at = time.monotonic()
        self._share: dict[str, float] = {}

    def look(self) -> dict[str, float]:
        """Values by Ray's names for them, without its prefix; what the kernel does not tell is not there."""
        sums = {**dict(self._cpu()), **dict(self._disks()), **dict(self._network())}
        now = time.monotonic()
        elapsed = max(1e-3, now - self._before_at)
        before, self._before, self._before_at = self._before, sums, now
        grown = {name: value - before.get(name, value) for name, value in sums.items()}
        values = {"node_cpu_count": float(os.cpu_count() or 1), **dict(self._memory())}
        if grown.get("cpu ticks"):
            self._share = {"node_cpu_utilization": 100 * grown["cpu busy"] / grown["cpu ticks"]}
        values |= self._share  # between two ticks, as it was
        for name, value in sums.items():
            if not name.startswith("cpu "):
                values[name] = value
                values[RATES[name]] = grown[name] / elapsed
        return {**values, **dict(_file_system())}

    def _lines(self, name: str) -> list[str]:
        try:
            return self._proc.joinpath(name).read_text().splitlines()
        except OSError:  # a container may hide it
            return []

    def _cpu(self) -> Iterator[tuple[str, float]]:
        for line in self._lines("stat")[:1]:
            ticks = [float(word) for word in line.split()[1:9]]
            yield "cpu ticks", sum(ticks)
            yield "cpu busy", sum(ticks) - ticks[3] - ticks[4]

    def _memory(self) -> Iterator[tuple[str, float]]:
        told = {}
        for line in self._lines("meminfo"):
            name, _, rest = line.partition(":")
            told[name] = 1024.0 * float(rest.split()[0])
        if "MemAvailable" not in told:
            return
        yield "node_mem_total", told["MemTotal"]
        yield "node_mem_available", told["MemAvailable"]
        yield "node_mem_used", told["MemTotal"] - told["MemAvailable"]
        yield "node_mem_shared_bytes", told["Shmem"]
        yield "node_swap_total", told["SwapTotal"]
        yield "node_swap_used", told["SwapTotal"] - told["SwapFree"]

    def _disks(self) -> Iterator[tuple[str, float]]:
        rows = [line.split() for line in self._lines("diskstats")]
        whole = [row for row in rows if Path("/sys/block", row[2]).exists()]
        for name, field, unit in (
            ("node_disk_io_read_count", 3, 1), ("node_disk_io_read", 5, SECTOR),
            ("node_disk_io_write_count", 7, 1), ("node_disk_io_write", 9, SECTOR),
        ):  # fmt: skip
            if whole:
                yield name, float(sum(int(row[field]) for row in whole)) * unit

    def _network(self) -> Iterator[tuple[str, float]]:
        rows = [line.partition(":") for line in self._lines("net/dev")[2:]]
        cards = [rest.split() for name, _, rest in rows if name.strip() != "lo"]
        if rows:
            yield "node_network_received", float(sum(int(card[0]) for card in cards))
            yield "node_network_sent", float(sum(int(card[8]) for card in cards))


def _file_system() -> Iterator[tuple[str, float]]:
    disk = os.statvfs("/")
    used = float((disk.f_blocks - disk.f_bfree) * disk.f_frsize)
    free = float(disk.f_bavail * disk.f_frsize)
    yield "node_disk_usage", used
    yield "node_disk_free", free
    yield "node_disk_utilization_percentage", 100 * used / (used + free) if used + free else 0.0
