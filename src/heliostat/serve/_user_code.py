"""UserCode: the user's class or function, made and called.

Methods that are not `async` run in threads, so that one slow request does not stop the others.
It does not know replicas, limits or how requests come.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import dataclasses
import functools
import gc
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from types import AsyncGeneratorType, FunctionType, GeneratorType
from typing import Any, Literal

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from heliostat.serve._exchange import Exchange
from heliostat.serve._http import Received, plain_response, write_response
from heliostat.serve._iteration import in_thread
from heliostat.serve._lifespan import Lifespan
from heliostat.serve._views import SERVABLE, app_of
from heliostat.serve.context import ReplicaContext, set_replica_context
from heliostat.serve.multiplex import is_multiplexed, models_of

# Where `@task_consumer` leaves how an object of the class begins to run tasks.
STARTS_CONSUMER = "__heliostat_start_consumer__"

_BESIDE = 4  # `check_health` and two kinds of statistics; one of them may hang for a while


class UserCode:
    """One object of a deployment.

    Args:
        context: What `serve.get_replica_context()` gives, still without the object.
        threads: How many methods that are not `async` may run at a time.
        announce: Makes the context known to the user's code.
    """

    def __init__(
        self,
        context: ReplicaContext,
        threads: int,
        announce: Callable[[ReplicaContext | None], None] = set_replica_context,
    ) -> None:
        self.context = context
        self._announce = announce
        self._threads = concurrent.futures.ThreadPoolExecutor(
            threads, thread_name_prefix=context.replica_tag
        )
        # For what is asked beside requests, which may have taken all of those threads.
        self._threads_beside = concurrent.futures.ThreadPoolExecutor(
            _BESIDE, thread_name_prefix=f"{context.replica_tag}-beside"
        )
        self._object: Any = None
        self._is_function = False
        self._lifespan: Lifespan | None = None
        self._consumer: Any = None  # runs the tasks of a queue, if the class says so
        self._most = threads
        self._entry: Any = None
        self._entry_takes_request = True
        self.app: ASGIApp = self._call_entry

    @property
    def is_multiplexed(self) -> bool:
        """Some method of it loads models by their id."""
        return is_multiplexed(self._object)

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models that it has."""
        return models_of(self._object)

    async def construct(
        self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], user_config: Any
    ) -> None:
        """Run the constructor, `reconfigure`, and the start of an ASGI app's life."""
        # In the loop's own thread: constructors may start tasks and make asyncio's locks.
        self._is_function = not inspect.isclass(target)
        self._announce(self.context)
        self._object = target if self._is_function else await _make(target, args, kwargs)
        self.announce(servable_object=self._object)
        if user_config is not None:
            await self.reconfigure(user_config)
        start = getattr(type(self._object), STARTS_CONSUMER, None)
        if start is not None:
            self._consumer = start(self._object, self._most)
        app = app_of(self._object)
        if app is not None:
            self._lifespan = Lifespan(app)
            await self._lifespan.startup()
            self.app = functools.partial(self._call_app, app, self._lifespan.state)
        elif callable(self._object):  # else it is for handles only, and HTTP requests fail
            self._entry = self.method("__call__")
            self._entry_takes_request = bool(inspect.signature(self._entry).parameters)

    def announce(self, **changes: Any) -> None:
        """Let the user's code find these fields of its ReplicaContext changed."""
        self.context = dataclasses.replace(self.context, **changes)
        self._announce(self.context)

    async def reconfigure(self, user_config: Any) -> None:
        """Call the user's `reconfigure`.

        Raises:
            AttributeError: When there is none.
        """
        await self.run(self.method("reconfigure"), (user_config,), {})

    async def check_health(self) -> None:
        """Raises what the user's `check_health` raises."""
        check = getattr(self._object, "check_health", None)
        if check is not None and inspect.ismethod(check):
            await self.run_beside(check)

    async def close(self) -> None:
        """Let the user's object go, with its `__del__`."""
        if self._consumer is not None:
            await asyncio.to_thread(self._consumer.stop_consumer)
            self._consumer = None
        if self._lifespan is not None:
            await self._lifespan.shutdown()
        self._object = self._entry = self._lifespan = None
        self.app = self._call_entry
        self._threads.shutdown(wait=False)
        self._threads_beside.shutdown(wait=False)
        self.context = dataclasses.replace(self.context, servable_object=None)
        self._announce(None)
        gc.collect()  # the object may be part of a cycle

    def has_method(self, name: str) -> bool:
        """Whether the object has such a method."""
        return callable(getattr(self._object, name, None))

    def method(self, name: str) -> Callable[..., Any]:
        """A method by its name.

        Raises:
            AttributeError: There is none; lists those there are.
        """
        if name == "__call__" and self._is_function:
            return self._object  # type: ignore[no-any-return]
        method = getattr(self._object, name, None)
        if callable(method):
            return method  # type: ignore[no-any-return]
        kind = type(self._object)
        known = [m for m in dir(kind) if not m.startswith("_") and callable(getattr(kind, m))]
        raise AttributeError(
            f"deployment {self.context.deployment!r} has no method {name!r}; it has {known}"
        )

    async def run(
        self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call it; returns what it returns, awaited."""
        if _kind_of(method) == "async":
            return await method(*args, **kwargs)
        work = functools.partial(contextvars.copy_context().run, method, *args, **kwargs)
        value = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        return await value if inspect.isawaitable(value) else value

    async def run_beside(self, method: Callable[[], Any]) -> Any:
        """Call what Serve asks for itself, however many requests there are."""
        if _kind_of(method) == "async":
            return await method()
        work = functools.partial(contextvars.copy_context().run, method)
        value = await asyncio.get_running_loop().run_in_executor(self._threads_beside, work)
        return await value if inspect.isawaitable(value) else value

    async def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that has one answer.

        Raises:
            TypeError: When the method is a generator.
        """
        method = self.method(name)
        kind = _kind_of(method)
        if kind == "async":
            value = await method(*args, **kwargs)
        else:
            value = None if kind == "generator" else await self.run(method, args, kwargs)
        if kind == "generator" or isinstance(value, _STREAMS):
            raise TypeError(
                f"method {name!r} of deployment {self.context.deployment!r} is a generator; call "
                "it with handle.options(stream=True)"
            )
        return value

    async def stream(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """A call whose answer is a generator's items.

        Raises:
            TypeError: When the method gives no generator.
        """
        method = self.method(name)
        items = method(*args, **kwargs) if _kind_of(method) == "generator" else None
        if items is None:
            items = await self.run(method, args, kwargs)
        if hasattr(items, "__aiter__"):
            async for item in items:
                yield item
        elif hasattr(items, "__next__"):
            async for some in in_thread(items, self._threads):
                for item in some:
                    yield item
        else:
            raise TypeError(
                f"method {name!r} of deployment {self.context.deployment!r} was called with "
                f"stream=True, but returned {type(items).__name__} and no generator"
            )

    async def _call_entry(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The user's callable as an ASGI app."""
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1003})
            return
        entry = self._entry or self.method("__call__")
        args = (_request(scope, receive),) if self._entry_takes_request else ()
        value = await self.run(entry, args, {})
        if not isinstance(value, Response):
            await write_response(plain_response(value), send)
            return
        if isinstance(value, StreamingResponse):
            value.body_iterator = self._quicker(value)
        await value(scope, receive, send)

    def _quicker(self, response: StreamingResponse) -> AsyncIterable[Any]:
        """Its body; from a plain iterator, as many items at a time as there are.

        Starlette has a thread make one item and waits for that; ours runs ahead.
        """
        body: Any = response.body_iterator
        if getattr(body, "ag_code", None) is not iterate_in_threadpool.__code__:
            return response.body_iterator
        items = body.ag_frame.f_locals["iterator"]  # it has not begun: these are its arguments
        return self._joined(items, response.charset)

    async def _joined(self, items: Iterable[Any], charset: str) -> AsyncIterator[bytes]:
        async for some in in_thread(items, self._threads):
            yield b"".join(x if isinstance(x, bytes) else _encoded(x, charset) for x in some)

    async def _call_app(
        self, app: ASGIApp, state: dict[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """The user's own ASGI app, whose views find the object in the scope."""
        SERVABLE.set(self._object)
        scope["state"] = dict(state)
        await app(scope, receive, send)


def _encoded(chunk: Any, charset: str) -> bytes:
    return chunk.encode(charset) if isinstance(chunk, str) else bytes(chunk)


async def _make(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An object of the class, whose constructor may be `async`."""
    if not inspect.iscoroutinefunction(target.__init__):
        return target(*args, **kwargs)
    made = target.__new__(target)
    await target.__init__(made, *args, **kwargs)
    return made


def _request(scope: Scope, receive: Receive) -> Request:
    """The request; it has its body if that is here, and need not ask for it."""
    request = Request(scope, receive)
    body = receive.take() if isinstance(receive, (Exchange, Received)) else None
    if body is not None:
        request._body = body
    return request


Kind = Literal["async", "generator", "plain"]
_STREAMS = (GeneratorType, AsyncGeneratorType)


def _kind_of(method: Callable[..., Any]) -> Kind:
    """How it is to be called."""
    function = getattr(method, "__func__", method)
    if type(function) is FunctionType:
        return _known_kind(function)
    kind = _find_kind(function)
    if kind == "plain" and not inspect.isroutine(function):  # an object that can be called
        return _find_kind(type(function).__call__)
    return kind


def _find_kind(function: Any) -> Kind:
    if inspect.iscoroutinefunction(function):
        return "async"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "generator"
    return "plain"


_known_kind = functools.cache(_find_kind)
