"""Handles and responses, with actors of the inline engine in the part of replicas."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import heliostat as ray
from heliostat.serve._call import Table
from heliostat.serve._dispatch import Dispatch
from heliostat.serve.exceptions import (
    RayServeException,
    ReplicaClosedError,
)
from heliostat.serve.handle import DeploymentHandle


@ray.remote
class Answers:
    def __init__(self, is_closed: bool = False) -> None:
        self.is_closed = is_closed

    def call(
        self, method: str, route: str, id_: str, app: str, model: str, /, *args: Any, **kwargs: Any
    ) -> Any:
        if method == "fail":
            raise KeyError("the user's")
        if self.is_closed:
            raise ReplicaClosedError("drained")
        return method, args, kwargs


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    with ray.init(engine="inline"):
        yield


def table(*actors: Any, queued: int = -1, unavailable: str = "") -> Table:
    replicas = {f"r{number}": actor for number, actor in enumerate(actors)}
    return Table(1, replicas, 1, queued, unavailable)


def handle(dispatch: Dispatch) -> DeploymentHandle:
    return DeploymentHandle("d", "a", dispatch=dispatch)


def test_a_response_is_an_argument_of_the_next_call_and_arrives_as_its_value():
    dispatch = Dispatch("a", "d")
    first = handle(dispatch).one.remote()
    second = handle(dispatch).two.remote(first, after=first)
    dispatch.publish(table(Answers.remote()))
    one = ("one", (), {})
    assert second.result(timeout_s=5) == ("two", (one,), {"after": one})
    third = handle(dispatch).three.remote(first)
    assert third.result(timeout_s=5) == ("three", (one,), {})


def test_a_failed_response_as_argument_fails_the_call():
    dispatch = Dispatch("a", "d")
    second = handle(dispatch).two.remote(handle(dispatch).fail.remote())
    dispatch.publish(table(Answers.remote()))
    with pytest.raises(KeyError):
        second.result(timeout_s=5)


def test_a_handle_without_serve_says_what_to_do():
    with pytest.raises(RayServeException, match=r"call serve\.run"):
        DeploymentHandle("d", "a").remote()


def test_handles_keep_private_names_and_equality():
    one = DeploymentHandle("d", "a")
    assert one == DeploymentHandle("d", "a")
    assert one.method != one
    with pytest.raises(AttributeError):
        _ = one._secret
    with pytest.raises(NotImplementedError, match="session_id"):
        one.options(session_id="x")
    with pytest.raises(TypeError, match="must be a string"):
        one.options(multiplexed_model_id=3)  # type: ignore[arg-type]


def test_a_handle_in_a_pickle_keeps_its_options():
    one = DeploymentHandle("d", "a").options(stream=True, multiplexed_model_id="m").items
    copy = pickle.loads(pickle.dumps(one))
    assert copy == one
    assert copy != one.options(stream=False)


def test_a_stream_is_no_argument_and_has_no_one_result():
    dispatch = Dispatch("a", "d")
    stream = handle(dispatch).options(stream=True).remote()
    with pytest.raises(TypeError, match="cannot be an argument"):
        handle(dispatch).remote(stream)
    with pytest.raises(TypeError, match="no one result"):
        stream.result()
    with pytest.raises(TypeError, match="not awaited"):
        stream.__await__()
