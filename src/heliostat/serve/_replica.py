"""Replica: the actor that hosts the user's class or function.

It runs requests, at most `max_ongoing_requests` at a time: those of handles come as calls, those
of HTTP on connections that the acceptor has given it, straight to the user's method. Methods
that are not `async` run in threads, so that one slow request does not stop the others.
It does not know the other replicas, nor what the controller wants.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import functools
import gc
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

import heliostat as ray
from heliostat.serve._connections import Connections, Intake
from heliostat.serve._dispatch import Call, dispatch_to
from heliostat.serve._http import HttpRequest, HttpResponse, run_app, to_response
from heliostat.serve._proxy import Proxy, Route
from heliostat.serve.config import DeploymentConfig, HTTPOptions
from heliostat.serve.context import ReplicaContext, RequestContext, serving, set_replica_context
from heliostat.serve.exceptions import ReplicaClosedError


class Replica:
    """One running copy of a deployment; an actor with `async` methods only."""

    def __init__(
        self,
        app_name: str,
        deployment: str,
        name: str,
        config: DeploymentConfig,
        http: HTTPOptions | None,
    ) -> None:
        self._app_name = app_name
        self._deployment = deployment
        self._name = name
        self._config = config
        self._http = http
        self._object: Any = None
        self._entry: Any = None
        self._entry_takes_request = True
        self._ongoing = 0
        self._is_closed = False

    async def placed(self) -> None:
        """Answers as soon as there is a process."""

    async def start(self, payload: list[ray.ObjectRef[Any]], routes: list[Route]) -> str:
        """Run the user's constructor.

        Args:
            payload: A reference to (class or function, args, kwargs).
            routes: The table of routes, for the ingress.

        Returns:
            The address that takes HTTP connections; empty unless this is an ingress.
        """
        log_to_stderr()
        self._slots = asyncio.Semaphore(self._config.max_ongoing_requests)
        self._idle = asyncio.Event()
        self._threads = concurrent.futures.ThreadPoolExecutor(
            self._config.max_ongoing_requests, thread_name_prefix=self._name
        )
        target, args, kwargs = await payload[0]
        # In the loop's own thread: constructors may start tasks and make asyncio's locks.
        self._is_function = not inspect.isclass(target)
        context = ReplicaContext(self._app_name, self._deployment, self._name, None)
        set_replica_context(context)
        self._object = target if self._is_function else target(*args, **kwargs)
        set_replica_context(dataclasses.replace(context, servable_object=self._object))
        if self._config.user_config is not None:
            await self._run(self._method("reconfigure"), (self._config.user_config,), {})
        if self._http is None:
            return ""
        if callable(self._object):  # else it is for handles only, and HTTP requests fail
            self._entry = self._method("__call__")
            self._entry_takes_request = bool(inspect.signature(self._entry).parameters)
        self._proxy = Proxy(forward, self._http, {self._app_name: self._answer})
        self._proxy.set_routes(routes)
        self._connections = Connections(self._proxy, self._http.keep_alive_timeout_s)
        self._intake = Intake(self._connections)
        return self._intake.address

    async def set_routes(self, routes: list[Route]) -> None:
        """Replace the ingress's table of routes."""
        self._proxy.set_routes(routes)

    async def call(
        self, method: str, context: tuple[str, str, str], /, *args: Any, **kwargs: Any
    ) -> Any:
        """A handle's call; the context is a RequestContext as a plain tuple, quicker to send."""
        if self._is_closed:
            raise ReplicaClosedError(f"replica {self._name} has ended")
        with serving(RequestContext(*context)):
            if method == HTTP:
                return await run_app(self._answer, args[0])
            async with self._slot():
                return await self._run(self._method(method), args, kwargs)

    async def drain(self) -> None:
        """Finish what there is; then let the user's object go, with its `__del__`."""
        if self._http is not None:
            self._intake.drain()
            await self._connections.drained.wait()
        while self._ongoing:
            self._idle.clear()
            await self._idle.wait()
        self._is_closed = True
        self._object = self._entry = None
        set_replica_context(None)
        gc.collect()  # the object may be part of a cycle

    async def check_health(self) -> None:
        """Raises what the user's `check_health` raises."""
        check = getattr(self._object, "check_health", None)
        if check is not None and inspect.ismethod(check):
            await self._run(check, (), {})

    async def until_gone(self) -> None:
        """Never answers: the caller learns at once when this process dies."""
        await asyncio.Event().wait()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The user's callable as an ASGI app."""
        async with self._slot():
            entry = self._entry or self._method("__call__")
            args = (Request(scope, receive),) if self._entry_takes_request else ()
            response = to_response(await self._run(entry, args, {}))
            await response(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        self._ongoing += 1
        try:
            async with self._slots:
                yield
        finally:
            self._ongoing -= 1
            if not self._ongoing:
                self._idle.set()

    def _method(self, name: str) -> Callable[..., Any]:
        if name == "__call__" and self._is_function:
            return self._object  # type: ignore[no-any-return]
        method = getattr(self._object, name, None)
        if callable(method):
            return method  # type: ignore[no-any-return]
        kind = type(self._object)
        known = [m for m in dir(kind) if not m.startswith("_") and callable(getattr(kind, m))]
        raise AttributeError(
            f"deployment {self._deployment!r} has no method {name!r}; it has {known}"
        )

    async def _run(
        self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if _is_async(method):
            return await method(*args, **kwargs)
        work = functools.partial(contextvars.copy_context().run, method, *args, **kwargs)
        value = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        return await value if inspect.isawaitable(value) else value


HTTP = "/http"  # the method name of forwarded HTTP requests; no Python method is called so


async def forward(route: Route, request_id: str, request: HttpRequest) -> HttpResponse:
    """Send a whole request to the application's ingress in another process."""
    call = Call(HTTP, RequestContext(route.prefix, request_id, route.app_name), (request,), {})
    dispatch = dispatch_to(route.app_name, route.ingress)
    dispatch.send(call)
    try:
        response: HttpResponse = await dispatch.answer_async(call)
    finally:
        dispatch.abandon(call)  # nothing, unless the client went away
    return response


@functools.cache
def _function_is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function)


def _is_async(method: Callable[..., Any]) -> bool:
    function = getattr(method, "__func__", method)
    return _function_is_async(function) or (
        not inspect.isroutine(function)
        and inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
    )


def log_to_stderr() -> None:
    """What Serve logs in this process goes to its standard error."""
    logger = logging.getLogger("heliostat.serve")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
