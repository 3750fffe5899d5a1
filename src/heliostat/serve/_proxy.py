"""Proxy: the ASGI app that every connection meets, in a replica or beside the controller.

It finds the application by the longest route prefix and runs it here if it is here; else it
forwards the request through a handle. It gives every request an id and turns errors into
statuses. It does not know how connections come (`_connections.py`) nor what a replica is.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from heliostat.exceptions import RayActorError
from heliostat.serve import _logs
from heliostat.serve._exchange import BrokenOffError, Exchange
from heliostat.serve._http import (
    HttpRequest,
    HttpResponse,
    problem,
    read_request,
    to_json,
    write_response,
)
from heliostat.serve._measures import http_answered
from heliostat.serve.config import HTTPOptions
from heliostat.serve.context import RequestContext, serving
from heliostat.serve.exceptions import BackPressureError, DeploymentUnavailableError

logger = logging.getLogger("heliostat.serve")

_ID_HEADER = b"x-request-id"
_MODEL_HEADER = b"serve_multiplexed_model_id"
_OWN_PAGES = _HEALTH, _ROUTES = "/-/healthz", "/-/routes"
_ID_FORM = re.compile(rb"[\x21-\x7e]{1,200}")


class Route(NamedTuple):
    """A URL prefix, and the deployment that answers there."""

    prefix: str
    app_name: str
    ingress: str


Forward = Callable[[Route, RequestContext, HttpRequest], AsyncIterator[Message]]


def by_length(routes: Iterable[Route]) -> list[Route]:
    """The routes with the longest prefix first, as `match` wants them."""
    return sorted(routes, key=lambda route: len(route.prefix), reverse=True)


def match(routes: Iterable[Route], path: str) -> Route | None:
    """The first route whose prefix is the path, or ends where a segment of it ends; Serve's own
    pages are nobody's, also where an application has all of "/".

    Example:
        >>> match([Route("/a", "a", "A")], "/a/b").app_name
        'a'
        >>> match([Route("/a", "a", "A")], "/ab") is None
        True
    """
    if path in _OWN_PAGES:
        return None
    for route in routes:
        prefix = route.prefix
        if prefix == "/" or path == prefix or path.startswith(prefix + "/"):
            return route
    return None


class _Answer:
    """What an Exchange does by itself, for answers on other ways: a tag, and which status it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    def tag(self, name: bytes, value: bytes) -> None:
        """Give it a header, and no other of this name."""
        self._tag = (name, value)

    def send(self, message: Message) -> Awaitable[None]:
        """One message of the answer."""
        if message["type"] == "http.response.start":
            self.status, headers = message["status"], message.get("headers") or ()
            others = [header for header in headers if header[0] != self._tag[0]]
            message = {**message, "headers": [*others, self._tag]}
        return self._send(message)


class Proxy:
    """Longest prefix, then the application here or a forward.

    Args:
        forward: Sends a whole request to a deployment in another process.
        options: The server's options.
        local: The applications that this process can run itself, by name.
    """

    def __init__(
        self, forward: Forward, options: HTTPOptions, local: Mapping[str, ASGIApp] | None = None
    ) -> None:
        self.routes: list[Route] = []
        self.is_ready = True  # an application runs; else whoever watches Serve is told to wait
        self._forward = forward
        self._options = options
        self._timeout_s = options.request_timeout_s
        self._local = dict(local or {})
        self._serving: Callable[[RequestContext], serving] = serving

    def set_routes(self, routes: Iterable[Route]) -> None:
        """Replace the table of routes."""
        self.routes = by_length(routes)

    def trace(self, traced: Callable[[RequestContext], serving]) -> None:
        """Answer each request in a span: `traced` stands in for `serving` from now on."""
        self._serving = traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket, as ASGI has it."""
        if scope["type"] == "websocket":
            await self._answer_socket(scope, receive, send)
            return
        request_id, model_id = _ids(scope)
        began, path = time.monotonic(), scope["path"]
        route = match(self.routes, path)
        answer = receive if isinstance(receive, Exchange) else _Answer(send)
        answer.tag(_ID_HEADER, request_id.encode())
        send = answer.send
        try:
            if route is None:
                await write_response(self._own_page(path, request_id), send)
            else:
                context = self._enter(scope, route, request_id, model_id)
                app = self._local.get(route.app_name)
                with self._serving(context):
                    if app is not None and self._timeout_s is None:
                        await app(scope, receive, send)
                    else:
                        await self._answer(scope, receive, send, route, context)
        except (ClientDisconnect, ConnectionError):
            logger.debug("request %s: the client went away", request_id)
        except Exception as error:
            problem_page = _problem_of(error, request_id, scope)
            if answer.status:
                # If half an answer is out the connection breaks: nobody shall take it for whole.
                raise BrokenOffError from error
            await write_response(problem_page, send)
        finally:
            # 499, as nginx has it, for a client that went away before there was an answer.
            _over(scope, route or _NO_ROUTE, request_id, answer.status or 499, began)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, route: Route, context: RequestContext
    ) -> None:
        app = self._local.get(route.app_name)
        async with asyncio.timeout(self._timeout_s):
            if app is not None:
                await app(scope, receive, send)
                return
            request = await read_request(scope, receive)
            async for message in self._forward(route, context, request):
                await send(message)

    async def _answer_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket; one that nobody here answers is closed, which the client sees as 403."""
        request_id, model_id = _ids(scope)
        route = match(self.routes, scope["path"])
        app = None if route is None else self._local.get(route.app_name)
        if route is None or app is None:
            await receive()
            await send({"type": "websocket.close", "code": 1003})
            return
        try:
            with self._serving(self._enter(scope, route, request_id, model_id)):
                await app(scope, receive, send)
        except WebSocketDisconnect:
            logger.debug("websocket %s: the client went away", request_id)

    def _enter(self, scope: Scope, route: Route, request_id: str, model_id: str) -> RequestContext:
        root = self._options.root_path
        scope["root_path"] = root + (route.prefix if route.prefix != "/" else "")
        scope["path"] = root + scope["path"]
        trace = "" if self._serving is serving else _trace_of(scope)
        return RequestContext(route.prefix, request_id, route.app_name, model_id, trace)

    def _own_page(self, path: str, request_id: str) -> HttpResponse:
        if path in _OWN_PAGES and not self.is_ready:
            return problem(503, "no application runs yet", request_id)
        if path == _HEALTH:
            return HttpResponse(200, [(b"content-type", b"text/plain")], b"success")
        if path == _ROUTES:
            table = {route.prefix: route.app_name for route in self.routes}
            return HttpResponse(200, [(b"content-type", b"application/json")], to_json(table))
        known = ", ".join(route.prefix for route in self.routes) or "none"
        return problem(404, f"Path {path!r} not found; the routes are: {known}", request_id)


