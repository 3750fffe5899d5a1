"""Local testing mode: handles without replicas."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from heliostat import serve
from heliostat.serve.exceptions import RequestCancelledError


@serve.deployment(user_config={"factor": 3})
class Local:
    def __init__(self) -> None:
        self.context = serve.get_replica_context()

    def reconfigure(self, config: dict[str, int]) -> None:
        self.factor = config["factor"]

    def times(self, x: int) -> int:
        assert serve.get_replica_context().servable_object is self
        return x * self.factor

    def tag(self) -> str:
        return self.context.replica_tag

    def model(self) -> str:
        return serve.get_multiplexed_model_id()

    async def forever(self) -> None:
        await asyncio.Event().wait()

    async def fail(self) -> None:
        raise KeyError("user's")

    def items(self, n: int) -> Any:
        yield from range(n)
        raise ValueError("the end")


@pytest.fixture
def handle() -> Iterator[serve.DeploymentHandle]:
    yield serve.run(Local.bind(), _local_testing_mode=True)
    serve.shutdown()


def test_calls_errors_and_arguments_that_are_responses(handle: serve.DeploymentHandle):
    assert handle.times.remote(handle.times.remote(1)).result() == 9
    assert handle.tag.remote().result() == "default#Local#local"
    assert handle.options(multiplexed_model_id="m").model.remote().result() == "m"
    with pytest.raises(KeyError, match="user's"):
        handle.fail.remote().result()
    with pytest.raises(TypeError, match="stream=True"):
        handle.items.remote(1).result()
    with pytest.raises(RuntimeError, match="works only in a deployment's code"):
        serve.get_replica_context()


def test_streams_in_threads_and_in_loops(handle: serve.DeploymentHandle):
    stream = handle.options(stream=True)
    items = stream.items.remote(2)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="the end"):
        next(items)

    async def go() -> list[int]:
        items = stream.items.remote(2)
        seen = [await anext(items), await anext(items)]
        with pytest.raises(ValueError, match="the end"):
            await anext(items)
        return seen

    assert asyncio.run(go()) == [0, 1]


def test_cancelling_and_waiting_too_long(handle: serve.DeploymentHandle):
    response = handle.forever.remote()
    with pytest.raises(TimeoutError, match="no answer after"):
        response.result(timeout_s=0.01)
    response.cancel()
    assert response.cancelled()
    with pytest.raises(RequestCancelledError):
        response.result()

    async def go() -> None:
        response = handle.forever.remote()
        response.cancel()
        with pytest.raises(RequestCancelledError):
            await response

    asyncio.run(go())


def test_it_ends_with_delete_or_another_of_its_name(handle: serve.DeploymentHandle):
    def threads() -> int:
        return sum(t.name == "heliostat-serve-default" for t in threading.enumerate())

    assert serve.get_app_handle("default") is handle
    again = serve.run(Local.bind(), _local_testing_mode=True)
    assert again.times.remote(1).result() == 3
    assert threads() == 1
    serve.delete("default")
    assert threads() == 0


def test_an_environment_variable_chooses_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_SERVE_FORCE_LOCAL_TESTING_MODE", "1")
    assert serve.run(Local.bind()).times.remote(2).result() == 6
    serve.shutdown()
