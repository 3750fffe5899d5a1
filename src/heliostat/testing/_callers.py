"""The suite's tests of actors and tasks that call actors, again and again."""

# These tests use actors, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload"

from __future__ import annotations

import time
from typing import Any

import pytest

import heliostat as ray
from heliostat.exceptions import DeadlockError, RayTaskError, TaskCancelledError
from heliostat.testing._session import SharedSession

MANY = 40
LONGER_S = 1.3  # than a wait may be before it is looked at


@ray.remote
class Notebook:
    """Writes down what it is told, in order."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def write(self, line: Any) -> Any:
        """One line; gives it back."""
        self.lines.append(line)
        return line

    def sized(self, value: bytes) -> int:
        """Write down how long a value is."""
        self.lines.append(len(value))
        return len(value)

    def read(self) -> list[Any]:
        """All of them."""
        return self.lines

    def kept(self, value: Any) -> list[Any]:
        """A reference, in a list."""
        return [ray.put(value)]

    def large(self, size: int) -> bytes:
        """Many bytes."""
        return bytes(size)

    def slow(self, seconds: float, value: Any = None) -> Any:
        """A value, late."""
        time.sleep(seconds)
        return value

    def fail(self, text: str) -> None:
        """Raise."""
        raise ValueError(text)


@ray.remote(max_concurrency=4)
class Threads:
    """Runs calls in threads."""

    def echo(self, value: Any) -> Any:
        """The value."""
        return value


@ray.remote
class Loop:
    """An asyncio actor that calls another."""

    async def echo(self, value: Any) -> Any:
        """The value."""
        return value

    async def ask(self, other: Any, values: list[Any]) -> list[Any]:
        """Await a call for each value, one after the other."""
        return [await other.echo.remote(value) for value in values]


@ray.remote
class Caller:
    """Calls other actors."""

    def one_by_one(self, notebook: Any, lines: list[Any]) -> list[Any]:
        """Each call after the result of the one before."""
        return [ray.get(notebook.write.remote(line)) for line in lines]

    def at_once(self, notebook: Any, lines: list[Any]) -> list[Any]:
        """All calls, then all results."""
        return list(ray.get([notebook.write.remote(line) for line in lines]))

    def unheard(self, notebook: Any, lines: list[Any]) -> None:
        """Calls whose results nobody takes."""
        for line in lines:
            notebook.write.remote(line)

    def mixed(self, notebook: Any) -> list[Any]:
        """Plain calls, calls with references, and calls with large values, in turns."""
        expected = []
        for number in range(MANY):
            if number % 5 == 3:
                notebook.write.remote(ray.put(number))
                expected.append(number)
            elif number % 7 == 5:
                notebook.sized.remote(bytes(200_000 + number))
                expected.append(200_000 + number)
            else:
                ref = notebook.write.remote(number)
                expected.append(number)
                if number % 4 == 0:
                    ray.get(ref)
        assert ray.get(notebook.read.remote()) == expected
        return expected

    def pending(self, notebook: Any, seconds: float, value: Any) -> list[Any]:
        """The reference of a call that has not ended."""
        return [notebook.slow.remote(seconds, value)]

    def known(self, notebook: Any, value: Any) -> list[Any]:
        """The reference of a call that has ended, and its value is known here."""
        ref = notebook.write.remote(value)
        ray.wait([ref])
        return [ref]

    def passed_on(self, notebook: Any, seconds: float) -> Any:
        """Have a task add one to the result of a call, and do something else meanwhile."""
        ref = add.remote(notebook.slow.remote(seconds, 1), 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        return ray.get(ref)

    def returns(self, notebook: Any) -> tuple[int, int]:
        """A large result, and one with a reference inside."""
        large = ray.get(notebook.large.remote(300_000))
        return len(large), int(ray.get(ray.get(notebook.kept.remote(7))[0]))

    def errors(self, notebook: Any) -> list[str]:
        """What calls raise."""
        texts = []
        for number in range(3):
            try:
                ray.get(notebook.fail.remote(f"no {number}"))
            except ValueError as error:
                texts.append(str(error).splitlines()[-1])
        return texts

    def cancelled(self, notebook: Any) -> str:
        """Cancel a call behind another."""
        first = notebook.slow.remote(0.5, "first")
        second = notebook.write.remote("second")
        ray.cancel(second)
        try:
            ray.get(second)
        except TaskCancelledError:
            return str(ray.get(first))
        return "it ran"

    def forgets(self) -> int:
        """Drop the handle of an actor whose call is on its way."""
        notebook = Notebook.remote()
        for _ in range(3):
            ray.get(notebook.write.remote(0))
        ref = notebook.slow.remote(0.2, 5)
        del notebook
        return int(ray.get(ref))

    def meet(self, other: Any) -> None:
        """Who to call in `hit`."""
        self.other = other

    def hit(self, times: int) -> str:
        """Hit the ball to the other, and wait until it is down."""
        return "down" if times == 0 else str(ray.get(self.other.hit.remote(times - 1)))


@ray.remote
def add(x: int, y: int) -> int:
    """The sum."""
    return x + y


@ray.remote
def write(notebook: Any, lines: list[Any]) -> list[Any]:
    """A task that calls an actor."""
    return [ray.get(notebook.write.remote(line)) for line in lines]


def _warm() -> tuple[Any, Any]:
    """Two actors, of which the one has called the other a few times."""
    caller, notebook = Caller.remote(), Notebook.remote()
    assert ray.get(caller.one_by_one.remote(notebook, [-1, -2, -3]), timeout=20) == [-1, -2, -3]
    return caller, notebook


class CallerTests(SharedSession):
    """Whoever calls an actor often gets the same as who calls it once."""

    def test_calls_of_an_actor_by_an_actor_run_in_order(self) -> None:
        caller, notebook = _warm()
        lines = list(range(MANY))
        assert ray.get(caller.one_by_one.remote(notebook, lines), timeout=20) == lines
        assert ray.get(caller.at_once.remote(notebook, lines), timeout=20) == lines
        ray.get(caller.unheard.remote(notebook, lines), timeout=20)
        assert ray.get(caller.at_once.remote(notebook, ["last"]), timeout=20) == ["last"]
        assert ray.get(notebook.read.remote())[3:] == [*lines, *lines, *lines, "last"]

    def test_calls_of_any_kind_by_one_caller_run_in_order(self) -> None:
        caller, notebook = Caller.remote(), Notebook.remote()
        expected = ray.get(caller.mixed.remote(notebook), timeout=20)
        assert ray.get(notebook.read.remote(), timeout=20) == expected

    def test_a_task_that_calls_an_actor_gets_its_results(self) -> None:
        notebook = Notebook.remote()
        lines = list(range(MANY))
        both = ray.get([write.remote(notebook, lines), write.remote(notebook, lines)], timeout=20)
        assert both == [lines, lines]
        assert sorted(ray.get(notebook.read.remote())) == sorted(lines * 2)

    def test_the_reference_of_a_call_can_be_returned(self) -> None:
        caller, notebook = _warm()
        (ref,) = ray.get(caller.pending.remote(notebook, 0.3, "late"), timeout=20)
        assert ray.get(ref, timeout=20) == "late"
        (ref,) = ray.get(caller.known.remote(notebook, "known"), timeout=20)
        assert ray.get(ref, timeout=20) == "known"

    def test_a_result_reaches_others_while_its_caller_is_busy(self) -> None:
        caller, notebook = _warm()
        assert ray.get(caller.passed_on.remote(notebook, 0.2), timeout=20) == 2

    def test_results_of_any_size_and_with_references_come_back(self) -> None:
        caller, notebook = _warm()
        for _ in range(2):
            assert ray.get(caller.returns.remote(notebook), timeout=20) == (300_000, 7)

    def test_errors_of_calls_by_an_actor_are_raised_there(self) -> None:
        caller, notebook = _warm()
        texts = ray.get(caller.errors.remote(notebook), timeout=20)
        assert [text.rpartition(": ")[2] for text in texts] == ["no 0", "no 1", "no 2"]

    def test_an_actor_cancels_a_call_that_it_made(self) -> None:
        caller, notebook = _warm()
        assert ray.get(caller.cancelled.remote(notebook), timeout=20) == "first"
        assert "second" not in ray.get(notebook.read.remote(), timeout=20)

    def test_an_actor_ends_its_calls_after_its_handle_is_dropped(self) -> None:
        assert ray.get(Caller.remote().forgets.remote(), timeout=20) == 5

    def test_asyncio_and_threaded_actors_take_calls_of_actors(self) -> None:
        loop, other, threads = Loop.remote(), Loop.remote(), Threads.remote()
        values = list(range(MANY))
        assert ray.get(loop.ask.remote(other, values), timeout=20) == values
        assert ray.get(loop.ask.remote(threads, values), timeout=20) == values

    def test_actors_that_call_each_other_often_are_told_when_they_wait_in_a_circle(self) -> None:
        one, two = Caller.remote(), Caller.remote()
        ray.get([one.meet.remote(two), two.meet.remote(one)], timeout=20)
        for _ in range(4):
            assert ray.get([one.hit.remote(1), two.hit.remote(0)], timeout=20) == ["down", "down"]
            assert ray.get([two.hit.remote(1), one.hit.remote(0)], timeout=20) == ["down", "down"]
        with pytest.raises((DeadlockError, RayTaskError), match=r"Caller\.hit"):
            ray.get(one.hit.remote(2), timeout=20)
        assert ray.get([one.hit.remote(0), two.hit.remote(1)], timeout=20) == ["down", "down"]

    def test_a_long_wait_of_an_actor_for_another_is_no_circle(self) -> None:
        caller, notebook = _warm()
        (ref,) = ray.get(caller.pending.remote(notebook, LONGER_S, "late"), timeout=20)
        assert ray.get(caller.at_once.remote(notebook, ["x"]), timeout=20) == ["x"]
        assert ray.get(ref, timeout=20) == "late"
