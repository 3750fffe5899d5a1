"""No process, shared memory or descriptor outlives a test.

A `Census` is what this process and its descendants hold at one moment; `expect_nothing_new`
compares two and waits a little for what is on its way out. Linux only: it reads /proc. It knows
nothing of engines, so it sees what they forget.
"""

from __future__ import annotations

import gc
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from heliostat.testing.clock import until

# Every descendant inherits it, so those whose parent died are found too.
TAG = "HELIOSTAT_TEST_RUN"

_SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "heliostat"
_KINDS = ("socket:", "pipe:", "/memfd:", "anon_inode:[eventpoll]", "anon_inode:[pidfd]", "/dev/shm")
_foreign: set[int] = set()


class Census(NamedTuple):
    """What is alive at one moment."""

    processes: dict[int, str]
    shared_memory: frozenset[str]
    descriptors: Counter[str]


def mark() -> None:
    """Mark this process, so that `take_census` recognises all descendants to come.

    Example:
        >>> mark()
        >>> TAG in os.environ
        True
    """
    os.environ[TAG] = f"{os.getpid()}-{uuid.uuid4().hex}"
    _foreign.clear()


def take_census() -> Census:
    """Look around; a few milliseconds.

    Returns:
        Descendants by process id, our files in /dev/shm, open descriptors by kind.

    Example:
        >>> take_census().shared_memory == take_census().shared_memory
        True
    """
    return Census(dict(_processes()), frozenset(_segments()), _descriptors())


def new_since(before: Census) -> list[str]:
    """What there is now and was not `before`, described for a person.

    Args:
        before: An earlier census of this process.

    Returns:
        One line per leak; none when all is well.

    Example:
        >>> new_since(take_census())
        []
    """
    now = take_census()
    lines = [
        f"process {pid}: {command}"
        for pid, command in now.processes.items()
        if pid not in before.processes
    ]
    lines += [f"shared memory {name}" for name in sorted(now.shared_memory - before.shared_memory)]
    lines += [
        f"{count} more open of {kind}"
        for kind, count in (now.descriptors - before.descriptors).items()
    ]
    return lines


def expect_nothing_new(before: Census, timeout_s: float = 5.0) -> None:
    """Fail when something outlives the time since `before`.

    Args:
        before: A census from the beginning of the time in question.
        timeout_s: How long to wait for what is on its way out.

    Raises:
        AssertionError: Naming what is left.

    Example:
        >>> expect_nothing_new(take_census())
    """
    if not new_since(before):
        return
    gc.collect()  # descriptors may belong to garbage in a cycle
    left: list[str] = []

    def gone() -> bool:
        left[:] = new_since(before)
        return not left

    try:
        until(gone, "nothing is left", timeout_s)
    except AssertionError:
        raise AssertionError("left behind: " + "; ".join(left)) from None


def _processes() -> Iterator[tuple[int, str]]:
    me, mark_ = os.getpid(), f"{TAG}={os.environ.get(TAG, '')}".encode()
    pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    _foreign.intersection_update(pids)
    for pid in sorted(pids - _foreign - {me}):
        try:
            if not _is_descendant(pid, me, mark_):
                _foreign.add(pid)
                continue
            yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended while we looked, or belongs to somebody else


def _is_descendant(pid: int, me: int, mark_: bytes) -> bool:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    if int(fields[1]) == me:
        return True  # a zombie among them: nobody waited for it
    return TAG in os.environ and mark_ in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def _segments() -> Iterator[str]:
    if _SHARED_MEMORY.is_dir():
        yield from (name for name in os.listdir(_SHARED_MEMORY) if name.startswith(_PREFIX))


def _descriptors() -> Counter[str]:
    kinds: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
        kinds.update(kind for kind in _KINDS if target.startswith(kind))
    return kinds
