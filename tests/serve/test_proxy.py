"""Proxy: routes, request ids, errors as statuses."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from heliostat.exceptions import ActorDiedError
from heliostat.serve._http import HttpRequest, plain_response, write_response
from heliostat.serve._proxy import Proxy, Route, by_length, match, new_request_id
from heliostat.serve.config import HTTPOptions
from heliostat.serve.context import RequestContext, current_request
from heliostat.serve.exceptions import BackPressureError

ROUTES = [Route("/", "root", "R"), Route("/a", "a", "A"), Route("/a/b", "b", "B")]


@pytest.mark.parametrize(
    ("path", "app"),
    [("/", "root"), ("/a", "a"), ("/a/", "a"), ("/ab", "root"), ("/a/b/c", "b"), ("/a/bc", "a")],
)
def test_the_longest_prefix_that_ends_with_a_segment_wins(path: str, app: str):
    found = match(by_length(ROUTES), path)
    assert found is not None
    assert found.app_name == app


async def _nowhere(
    route: Route, context: RequestContext, request: HttpRequest
) -> AsyncIterator[Any]:
    raise ActorDiedError("gone")
    yield


def proxy(call: Callable[[Request], Awaitable[Any]], **options: Any) -> Proxy:
    async def app(scope, receive, send):
        await write_response(plain_response(await call(Request(scope, receive))), send)

    made = Proxy(_nowhere, HTTPOptions(**options), {"a": app})
    made.set_routes([Route("/a", "a", "A"), Route("/elsewhere", "c", "C")])
    return made


def ask(app: Proxy, path: str = "/a", **request: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post(path, **request)

    return asyncio.run(go())


async def _echo(request: Request) -> Any:
    return await request.json()


def test_a_request_reaches_the_local_app_and_its_id_comes_back():
    answer = ask(proxy(_echo), json={"x": 1}, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.json()) == (200, {"x": 1})
    assert answer.headers["x-request-id"] == "mine"


def test_user_code_sees_the_full_path_its_prefix_and_the_request_id():
    async def call(request: Request) -> Any:
        return [request.url.path, request.scope["root_path"], current_request().route]

    assert ask(proxy(call), "/a/b").json() == ["/a/b", "/a", "/a"]


def test_malformed_json_is_a_500_with_a_request_id_and_the_traceback_only_in_the_log(
    caplog: pytest.LogCaptureFixture,
):
    with caplog.at_level(logging.ERROR, "heliostat.serve"):
        answer = ask(proxy(_echo), content=b"{not json")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text
    assert "Traceback" not in answer.text
    assert "JSONDecodeError" in caplog.text
    assert "_echo" in caplog.text
    assert "heliostat" not in caplog.text.split("Traceback")[1]
    assert answer.headers["x-request-id"] in caplog.text


def test_an_unknown_path_is_a_404_that_lists_the_routes():
    answer = ask(proxy(_echo), "/b")
    assert answer.status_code == 404
    assert "/elsewhere, /a" in answer.text


def test_health_and_routes_are_answered_without_a_deployment():
    assert ask(proxy(_echo), "/-/healthz").text == "success"
    assert ask(proxy(_echo), "/-/routes").json() == {"/a": "a", "/elsewhere": "c"}


def test_serves_own_pages_are_not_the_applications_also_where_that_has_all_paths():
    app = proxy(_echo)
    app.set_routes([Route("/", "a", "A")])
    assert ask(app, "/-/healthz").text == "success"
    assert ask(app, "/-/routes").json() == {"/": "a"}
    assert ask(app, "/-/other", json=1).json() == 1


def test_a_proxy_is_not_healthy_before_an_application_runs():
    begun = Proxy(_nowhere, HTTPOptions(), {})
    begun.is_ready = False
    begun.set_routes(ROUTES)
    for path in ("/-/healthz", "/-/routes"):
        answer = ask(begun, path)
        assert answer.status_code == 503
        assert "no application runs yet" in answer.text
    begun.is_ready = True
    begun.set_routes([])
    assert ask(begun, "/-/healthz").status_code == 200
    assert ask(begun, "/-/routes").json() == {}


def test_a_dead_deployment_and_a_full_queue_are_503():
    async def full(request: Request) -> Any:
        raise BackPressureError("full")

    assert ask(proxy(_echo), "/elsewhere").status_code == 503
    answer = ask(proxy(full))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_request_that_takes_too_long_is_a_408_but_the_users_own_timeout_a_500():
    async def slow(request: Request) -> Any:
        await asyncio.Event().wait()

    async def own(request: Request) -> Any:
        raise TimeoutError("database")

    assert ask(proxy(slow, request_timeout_s=0.01)).status_code == 408
    assert ask(proxy(own)).status_code == 500


def test_a_request_id_that_could_do_harm_is_replaced():
    assert ask(proxy(_echo), json=1, headers={"x-request-id": "a" * 999}).headers[
        "x-request-id"
    ] != ("a" * 999)


def test_a_response_of_the_user_cannot_double_the_request_id():
    async def call(request: Request) -> Any:
        return Response("x", headers={"X-Request-ID": "other"})

    answer = ask(proxy(call), headers={"x-request-id": "mine"})
    assert answer.headers.get_list("x-request-id") == ["mine"]


def test_ids_of_requests_differ_though_a_user_seeds_random():
    random.seed(7)
    one = new_request_id()
    random.seed(7)
    assert new_request_id() != one
    assert str(uuid.UUID(one)) == one
