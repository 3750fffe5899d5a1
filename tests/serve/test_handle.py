"""Handles and responses, with actors of the inline engine in the part of replicas."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import heliostat as ray
from heliostat.serve._call import Table
from heliostat.serve._dispatch import Dispatch
from heliostat.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaClosedError,
    ReplicaUnavailableError,
)
from heliostat.serve.handle import DeploymentHandle


@ray.remote
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
    with pytest.raises(TypeError, match="no option 'colour'"):
        one.options(colour="x")
    with pytest.raises(NotImplementedError, match="request_serialization='msgpack'"):
        one.options(request_serialization="msgpack")
    with pytest.raises(TypeError, match="session_id must be a string"):
        one.options(session_id=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="method_name must be a string, got 3"):
        one.options(method_name=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="stream must be True or False, got 'yes'"):
        one.options(stream="yes")  # type: ignore[arg-type]
    same = one.options(_prefer_local_routing=True, response_serialization="pickle")
    assert same == one
    with pytest.raises(TypeError, match="must be a string"):
        one.options(multiplexed_model_id=3)  # type: ignore[arg-type]


def test_a_call_without_remote_says_how_it_is_made():
    one = DeploymentHandle("d", "a")
    with pytest.raises(TypeError, match=r"use handle\.remote\(\.\.\.\).*deployment 'd'"):
        one(1)
    with pytest.raises(TypeError, match=r"use handle\.predict\.remote"):
        one.predict(1)


def test_one_answer_is_not_iterated():
    response = handle(Dispatch("a", "d")).remote()
    with pytest.raises(TypeError, match=r"one answer; .*options\(stream=True\)"):
        list(response)
    with pytest.raises(TypeError, match="one answer"):
        aiter(response)


def test_a_handle_in_a_pickle_keeps_its_options():
    options = {"stream": True, "multiplexed_model_id": "m", "session_id": "s"}
    one = DeploymentHandle("d", "a").options(**options).items
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


def test_a_broadcast_reaches_every_replica_as_soon_as_they_are_known():
    dispatch = Dispatch("a", "d")
    early = handle(dispatch).broadcast("clear", 1, x=2)
    with pytest.raises(TimeoutError, match="no replicas were known after 0 s"):
        early.results(timeout_s=0)
    dispatch.publish(table(Answers.remote(), Answers.remote()))
    assert early.results(timeout_s=5) == [("clear", (1,), {"x": 2})] * 2
    failed = handle(dispatch).broadcast("fail")
    with pytest.raises(KeyError, match="the user's"):
        failed.results()
    assert all(isinstance(e, KeyError) for e in failed.results(return_exceptions=True))
    with pytest.raises(ValueError, match=">= 0"):
        failed.results(timeout_s=-1)


def test_a_broadcast_takes_no_place_and_goes_to_no_other_replica():
    dispatch = Dispatch("a", "d")
    dead = Answers.remote()
    ray.kill(dead)
    dispatch.publish(table(dead, Answers.remote()))
    answers = handle(dispatch).broadcast("clear").results(return_exceptions=True)
    assert [isinstance(answer, Exception) for answer in answers] == [True, False]
    assert all(load == 0 for load in dispatch._router.loads.values())


def test_a_broadcast_without_replicas_says_why():
    dispatch = Dispatch("a", "d")
    dispatch.publish(table())
    with pytest.raises(DeploymentUnavailableError, match="has no replica now"):
        handle(dispatch).broadcast("clear").results()
    dispatch.publish(table(unavailable="it was deleted"))
    with pytest.raises(DeploymentUnavailableError, match="it was deleted"):
        handle(dispatch).broadcast("clear").results()


def test_all_answers_of_a_broadcast_may_be_awaited():
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(Answers.remote(), Answers.remote()))

    async def go() -> list[Any]:
        response = handle(dispatch).broadcast("clear")
        with pytest.raises(RuntimeError, match="results_async"):
            response.results()
        return await response.results_async(timeout_s=20)

    assert asyncio.run(go()) == [("clear", (), {})] * 2


def test_a_chosen_replica_keeps_a_place_until_the_call_or_the_end():
    dispatch = Dispatch("a", "d")
    dispatch.publish(table(Answers.remote()))

    async def go() -> None:
        async with handle(dispatch).predict.choose_replica() as selection:
            assert selection.replica_id == "r0"
            assert dispatch._router.loads == {"r0": 1}
            waits = asyncio.ensure_future(anext_selection())
            await asyncio.sleep(0)
            answer = await handle(dispatch).other.dispatch(selection, 1, x=2)
            assert answer == ("predict", (1,), {"x": 2})
            with pytest.raises(ReplicaUnavailableError, match="has had its call"):
                handle(dispatch).dispatch(selection)
        assert await asyncio.wait_for(waits, 20) == "r0"
        assert dispatch._router.loads == {"r0": 0}
        async with handle(dispatch).choose_replica() as selection:
            dispatch.publish(table())
            with pytest.raises(ReplicaUnavailableError, match="is gone"):
                handle(dispatch).dispatch(selection)
            with pytest.raises(ValueError, match="was chosen of"):
                DeploymentHandle("other", "a", dispatch=dispatch).dispatch(selection)

    async def anext_selection() -> str:
        async with handle(dispatch).choose_replica() as selection:
            return selection.replica_id

    asyncio.run(go())


def test_who_stops_waiting_for_a_replica_leaves_no_place_taken():
    dispatch = Dispatch("a", "d")

    async def go() -> None:
        choosing = asyncio.ensure_future(handle(dispatch).choose_replica().__aenter__())
        await asyncio.sleep(0)
        assert len(dispatch._waiting) == 1
        choosing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await choosing
        assert len(dispatch._waiting) == 0

    asyncio.run(go())
    dispatch.publish(table(queued=0))

    async def refused() -> None:
        with pytest.raises(BackPressureError):
            async with handle(dispatch).choose_replica():
                pass

    asyncio.run(refused())


def test_the_reference_to_an_answer_is_there_for_cores_functions():
    dispatch = Dispatch("a", "d")
    response = handle(dispatch).one.remote()
    with pytest.raises(TimeoutError, match="no replica within 0 s"):
        response._to_object_ref_sync(0)
    dispatch.publish(table(Answers.remote()))
    assert ray.get(response._to_object_ref_sync()) == ("one", (), {})
    assert response.by_reference

    async def go() -> Any:
        with pytest.raises(RuntimeError, match="block the event loop"):
            response._to_object_ref_sync()
        return await (await response._to_object_ref())

    assert asyncio.run(go()) == ("one", (), {})


def test_a_handle_lets_go_of_what_it_knows():
    dispatch = Dispatch("a", "d")
    one = handle(dispatch)
    assert one.method.is_initialized
    assert not one.running_replicas_populated()
    dispatch.publish(table(Answers.remote()))
    assert one.running_replicas_populated()
    asyncio.run(one.shutdown_async())
    assert not one.is_initialized
    assert not one.method.is_initialized
