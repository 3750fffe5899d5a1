"""serve.test_client: an application in one process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request

from heliostat import serve


@serve.deployment
class Doubler:
    def double(self, x: int) -> int:
        return 2 * x

    def count(self, n: int) -> Any:
        yield from range(n)


@serve.deployment
class Front:
    def __init__(self, inner: serve.DeploymentHandle) -> None:
        self.inner = inner

    async def __call__(self, request: Request) -> Any:
        x = int(request.query_params["x"])
        if x < 0:
            raise ValueError(f"{x} is negative")
        twice = self.inner.double.remote(self.inner.double.remote(x))
        stream = self.inner.options(stream=True).count.remote(2)
        return [await twice, [item async for item in stream]]


def test_composed_deployments_answer_without_a_session():
    client = serve.test_client(Front.bind(Doubler.bind()))
    answer = client.get("/?x=3")
    assert answer.json() == [12, [0, 1]]
    assert answer.headers["x-request-id"]


def test_what_the_ingress_raises_is_raised_in_the_test_or_is_a_500():
    app = Front.bind(Doubler.bind())
    with serve.test_client(app) as client, pytest.raises(ValueError, match="-1 is negative"):
        client.get("/?x=-1")
    with serve.test_client(app, raise_server_exceptions=False) as client:
        assert client.get("/?x=-1").status_code == 500
        assert client.get("/?x=1").status_code == 200


def test_what_a_view_raises_is_raised_in_the_test_or_is_a_500():
    api = FastAPI()

    @serve.deployment
    @serve.ingress(api)
    class Api:
        @api.get("/boom")
        def boom(self) -> None:
            raise ValueError("boom")

    with serve.test_client(Api.bind()) as client, pytest.raises(ValueError, match="boom"):
        client.get("/boom")
    with serve.test_client(Api.bind(), raise_server_exceptions=False) as client:
        assert client.get("/boom").status_code == 500


def test_a_constructor_that_raises_is_the_tests_error():
    @serve.deployment
    class Broken:
        def __init__(self) -> None:
            raise KeyError("no weights")

    with pytest.raises(KeyError, match="no weights"):
        serve.test_client(Broken.bind())


def test_batches_outlive_single_requests():
    @serve.deployment
    class Batched:
        @serve.batch(max_batch_size=2, batch_wait_timeout_s=0.01)
        async def many(self, xs: list[int]) -> list[int]:
            return [len(xs)] * len(xs)

        async def __call__(self, request: Request) -> Any:
            return await asyncio.gather(self.many(1), self.many(2))

    client = serve.test_client(Batched.bind())
    for _ in range(2):
        assert client.get("/").json() == [2, 2]
