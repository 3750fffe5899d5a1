"""What this machine, or the container we are in, has: CPUs, GPUs, memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from heliostat import _cgroups as cgroups
from heliostat._core.options import THIS_NODE, UNIT, InitOptions
from heliostat._engines.local.processes import oom
from heliostat._gpus import NVIDIA, VISIBLE, gpu_count

if TYPE_CHECKING:
    from pathlib import Path

_STORE_SHARE = 0.3
_SHARE_MOST = 0.97  # of the memory there is; the rest is left alone
_GROWTH_LEAST = 16 << 20  # small values are not worth a refusal


def resources(options: InitOptions) -> dict[str, int]:
    """Logical resources in ten-thousandths: as asked for, or as found."""
    cpus = options.num_cpus if options.num_cpus is not None else cpu_count()
    gpus = options.num_gpus if options.num_gpus is not None else gpu_count(os.environ.get(VISIBLE))
    total = {
        "CPU": cpus * UNIT,
        "memory": memory_bytes() * UNIT,
        **THIS_NODE,
        **dict(options.resources),
    }
    if gpus:
        total["GPU"] = gpus * UNIT
        for kind in gpu_kinds():
            total.setdefault(f"accelerator_type:{kind}", UNIT)
    return total


def totals(options: InitOptions) -> tuple[dict[str, int], int]:
    """Logical resources, with the memory for objects among them; and that memory in bytes."""
    capacity = options.object_store_memory or store_capacity()
    return {**resources(options), "object_store_memory": capacity * UNIT}, capacity


def cpu_count() -> int:
    """CPUs that this process may use: affinity and cgroup quota respected."""
    allowed = len(os.sched_getaffinity(0))
    quota = cgroups.cpus()
    return allowed if quota is None else min(allowed, quota)


def gpu_kinds(drivers: Path | str = NVIDIA) -> list[str]:
    """What kinds of GPU the driver tells of, in Ray's words: "A100", "T4"."""
    from pathlib import Path  # noqa: PLC0415 - slow to import, and few machines have GPUs

    kinds = set()
    for file in Path(drivers).glob("*/information"):
        for line in file.read_text().splitlines():
            name, _, model = line.partition(":")
            words = model.split()  # of a maker and a model, as in "NVIDIA A100-SXM4-40GB"
            if name.strip() == "Model" and len(words) > 1:
                kinds.add(words[1].partition("-")[0])
    return sorted(kinds)


def memory_bytes() -> int:
    """Memory of the machine, or of the cgroup if that allows less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(total, cgroups.memory_limit() or total)


def spare_bytes() -> int:
    """How much more shared memory may be taken now, so that the machine or container has some left."""
    used, total = oom.machine_bytes()
    return max(_GROWTH_LEAST, int(total * _SHARE_MOST) - used)


def store_capacity() -> int:
    """The default budget for shared memory: 30 % of the memory there is."""
    return int(memory_bytes() * _STORE_SHARE) // 4096 * 4096
