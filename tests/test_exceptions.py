"""Errors: their places in the tree, and dual classes for whatever users raise."""

import pickle
from typing import Any

import pytest

from heliostat import exceptions as e


def test_the_tree_is_the_one_users_know() -> None:
    assert issubclass(e.GetTimeoutError, TimeoutError)
    assert issubclass(e.ActorDiedError, e.RayActorError)
    assert issubclass(e.ActorUnavailableError, e.RayActorError)
    assert issubclass(e.ActorAlreadyExistsError, ValueError)
    assert issubclass(e.SerializationError, TypeError)
    for value in vars(e).values():
        if isinstance(value, type) and issubclass(value, Exception) and value.__name__[0] != "_":
            assert issubclass(value, e.RayError), value


def test_what_only_a_cluster_raises_can_be_named_in_an_except_clause() -> None:
    bases = {
        "AuthenticationError": e.RayError,
        "CrossLanguageError": e.RayError,
        "LocalRayletDiedError": e.RayError,
        "ObjectFetchTimedOutError": e.ObjectLostError,
        "ObjectReconstructionFailedError": e.ObjectLostError,
        "OufOfBandObjectRefSerializationException": e.RayError,
        "PlasmaObjectNotAvailable": e.RayError,
        "RayCgraphCapacityExceeded": e.RaySystemError,
        "RayChannelError": e.RaySystemError,
        "RayChannelTimeoutError": TimeoutError,
        "RayDirectTransportError": e.RaySystemError,
        "ReferenceCountingAssertionError": AssertionError,
        "RpcError": e.RayError,
        "StreamingGeneratorReplayInconsistentError": e.RaySystemError,
        "UserCodeException": e.RayError,
    }
    assert [name for name, base in bases.items() if not issubclass(getattr(e, name), base)] == []


class Odd(Exception):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port}")
        self.port = port


class Slotted(Exception):
    __slots__ = ("code",)


class Both(ValueError, KeyError):
    pass


CAUSES: list[Exception] = [
    ValueError("plain"),
    KeyError("key"),
    FileNotFoundError(2, "nope", "/x"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ExceptionGroup("both", [ValueError(1), KeyError(2)]),
    StopIteration("early"),
    SyntaxError("bad", ("file.py", 1, 2, "text")),
    ImportError("no", name="module"),
    Odd("localhost", 80),
    Slotted("slotted"),
    Both("both"),
]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: type(cause).__name__)
def test_an_error_is_also_of_its_causes_class(cause: Exception) -> None:
    error = e.RayTaskError("f", "Traceback of f", cause, pid=7).as_instanceof_cause()
    assert isinstance(error, e.RayTaskError)
    assert isinstance(error, type(cause))
    assert error.cause is cause
    assert "Traceback of f" in str(error)
    assert error.as_instanceof_cause() is error


@pytest.mark.parametrize(
    "cause",
    [cause for cause in CAUSES if not isinstance(cause, Odd)],
    ids=lambda cause: type(cause).__name__,
)
def test_a_dual_error_can_be_pickled(cause: Exception) -> None:
    error = e.RayTaskError("f", "tb", cause, pid=7).as_instanceof_cause()
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_attributes_of_the_cause_are_attributes_of_the_error() -> None:
    error: Any = e.RayTaskError("f", "tb", Odd("localhost", 80)).as_instanceof_cause()
    assert error.port == 80
    with pytest.raises(AttributeError, match="harbour"):
        _ = error.harbour


def test_what_is_said_of_the_call_can_be_read_and_survives_a_pickle() -> None:
    plain = e.RayTaskError("A.m", "tb", ValueError("v"), "title", 7, "10.0.0.1", "my A", "ab12")
    dual = plain.as_instanceof_cause()
    assert dual.args == (plain.cause,)
    for error in (plain, dual, pickle.loads(pickle.dumps(dual))):
        assert (error.function_name, error.traceback_str, error.pid) == ("A.m", "tb", 7)
        assert (error.proctitle, error.ip) == ("title", "10.0.0.1")
        assert (error.actor_repr, error.actor_id) == ("my A", "ab12")


def test_what_the_cause_has_under_the_same_name_is_the_causes() -> None:
    cause: Any = ValueError("v")
    cause.ip = "its own"
    error = e.RayTaskError("f", "tb", cause, pid=7).as_instanceof_cause()
    assert (error.ip, error.pid) == ("its own", 7)


def test_a_base_exception_has_no_dual_class() -> None:
    error = e.RayTaskError("f", "tb", GeneratorExit())
    assert error.as_instanceof_cause() is error


@pytest.mark.parametrize(
    "error",
    [
        e.TaskCancelledError(),
        e.GetTimeoutError("late"),
        e.WorkerCrashedError(),
        e.ActorDiedError("dead", "abc"),
        e.ObjectLostError("lost", "abc"),
        e.UnserializableException("text"),
        e.RayTaskError("f", "tb", ValueError("v"), pid=3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_can_be_pickled_and_has_a_text(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert str(error)


@pytest.mark.parametrize("cause", [MemoryError("little"), StopIteration(3), OSError(24, "many")])
def test_causes_that_python_makes_in_their_own_way_can_be_caught_as_what_they_are(
    cause: Exception,
) -> None:
    error = e.RayTaskError("f", "", cause, pid=1).as_instanceof_cause()
    assert isinstance(error, type(cause))
    assert isinstance(error, e.RayTaskError)
    assert error.cause is cause
