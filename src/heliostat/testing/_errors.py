"""The suite's tests of errors: how what a task raised reaches the one who asks."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg"

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # it has no stubs
import pytest

import heliostat as ray
from heliostat.exceptions import RayError, RayTaskError, TaskCancelledError
from heliostat.testing._session import SharedSession


def failure(raiser: Callable[[], object]) -> Exception:
    """What `get` raises for a task that runs `raiser`."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any: the tests look at it
        ray.get(ray.remote(raiser).remote())
    return caught.value


class ErrorTests(SharedSession):
    """RayTaskError, which is also an instance of the cause's class."""

    def test_an_error_is_a_task_error_and_its_cause_class(self) -> None:
        def boom() -> None:
            raise ValueError("boom", 7)

        error = failure(boom)
        assert isinstance(error, RayTaskError)
        assert isinstance(error, RayError)
        assert isinstance(error, ValueError)
        assert isinstance(error.cause, ValueError)
        assert error.cause.args == ("boom", 7)
        assert error.args == (error.cause,)
        assert "ValueError" in type(error).__name__

    def test_an_error_says_whose_method_of_which_actor_raised(self) -> None:
        class Fragile:
            def fail(self) -> None:
                raise ValueError("broken")

        actor: Any = ray.remote(Fragile).remote()
        with pytest.raises(RayTaskError) as caught:
            ray.get(actor.fail.remote())
        assert caught.value.actor_id == actor._actor_id.hex()
        assert caught.value.function_name.endswith("Fragile.fail")
        assert failure(lambda: 1 / 0).actor_id is None

    def test_the_text_shows_the_remote_traceback_with_the_line_of_the_user(self) -> None:
        def deep() -> None:
            raise ValueError("boom")  # the line in question

        def shallow() -> None:
            deep()

        text = str(failure(shallow))
        assert "boom" in text
        assert "_errors.py" in text
        assert "in deep" in text
        assert "shallow" in text

    def test_attributes_of_the_cause_can_be_read(self) -> None:
        class Refused(Exception):
            def __init__(self, code: int) -> None:
                super().__init__(code)
                self.code = code

        def refuse() -> None:
            raise Refused(403)

        error = failure(refuse)
        assert isinstance(error, Refused)
        assert isinstance(error, RayTaskError)
        assert error.code == 403

    @pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
    def test_an_error_can_be_pickled(self, pickler: Any) -> None:
        def boom() -> None:
            raise KeyError("boom")

        error = failure(boom)
        again = pickler.loads(pickler.dumps(error))
        assert isinstance(again, KeyError)
        assert isinstance(again, RayTaskError)
        assert str(again) == str(error)

    @pytest.mark.parametrize(
        "cause",
        [
            FileNotFoundError(2, "nope", "/x"),
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad start"),
            ExceptionGroup("both", [ValueError(1), KeyError(2)]),
            StopIteration("early"),
            AssertionError(),
            TimeoutError("slow"),
            RuntimeError("a", {"b": 1}),
        ],
        ids=lambda cause: type(cause).__name__,
    )
    def test_errors_of_every_shape_keep_class_and_text(self, cause: Exception) -> None:
        def boom() -> None:
            raise cause

        error = failure(boom)
        assert isinstance(error, RayTaskError)
        assert isinstance(error, type(cause))
        assert type(cause).__name__ in str(error)
        assert type(error.cause) is type(cause)

    def test_an_error_with_an_odd_constructor_keeps_its_text(self) -> None:
        class Odd(Exception):
            def __init__(self, host: str, port: int) -> None:
                super().__init__(f"{host}:{port}")

        def boom() -> None:
            raise Odd("localhost", 80)

        error = failure(boom)
        assert isinstance(error, RayError)
        assert "localhost:80" in str(error)
        assert "Odd" in str(error)

    def test_an_error_that_cannot_be_pickled_keeps_its_text(self) -> None:
        class Locked(Exception):
            def __init__(self, message: str) -> None:
                super().__init__(message)
                self.lock = threading.Lock()

        def boom() -> None:
            raise Locked("stuck")

        error = failure(boom)
        assert isinstance(error, RayTaskError)
        assert "stuck" in str(error)
        assert "Locked" in str(error)

    def test_an_error_that_cannot_be_pickled_says_of_which_actor_it_is(self) -> None:
        class Fragile:
            def fail(self) -> None:
                raise type("Locked", (Exception,), {"__reduce__": None})("stuck")

        actor: Any = ray.remote(Fragile).remote()
        with pytest.raises(RayTaskError, match="stuck") as caught:
            ray.get(actor.fail.remote())
        assert caught.value.actor_id == actor._actor_id.hex()

    def test_an_error_whose_text_raises_is_still_an_error(self) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        def boom() -> None:
            raise Mute

        error = failure(boom)
        assert isinstance(error, RayTaskError)
        assert "Mute" in str(error)

    def test_the_cause_of_the_cause_is_in_the_text(self) -> None:
        def boom() -> None:
            try:
                dict[str, int]()["missing"]
            except KeyError as error:
                raise ValueError("second") from error

        text = str(failure(boom))
        assert "missing" in text
        assert "second" in text

    def test_an_error_of_a_nested_task_keeps_its_class_through_the_levels(self) -> None:
        @ray.remote
        def inner() -> None:
            raise LookupError("deepest")

        @ray.remote
        def middle() -> None:
            ray.get(inner.remote())

        def outer() -> None:
            ray.get(middle.remote())

        error = failure(outer)
        assert isinstance(error, LookupError)
        assert isinstance(error, RayTaskError)
        assert "deepest" in str(error)

    def test_a_task_may_catch_the_error_of_another_by_class(self) -> None:
        @ray.remote
        def bad() -> None:
            raise LookupError("caught me")

        @ray.remote
        def careful() -> str:
            try:
                ray.get(bad.remote())
            except LookupError as error:
                return type(error.cause).__name__
            return "nothing"

        assert ray.get(careful.remote()) == "LookupError"

    def test_getting_a_failed_reference_twice_raises_twice(self) -> None:
        @ray.remote
        def bad() -> None:
            raise ValueError("twice")

        ref = bad.remote()
        for _ in range(2):
            with pytest.raises(ValueError, match="twice"):
                ray.get(ref)

    def test_get_of_a_list_raises_the_error_of_the_first_that_failed(self) -> None:
        @ray.remote
        def maybe(n: int) -> int:
            if n % 2:
                raise ValueError(f"odd {n}")
            return n

        with pytest.raises(ValueError, match="odd 1"):
            ray.get([maybe.remote(n) for n in range(4)])

    @pytest.mark.parametrize("kind", [GeneratorExit, BaseException], ids=lambda k: k.__name__)
    def test_a_base_exception_is_an_error_too(self, kind: type[BaseException]) -> None:
        def boom() -> None:
            raise kind("base")

        error = failure(boom)
        assert isinstance(error, RayTaskError)
        assert kind.__name__ in str(error)

    def test_a_keyboard_interrupt_in_a_task_is_a_cancellation(self) -> None:
        def boom() -> None:
            raise KeyboardInterrupt

        error = failure(boom)
        assert isinstance(error, TaskCancelledError)

    def test_the_driver_may_raise_the_error_on(self) -> None:
        @ray.remote
        def bad() -> None:
            raise ValueError("onwards")

        def handle() -> None:
            try:
                ray.get(bad.remote())
            except RayTaskError as error:
                raise RuntimeError("wrapped") from error

        with pytest.raises(RuntimeError, match="wrapped") as caught:
            handle()
        assert isinstance(caught.value.__cause__, ValueError)
