"""What the container allows: CPUs and memory, by the cgroups (version 1 or 2) that we are in.

A limit of any group above ours holds for us too. What is read: `/proc/self/cgroup` says which
groups, `/proc/self/mountinfo` where their files are. Knows nothing of the machine's own size.
"""

from __future__ import annotations

import functools
import math
import os
import posixpath
from collections.abc import Iterator
from typing import NamedTuple

_UNLIMITED = 1 << 60  # version 1 writes a number near 2**63 where there is no limit


class Group(NamedTuple):
    """A cgroup of ours, or one above it."""

    path: str
    version: int


class Memory(NamedTuple):
    """What a group may use and does use, in bytes."""

    used: int
    limit: int


def groups(membership: str, mounts: str, controller: str) -> list[Group]:
    """The groups that control us, ours first.

    Args:
        membership: The text of `/proc/self/cgroup`.
        mounts: The text of `/proc/self/mountinfo`.
        controller: "cpu" or "memory".

    Example:
        >>> mount = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
        >>> [group.path for group in groups("0::/a.slice/b", mount, "cpu")]
        ['/sys/fs/cgroup/a.slice/b', '/sys/fs/cgroup/a.slice', '/sys/fs/cgroup']
    """
    ours = _memberships(membership)
    found: list[Group] = []
    for version, root, point in _mounts(mounts, controller):
        path = ours.get(controller if version == 1 else "")
        if path is None:
            continue
        # Inside a container the mount may begin in the middle of the hierarchy.
        below = posixpath.relpath(path, root)
        if below.startswith(".."):  # we were moved out of what the container sees
            below = "."
        while True:
            found.append(Group(posixpath.normpath(posixpath.join(point, below)), version))
            if below in ("", "."):
                break
            below = posixpath.dirname(below)
    return list(dict.fromkeys(found))


def _memberships(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):  # version 2 has none
            found[controller] = path
    return found


def _mounts(text: str, controller: str) -> Iterator[tuple[int, str, str]]:
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, point = before.split(" ")[3:5]
        if kind == "cgroup2":
            yield 2, root, point
        elif kind == "cgroup" and controller in options.split(","):
            yield 1, root, point


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


@functools.cache
def _ours(controller: str) -> tuple[Group, ...]:
    try:
        membership = _read("/proc/self/cgroup")
        mounts = _read("/proc/self/mountinfo")
    except OSError:  # no /proc: nothing to be found out
        return ()
    return tuple(groups(membership, mounts, controller))


def cpus(among: tuple[Group, ...] | None = None) -> int | None:
    """CPUs that the tightest quota pays for, rounded up; None if there is no quota.

    Args:
        among: The groups to look at; by default those of this process.
    """
    quotas = [_quota(group) for group in (_ours("cpu") if among is None else among)]
    limited = [quota for quota in quotas if quota is not None]
    return max(1, math.ceil(min(limited))) if limited else None


def _quota(group: Group) -> float | None:
    try:
        if group.version == 2:
            quota, period = _read(os.path.join(group.path, "cpu.max")).split()
        else:
            quota = _read(os.path.join(group.path, "cpu.cfs_quota_us"))
            period = _read(os.path.join(group.path, "cpu.cfs_period_us"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # the root has no such file; "max" is no number
        return None


def memory(among: tuple[Group, ...] | None = None) -> Memory | None:
    """The group that is nearest to its limit; None if none has one.

    Args:
        among: The groups to look at; by default those of this process.
    """
    found = [_memory(group) for group in (_ours("memory") if among is None else among)]
    limited = [memory for memory in found if memory is not None]
    return max(limited, key=lambda memory: memory.used / memory.limit, default=None)


def memory_limit(among: tuple[Group, ...] | None = None) -> int | None:
    """Bytes that we may use at most, by the tightest limit; None if there is none."""
    found = [_memory(group) for group in (_ours("memory") if among is None else among)]
    return min((memory.limit for memory in found if memory is not None), default=None)


def _memory(group: Group) -> Memory | None:
    limit_file, used_file, cache = (
        ("memory.max", "memory.current", "inactive_file")
        if group.version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    try:
        limit = int(_read(os.path.join(group.path, limit_file)))
        if not 0 < limit < _UNLIMITED:
            return None
        used = int(_read(os.path.join(group.path, used_file)))
        stat = dict(
            line.split() for line in _read(os.path.join(group.path, "memory.stat")).splitlines()
        )
    except (OSError, ValueError):  # the root has no such file; "max" is no number
        return None
    # The kernel gives up cached files before it ends anybody.
    return Memory(max(0, used - int(stat.get(cache, 0))), limit)


def oom_kills(among: tuple[Group, ...] | None = None) -> int:
    """Processes that the kernel has ended in these groups for want of memory."""
    return sum(_oom_kills(group) for group in (_ours("memory") if among is None else among))


def _oom_kills(group: Group) -> int:
    name = "memory.events.local" if group.version == 2 else "memory.oom_control"
    try:
        counts = dict(line.split() for line in _read(os.path.join(group.path, name)).splitlines())
    except (OSError, ValueError):  # the root has no such file
        return 0
    return int(counts.get("oom_kill", 0))
