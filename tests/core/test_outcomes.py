"""What a call gives back: errors for their receiver, values spread over the results."""

import os

import pytest

import heliostat
from heliostat._core.outcomes import raisable, retries, spread, task_error, user_traceback
from heliostat.exceptions import RayTaskError


def caught(error: Exception) -> Exception:
    try:
        raise error
    except Exception as raised:  # noqa: BLE001 - for its traceback
        return raised


def test_an_error_becomes_one_that_is_also_its_cause() -> None:
    error = raisable(task_error("f", caught(KeyError("k"))))
    assert isinstance(error, RayTaskError)
    assert isinstance(error, KeyError)
    assert error.function_name == "f"


def test_an_error_of_a_task_inside_is_passed_on_as_it_is() -> None:
    inner = task_error("inner", caught(KeyError("k")))
    assert task_error("outer", inner) is inner


def test_the_traceback_is_of_the_users_frames() -> None:
    text = user_traceback(caught(ValueError("text")))
    assert "test_outcomes.py" in text
    assert "ValueError: text" in text


def test_frames_of_a_library_of_ours_before_the_users_are_left_out() -> None:
    def one(row: dict[str, int]) -> dict[str, int]:
        raise ValueError("text")

    with pytest.raises(RayTaskError) as caught:
        heliostat.data.range(3).map(one).take_all()
    assert "in one" in caught.value.traceback_str
    assert f"heliostat{os.sep}data" not in caught.value.traceback_str


def test_where_no_frame_is_the_users_all_of_a_library_are_shown() -> None:
    with pytest.raises(RayTaskError) as caught:
        heliostat.data.range(3).map_batches(dict.fromkeys).take_all()
    assert f"heliostat{os.sep}data" in caught.value.traceback_str


def test_a_bare_error_has_a_traceback_too() -> None:
    assert "ValueError: never raised" in user_traceback(ValueError("never raised"))


@pytest.mark.parametrize(
    ("kinds", "again"),
    [
        (True, True),
        (False, False),
        ((KeyError,), True),
        ((LookupError,), True),
        ((OSError,), False),
    ],
)
def test_retries_are_for_the_named_kinds(
    kinds: bool | tuple[type[BaseException], ...], again: bool
) -> None:
    assert retries(KeyError("k"), kinds) is again
    assert retries(task_error("f", caught(KeyError("k"))), kinds) is again


def test_one_result_is_the_value_itself() -> None:
    assert spread((1, 2), 1) == ((1, 2),)


def test_no_result_takes_anything() -> None:
    assert spread(object(), 0) == ()


@pytest.mark.parametrize("outcome", [(1, 2), [1, 2], iter([1, 2]), {1: "a", 2: "b"}])
def test_n_results_take_any_iterable_of_n(outcome: object) -> None:
    assert list(spread(outcome, 2)) == [1, 2]


@pytest.mark.parametrize(("outcome", "named"), [((1,), "1 values"), ("abc", "3")])
def test_the_wrong_number_is_named(outcome: object, named: str) -> None:
    with pytest.raises(ValueError, match=f"num_returns=2.*{named}"):
        spread(outcome, 2)


def test_one_value_is_no_several() -> None:
    with pytest.raises(TypeError, match="one int"):
        spread(5, 2)
