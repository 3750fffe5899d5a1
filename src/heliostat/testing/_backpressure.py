"""The suite's tests of streams that are faster than whoever takes their items."""

# These tests use actors, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload"

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import heliostat as ray
from heliostat.exceptions import TaskCancelledError
from heliostat.testing._session import Gate, SharedSession, Tally, with_session
from heliostat.testing.clock import until

WINDOW = {"_generator_backpressure_num_objects": 2}


@ray.remote
def count(tally: Tally, n: int) -> Iterator[int]:
    """Yield the numbers up to `n`, counting each before."""
    for number in range(n):
        tally.add()
        yield number


@ray.remote
class Counter:
    """Counts in the same way."""

    def count(self, tally: Tally, n: int) -> Iterator[int]:
        """As the task."""
        for number in range(n):
            tally.add()
            yield number

    async def count_async(self, tally: Tally, n: int) -> AsyncIterator[int]:
        """As the task."""
        for number in range(n):
            tally.add()
            yield number


@ray.remote(max_concurrency=2)
class Threaded:
    """Counts in a thread."""

    def count(self, tally: Tally, n: int) -> Iterator[int]:
        """As the task."""
        for number in range(n):
            tally.add()
            yield number


class BackpressureTests(SharedSession):
    """A stream runs ahead of its taker as far as it was asked to, or as there is memory for."""

    def _expect_window(self, stream: Any, tally: Tally) -> None:
        until(lambda: tally.count() == 2, "the producer is two ahead")
        for number in range(10):
            assert ray.get(next(stream), timeout=20) == number
            assert tally.count() <= number + 3
        assert [ray.get(ref, timeout=20) for ref in stream] == list(range(10, 20))

    def test_a_task_yields_as_far_ahead_as_was_asked_for(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)
        self._expect_window(count.options(**WINDOW).remote(tally, 20), tally)

    def test_a_method_yields_as_far_ahead_as_was_asked_for(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)
        counter = Counter.remote()
        method = counter.count_async.options(num_returns="streaming", **WINDOW)
        self._expect_window(method.remote(tally, 20), tally)
        tally = Tally(tmp_path, "other")
        threaded = Threaded.remote()
        method = threaded.count.options(num_returns="streaming", **WINDOW)
        self._expect_window(method.remote(tally, 20), tally)

    @with_session(num_cpus=1)
    def test_a_producer_that_waits_lends_its_cpu(self, tmp_path: Path) -> None:
        @ray.remote
        def other() -> str:
            return "ran"

        tally = Tally(tmp_path)
        stream = count.options(**WINDOW).remote(tally, 20)
        until(lambda: tally.count() == 2, "the producer is two ahead")
        assert ray.get(other.remote(), timeout=20) == "ran"
        assert len(list(stream)) == 20

    def test_a_producer_that_waits_can_be_cancelled(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)
        stream = count.options(**WINDOW).remote(tally, 20)
        until(lambda: tally.count() == 2, "the producer is two ahead")
        ray.cancel(stream)
        with pytest.raises(TaskCancelledError):
            ray.get(stream.completed(), timeout=20)
        assert tally.count() == 2

    @with_session(num_cpus=1)
    def test_a_producer_that_waits_ends_when_its_stream_is_dropped(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)
        stream = count.options(**WINDOW).remote(tally, 20)
        until(lambda: tally.count() == 2, "the producer is two ahead")
        del stream
        until(lambda: ray.available_resources().get("CPU") == 1.0, "its CPU is free")
        assert tally.count() == 2

    def test_a_repeated_stream_goes_on_where_it_was(self, tmp_path: Path) -> None:
        @ray.remote(max_retries=1, **WINDOW)
        def fragile(pid: Path, gate: Gate) -> Iterator[int]:
            for number in range(8):
                if number == 3:
                    pid.write_text(str(os.getpid()))
                    gate.wait()
                yield number

        pid, gate = tmp_path / "pid", Gate(tmp_path)
        stream = fragile.remote(pid, gate)
        assert ray.get([next(stream), next(stream)], timeout=20) == [0, 1]
        until(lambda: pid.exists() and pid.read_text() != "", "it is in the middle")
        os.kill(int(pid.read_text()), signal.SIGKILL)
        gate.open()
        assert [ray.get(ref, timeout=20) for ref in stream] == [2, 3, 4, 5, 6, 7]

    @with_session(num_cpus=1, object_store_memory=32 << 20)
    def test_a_stream_of_more_than_the_store_holds_waits_for_its_taker(self) -> None:
        @ray.remote
        def arrays() -> Iterator[Any]:
            for n in range(200):
                yield np.full(1 << 17, n)  # 1 MiB

        stream = arrays.remote()
        assert [int(ray.get(ref, timeout=20)[0]) for ref in stream] == list(range(200))

    @with_session(num_cpus=1, object_store_memory=32 << 20)
    def test_whoever_waits_for_the_end_of_a_stream_does_not_wait_for_ever(self) -> None:
        @ray.remote
        def arrays() -> Iterator[Any]:
            for n in range(8):
                yield np.full(1 << 17, n)  # 1 MiB; the stream may be 2 MiB ahead

        stream = arrays.remote()
        ray.get(stream.completed(), timeout=20)
        assert [int(ray.get(ref)[0]) for ref in stream] == list(range(8))

        @ray.remote
        def waits(streams: list[Any]) -> int:
            ray.get(streams[0].completed(), timeout=20)
            return sum(1 for _ in streams[0])

        assert ray.get(waits.options(num_cpus=0).remote([arrays.remote()]), timeout=20) == 8

    def test_two_takers_of_two_streams_do_not_hinder_each_other(self, tmp_path: Path) -> None:
        sums: dict[str, int] = {}

        def take(name: str) -> None:
            stream = count.options(**WINDOW).remote(Tally(tmp_path, name), 300)
            sums[name] = sum(ray.get(ref, timeout=20) for ref in stream)

        threads = [threading.Thread(target=take, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sums == {"a": 44850, "b": 44850}
