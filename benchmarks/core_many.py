"""Does Core stay linear? A million tasks, 100,000 references in one wait: time and memory.

The baseline is a tenth of the same work: a ratio near 1 means that each task costs the same.
`--tasks N` (default 1,000,000).
"""

import argparse
import gc
import os
import sys
import time

import heliostat as ray
from benchmarks.ratios import Row, show

AT_ONCE = 10_000


@ray.remote
def nothing() -> None:
    """A task."""


def memory() -> float:
    """Resident megabytes of this process."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def tasks(count: int) -> float:
    """Seconds per task, of so many, AT_ONCE at a time."""
    start = time.perf_counter()
    for _ in range(0, count, AT_ONCE):
        ray.get([nothing.remote() for _ in range(AT_ONCE)])
    return (time.perf_counter() - start) / count


def wait(count: int) -> float:
    """Seconds per reference: submit so many, wait for all in one call, get all in one."""
    start = time.perf_counter()
    refs = [nothing.remote() for _ in range(count)]
    ready, _ = ray.wait(refs, num_returns=count)
    assert len(ready) == count
    ray.get(refs)
    return (time.perf_counter() - start) / count


def main() -> int:
    """Print the table; 0 whatever the ratios are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    count = parser.parse_args().tasks
    ray.init(num_cpus=2)
    tasks(5 * AT_ONCE)
    few, few_waits = tasks(count // 10), wait(count // 100)
    before = memory()
    many = tasks(count)
    after = memory()
    many_waits = wait(count // 10)
    ray.shutdown()
    show(
        [
            Row("microseconds per task", "us", "less", (many * 1e6,), (few * 1e6,), 0.8),
            Row(
                "per reference in one wait",
                "us",
                "less",
                (many_waits * 1e6,),
                (few_waits * 1e6,),
                0.8,
            ),
            Row("driver's memory", "MB", "less", (after,), (before,)),
        ],
        "a tenth",
    )
    print(f"the driver grew by {after - before:.1f} MB over {count:,} tasks (at most 20 promised)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
