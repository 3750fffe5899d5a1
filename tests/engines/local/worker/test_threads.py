"""Thread counts of libraries that are loaded already, and what the user has set."""

from __future__ import annotations

import ctypes
import importlib
import os
from typing import Any

import pytest

import heliostat as ray
from heliostat._engines.local.worker.threads import VARIABLES, Threads


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")


def test_what_the_user_has_set_is_put_back_and_stays() -> None:
    threads = Threads({"OMP_NUM_THREADS": "4,2"})
    assert os.environ["OMP_NUM_THREADS"] == "4,2"
    threads.use(3)
    assert os.environ["OMP_NUM_THREADS"] == "4,2"
    assert os.environ["MKL_NUM_THREADS"] == "3"
    threads.keep({"MKL_NUM_THREADS": "9", "OTHER": "1"})
    threads.use(2)
    assert os.environ["MKL_NUM_THREADS"] == "3"
    assert os.environ["BLIS_NUM_THREADS"] == "2"


def openblas_threads() -> int:
    """As numpy's own library says."""
    importlib.import_module("numpy")
    with open("/proc/self/maps") as file:
        paths = {line.split(maxsplit=5)[5].strip() for line in file if "openblas" in line}
    for path in paths:
        for name in ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads"):
            function: Any = getattr(ctypes.CDLL(path), name, None)
            if function is not None:
                return int(function())
    return 0


def test_a_loaded_openblas_uses_as_many_threads_as_the_task_has_cpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name)
    ray.init(engine="local", num_cpus=4)
    try:
        task = ray.remote(openblas_threads)
        counts = [ray.get(task.options(num_cpus=n).remote()) for n in (1, 2, 1, 3)]
    finally:
        ray.shutdown()
    if counts[0] == 0:
        pytest.skip("numpy comes without OpenBLAS here")
    most = os.cpu_count() or 1
    assert counts[0] == counts[2] == 1
    assert min(2, most) <= counts[1] <= 2
    assert min(3, most) <= counts[3] <= 3
