"""The suite's tests of remote functions: options, arguments, results, nesting."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg, misc, has-type"

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat.testing._session import Gate, SharedSession, with_session

OUTSIDE = {"colour": "green"}


def outer_function(x: int) -> int:
    """A function that remote ones find in their module."""
    return x + 100


def square_of(x: int) -> int:
    """What the processes of a pool find in their module."""
    return x * x


class TaskTests(SharedSession):
    """`@remote` on functions."""

    def test_a_task_returns_what_its_function_returns(self) -> None:
        @ray.remote
        def add(a: int, b: int = 10, *rest: int, **named: int) -> int:
            return a + b + sum(rest) + sum(named.values())

        assert ray.get(add.remote(1)) == 11
        assert ray.get(add.remote(1, 2)) == 3
        assert ray.get(add.remote(1, b=3)) == 4
        assert ray.get(add.remote(1, 2, 3, 4, z=5)) == 15

    def test_remote_works_as_a_call_and_with_options(self) -> None:
        def square(x: int) -> int:
            return x * x

        assert ray.get(ray.remote(square).remote(3)) == 9
        assert ray.get(ray.remote(num_cpus=2, max_retries=0)(square).remote(4)) == 16
        assert ray.get(ray.remote(lambda x: -x).remote(4)) == -4

    def test_options_make_a_changed_copy(self) -> None:
        @ray.remote
        def pair() -> tuple[int, int]:
            return 1, 2

        first, second = pair.options(num_returns=2).remote()
        assert ray.get([first, second]) == [1, 2]
        assert ray.get(pair.remote()) == (1, 2)

    def test_calling_a_remote_function_directly_says_what_to_write(self) -> None:
        @ray.remote
        def square(x: int) -> int:
            return x * x

        with pytest.raises(TypeError, match=r"square\.remote\("):
            square(3)

    def test_remote_takes_functions_and_classes_only(self) -> None:
        with pytest.raises((TypeError, AssertionError), match=r"function or a class|@"):
            ray.remote(1)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"colour": 1}, ValueError),
            ({"num_returns": -1}, ValueError),
            ({"num_cpus": -1}, ValueError),
            ({"num_cpus": "a"}, TypeError),
            ({"num_gpus": 1.5}, ValueError),
            ({"max_retries": -2}, ValueError),
            ({"resources": {"CPU": 1}}, ValueError),
            ({"retry_exceptions": 3}, (TypeError, ValueError)),
        ],
    )
    def test_a_bad_option_is_refused_by_name_before_the_call(
        self, options: dict[str, Any], error: type[Exception]
    ) -> None:
        def nothing() -> None: ...

        (name,) = options
        with pytest.raises(error, match=name if name != "num_gpus" else "GPU|num_gpus"):
            ray.remote(**options)(nothing).remote()
        with pytest.raises(error):
            ray.remote(nothing).options(**options).remote()

    def test_arguments_that_do_not_fit_are_a_type_error_at_the_call(self) -> None:
        @ray.remote
        def one(x: int) -> int:
            return x

        with pytest.raises(TypeError, match="too many positional"):
            one.remote(1, 2)
        with pytest.raises(TypeError, match="'x'"):
            one.remote()
        with pytest.raises(TypeError):
            one.remote(1, colour=2)

    def test_a_function_brings_its_closure_its_globals_and_its_module(self) -> None:
        weight = 3

        class Local:
            def __init__(self, x: int) -> None:
                self.x = x

        @ray.remote
        def make(x: int) -> tuple[Any, str, int]:
            return Local(x * weight), OUTSIDE["colour"], outer_function(x)

        local, colour, outer = ray.get(make.remote(2))
        assert (local.x, colour, outer) == (6, "green", 102)
        assert isinstance(local, Local)

    def test_what_belongs_to_main_travels_by_value(self) -> None:
        names: dict[str, Any] = {"__name__": "__main__", "ray": ray}
        source = "FACTOR = 4\nclass Box:\n    side = 5\ndef area(b): return b.side * FACTOR\n"
        exec(source, names)
        box = names["Box"]()
        assert ray.get(ray.remote(names["area"]).remote(box)) == 20

    def test_a_reference_as_an_argument_arrives_as_its_value(self) -> None:
        @ray.remote
        def add(a: int, b: int) -> int:
            return a + b

        three = ray.put(3)
        four = add.remote(three, 1)
        assert ray.get(add.remote(three, b=four)) == 7

    def test_a_reference_inside_a_value_stays_a_reference(self) -> None:
        @ray.remote
        def look(box: dict[str, list[Any]]) -> tuple[bool, int]:
            inside = box["refs"][0]
            return isinstance(inside, ray.ObjectRef), ray.get(inside)

        assert ray.get(look.remote({"refs": [ray.put(5)]})) == (True, 5)

    def test_a_task_may_return_references(self) -> None:
        @ray.remote
        def leaf() -> str:
            return "leaf"

        @ray.remote
        def branch() -> Any:
            return leaf.remote()

        @ray.remote
        def branches() -> list[Any]:
            return [leaf.remote(), ray.put("put")]

        ref = ray.get(branch.remote())
        assert isinstance(ref, ray.ObjectRef)
        assert ray.get(ref) == "leaf"
        assert ray.get(ray.get(branches.remote())) == ["leaf", "put"]

    @with_session(num_cpus=1)
    def test_nested_tasks_do_not_deadlock_on_one_cpu(self) -> None:
        @ray.remote
        def fib(n: int) -> int:
            if n < 2:
                return n
            return sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

        assert ray.get(fib.remote(6), timeout=60) == 8

    @with_session(num_cpus=1)
    def test_waiting_inside_a_task_gives_the_cpu_back(self) -> None:
        @ray.remote
        def leaf() -> int:
            return 1

        @ray.remote
        def parent() -> int:
            ready, _ = ray.wait([leaf.remote(), leaf.remote()], num_returns=2)
            return sum(ray.get(ready))

        assert ray.get(parent.remote(), timeout=30) == 2

    def test_num_returns_0_returns_nothing(self) -> None:
        @ray.remote(num_returns=0)
        def nothing() -> None: ...

        assert nothing.remote() is None

    def test_num_returns_n_splits_the_result(self) -> None:
        @ray.remote(num_returns=3)
        def three() -> list[int]:
            return [1, 2, 3]

        refs = three.remote()
        assert isinstance(refs, list)
        assert ray.get(refs) == [1, 2, 3]

    @pytest.mark.parametrize("asked", [2, 4])
    def test_the_wrong_number_of_results_is_an_error_of_each(self, asked: int) -> None:
        @ray.remote
        def three() -> tuple[int, int, int]:
            return 1, 2, 3

        for ref in three.options(num_returns=asked).remote():
            with pytest.raises(ValueError, match=f"num_returns={asked}") as caught:
                ray.get(ref)
            assert "returned 3" in str(caught.value)

    def test_one_result_where_two_are_asked_is_a_type_error(self) -> None:
        @ray.remote(num_returns=2)
        def one() -> int:
            return 1

        for ref in one.remote():
            with pytest.raises((TypeError, ValueError)):
                ray.get(ref)

    def test_a_generator_with_num_returns_n_fills_the_references(self) -> None:
        @ray.remote(num_returns=2)
        def pair() -> Iterator[int]:
            yield 1
            yield 2

        assert ray.get(pair.remote()) == [1, 2]

    def test_a_task_whose_argument_failed_fails_with_the_same_error(self) -> None:
        @ray.remote
        def bad() -> int:
            raise KeyError("lost")

        @ray.remote
        def use(x: int) -> int:
            return x

        with pytest.raises(KeyError, match="lost"):
            ray.get(use.remote(use.remote(bad.remote())))

    def test_a_long_chain_of_tasks(self) -> None:
        @ray.remote
        def increment(x: int) -> int:
            return x + 1

        ref = ray.put(0)
        for _ in range(200):
            ref = increment.remote(ref)
        assert ray.get(ref) == 200

    def test_a_burst_of_5000_tasks(self) -> None:
        @ray.remote
        def same(x: int) -> int:
            return x

        assert ray.get([same.remote(n) for n in range(5000)]) == list(range(5000))

    def test_threads_of_the_driver_may_all_call_and_get(self) -> None:
        @ray.remote
        def square(x: int) -> int:
            return x * x

        def drive(start: int) -> list[int]:
            return ray.get([square.remote(n) for n in range(start, start + 25)])

        with ThreadPoolExecutor(8) as threads:
            squares = [n for part in threads.map(drive, range(0, 200, 25)) for n in part]
        assert squares == [n * n for n in range(200)]

    def test_threads_inside_a_task_may_call_and_get(self) -> None:
        @ray.remote
        def square(x: int) -> int:
            return x * x

        @ray.remote
        def parent() -> list[int]:
            with ThreadPoolExecutor(4) as threads:
                return list(threads.map(lambda n: ray.get(square.remote(n)), range(8)))

        assert ray.get(parent.remote(), timeout=60) == [n * n for n in range(8)]

    def test_a_task_that_leaves_a_thread_behind_still_ends(self) -> None:
        @ray.remote
        def leave() -> int:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            return 1

        assert ray.get([leave.remote() for _ in range(4)]) == [1] * 4

    def test_a_task_may_use_multiprocessing_and_subprocesses(self) -> None:
        @ray.remote
        def fan_out() -> tuple[list[int], str]:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                squares = pool.map(square_of, range(4))
            shown = subprocess.run(
                [sys.executable, "-c", "print('hello')"], check=True, stdout=subprocess.PIPE
            )
            return squares, shown.stdout.decode().strip()

        @ray.remote
        def after() -> int:
            return 1

        assert ray.get(fan_out.remote(), timeout=60) == ([0, 1, 4, 9], "hello")
        assert ray.get([after.remote() for _ in range(8)], timeout=20) == [1] * 8

    @with_session(num_cpus=1)
    def test_tasks_nest_twenty_deep_on_one_cpu(self) -> None:
        @ray.remote
        def deeper(level: int) -> int:
            return 0 if level == 0 else 1 + ray.get(deeper.remote(level - 1))

        assert ray.get(deeper.remote(20), timeout=60) == 20

    def test_many_calls_with_arguments_of_some_size(self) -> None:
        @ray.remote
        def size(data: bytes) -> int:
            return len(data)

        data = bytes(50_000)
        assert ray.get([size.remote(data) for _ in range(300)], timeout=60) == [50_000] * 300

    def test_work_goes_on_while_the_driver_is_busy_with_its_own(self, tmp_path: Path) -> None:
        first, second = Gate(tmp_path, "first"), Gate(tmp_path, "second")

        @ray.remote
        def open_first() -> Gate:
            first.open()
            return second

        @ray.remote
        def open_next(gate: Gate) -> None:
            gate.open()

        ref = open_next.remote(open_first.remote())
        second.wait()  # without a call that would let the driver look after its workers
        assert ray.get(ref) is None

    def test_the_runtime_context_of_a_task(self) -> None:
        @ray.remote
        def look() -> dict[str, Any]:
            context = ray.get_runtime_context()
            return {
                "task": context.get_task_id(),
                "actor": context.get_actor_id(),
                "job": context.get_job_id(),
                "node": context.get_node_id(),
                "worker": context.get_worker_id(),
                "name": context.get_task_name(),
                "function": context.get_task_function_name(),
                "resources": context.get_assigned_resources(),
            }

        driver = ray.get_runtime_context()
        first, second = ray.get([look.remote(), look.options(name="lookout").remote()])
        assert first["task"] != second["task"]
        assert len(first["task"]) > 8
        assert first["actor"] is None
        assert first["job"] == driver.get_job_id()
        assert first["node"] == driver.get_node_id()
        assert first["worker"]
        assert "look" in first["name"]
        assert second["name"] == "lookout"
        assert first["function"] == second["function"]
        assert first["function"].startswith(f"{__name__}.")
        assert first["function"].endswith(".look")
        assert driver.get_task_function_name() is None
        assert first["resources"]["CPU"] == 1.0

    def test_the_runtime_context_of_the_driver(self) -> None:
        context = ray.get_runtime_context()
        assert context.get_task_id() is None
        assert context.get_actor_id() is None
        assert context.get_job_id()

    def test_a_method_of_a_plain_object_can_be_remote_through_a_lambda(self) -> None:
        class Scale:
            factor = 3

            def times(self, x: int) -> int:
                return self.factor * x

        scale = Scale()
        assert ray.get(ray.remote(lambda x: scale.times(x)).remote(2)) == 6
