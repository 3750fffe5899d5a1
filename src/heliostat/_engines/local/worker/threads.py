"""How many threads numeric libraries use in a worker: as many as its task has CPUs.

Zygotes run with one, so that libraries that start their threads when they are imported start
none before a fork. What the user has set in the environment wins, per variable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from heliostat._core.options import UNIT

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

# Shared libraries by a part of their name: the variable, and the functions that set the number.
_LIBRARIES = (
    ("openblas", "OPENBLAS_NUM_THREADS", (
        "openblas_set_num_threads", "openblas_set_num_threads64_",
        "scipy_openblas_set_num_threads", "scipy_openblas_set_num_threads64_",
    )),
    ("libmkl_rt", "MKL_NUM_THREADS", ("MKL_Set_Num_Threads",)),
    ("libblis", "BLIS_NUM_THREADS", ("bli_thread_set_num_threads",)),
    ("libgomp", "OMP_NUM_THREADS", ("omp_set_num_threads",)),
    ("libiomp", "OMP_NUM_THREADS", ("omp_set_num_threads",)),
    ("libomp", "OMP_NUM_THREADS", ("omp_set_num_threads",)),
)  # fmt: skip


def kept_single(environ: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """An environment in which every library uses one thread, and what the user had set instead.

    Example:
        >>> single, users = kept_single({"OMP_NUM_THREADS": "8"})
        >>> single["OMP_NUM_THREADS"], single["MKL_NUM_THREADS"], users
        ('1', '1', {'OMP_NUM_THREADS': '8'})
    """
    users = {name: environ[name] for name in VARIABLES if name in environ}
    return {**environ, **dict.fromkeys(VARIABLES, "1")}, users


def of_shape(shape: tuple[tuple[str, int], ...]) -> int:
    """How many threads a task with these resources may use; at least one.

    Example:
        >>> of_shape((("CPU", 2 * UNIT),)), of_shape(()), of_shape((("CPU", UNIT // 2),))
        (2, 1, 1)
    """
    return max(1, dict(shape).get("CPU", 0) // UNIT)


class Threads:
    """The thread counts of this process.

    Args:
        users: The variables that the user has set; they stay as they are.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = dict(users)
        self._count = 1
        os.environ.update(users)
        for name, text in users.items():
            self._apply({name: int(text)} if text.isdigit() and int(text) > 0 else {})

    def use(self, count: int) -> None:
        """Let libraries use as many threads, those imported already and those to come."""
        if count == self._count:
            return
        self._count = count
        counts = {name: count for name in VARIABLES if name not in self._users}
        os.environ.update({name: str(count) for name in counts})
        self._apply(counts)

    def keep(self, names: Mapping[str, str]) -> None:
        """The user has set these for this process: they stay as they are."""
        self._users.update({name: text for name, text in names.items() if name in VARIABLES})

    def _apply(self, counts: Mapping[str, int]) -> None:
        """Tell the libraries that are loaded already; they have read the variables."""
        if not counts:
            return
        for path, variable, names in _loaded():
            if variable in counts:
                _call(path, names, counts[variable])
        torch: Any = sys.modules.get("torch")
        if torch is not None and "OMP_NUM_THREADS" in counts:
            torch.set_num_threads(counts["OMP_NUM_THREADS"])


def _loaded() -> list[tuple[str, str, tuple[str, ...]]]:
    with open("/proc/self/maps") as file:
        paths = {line.split(maxsplit=5)[5].rstrip("\n") for line in file if ".so" in line}
    return [
        (path, variable, names)
        for path in sorted(paths)
        for part, variable, names in _LIBRARIES
        if part in os.path.basename(path)
    ]


def _call(path: str, names: tuple[str, ...], count: int) -> None:
    import ctypes  # noqa: PLC0415 - most tasks have one CPU

    try:
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:  # unlinked meanwhile, or mapped and not loaded
        return
    for name in names:
        function: Callable[[int], object] | None = getattr(library, name, None)
        if function is not None:
            function(count)
            return
