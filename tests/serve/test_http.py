"""Values <-> HTTP."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime

import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from heliostat.serve._http import (
    HttpRequest,
    Received,
    body_first,
    plain_response,
    problem,
    run_app,
)


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        ("text", b"text", "text/plain; charset=utf-8"),
        (b"\x00", b"\x00", "application/octet-stream"),
        ({"a": [1, 2.5, None, True]}, b'{"a":[1,2.5,null,true]}', "application/json"),
        (None, b"null", "application/json"),
        (np.float32(0.5), b"0.5", "application/json"),
        ({"p": np.array([[1, 2]])}, b'{"p":[[1,2]]}', "application/json"),
        (datetime.date(2020, 1, 2), b'"2020-01-02"', "application/json"),
        ("\u00e9", "\u00e9".encode(), "text/plain; charset=utf-8"),
    ],
)
def test_a_value_becomes_the_response_of_its_kind(value: object, body: bytes, kind: str):
    response = plain_response(value)
    headers = {b"content-length": b"%d" % len(body), b"content-type": kind.encode()}
    assert (response.body, dict(response.headers)) == (body, headers)


def test_a_dataclass_becomes_an_object():
    @dataclasses.dataclass
    class Point:
        x: int

    assert plain_response([Point(1)]).body == b'[{"x":1}]'


def test_what_json_has_not_is_named():
    with pytest.raises(TypeError, match=r"builtins\.object cannot become JSON"):
        plain_response({"a": object()})
    with pytest.raises(TypeError, match="StreamingResponse"):
        plain_response(x for x in "ab")
    with pytest.raises(ValueError, match="not JSON compliant"):
        plain_response(float("nan"))


SCOPE = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}


def test_a_whole_request_runs_through_an_app_and_its_messages_come_as_they_are_sent():
    async def app(scope, receive, send):
        body = await Request(scope, receive).body()
        await StreamingResponse(iter([body, b"!"]), 202)(scope, receive, send)

    async def go():
        return [message async for message in run_app(app, HttpRequest(SCOPE, b"hi"))]

    start, *rest = asyncio.run(go())
    assert (start["status"], b"".join(part["body"] for part in rest)) == (202, b"hi!")


def test_who_stops_reading_ends_the_app_and_an_error_is_raised():
    ended = []

    async def endless(scope, receive, send):
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        finally:
            ended.append(True)

    async def broken(scope, receive, send):
        raise KeyError("no")

    async def go():
        messages = run_app(endless, HttpRequest(SCOPE, b""))
        await anext(messages)
        await messages.aclose()
        assert ended == [True]
        with pytest.raises(KeyError):
            await anext(run_app(broken, HttpRequest(SCOPE, b"")))

    asyncio.run(go())


def test_a_problem_carries_its_request_id():
    assert b"Request id: 42" in problem(500, "no", "42").body


def test_a_body_that_came_whole_is_taken_once_and_what_comes_later_still_comes():
    whole = {"type": "http.request", "body": b"all", "more_body": False}
    gone = {"type": "http.disconnect"}

    async def go(*messages: dict[str, object]) -> tuple[bytes | None, list[object]]:
        coming = iter([*messages, gone])

        async def receive() -> dict[str, object]:
            return next(coming)

        received = await body_first(receive)
        assert isinstance(received, Received)
        taken = received.take()
        rest = [await received()]
        while rest[-1] != gone:
            rest.append(await received())
        return taken, rest

    assert asyncio.run(go(whole)) == (b"all", [gone])
    part = {"type": "http.request", "body": b"a", "more_body": True}
    assert asyncio.run(go(part, whole)) == (None, [part, whole, gone])
    assert asyncio.run(go()) == (None, [gone])
