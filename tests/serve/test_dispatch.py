"""Dispatch with actors of the inline engine in the part of replicas."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import heliostat as ray
from heliostat import serve
from heliostat.exceptions import ActorDiedError, SerializationError
from heliostat.serve._call import Table
from heliostat.serve._dispatch import Dispatch
from heliostat.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaClosedError,
)
from heliostat.serve.handle import DeploymentHandle


@ray.remote(num_cpus=0)
class Answers:
    def __init__(self, is_closed: bool = False) -> None:
        self.is_closed = is_closed

    def call(
        self,
        method: str,
        route: str,
        id_: str,
        app: str,
        model: str,
        trace: str,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if method == "fail":
            raise KeyError("the user's")
        if self.is_closed:
            raise ReplicaClosedError("drained")
        return method, args, kwargs

    def stream(self, *args: Any) -> Iterator[Any]:
        yield from args


@pytest.fixture(autouse=True)
def session(request: pytest.FixtureRequest) -> Iterator[None]:
    with ray.init(engine=getattr(request, "param", "inline"), num_cpus=2):
        yield


# Inline, no argument is pickled.
pickling = pytest.mark.parametrize("session", ["local"], indirect=True)


def table(*actors: Any, queued: int = -1, unavailable: str = "") -> Table:
    replicas = {f"r{number}": actor for number, actor in enumerate(actors)}
    return Table(1, replicas, 1, queued, unavailable)


def handle(dispatch: Dispatch) -> DeploymentHandle:
    return DeploymentHandle("d", "a", dispatch=dispatch)


def test_a_call_waits_for_a_replica_and_then_reaches_it():
    dispatch = Dispatch("a", "d")
    response = handle(dispatch).predict.remote(1, x=2)
    with pytest.raises(TimeoutError, match=r"no replica of .* within 0 s"):
        response.result(timeout_s=0)
    dispatch.publish(table(Answers.remote()))
    assert response.result(timeout_s=5) == ("predict", (1,), {"x": 2})


def test_a_call_on_a_dead_replica_is_tried_on_another():
    dead, living = Answers.remote(), Answers.remote()
    ray.kill(dead)
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(dead, living))
    for _ in range(10):
        assert handle(dispatch).remote().result() == ("__call__", (), {})


def test_a_replica_that_has_closed_sends_the_call_on_without_using_up_a_try():
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(*(Answers.remote(True) for _ in range(9)), Answers.remote()))
    assert handle(dispatch).remote().result(timeout_s=5) == ("__call__", (), {})


def test_without_another_replica_the_call_waits_for_news():
    dead = Answers.remote()
    ray.kill(dead)
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(dead))
    response = handle(dispatch).remote()
    dispatch.publish(Table(2, {"new": Answers.remote()}, 1, -1, ""))
    assert response.result(timeout_s=5) == ("__call__", (), {})


def test_a_request_that_meets_only_dying_replicas_is_given_up():
    dead = [Answers.remote() for _ in range(5)]
    for actor in dead:
        ray.kill(actor)
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(*dead))
    with pytest.raises(ActorDiedError):
        handle(dispatch).remote().result(timeout_s=5)


def test_the_users_error_comes_as_its_own_class():
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(Answers.remote()))
    with pytest.raises(KeyError, match="the user's"):
        handle(dispatch).fail.remote().result()


def test_a_full_queue_refuses_and_a_deleted_deployment_says_so():
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(queued=0))
    with pytest.raises(BackPressureError, match="'d' of application 'a' has 0 replicas"):
        handle(dispatch).remote().result()
    dispatch.publish(table(unavailable="it was deleted"))
    with pytest.raises(DeploymentUnavailableError, match="it was deleted"):
        handle(dispatch).remote().result()


def places(dispatch: Dispatch) -> int:
    return sum(dispatch._router.loads.values())


@pickling
def test_an_argument_that_cannot_be_pickled_is_named_as_the_caller_knows_it():
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(Answers.remote()))
    with pytest.raises(SerializationError, match=r"call of predict of 'd'.* has argument 1\[0\],"):
        handle(dispatch).predict.remote(0, [threading.Lock()]).result(timeout_s=60)
    with pytest.raises(SerializationError, match=r"has lock, which cannot be pickled"):
        handle(dispatch).predict.remote(0, lock=threading.Lock()).result(timeout_s=60)


@pickling
def test_a_call_that_cannot_be_pickled_fails_alone_and_keeps_no_place():
    dispatch = Dispatch("a", "d")
    early, behind = handle(dispatch).remote(threading.Lock()), handle(dispatch).remote()
    dispatch.publish(table(Answers.remote()))
    for response in (early, handle(dispatch).remote(threading.Lock())):
        with pytest.raises(SerializationError, match="cannot pickle"):
            response.result(timeout_s=60)
    stream = handle(dispatch).options(stream=True).remote(threading.Lock())
    with pytest.raises(SerializationError, match="cannot pickle"):
        next(stream)
    assert behind.result(timeout_s=60) == ("__call__", (), {})
    assert places(dispatch) == 0


@pickling
def test_a_broadcast_that_cannot_be_pickled_says_so_whenever_it_was_made():
    dispatch = Dispatch("a", "d")
    early = handle(dispatch).broadcast("clear", threading.Lock())
    dispatch.publish(table(Answers.remote(), Answers.remote()))
    for response in (early, handle(dispatch).broadcast("clear", threading.Lock())):
        with pytest.raises(SerializationError, match="cannot pickle"):
            response.results(timeout_s=60)


@pickling
def test_a_chosen_replica_is_free_again_when_its_call_cannot_be_pickled():
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(Answers.remote()))

    async def go() -> None:
        async with handle(dispatch).choose_replica() as selection:
            behind = handle(dispatch).remote()
            failed = handle(dispatch).dispatch(selection, threading.Lock())
            with pytest.raises(SerializationError, match="cannot pickle"):
                await failed
            assert await behind == ("__call__", (), {})

    asyncio.run(go())
    assert places(dispatch) == 0


def test_responses_are_arguments_of_every_kind_of_call():
    dispatch, late = Dispatch("a", "d"), Dispatch("a", "late")
    dispatch.publish(table(Answers.remote()))
    inner = ("inner", (), {})

    async def go() -> None:
        response = handle(dispatch).inner.remote()
        async with handle(dispatch).predict.choose_replica() as selection:
            answer = handle(dispatch).dispatch(selection, response, x=handle(late).inner.remote())
            assert places(dispatch) == 1  # it waits for its argument, with its place
            late.publish(table(Answers.remote()))
            assert await answer == ("predict", (inner,), {"x": inner})
        sent = handle(dispatch).broadcast("clear", response)
        assert await sent.results_async() == [("clear", (inner,), {})]

    asyncio.run(go())
    assert places(dispatch) == 0


def test_an_argument_that_fails_gives_the_chosen_place_back():
    dispatch, late = Dispatch("a", "d"), Dispatch("a", "late")
    dispatch.publish(table(Answers.remote()))

    async def go() -> None:
        async with handle(dispatch).predict.choose_replica() as selection:
            answer = handle(dispatch).dispatch(selection, handle(late).inner.remote())
            late.publish(table(unavailable="it was deleted"))
            with pytest.raises(DeploymentUnavailableError, match="it was deleted"):
                await answer

    asyncio.run(go())
    assert places(dispatch) == 0


def test_the_inline_engine_says_that_it_cannot_serve():
    with pytest.raises(RuntimeError, match="Serve needs processes of its own"):
        serve.run(serve.deployment(dict).bind())
