"""The suite's tests of objects: put, get, wait, references, and shared memory."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg"

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import heliostat as ray
from heliostat.exceptions import GetTimeoutError, ObjectStoreFullError
from heliostat.testing._session import Gate, SharedSession, with_session

MIB = 1 << 20


def ramp(mebibytes: int) -> np.ndarray[Any, Any]:
    """An array large enough for shared memory, with contents that show mistakes."""
    return np.arange(mebibytes * MIB // 8, dtype=np.int64)


class ObjectTests(SharedSession):
    """put, get, wait and ObjectRef."""

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            1 << 80,
            2.5,
            "text",
            b"bytes",
            bytearray(b"array"),
            [1, [2, (3, {4})]],
            {"a": {"b": frozenset({1})}},
            range(3),
            Path("/a/b"),
            b"x" * (3 * MIB),
            "y" * (3 * MIB),
        ],
        ids=lambda value: f"{type(value).__name__}-{len(repr(value))}",
    )
    def test_what_is_put_comes_back_equal(self, value: object) -> None:
        same = ray.get(ray.put(value))
        assert same == value
        assert type(same) is type(value)

    def test_a_put_value_is_a_snapshot(self) -> None:
        basket, array = ["apple"], ramp(2)
        basket_ref, array_ref = ray.put(basket), ray.put(array)
        basket.append("pear")
        array[0] = -1
        assert ray.get(basket_ref) == ["apple"]
        assert ray.get(array_ref)[0] == 0

    def test_an_argument_is_a_snapshot(self) -> None:
        @ray.remote
        def grow(basket: list[str]) -> int:
            basket.append("pear")
            return len(basket)

        basket = ["apple"]
        assert ray.get(grow.remote(basket)) == 2
        assert basket == ["apple"]

    def test_putting_a_reference_is_a_type_error(self) -> None:
        with pytest.raises(TypeError, match="ObjectRef"):
            ray.put(ray.put(1))

    def test_get_keeps_the_order_and_takes_repeats(self) -> None:
        a, b = ray.put("a"), ray.put("b")
        assert ray.get([b, a, b]) == ["b", "a", "b"]
        assert ray.get([]) == []

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [(1, ValueError), ("ref", ValueError), ({"a": 1}, ValueError), ([1], TypeError)],
    )
    def test_get_of_what_is_no_reference_names_it(self, wrong: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match=type(wrong).__name__ if error is ValueError else "1"):
            ray.get(wrong)

    def test_get_runs_into_its_timeout(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        def closed() -> str:
            gate.wait()
            return "through"

        ref = closed.remote()
        began = time.monotonic()
        with pytest.raises(GetTimeoutError):
            ray.get(ref, timeout=0.05)
        with pytest.raises(TimeoutError):
            ray.get([ray.put(1), ref], timeout=0)
        assert time.monotonic() - began < 5
        gate.open()
        assert ray.get(ref, timeout=20) == "through"

    def test_get_with_timeout_0_of_what_is_there(self) -> None:
        assert ray.get(ray.put(1), timeout=0) == 1

    def test_wait_returns_one_ready_and_the_rest_in_order(self) -> None:
        refs = [ray.put(n) for n in range(4)]
        assert ray.wait(refs) == (refs[:1], refs[1:])
        assert ray.wait(refs, num_returns=4) == (refs, [])
        assert ray.wait(refs[::-1], num_returns=2) == (refs[:1:-1], refs[1::-1])

    def test_wait_sees_what_is_ready_first(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        def task(number: int) -> int:
            if number != 1:
                gate.wait()
            return number

        refs = [task.remote(n) for n in range(3)]
        ready, rest = ray.wait(refs)
        assert (ready, rest) == ([refs[1]], [refs[0], refs[2]])
        assert ray.wait(refs, num_returns=3, timeout=0.05) == ([refs[1]], [refs[0], refs[2]])
        assert ray.wait([refs[0]], timeout=0) == ([], [refs[0]])
        gate.open()
        assert ray.wait(refs, num_returns=3, timeout=20) == (refs, [])

    def test_wait_counts_an_error_as_ready(self) -> None:
        @ray.remote
        def bad() -> None:
            raise ValueError("bad")

        ref = bad.remote()
        assert ray.wait([ref], timeout=20) == ([ref], [])

    def test_wait_of_nothing_is_nothing(self) -> None:
        assert ray.wait([]) == ([], [])

    def test_what_is_left_by_one_wait_is_checked_by_the_next(self) -> None:
        refs = [ray.put(number) for number in range(6)]
        done, rest = ray.wait(refs, num_returns=2)
        assert (done, rest) == (refs[:2], refs[2:])
        with pytest.raises(ValueError, match=r"unique|twice"):
            ray.wait([*rest, rest[0]])
        with pytest.raises(TypeError, match="int"):
            ray.wait([*rest, 7])
        for number in range(2, 6):
            (ready,), rest = ray.wait(rest)
            assert ray.get(ready) == number
            assert len(rest) == 5 - number

    def test_wait_refuses_what_makes_no_sense(self) -> None:
        a, b = ray.put(1), ray.put(2)
        with pytest.raises(ValueError, match=r"unique|twice"):
            ray.wait([a, a])
        with pytest.raises(ValueError, match="0"):
            ray.wait([a], num_returns=0)
        with pytest.raises(ValueError, match="num_returns"):
            ray.wait([a, b], num_returns=3)
        with pytest.raises(ValueError, match="-1"):
            ray.wait([a], timeout=-1)
        with pytest.raises(TypeError, match="list"):
            ray.wait(a)
        with pytest.raises(TypeError, match="int"):
            ray.wait([1])

    def test_references_are_values(self) -> None:
        @ray.remote
        def same(box: list[Any]) -> list[Any]:
            return box

        ref, other = ray.put(1), ray.put(1)
        (back,) = ray.get(same.remote([ref]))
        assert back == ref
        assert hash(back) == hash(ref)
        assert ref != other
        assert {ref: "found"}[back] == "found"
        assert ref.hex() in repr(ref)
        assert ref.binary().hex() == ref.hex()

    def test_a_reference_is_made_again_of_its_identifier(self) -> None:
        @ray.remote
        def look(text: str) -> Any:
            return ray.get(ray.ObjectRef.from_hex(text), timeout=20)

        kept = ray.put("kept")
        assert ray.get(look.remote(kept.hex()), timeout=20) == "kept"
        assert ray.ObjectRef.from_binary(kept.binary()) == kept
        assert len(kept.binary()) == ray.ObjectRef.size()
        assert not kept.is_nil()
        assert ray.ObjectRef.nil().is_nil()
        assert kept.job_id().hex() == ray.get_runtime_context().get_job_id()
        with pytest.raises(ray.exceptions.ObjectLostError):
            ray.get(ray.ObjectRef.from_random(), timeout=20)
        with pytest.raises(ValueError, match="16 bytes"):
            ray.ObjectRef.from_binary(b"short")

    def test_a_task_and_its_results_know_each_other(self) -> None:
        @ray.remote(num_returns=2)
        def both() -> tuple[str | None, str | None]:
            id_ = ray.get_runtime_context().get_task_id()
            return id_, id_

        first, second = both.remote()
        assert first.task_id() == second.task_id()
        assert ray.get(second, timeout=20) == first.task_id().hex()

    def test_a_reference_pickled_by_hand_stays_good(self) -> None:
        data = pickle.dumps(ray.put("kept"))
        assert ray.get(pickle.loads(data)) == "kept"

    def test_an_unpicklable_value_is_a_type_error_with_the_path_to_the_culprit(self) -> None:
        box = {"model": [1, threading.Lock()]}
        with pytest.raises(TypeError, match=r"\['model'\]\[1\].*lock"):
            ray.put(box)

        @ray.remote
        def use(box: object) -> None: ...

        with pytest.raises(TypeError, match=r"\['model'\]\[1\].*lock"):
            use.remote(box)
        with pytest.raises(TypeError, match=r"box.*\['model'\]\[1\].*lock"):
            use.remote(box=box)

    def test_an_unpicklable_attribute_is_named(self) -> None:
        class Trainer:
            def __init__(self) -> None:
                self.mutex = threading.Lock()

        with pytest.raises(TypeError, match=r"\.mutex"):
            ray.put(Trainer())

    def test_an_unpicklable_closure_is_named(self) -> None:
        mutex = threading.Lock()

        @ray.remote
        def guarded() -> bool:
            return mutex.locked()

        with pytest.raises(TypeError, match="mutex"):
            guarded.remote()

    def test_an_unpicklable_result_is_an_error_of_its_task(self) -> None:
        @ray.remote
        def lock() -> dict[str, Any]:
            return {"inside": threading.Lock()}

        with pytest.raises(TypeError, match=r"\['inside'\]"):
            ray.get(lock.remote())


class MemoryTests(SharedSession):
    """Large values: shared, read-only, counted, and recycled."""

    def test_a_large_array_is_read_without_a_copy_and_read_only(self) -> None:
        ref = ray.put(ramp(4))
        first, second = ray.get(ref), ray.get(ref)
        assert np.array_equal(first, ramp(4))
        assert np.shares_memory(first, second)
        assert not first.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            first[0] = 1

    def test_a_large_result_and_a_large_argument_are_read_only(self) -> None:
        @ray.remote
        def double(array: Any) -> tuple[bool, Any]:
            return array.flags.writeable, array * 2

        for argument in (ramp(4), ray.put(ramp(4))):
            writeable, doubled = ray.get(double.remote(argument))
            assert not writeable
            assert not doubled.flags.writeable
            assert np.array_equal(doubled, ramp(4) * 2)

    def test_many_arrays_in_one_value_and_odd_layouts(self) -> None:
        value: dict[str, Any] = {
            "a": ramp(2),
            "b": [ramp(1), np.zeros((0, 3)), np.float32(1.5)],
            "fortran": np.asfortranarray(ramp(2).reshape(512, -1)),
            "sliced": ramp(4)[::3],
            "strings": np.array(["x", "yy"], dtype=object),
        }
        back = ray.get(ray.put(value))
        assert np.array_equal(back["a"], value["a"])
        assert all(np.array_equal(x, y) for x, y in zip(back["b"], value["b"], strict=True))
        assert np.array_equal(back["fortran"], value["fortran"])
        assert np.array_equal(back["sliced"], value["sliced"])
        assert back["strings"].tolist() == ["x", "yy"]

    @with_session(num_cpus=2, object_store_memory=64 * MIB)
    def test_memory_is_recycled_when_its_references_are_gone(self) -> None:
        @ray.remote
        def make(n: int) -> Any:
            return ramp(16) + n

        for number in range(10):
            assert ray.get(ray.put(ramp(24) + number))[0] == number
            assert ray.get(make.remote(number))[0] == number

    @with_session(num_cpus=1, object_store_memory=64 * MIB)
    def test_a_view_keeps_its_memory_after_the_reference_is_gone(self) -> None:
        ref = ray.put(ramp(16))
        view = ray.get(ref)[100:110]
        del ref
        for number in range(8):
            ray.put(ramp(16) * 0 - number)
        assert view.tolist() == list(range(100, 110))

    @with_session(num_cpus=1, object_store_memory=64 * MIB)
    def test_an_object_larger_than_the_store_is_refused_with_both_sizes(self) -> None:
        with pytest.raises(ObjectStoreFullError, match=r"(?s)80.*64|object_store_memory"):
            ray.put(ramp(80))
        assert ray.get(ray.put(ramp(16)))[-1] == 16 * MIB // 8 - 1

    @with_session(num_cpus=1, object_store_memory=64 * MIB)
    def test_a_result_larger_than_the_store_is_an_error_of_its_task(self) -> None:
        @ray.remote
        def make() -> Any:
            return ramp(80)

        with pytest.raises(ObjectStoreFullError):
            ray.get(make.remote())

    @with_session(num_cpus=1, object_store_memory=64 * MIB)
    def test_a_store_full_of_arrays_in_use_is_an_error_until_one_is_dropped(self) -> None:
        held = [ray.get(ray.put(ramp(24))), ray.get(ray.put(ramp(24)))]
        with pytest.raises(ObjectStoreFullError, match="cannot be moved to disk"):
            ray.put(ramp(24))
        held.pop()
        assert ray.get(ray.put(ramp(24)))[1] == 1

    @with_session(num_cpus=2, object_store_memory=64 * MIB)
    def test_a_nested_reference_keeps_its_object_alive(self) -> None:
        outer = ray.put({"inner": ray.put(ramp(16))})
        for _ in range(6):
            ray.put(ramp(16))
        inner = ray.get(outer)["inner"]
        del outer
        for _ in range(6):
            ray.put(ramp(16))
        assert ray.get(inner)[7] == 7

    @with_session(num_cpus=2, object_store_memory=64 * MIB)
    def test_dropping_the_outermost_reference_frees_the_whole_nest(self) -> None:
        for number in range(8):
            outer = ray.put([ray.put([ray.put(ramp(16) + number)])])
            assert ray.get(ray.get(ray.get(outer)[0])[0])[0] == number

    @with_session(num_cpus=2, object_store_memory=64 * MIB)
    def test_a_reference_held_by_a_queued_task_keeps_its_object(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote(num_cpus=2)
        def blocker() -> None:
            gate.wait()

        @ray.remote
        def first(array: Any) -> int:
            return int(array[5])

        @ray.remote
        def nested(box: list[Any]) -> int:
            return int(ray.get(box[0])[6])

        blocked = blocker.remote()
        results = [first.remote(ray.put(ramp(16))), nested.remote([ray.put(ramp(16))])]
        for _ in range(4):
            ray.put(ramp(16))
        gate.open()
        assert ray.get(results, timeout=30) == [5, 6]
        ray.get(blocked)

    @with_session(num_cpus=2, object_store_memory=64 * MIB)
    def test_a_reference_in_the_state_of_an_actor_keeps_its_object(self) -> None:
        @ray.remote
        class Keeper:
            def keep(self, box: list[Any]) -> None:
                self.ref = box[0]

            def look(self) -> int:
                return int(ray.get(self.ref)[3])

            def give(self) -> Any:
                return self.ref

        keeper = Keeper.remote()
        ray.get(keeper.keep.remote([ray.put(ramp(16))]))
        for _ in range(6):
            ray.put(ramp(16))
        assert ray.get(keeper.look.remote()) == 3
        given = ray.get(keeper.give.remote())
        ray.kill(keeper)
        for _ in range(6):
            ray.put(ramp(16))
        assert ray.get(given)[4] == 4

    @with_session(num_cpus=2, object_store_memory=64 * MIB)
    def test_a_reference_captured_by_a_function_keeps_its_object(self) -> None:
        def make() -> Any:
            captured = ray.put(ramp(16))

            @ray.remote
            def look() -> int:
                return int(ray.get(captured)[2])

            return look

        look = make()
        assert ray.get(look.remote()) == 2
        for _ in range(6):
            ray.put(ramp(16))
        assert ray.get(look.remote()) == 2

    def test_an_object_survives_the_process_that_made_it(self) -> None:
        @ray.remote
        class Maker:
            def make(self) -> Any:
                return ramp(4)

            def put(self) -> Any:
                return ray.put(ramp(4))

        maker = Maker.remote()
        result, put = maker.make.remote(), ray.get(maker.put.remote())
        ray.wait([result])
        ray.kill(maker)
        assert ray.get(result)[9] == 9
        assert ray.get(put)[9] == 9
