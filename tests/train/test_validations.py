"""Validations alone: one at a time, in order."""

from heliostat.train._run_messages import (
    CancelValidation,
    Record,
    Validate,
    Validated,
    Validation,
)
from heliostat.train._validations import Validations


def test_the_next_begins_when_one_is_over_in_whatever_way():
    queue = Validations()
    assert queue.add("a", Validation({}, 2.0), 0) == [Validate("a", {})]
    assert queue.add("b", Validation({"n": 1}), 1) == []
    assert queue.names == {"a", "b"}
    assert queue.tick(1.9) == []
    assert queue.tick(2.0) == [
        CancelValidation("a"),
        Record("a", {}, "VALIDATION_TIMEOUT"),
        Validate("b", {"n": 1}),
    ]
    assert queue.deadline is None
    assert queue.ended(Validated("a", {}), 3) == []
    assert queue.ended(Validated("b", {"x": 1}), 3) == [Record("b", {"x": 1}, "VALIDATED")]
    assert queue.names == set()


def test_stop_cancels_the_running_one_and_forgets_the_rest():
    queue = Validations()
    assert queue.stop() == []
    queue.add("a", Validation({}), 0)
    queue.add("b", Validation({}), 0)
    assert queue.stop() == [CancelValidation("a")]
    assert queue.names == set()
