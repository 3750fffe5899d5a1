"""Exchange: one HTTP request on a connection, and its answer; `receive` and `send` as ASGI has them.

It stands in for uvicorn's cycle, of which it has the outside that uvicorn's protocol uses. What is
there already is not waited for, and a header that is known to be sound is not looked at twice.
It does not know the parser, nor what becomes of the connection afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl

Header = tuple[bytes, bytes]

logger = logging.getLogger("uvicorn.error")  # where users look for what a server says

_BAD_NAME = re.compile(b'[\x00-\x1f\x7f()<>@,;:\\[\\]={} \t\\\\"]')
_bad_in_value = re.compile(b"[\x00-\x08\x0a-\x1f\x7f]").search
_SOUND = frozenset(  # names that need no look, and ask nothing of us
    (b"content-type", b"date", b"x-request-id", b"server", b"etag", b"cache-control", b"vary")
)
_NO_BODY = (204, 304)


class BrokenOffError(Exception):
    """An answer failed when it had begun, or after its end; what failed is in the log already."""


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # one that nobody has registered
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


class _News:
    """Something has come or happened; an asyncio.Event, once somebody waits for it."""

    __slots__ = ("_event", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._event: asyncio.Event | None = None

    def set(self) -> None:
        """Wake those who wait."""
        self.is_set = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        """It was heard."""
        self.is_set = False
        if self._event is not None:
            self._event.clear()

    async def wait(self) -> None:
        """Until it is set."""
        if self._event is None:
            self._event = asyncio.Event()
        await self._event.wait()


class Exchange:
    """A request that has begun to come, and its answer. It is its own `receive`.

    Args:
        scope: What ASGI says of the request.
        transport: Of the connection.
        flow: Of the connection; shared by its exchanges.
        default_head: Header lines that every answer has.
        keep_alive: Whether the connection may stay when this is over.
        wants_continue: Whether the client waits for "100 Continue".
        on_response: Called when the answer is out.
    """

    __slots__ = (
        "_chunked",
        "_default_head",
        "_flow",
        "_is_head",
        "_left",
        "_on_response",
        "_tag_name",
        "_transport",
        "_wants_continue",
        "body",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "status",
    )

    def __init__(
        self,
        scope: Scope,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_head: bytes,
        keep_alive: bool,
        wants_continue: bool,
        on_response: Callable[[], None],
    ) -> None:
        self.scope = scope
        self._transport = transport
        self._flow = flow
        self._default_head = default_head
        self.keep_alive = keep_alive
        self._wants_continue = wants_continue
        self._on_response = on_response
        self._is_head = scope["method"] == "HEAD"
        self.message_event = _News()
        self.disconnected = False
        self.body: Any = b""  # what has come and was not received; a bytearray when it is long
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.status = 0  # of the answer, when that has begun
        self._tag_name = b""
        self._chunked: bool | None = None
        self._left = 0  # bytes of the body that content-length promises

    def tag(self, name: bytes, value: bytes) -> None:
        """Give the answer a header, and no other of this name."""
        self._tag_name = name
        self._default_head += b"%b: %b\r\n" % (name, value)

    async def run(self, app: ASGIApp) -> None:
        """Have the app answer. What it leaves open ends the connection, or is an answer of 500."""
        try:
            await app(self.scope, self, self.send)
        except BrokenOffError:
            await self._give_up()
        except asyncio.CancelledError as error:
            if not self.disconnected:
                logger.error("A request was cancelled by the server", exc_info=error)
                await self._give_up()
        except BaseException as error:  # user code, which must not end the loop
            logger.error("Exception in ASGI application\n", exc_info=error)
            await self._give_up()
        else:
            if not self.response_complete and not self.disconnected:
                logger.error("ASGI callable returned without completing response.")
                await self._give_up()

    async def _give_up(self) -> None:
        """Nobody will say more: an answer that has begun is broken off.

        One that is whole stays, and so does its connection, on which the next request may be.
        """
        if self.response_complete:
            return
        if self.response_started:
            self._transport.close()
            return
        body = b"Internal Server Error"
        length = (b"content-length", b"%d" % len(body))
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            length,
            (b"connection", b"close"),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def __call__(self) -> Message:
        """What has come of the body, or that the client is gone or answered: ASGI's `receive`."""
        if self._wants_continue and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._wants_continue = False
        if not self.disconnected and not self.response_complete:
            if not self.message_event.is_set:
                self._flow.resume_reading()
                await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), b""
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def take(self) -> bytes | None:
        """The body, if all of it has come and was not received; then there is none to receive."""
        if self.more_body or not self.message_event.is_set or self._wants_continue:
            return None
        self.message_event.clear()
        body, self.body = bytes(self.body), b""
        return body

    async def send(self, message: Message) -> None:
        """One message of the answer.

        Raises:
            RuntimeError: When it is none that may come now, or no sound one.
        """
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"an answer begins with 'http.response.start', not {kind!r}")
            self._begin(message["status"], message.get("headers") or ())
        elif self.response_complete:
            raise RuntimeError(f"the answer is complete, and {kind!r} was sent after it")
        elif kind != "http.response.body":
            raise RuntimeError(f"an answer goes on with 'http.response.body', not {kind!r}")
        else:
            self._go_on(message.get("body", b""), message.get("more_body", False))

    def _begin(self, status: int, headers: Iterable[Header]) -> None:
        self.response_started = True
        self._wants_continue = False
        self.status = status
        lines = [_STATUS_LINES[status], self._default_head]
        says_close = False
        tag_name = self._tag_name
        for name, value in headers:
            if name == tag_name:
                continue
            if _bad_in_value(value):
                raise RuntimeError(
                    f"header {name!r} has a value with control characters: {value!r}"
                )
            if name == b"content-length":
                if self._chunked is None:
                    self._left, self._chunked = int(value), False
            elif name not in _SOUND:
                name = _sound(name)
                if name == tag_name:
                    continue
                says_close = self._heed(name, value) or says_close
            lines += (name, b": ", value, b"\r\n")
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close\r\n")
        if self._chunked is None and not self._is_head and status not in _NO_BODY:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._transport.write(b"".join(lines))

    def _heed(self, name: bytes, value: bytes) -> bool:
        """What a header means for the connection; True when it closes it."""
        if name == b"content-length":  # in capitals, or it would not have come here
            if self._chunked is None:
                self._left, self._chunked = int(value), False
        elif name == b"transfer-encoding":
            if value.lower() == b"chunked":
                self._left, self._chunked = 0, True
        elif name == b"connection" and b"close" in map(bytes.strip, value.lower().split(b",")):
            self.keep_alive = False
            return True
        return False

    def _go_on(self, body: bytes, more: bool) -> None:
        if self._is_head:
            self._left = 0
        elif self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self._transport.write(chunk if more else chunk + b"0\r\n\r\n")
        else:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("the answer's body is longer than its content-length")
            self._transport.write(body)
        if more:
            return
        if self._left:
            raise RuntimeError(f"the answer's body lacks {self._left} bytes of its content-length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self._transport.close()
        self._on_response()


def _sound(name: bytes) -> bytes:
    if _BAD_NAME.search(name):
        raise RuntimeError(f"{name!r} cannot be the name of a header")
    return name.lower()
