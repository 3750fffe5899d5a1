"""Exchange: what goes over the wire is what uvicorn's own cycle writes; errors end the connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from heliostat.serve._connections import Connections, _Connection
from heliostat.serve._exchange import BrokenOffError

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"ok"}


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.written, self.closed = b"", False
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_protocol(self) -> Any:
        return self.protocol

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await Response(body, headers={"x-path": scope["path"]})(scope, receive, send)


async def pieces(scope: Any, receive: Any, send: Any) -> None:
    async def some() -> AsyncIterator[str]:
        for piece in ("one", "", "two"):
            yield piece

    await StreamingResponse(some(), 201)(scope, receive, send)


async def closing(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("x", headers={"Connection": "keep-alive, Close"})(scope, receive, send)


async def capitals(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "headers": [(b"Content-Length", b"2"), (b"X-Odd", b"a\tb")]})
    await send(BODY)


async def chunked(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "status": 599, "headers": [(b"Transfer-Encoding", b"chunked")]})
    await send({**BODY, "more_body": True})
    await send({"type": "http.response.body"})


async def empty(scope: Any, receive: Any, send: Any) -> None:
    await Response(status_code=204)(scope, receive, send)


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("wrong")


async def silent(scope: Any, receive: Any, send: Any) -> None:
    return None


async def half(scope: Any, receive: Any, send: Any) -> None:
    await send(START)


async def too_long(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({**BODY, "body": b"too long"})


async def too_short(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({**BODY, "body": b"o"})


async def body_before_start(scope: Any, receive: Any, send: Any) -> None:
    await send(BODY)


async def start_twice(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(START)


async def split_header(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "headers": [(b"x", b"a\r\nset-cookie: evil")]})


async def odd_name(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "headers": [(b"x y", b"a")]})


REQUESTS = {
    "get": b"GET /a%20b?c=d HTTP/1.1\r\nhost: x\r\n\r\n",
    "head": b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
    "post": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
    "old": b"GET / HTTP/1.0\r\n\r\n",
    "old_kept": b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    "close": b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "continue": b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nok",
    "chunks": b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    "pipelined": b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n" * 3,
    "upgrade": b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
}
SOUND = [echo, pieces, closing, capitals, chunked, empty]
BROKEN = [failing, silent, half, too_long, too_short, body_before_start, start_twice]


async def answered(make: Callable[[], Any], request: bytes) -> Wire:
    """What a protocol writes when it is given a request, in two parts."""
    wire, protocol = Wire(), make()
    wire.protocol = protocol
    protocol.connection_made(wire)
    for part in (request[:30], request[30:]):
        if not wire.closed:
            protocol.data_received(part)
        for _ in range(50):
            await asyncio.sleep(0)
    protocol.connection_lost(None)
    return wire


def ours_of(app: Any) -> _Connection:
    """A connection of ours."""
    owner = Connections(app, 5)
    owner.default_head = b"date: now\r\n"
    connection = _Connection(owner._config, owner._state, {})
    connection.belong(owner)
    return connection


def both(app: Any, request: bytes) -> tuple[Wire, Wire]:
    """From us, and from uvicorn."""

    async def go() -> tuple[Wire, Wire]:
        config = uvicorn.Config(
            app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
        )
        config.load()
        state = ServerState()
        state.default_headers = [(b"date", b"now")]
        theirs = await answered(lambda: HttpToolsProtocol(config, state, {}), request)
        return await answered(lambda: ours_of(app), request), theirs

    return asyncio.run(go())


@pytest.mark.skipif(
    tuple(map(int, uvicorn.__version__.split(".")[:2])) < (0, 54),
    reason="older ones keep connections of HTTP/1.0 open, or say so twice",
)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("app", SOUND, ids=lambda app: app.__name__)
def test_an_answer_is_to_the_byte_what_uvicorn_writes(app: Any, request_: bytes):
    ours, theirs = both(app, request_)
    assert ours.written == theirs.written
    assert ours.closed == theirs.closed
    assert ours.written.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))


@pytest.mark.parametrize("app", BROKEN, ids=lambda app: app.__name__)
def test_an_app_that_breaks_the_protocol_ends_as_at_uvicorn(app: Any, caplog: Any):
    ours, theirs = both(app, REQUESTS["get"])
    assert (ours.written, ours.closed) == (theirs.written, theirs.closed)
    assert [r.levelno for r in caplog.records] == [logging.ERROR] * 2


@pytest.mark.parametrize("app", [split_header, odd_name], ids=lambda app: app.__name__)
def test_a_header_that_would_be_two_is_never_written(app: Any, caplog: Any):
    ours, _ = both(app, REQUESTS["get"])
    assert b"evil" not in ours.written
    assert b"x y" not in ours.written
    assert ours.closed


async def failing_afterwards(scope: Any, receive: Any, send: Any) -> None:
    await echo(scope, receive, send)
    raise ValueError("too late to matter")


async def broken_off(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    raise BrokenOffError


async def answer_of(app: Any, request: bytes) -> Wire:
    return await answered(lambda: ours_of(app), request)


def test_an_error_after_a_whole_answer_costs_no_connection(caplog: Any):
    wire = asyncio.run(answer_of(failing_afterwards, REQUESTS["pipelined"]))
    assert wire.written.count(b"HTTP/1.1 200 OK") == 3
    assert "too late to matter" in caplog.text


@pytest.mark.parametrize("name", [b"x-request-id", b"X-Request-ID"])
def test_a_tag_stands_in_place_of_the_apps_own_header(name: bytes):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        receive.tag(b"x-request-id", b"ours")
        await send({**START, "headers": [(b"content-length", b"2"), (name, b"theirs")]})
        await send(BODY)
        assert receive.status == 200

    written = asyncio.run(answer_of(app, REQUESTS["get"])).written
    assert written.count(b"x-request-id: ours\r\n") == 1
    assert b"theirs" not in written


def test_what_is_logged_already_is_not_logged_again(caplog: Any):
    wire = asyncio.run(answer_of(broken_off, REQUESTS["get"]))
    assert wire.closed
    assert not caplog.records


def test_several_who_wait_hear_that_the_client_is_gone():
    heard = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        first, second = asyncio.ensure_future(receive()), asyncio.ensure_future(receive())
        third = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        third.cancel()
        try:
            await asyncio.Event().wait()
        finally:
            heard.extend([(await first)["type"], (await second)["type"]])

    asyncio.run(answer_of(app, REQUESTS["post"]))
    assert heard == ["http.disconnect"] * 2


def test_a_body_that_is_taken_is_not_received_again():
    taken = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        taken.append(receive.take())
        taken.append(receive.take())
        await PlainTextResponse("x")(scope, receive, send)
        taken.append((await receive())["type"])

    asyncio.run(answer_of(app, REQUESTS["get"] + REQUESTS["post"]))
    # Each in one piece, as far as it had come; what takes a piece more is waited for.
    assert taken == [b"", None, "http.disconnect", b"hello", None, "http.disconnect"]
