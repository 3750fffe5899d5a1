import pickle

import pytest

from heliostat.exceptions import RayError, RayTaskError
from heliostat.train import ControllerError, TrainingFailedError, WorkerGroupError


@pytest.mark.parametrize(
    "error", [WorkerGroupError("rank 1", {1: ValueError("no")}), ControllerError(OSError("full"))]
)
def test_errors_travel(error):
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert type(copy) is type(error)
    assert isinstance(copy, TrainingFailedError)
    assert isinstance(copy, RayError)


def test_the_ranks_errors_are_those_that_the_loop_raised():
    cause = ValueError("no")
    told = RayTaskError("loop", "Traceback", cause).as_instanceof_cause()
    assert WorkerGroupError("rank 1", {1: told}).worker_failures[1] is cause


def test_the_ranks_errors_travel_too():
    copy = pickle.loads(pickle.dumps(WorkerGroupError("rank 1", {1: ValueError("no")})))
    assert copy.worker_failures[1].args == ("no",)
