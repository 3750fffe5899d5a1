"""Values <-> HTTP: what a deployment returns as an answer, and whole messages that can travel.

Pure conversions. It knows nothing of replicas, routes or sockets.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope

Header = tuple[bytes, bytes]


class HttpRequest(NamedTuple):
    """A request with its whole body, fit to be sent to another process."""

    scope: dict[str, Any]
    body: bytes


class HttpResponse(NamedTuple):
    """A response with its whole body, fit to be sent to another process."""

    status: int
    headers: list[Header]
    body: bytes


_SHORT_BYTES = 65536
_TRAVELS = (
    "type",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "headers",
    "client",
    "server",
)


def plain_response(value: object) -> HttpResponse:
    """What a value is as an answer, which is no Response.

    str is text, bytes are bytes; all else is JSON (arrays, dataclasses and pydantic models
    included).

    Raises:
        TypeError: When it cannot become JSON; names the type.
        ValueError: When it holds NaN or infinity, which JSON has not.
    """
    if isinstance(value, str):
        kind, body = b"text/plain; charset=utf-8", value.encode()
    elif isinstance(value, (bytes, bytearray, memoryview)):
        kind, body = b"application/octet-stream", bytes(value)
    else:
        kind, body = b"application/json", to_json(value)
    length = (b"content-length", b"%d" % len(body))
    return HttpResponse(200, [length, (b"content-type", kind)], body)


def to_json(value: object) -> bytes:
    """JSON, as UTF-8."""
    return _ENCODER.encode(value).encode()


def _plain(value: Any) -> Any:
    """The nearest plain value, found by what the object offers; no library is imported."""
    for name in ("tolist", "model_dump", "isoformat"):  # arrays, pydantic models, dates
        convert = getattr(value, name, None)
        if callable(convert) and not isinstance(value, type):
            return convert()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        return list(value)
    if hasattr(value, "__next__") or hasattr(value, "__anext__"):
        raise TypeError(
            "a generator cannot be an HTTP response by itself; "
            "return starlette.responses.StreamingResponse(generator)"
        )
    raise TypeError(
        f"{type(value).__module__}.{type(value).__qualname__} cannot become JSON; return a "
        "str, bytes, dict, list, number or a starlette Response"
    )


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
)


def problem(status: int, text: str, request_id: str, *headers: Header) -> HttpResponse:
    """An answer that says what went wrong and under which id the log has more."""
    body = f"{text}\nRequest id: {request_id}\n".encode()
    length = (b"content-length", str(len(body)).encode())
    kind = (b"content-type", b"text/plain; charset=utf-8")
    return HttpResponse(status, [kind, length, *headers], body)


async def read_request(scope: Scope, receive: Receive) -> HttpRequest:
    """The whole request.

    Raises:
        ConnectionError: When the client went away before its body was here.
    """
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client went away before it had sent its request")
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return HttpRequest(
                {key: scope[key] for key in _TRAVELS if key in scope}, b"".join(chunks)
            )


class Received:
    """A `receive` that begins with messages that have come already."""

    __slots__ = ("_messages", "_receive")

    def __init__(self, messages: deque[Message], receive: Receive) -> None:
        self._messages = messages
        self._receive = receive

    async def __call__(self) -> Message:
        return self._messages.popleft() if self._messages else await self._receive()

    def take(self) -> bytes | None:
        """The body, if it came whole and in one message, which then is no message any more."""
        if len(self._messages) != 1:
            return None
        message = self._messages[0]
        if message["type"] != "http.request" or message.get("more_body"):
            return None
        self._messages.clear()
        body: bytes = message["body"]
        return body


async def body_first(receive: Receive) -> Receive:
    """Wait for the body, as long as it is short: who sends it slowly holds up nobody else.

    Returns:
        A `receive` that begins with what has come.
    """
    messages, size = deque([await receive()]), 0
    while messages[-1].get("more_body") and size < _SHORT_BYTES:
        size += len(messages[-1]["body"])
        messages.append(await receive())
    return Received(messages, receive)


async def write_response(
    response: HttpResponse, send: Callable[[Message], Awaitable[None]]
) -> None:
    """Send a whole response."""
    await send(
        {"type": "http.response.start", "status": response.status, "headers": response.headers}
    )
    await send({"type": "http.response.body", "body": response.body})


async def run_app(app: ASGIApp, request: HttpRequest) -> AsyncIterator[Message]:
    """Run an ASGI app on a whole request; what it sends, as it comes.

    An error before the response has begun is raised; whoever stops reading ends the app.
    """
    sent: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=16)
    received = False

    async def receive() -> Message:
        nonlocal received
        if received:
            await asyncio.Event().wait()  # who goes away cancels this task
        received = True
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def run() -> None:
        try:
            await app({**request.scope, "asgi": {"version": "3.0"}, "state": {}}, receive, sent.put)
        finally:
            await sent.put(None)

    task = asyncio.create_task(run())
    try:
        while (message := await sent.get()) is not None:
            yield message
        await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
