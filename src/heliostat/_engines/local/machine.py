"""What this machine, or the container we are in, has: CPUs, GPUs, memory."""

from __future__ import annotations

import os
from pathlib import Path

from heliostat._core.options import UNIT, InitOptions
from heliostat._engines.local import cgroups

_STORE_SHARE = 0.3


def resources(options: InitOptions) -> dict[str, int]:
    """Logical resources in ten-thousandths: as asked for, or as found."""
    cpus = options.num_cpus if options.num_cpus is not None else cpu_count()
    gpus = options.num_gpus if options.num_gpus is not None else gpu_count()
    total = {"CPU": cpus * UNIT, "memory": memory_bytes() * UNIT, **dict(options.resources)}
    if gpus:
        total["GPU"] = gpus * UNIT
    return total


def cpu_count() -> int:
    """CPUs that this process may use: affinity and cgroup quota respected."""
    allowed = len(os.sched_getaffinity(0))
    quota = cgroups.cpus()
    return allowed if quota is None else min(allowed, quota)


def gpu_count() -> int:
    """GPUs in CUDA_VISIBLE_DEVICES; those of the machine if that is not set."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([entry for entry in visible.split(",") if entry.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def memory_bytes() -> int:
    """Memory of the machine, or of the cgroup if that allows less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(total, cgroups.memory_limit() or total)


def store_capacity() -> int:
    """The default budget for shared memory: 30 % of the memory there is."""
    return int(memory_bytes() * _STORE_SHARE) // 4096 * 4096
