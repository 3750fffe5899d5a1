"""Whether all machines of a cluster can see a directory: told before work starts, not by a lost file.

Asks the table of mounts what kind of file system a path is on; knows no engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_MOUNTS = Path("/proc/self/mounts")
# Each machine has its own of these. Others (nfs, lustre, fuse and so on) may be shared.
_OF_ONE_MACHINE = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay", "squashfs"}
)


def check_shared(
    what: str, root: str, nodes: Iterable[Mapping[str, Any]], mounts: str | None = None
) -> None:
    """Refuse a directory of this machine alone where work runs on several.

    Args:
        what: The argument that names it.
        root: An absolute path, which need not be there yet.
        nodes: As `heliostat.nodes()` has them.
        mounts: The table of mounts; that of this machine when left out.

    Raises:
        ValueError: If other machines cannot see it.

    Example:
        >>> check_shared("storage_path", "/tmp", [{"NodeManagerAddress": "a", "Alive": True}])
    """
    machines = {node["NodeManagerAddress"] for node in nodes if node["Alive"]}
    if len(machines) < 2:
        return
    if mounts is None:
        mounts = _MOUNTS.read_text() if _MOUNTS.exists() else ""
    kind = _kind(os.path.realpath(root), mounts)
    if kind in _OF_ONE_MACHINE:
        raise ValueError(
            f"{what}={root!r} is on a disk of this machine ({kind}), and the work is to run on "
            f"{len(machines)} machines, which would each write into a directory of their own. Give "
            "a path that all of them share: s3://bucket/path, or a mounted network file system"
        )


def _kind(path: str, mounts: str) -> str:
    """The type of the file system that a path is on."""
    found, kind = -1, ""
    for line in mounts.splitlines():
        _, point, type_, *_ = line.split(" ")
        point = point.replace("\\040", " ").rstrip("/")
        if (path == point or path.startswith(f"{point}/")) and len(point) >= found:
            found, kind = len(point), type_  # what was mounted later lies over it
    return kind
