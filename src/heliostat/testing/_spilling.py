"""The suite's tests of values that are together larger than the budget for shared memory."""

# These tests use actors, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload"

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import heliostat as ray
from heliostat.exceptions import ObjectStoreFullError
from heliostat.testing._session import SharedSession, with_session

MIB = 1 << 20
SMALL = {"num_cpus": 2, "object_store_memory": 64 * MIB}


def ramp(mib: int, start: int = 0) -> Any:
    """An array of so many MiB, of numbers from `start` on."""
    return np.arange(start, start + mib * MIB // 8)


def is_ramp(array: Any, start: int) -> bool:
    """Whether every number is as it was written."""
    return bool(np.array_equal(array, np.arange(start, start + len(array))))


class SpillTests(SharedSession):
    """What does not fit into memory comes back as it was."""

    @with_session(**SMALL)
    def test_more_values_than_memory_has_room_for_are_all_there(self) -> None:
        refs = [ray.put(ramp(16, number)) for number in range(10)]
        for number in (*range(10), *reversed(range(10))):
            assert is_ramp(ray.get(refs[number]), number)

    @with_session(**SMALL)
    def test_more_results_than_memory_has_room_for_are_all_there(self) -> None:
        @ray.remote
        def make(number: int) -> Any:
            return ramp(16, number)

        refs = [make.remote(number) for number in range(10)]
        for number, ref in enumerate(refs):
            assert is_ramp(ray.get(ref), number)

    @with_session(**SMALL)
    def test_arguments_come_back_for_tasks(self) -> None:
        @ray.remote
        def check(left: Any, right: Any, start: int) -> bool:
            return is_ramp(left, start) and is_ramp(right, start + 1)

        refs = [ray.put(ramp(16, number)) for number in range(9)]
        pairs = [check.remote(refs[n], refs[n + 1], n) for n in range(8)]
        assert ray.get(pairs, timeout=60) == [True] * 8

    @with_session(**SMALL)
    def test_arguments_come_back_for_actors_and_calls_keep_their_order(self) -> None:
        @ray.remote
        class Keeper:
            def __init__(self, array: Any) -> None:
                self.seen = [int(array[0])]

            def see(self, array: Any) -> None:
                self.seen.append(int(array[0]))

            def look(self) -> list[int]:
                return self.seen

        refs = [ray.put(ramp(16, number)) for number in range(8)]
        keeper = Keeper.remote(refs[0])
        for ref in refs[1:]:
            keeper.see.remote(ref)
        assert ray.get(keeper.look.remote(), timeout=60) == list(range(8))

    @with_session(**SMALL)
    def test_a_task_gets_more_than_fits_one_after_the_other(self) -> None:
        @ray.remote
        def check(box: list[Any]) -> list[bool]:
            return [is_ramp(ray.get(ref), number) for number, ref in enumerate(box)]

        @ray.remote
        def make_and_check() -> list[bool]:
            refs = [ray.put(ramp(16, number)) for number in range(8)]
            return [is_ramp(ray.get(ref), number) for number, ref in enumerate(refs)]

        refs = [ray.put(ramp(16, number)) for number in range(8)]
        assert ray.get(check.remote(refs), timeout=60) == [True] * 8
        assert ray.get(make_and_check.remote(), timeout=60) == [True] * 8

    @with_session(**SMALL)
    def test_large_arguments_of_waiting_tasks_may_leave_memory(self) -> None:
        @ray.remote(num_cpus=2)
        def check(array: Any, start: int) -> bool:
            return is_ramp(array, start)

        checks: list[Any] = [check.remote(ramp(16, number), number) for number in range(10)]
        assert ray.get(checks, timeout=60) == [True] * 10

    @with_session(**SMALL)
    def test_items_of_a_stream_may_leave_memory(self) -> None:
        @ray.remote(num_returns="streaming")
        def make() -> Iterator[Any]:
            for number in range(10):
                yield ramp(16, number)

        refs = list(make.remote())
        assert all(is_ramp(ray.get(ref), number) for number, ref in enumerate(refs))

    @with_session(**SMALL)
    def test_threads_that_want_different_values_all_get_them(self) -> None:
        refs = [ray.put(ramp(16, number)) for number in range(8)]
        right: list[bool] = []

        def look(first: int) -> None:
            for step in range(8):
                number = (first + step) % 8
                right.append(is_ramp(ray.get(refs[number]), number))

        threads = [threading.Thread(target=look, args=(first,)) for first in (0, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert right == [True] * 16

    @with_session(**SMALL)
    def test_a_value_that_left_memory_counts_as_there(self) -> None:
        refs = [ray.put(ramp(16, number)) for number in range(8)]
        assert ray.wait(refs, num_returns=8, timeout=0)[1] == []

    @with_session(**SMALL)
    def test_views_stay_right_while_others_come_and_go(self) -> None:
        refs = [ray.put(ramp(12, number)) for number in range(10)]
        view = ray.get(refs[4])[1000:2000]
        for number, ref in enumerate(refs):
            assert is_ramp(ray.get(ref), number)
        assert view.tolist() == list(range(1004, 2004))

    @with_session(**SMALL)
    def test_a_task_whose_arguments_do_not_fit_together_is_an_error(self) -> None:
        @ray.remote
        def look(left: Any, right: Any) -> int:
            return len(left) + len(right)

        refs = [ray.put(ramp(40)), ray.put(ramp(40))]
        with pytest.raises(ObjectStoreFullError, match="does not fit"):
            ray.get(look.remote(*refs), timeout=60)
        assert is_ramp(ray.get(refs[0]), 0)
