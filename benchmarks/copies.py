"""How fast do 100 MB get from one place in memory to another? Ours beside numpy's and the C library's.

Each kind of copy in turn, so that all meet the same machine. `--rounds N` (default 15).
"""

import argparse
import ctypes
import mmap
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from benchmarks.ratios import Row, show
from heliostat._engines.local.objects import bulk_copy

SIZE = 100_000_000
PIECE = 4 << 20


def together(copy: Callable[[int, int], None]) -> None:
    """Two threads that take the next piece in turn."""
    starts = iter(range(0, SIZE, PIECE))

    def work() -> None:
        for start in starts:
            copy(start, min(start + PIECE, SIZE))

    other = threading.Thread(target=work)
    other.start()
    work()
    other.join()


def main() -> None:
    """Print gigabytes a second, and ratios to one thread of numpy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    segment = os.memfd_create("copies")
    os.ftruncate(segment, SIZE)
    to = np.frombuffer(mmap.mmap(segment, SIZE), np.uint8)
    of = np.ones(SIZE, np.uint8)
    memcpy = ctypes.CDLL(None).memcpy
    memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    kinds: dict[str, Callable[[], object]] = {
        "numpy, one thread": lambda: np.copyto(to, of),
        "memcpy, one thread": lambda: memcpy(to.ctypes.data, of.ctypes.data, SIZE),
        "numpy, two threads": lambda: together(lambda a, b: np.copyto(to[a:b], of[a:b])),
        "ours": lambda: bulk_copy.copy(to, of),
    }
    speeds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, copy in kinds.items():
            started = time.perf_counter()
            copy()
            speeds[name].append(SIZE / 1e9 / (time.perf_counter() - started))
    alone = tuple(speeds["numpy, one thread"])
    show([Row(name, "GB/s", "more", tuple(speeds[name]), alone) for name in kinds], "numpy, alone")


if __name__ == "__main__":
    main()
