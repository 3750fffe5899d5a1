"""Many tasks leave nothing in the driver, and many references are waited for at once."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

import heliostat as ray

AT_ONCE = 2000


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    ray.init(num_cpus=2)
    yield
    ray.shutdown()


@ray.remote
def same(value: int) -> int:
    """The value."""
    return value


def megabytes() -> float:
    """Of this process, resident."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def run(count: int) -> None:
    for _ in range(0, count, AT_ONCE):
        numbers = range(AT_ONCE)
        assert ray.get([same.remote(number) for number in numbers], timeout=60) == list(numbers)


@pytest.mark.alone
@pytest.mark.parametrize(
    "count", [8000, pytest.param(200_000, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_the_driver_does_not_grow_with_the_tasks_it_has_run(count: int) -> None:
    run(12_000)  # so many are remembered
    before = megabytes()
    run(count)
    assert megabytes() - before < 20


@pytest.mark.alone
@pytest.mark.parametrize(
    "count", [5000, pytest.param(100_000, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_one_wait_and_one_get_take_many_references(count: int) -> None:
    refs = [same.remote(number) for number in range(count)]
    ready, left = ray.wait(refs, num_returns=count, timeout=120)
    assert (len(ready), left) == (count, [])
    assert sum(ray.get(refs)) == sum(range(count))


@pytest.mark.soak
def test_an_argument_of_more_than_two_gigabytes_arrives() -> None:
    ray.shutdown()
    ray.init(num_cpus=2, object_store_memory=5 << 30)

    @ray.remote
    def ends(value: bytes) -> tuple[int, bytes]:
        return len(value), value[-3:]

    size = (2 << 30) + 12345
    assert ray.get(ends.remote(bytes(size - 3) + b"end"), timeout=300) == (size, b"end")
