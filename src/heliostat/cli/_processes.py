"""Processes of a session: what they are, and what they use of CPUs and memory, from /proc."""

import os
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def who_is(worker: dict[str, Any]) -> str:
    """What a worker is and runs, for people."""
    actor = f"actor {worker['actor']}" if worker["actor"] else ""
    return ", ".join(filter(None, (actor, worker["runs"]))) or "idle"


def rss(pid: int | None) -> int:
    """Resident memory of a process in bytes; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def cpu_s(pid: int | None) -> float:
    """Seconds of CPU that a process has had; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
