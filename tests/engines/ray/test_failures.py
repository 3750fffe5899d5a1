"""Ray's errors as ours, and ours through Ray."""

import pickle
from typing import Any

import pytest

from heliostat import exceptions
from heliostat._engines.ray.failures import (
    Again,
    Failed,
    died_in_constructor,
    failed,
    ours,
    passed_on,
)


def of_rays(name: str, base: type[Exception] = Exception, **attributes: Any) -> type[Exception]:
    """A class as Ray's errors are."""
    return type(name, (base,), {"__module__": "ray.exceptions", **attributes})


def raised_by(cause: BaseException) -> BaseException:
    return of_rays("RayTaskError", cause=cause)("a traceback")


def test_a_users_error_travels_with_its_class_and_its_traceback() -> None:
    sent = pickle.loads(pickle.dumps(failed("f", KeyError("lost"))))
    assert type(sent) is Failed
    assert "KeyError" in str(sent)
    back = ours(raised_by(sent))
    assert isinstance(back, KeyError)
    assert isinstance(back, exceptions.RayTaskError)
    assert isinstance(back.__cause__, KeyError)


def test_an_error_in_an_argument_is_found_through_the_tasks_that_passed_it_on() -> None:
    back = ours(raised_by(raised_by(raised_by(failed("f", ValueError("first"))))))
    assert isinstance(back, ValueError)


@pytest.mark.parametrize(
    ("asked", "kind"), [(True, Again), ((KeyError,), Again), ((OSError,), Failed), (False, Failed)]
)
def test_what_is_to_be_tried_again_says_so(asked: Any, kind: type[Failed]) -> None:
    assert type(failed("f", KeyError("lost"), asked)) is kind


def test_an_error_that_cannot_be_pickled_is_its_text() -> None:
    error = ValueError("words")
    error.lock = __import__("threading").Lock()  # type: ignore[attr-defined]
    back = ours(raised_by(failed("f", error)))
    assert "words" in str(back)
    assert isinstance(back, exceptions.RayTaskError)


@pytest.mark.parametrize(
    "name",
    ["WorkerCrashedError", "TaskCancelledError", "OutOfMemoryError", "NodeDiedError",
     "GetTimeoutError", "RuntimeEnvSetupError", "TaskPlacementGroupRemoved"],
)  # fmt: skip
def test_errors_of_rays_are_ours_of_the_same_name(name: str) -> None:
    back = ours(of_rays(name)("what happened"))
    assert type(back) is getattr(exceptions, name)
    assert "what happened" in str(back)


def test_an_error_of_an_actor_or_object_keeps_whose_it_is() -> None:
    died = ours(of_rays("ActorDiedError", actor_id="ab12")("gone"))
    assert isinstance(died, exceptions.ActorDiedError)
    assert died.actor_id == "ab12"
    lost = ours(of_rays("OwnerDiedError", object_ref_hex="cd")("gone"))
    assert isinstance(lost, exceptions.OwnerDiedError)
    assert lost.object_ref_hex == "cd"


def test_a_class_we_lack_is_the_nearest_that_we_have() -> None:
    base = of_rays("ObjectLostError")
    assert type(ours(of_rays("SomeNewLoss", base)("gone"))) is exceptions.ObjectLostError


def test_an_error_of_nobody_stays_as_it_is() -> None:
    error = ValueError("mine")
    assert ours(error) is error


def test_a_worker_without_heliostat_is_told_what_to_install() -> None:
    back = ours(raised_by(ModuleNotFoundError("No module", name="heliostat._engines")))
    assert isinstance(back, exceptions.RuntimeEnvSetupError)
    assert "Install" in str(back)


def test_why_a_constructor_failed_is_the_cause_of_the_actors_death() -> None:
    error = died_in_constructor("ab", failed("Model.__init__", OSError("no file")).pickled)
    assert "actor Model died in its constructor" in str(error)
    assert isinstance(error.__cause__, OSError)


def test_an_error_that_came_as_an_argument_is_passed_on_unchanged() -> None:
    back = ours(raised_by(passed_on(exceptions.ObjectLostError("gone", "ab"))))
    assert type(back) is exceptions.ObjectLostError


def test_who_killed_an_actor_is_said_as_on_one_machine() -> None:
    died = of_rays("ActorDiedError")("it was killed by `ray.kill`.")
    back = ours(died)
    assert type(back) is exceptions.ActorDiedError
    assert "killed by ray.kill" in str(back)
