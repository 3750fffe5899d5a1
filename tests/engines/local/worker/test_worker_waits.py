"""What a worker does while it waits: it lends its CPUs, keeps its promises to call back, and keeps no memory."""

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import heliostat as ray
from heliostat._engines.local.processes.oom import private_bytes
from heliostat.exceptions import ObjectLostError


@pytest.fixture
def one_cpu() -> Iterator[None]:
    ray.init(num_cpus=1)
    yield
    ray.shutdown()


@ray.remote
def double(x: int) -> int:
    return 2 * x


@ray.remote(num_cpus=1)
class Holder:
    def ask(self, x: int) -> int:
        return ray.get(double.remote(x))

    def ask_by_future(self, x: int) -> int:
        return double.options(num_cpus=0).remote(x).future().result(timeout=20)


@ray.remote
def ask_by_future(x: int) -> list[Any]:
    futures = [double.options(num_cpus=0).remote(n).future() for n in range(x)]
    return [future.result(timeout=20) for future in futures]


def test_an_actor_that_waits_lends_its_cpu(one_cpu: None) -> None:
    holder = Holder.remote()
    assert ray.get([holder.ask.remote(n) for n in range(3)], timeout=20) == [0, 2, 4]
    del holder
    assert ray.get(double.remote(4), timeout=20) == 8


def test_a_future_completes_while_the_main_thread_is_busy(one_cpu: None) -> None:
    holder = Holder.remote()
    assert ray.get(holder.ask_by_future.remote(5), timeout=20) == 10
    del holder
    for _ in range(3):
        assert ray.get(ask_by_future.remote(3), timeout=20) == [0, 2, 4]


def test_a_reference_of_an_ended_session_fails_the_task_that_needs_it(one_cpu: None) -> None:
    old = ray.put(1)
    ray.shutdown()
    ray.init(num_cpus=1)
    with pytest.raises(ObjectLostError):
        ray.get(double.remote(old), timeout=20)


def test_a_handle_that_lives_only_for_a_call_is_enough(one_cpu: None) -> None:
    assert ray.get(Holder.remote().ask.remote(3), timeout=20) == 6


@ray.remote
def freed() -> tuple[int, int]:
    import pyarrow as pa

    several = [
        pa.array(np.arange(size, size + 1_000_000)).take([*range(1_000_000)]) for size in range(20)
    ]
    held = private_bytes(os.getpid())
    del several
    return os.getpid(), held


def test_an_idle_worker_keeps_no_memory_that_arrow_has_let_go(one_cpu: None) -> None:
    pid, held = ray.get(freed.remote())
    deadline = time.monotonic() + 10
    while private_bytes(pid) > held - 100_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
