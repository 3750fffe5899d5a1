"""The suite's tests of streaming generators."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg, unreachable"

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import heliostat as ray
from heliostat.exceptions import ObjectStoreFullError, RayTaskError
from heliostat.testing._session import Gate, SharedSession, Tally, with_session
from heliostat.testing.clock import until


class StreamTests(SharedSession):
    """`num_returns="streaming"`, which generator functions have without asking."""

    def test_a_generator_function_streams_references_in_order(self) -> None:
        @ray.remote
        def count(n: int) -> Iterator[int]:
            yield from range(n)

        stream = count.remote(5)
        assert isinstance(stream, ray.ObjectRefGenerator)
        refs = list(stream)
        assert all(isinstance(ref, ray.ObjectRef) for ref in refs)
        assert ray.get(refs) == [0, 1, 2, 3, 4]
        with pytest.raises(StopIteration):
            next(stream)
        assert list(count.options(num_returns="streaming").remote(0)) == []

    def test_an_item_arrives_before_the_task_has_ended(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        def slow() -> Iterator[str]:
            yield "early"
            gate.wait()
            yield "late"

        stream = slow.remote()
        assert ray.get(next(stream), timeout=20) == "early"
        assert ray.wait([stream.completed()], timeout=0) == ([], [stream.completed()])
        assert not stream.is_finished()
        gate.open()
        assert ray.get(next(stream), timeout=20) == "late"
        ray.get(stream.completed(), timeout=20)
        with pytest.raises(StopIteration):
            next(stream)
        assert stream.is_finished()

    def test_next_ready_says_whether_next_would_wait(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        def closed() -> Iterator[int]:
            gate.wait()
            yield 1

        stream = closed.remote()
        assert stream.next_ready() is False
        gate.open()
        until(stream.next_ready, "the item is there")
        assert ray.get(next(stream)) == 1

    def test_looking_at_a_stream_takes_nothing_from_it(self) -> None:
        @ray.remote
        def two() -> Iterator[int]:
            yield 1
            yield 2

        stream = two.remote()
        ray.get(stream.completed(), timeout=20)
        assert [stream.is_finished(), stream.next_ready(), stream.is_finished()] == [
            False, True, False,
        ]  # fmt: skip
        assert [ray.get(ref) for ref in stream] == [1, 2]
        assert [stream.is_finished(), stream.next_ready()] == [True, False]

    def test_wait_takes_streams_which_are_ready_when_their_next_item_is(
        self, tmp_path: Path
    ) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        def closed() -> Iterator[int]:
            gate.wait()
            yield 1

        @ray.remote
        def free() -> Iterator[int]:
            yield 1

        shut, ready, plain = closed.remote(), free.remote(), ray.put(1)
        assert ray.wait([shut, ready], timeout=20) == ([ready], [shut])
        assert ray.wait([shut, plain], timeout=20) == ([plain], [shut])
        gate.open()
        assert ray.wait([shut], timeout=20) == ([shut], [])
        assert [ray.get(next(shut)), ray.get(next(ready))] == [1, 1]

    def test_an_error_in_the_middle_follows_the_items_before_it(self) -> None:
        @ray.remote
        def breaks() -> Iterator[int]:
            yield 1
            yield 2
            raise ValueError("middle")

        stream = breaks.remote()
        assert [ray.get(next(stream)) for _ in range(2)] == [1, 2]
        failed = next(stream)
        with pytest.raises(ValueError, match="middle") as caught:
            ray.get(failed)
        assert isinstance(caught.value, RayTaskError)
        assert "breaks() (pid=" in str(caught.value)
        with pytest.raises(StopIteration):
            next(stream)

    def test_an_item_that_cannot_be_pickled_is_an_error(self) -> None:
        @ray.remote
        def odd() -> Iterator[Any]:
            yield 1
            yield (n for n in range(3))

        stream = odd.remote()
        assert ray.get(next(stream)) == 1
        with pytest.raises(TypeError):
            ray.get(next(stream))

    def test_streaming_a_function_that_yields_nothing_of_the_kind_is_an_error(self) -> None:
        @ray.remote
        def plain() -> int:
            return 1

        with pytest.raises((ValueError, TypeError), match="generator"):
            [ray.get(ref, timeout=20) for ref in plain.options(num_returns="streaming").remote()]

    def test_a_stream_is_read_by_async_for(self) -> None:
        @ray.remote
        def count(n: int) -> Iterator[int]:
            yield from range(n)

        async def read() -> list[int]:
            return [await ref async for ref in count.remote(4)]

        assert asyncio.run(read()) == [0, 1, 2, 3]

    def test_streams_are_read_side_by_side_in_one_loop(self) -> None:
        @ray.remote
        def count(start: int) -> Iterator[int]:
            yield from range(start, start + 3)

        async def read(start: int) -> list[int]:
            return [await ref async for ref in count.remote(start)]

        async def both() -> tuple[list[int], list[int]]:
            return await asyncio.gather(read(0), read(10))

        first, second = asyncio.run(both())
        assert (first, second) == ([0, 1, 2], [10, 11, 12])

    @with_session(num_cpus=1)
    def test_an_abandoned_stream_ends_its_task(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote
        def endless() -> Iterator[int]:
            while True:
                yield tally.add()

        @ray.remote
        def after() -> str:
            return "free"

        stream = endless.remote()
        assert ray.get(next(stream)) == 1
        assert ray.get(next(stream)) == 2
        del stream
        assert ray.get(after.remote(), timeout=20) == "free"

    @with_session(num_cpus=1, object_store_memory=16 << 20)
    def test_the_memory_of_interrupted_streams_comes_back(self) -> None:
        @ray.remote
        def endless() -> Iterator[Any]:
            while True:
                yield np.zeros(1 << 17)  # 1 MiB
                time.sleep(0.001)

        for _ in range(40):
            stream = endless.remote()
            assert len(ray.get(next(stream), timeout=20)) == 1 << 17
            del stream
        until(self._has_room_for_all_but_little, "nearly the whole store is free again")

    def _has_room_for_all_but_little(self) -> bool:
        try:
            return len(ray.get(ray.put(bytes(14 << 20)))) > 0
        except ObjectStoreFullError:
            return False

    def test_a_reference_from_a_stream_outlives_the_stream(self) -> None:
        @ray.remote
        def arrays() -> Iterator[Any]:
            for n in range(3):
                yield np.full(1 << 18, n)

        stream = arrays.remote()
        refs = [next(stream), next(stream)]
        del stream
        assert [ray.get(ref)[0] for ref in refs] == [0, 1]

    @with_session(num_cpus=2, object_store_memory=64 << 20)
    def test_a_stream_longer_than_the_store_flows_when_its_items_are_dropped(self) -> None:
        @ray.remote
        def arrays() -> Iterator[Any]:
            for n in range(12):
                yield np.full(1 << 20, n)  # 8 MiB each

        assert [int(ray.get(ref)[0]) for ref in arrays.remote()] == list(range(12))

    def test_a_stream_of_many_items(self) -> None:
        @ray.remote
        def count(n: int) -> Iterator[int]:
            yield from range(n)

        assert [ray.get(ref) for ref in count.remote(1000)] == list(range(1000))

    def test_methods_stream_too(self) -> None:
        @ray.remote
        class Counter:
            def count(self, n: int) -> Iterator[int]:
                yield from range(n)

        counter = Counter.remote()
        assert [ray.get(ref) for ref in counter.count.remote(3)] == [0, 1, 2]
        assert [ray.get(ref) for ref in counter.count.remote(2)] == [0, 1]

    def test_async_methods_stream_too(self) -> None:
        @ray.remote
        class Counter:
            async def count(self, n: int) -> AsyncIterator[int]:
                for number in range(n):
                    await asyncio.sleep(0)
                    yield number

            async def fail(self) -> AsyncIterator[int]:
                yield 1
                raise KeyError("async middle")

        counter = Counter.remote()
        assert [ray.get(ref) for ref in counter.count.remote(3)] == [0, 1, 2]
        stream = counter.fail.remote()
        assert ray.get(next(stream)) == 1
        with pytest.raises(KeyError, match="async middle"):
            ray.get(next(stream))

    def test_a_task_may_read_the_stream_of_another(self) -> None:
        @ray.remote
        def count(n: int) -> Iterator[int]:
            yield from range(n)

        @ray.remote
        def total(n: int) -> int:
            return sum(ray.get(ref) for ref in count.remote(n))

        assert ray.get(total.remote(5), timeout=20) == 10

    def test_items_may_be_arguments(self) -> None:
        @ray.remote
        def count(n: int) -> Iterator[int]:
            yield from range(n)

        @ray.remote
        def double(x: int) -> int:
            return 2 * x

        assert ray.get([double.remote(ref) for ref in count.remote(3)]) == [0, 2, 4]
