"""The suite's tests of `num_returns="dynamic"` and of generators with a number of results."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg, unreachable"

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

import heliostat as ray
from heliostat.exceptions import RayTaskError
from heliostat.testing._session import SharedSession


class DynamicTests(SharedSession):
    """One reference, whose value is a generator of references."""

    def test_a_dynamic_task_gives_a_reference_to_its_references(self) -> None:
        @ray.remote(num_returns="dynamic")
        def count(n: int) -> Iterator[int]:
            yield from range(n)

        ref = count.remote(3)
        assert isinstance(ref, ray.ObjectRef)
        items = ray.get(ref, timeout=20)
        assert isinstance(items, ray.DynamicObjectRefGenerator)
        assert len(items) == 3
        refs = list(items)
        assert len(items) == 0
        assert ray.get(refs) == [0, 1, 2]
        assert len(ray.get(count.options(name="none").remote(0))) == 0

    def test_dynamic_is_an_option_of_a_call_too(self) -> None:
        @ray.remote
        def count(n: int) -> Iterator[int]:
            yield from range(n)

        items = ray.get(count.options(num_returns="dynamic").remote(2), timeout=20)
        assert [ray.get(ref) for ref in items] == [0, 1]
        assert [ray.get(ref) for ref in count.remote(2)] == [0, 1]

    def test_the_value_of_a_dynamic_task_is_passed_on_with_its_items(self) -> None:
        @ray.remote(num_returns="dynamic")
        def arrays(n: int) -> Iterator[Any]:
            for i in range(n):
                yield np.full(100_000, i)

        @ray.remote
        def total(items: Any) -> int:
            return sum(int(ray.get(ref)[0]) for ref in items)

        assert ray.get(total.remote(arrays.remote(4)), timeout=20) == 6

    def test_an_error_of_a_dynamic_task_is_its_last_item(self) -> None:
        @ray.remote(num_returns="dynamic")
        def breaks() -> Iterator[int]:
            yield 1
            raise ValueError("after one")

        good, bad = ray.get(breaks.remote(), timeout=20)
        assert ray.get(good) == 1
        with pytest.raises(ValueError, match="after one") as caught:
            ray.get(bad)
        assert isinstance(caught.value, RayTaskError)
        assert caught.value.function_name.endswith("breaks")

    def test_methods_may_be_dynamic(self) -> None:
        @ray.remote
        class Maker:
            @ray.method(num_returns="dynamic")
            def doubles(self, n: int, *, name: str = "") -> Iterator[Any]:
                yield from (f"{name}{2 * i}" for i in range(n))

            @ray.method(num_returns="dynamic")
            async def late(self) -> AsyncIterator[int]:
                yield 1

        maker = Maker.remote()
        items = ray.get(maker.doubles.remote(3, name="n"), timeout=20)
        assert ray.get(list(items)) == ["n0", "n2", "n4"]
        with pytest.raises(TypeError, match="required argument"):
            maker.doubles.remote()
        with pytest.raises(ValueError, match='late has num_returns="dynamic"'):
            ray.get(maker.late.remote(), timeout=20)

    def test_what_yields_nothing_is_not_dynamic(self) -> None:
        @ray.remote(num_returns="dynamic")
        def five() -> int:
            return 5

        with pytest.raises(ValueError, match="must be a generator"):
            ray.get(five.remote(), timeout=20)

    def test_a_generator_may_have_a_number_of_results(self) -> None:
        def some(n: int) -> Iterator[int]:
            yield from range(n)

        one = ray.remote(num_returns=1)(some)
        assert ray.get(one.remote(1), timeout=20) == 0
        two = ray.remote(num_returns=2)(some)
        assert ray.get(two.remote(2), timeout=20) == [0, 1]
        for n in (1, 3):
            with pytest.raises(ValueError, match="num_returns=2, but the function returned"):
                ray.get(two.remote(n), timeout=20)