_NO_ROUTE = Route("", "", "")


def _over(scope: Scope, route: Route, request_id: str, status: int, began: float) -> None:
    """A request is over: count it, and write its line where that is wanted."""
    prefix, app_name, _ = route
    http_answered(prefix, scope["method"], app_name, status, began)
    if _logs.is_access_logged():
        # The path as it was sent: decoded, it may have line breaks.
        path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
        context = RequestContext(prefix, request_id, app_name)
        _logs.answered(f"{scope['method']} {path}", status, began, context)


def _ids(scope: Scope) -> tuple[str, str]:
    """The client's id if it sent a sane one, or a new one; and the id of a model, if any."""
    request_id = model_id = ""
    for name, value in scope["headers"]:
        if name == _ID_HEADER and _ID_FORM.fullmatch(value):
            request_id = str(value, "ascii")
        elif name == _MODEL_HEADER:
            model_id = str(value, "latin-1")
    return request_id or new_request_id(), model_id


def _trace_of(scope: Scope) -> str:
    """The span that a client says its request belongs to."""
    given = (value for name, value in scope["headers"] if name == b"traceparent")
    return str(next(given, b""), "latin-1")


class _Ids:
    """Ids of requests: as unique as a UUID and of its form, for a fifth of its price.

    The first eight digits differ from one to the next; the others are chance, once a process.
    Not of `random`, which is the user's: who seeds it would have the same ids in every replica.
    """

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        digits = os.urandom(12).hex()
        self._rest = f"-{digits[:4]}-{digits[4:8]}-{digits[8:12]}-{digits[12:]}"
        first = int.from_bytes(os.urandom(4), "big")
        self._numbers = iter(range(first, first + _BILLIONS))

    def new(self) -> str:
        """An id that no other request has."""
        number = next(self._numbers, None)
        if number is None:
            self._renew()
            return self.new()
        return f"{number * _SPREAD % _BILLIONS:08x}{self._rest}"


_BILLIONS = 2**32
_SPREAD = 0x9E3779B1  # odd, so that it gives every number once
new_request_id = _Ids().new


def _problem_of(error: Exception, request_id: str, scope: Scope) -> HttpResponse:
    if isinstance(error, TimeoutError) and isinstance(error.__cause__, asyncio.CancelledError):
        return problem(408, "The request took longer than request_timeout_s.", request_id)
    if isinstance(error, BackPressureError):
        after = error.retry_after_s
        retry = () if after is None else ((b"retry-after", str(math.ceil(after)).encode()),)
        return problem(error.status_code, f"Too busy: {error}", request_id, *retry)
    if isinstance(error, (DeploymentUnavailableError, RayActorError)):
        logger.error("request %s: %s", request_id, error)
        return problem(
            503, f"Unavailable: {type(error).__name__}", request_id, (b"retry-after", b"1")
        )
    with serving(RequestContext(request_id=request_id)):
        logger.error(
            "%s %s failed with status 500 (request id %s)",
            scope["method"],
            scope["path"],
            request_id,
            exc_info=(type(error), error, _from_user_code(error.__traceback__)),
        )
    return problem(500, "Internal Server Error; the server's log has the traceback.", request_id)


def _from_user_code(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without our own frames at its beginning; all of it if there are no others."""
    ours = os.path.dirname(__file__)
    rest = traceback
    while rest is not None and rest.tb_frame.f_code.co_filename.startswith(ours):
        rest = rest.tb_next
    return rest or traceback
