"""An application in this process: for `serve.test_client` and local testing mode.

The same user code, handles, routes and errors, without replicas, processes or a port: one thread
with an event loop runs all deployments. It does not know the controller.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from queue import SimpleQueue
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from heliostat.serve._build import Node, build
from heliostat.serve._call import Call, Reservation
from heliostat.serve._http import HttpRequest
from heliostat.serve._proxy import Proxy, Route
from heliostat.serve._user_code import UserCode
from heliostat.serve.config import HTTPOptions
from heliostat.serve.context import (
    ReplicaContext,
    RequestContext,
    serving,
    set_local_replica_context,
)
from heliostat.serve.deployment import Application
from heliostat.serve.exceptions import RequestCancelledError
from heliostat.serve.handle import DeploymentHandle


class LocalApplication:
    """All deployments of an application, made and called in one thread.

    Args:
        target: What `.bind()` returned.
        name: The application's name.
        route_prefix: Where its routes begin; None for no HTTP.

    Raises:
        Exception: What a constructor raises.
    """

    def __init__(self, target: Application, name: str, route_prefix: str | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._senders: dict[str, LocalSender] = {}
        nodes = build(target, name, self._sender)
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"heliostat-serve-{name}", daemon=True
        )
        self._thread.start()
        try:
            for node in nodes:
                self._do(self._sender(node.name).construct(node, name))
        except BaseException:
            self.close()
            raise
        self._ingress = self._sender(nodes[-1].name)
        self.handle = DeploymentHandle(nodes[-1].name, name, dispatch=self._ingress)
        self._proxy = Proxy(_nowhere, HTTPOptions(), {name: self._ingress.answer_http})
        if route_prefix is not None:
            self._proxy.set_routes([Route(route_prefix, name, nodes[-1].name)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI app for whatever event loop; the deployments stay in theirs."""
        theirs = asyncio.get_running_loop()

        async def receive_there() -> Message:
            message: Message = await _run_in(theirs, receive())
            return message

        async def send_there(message: Message) -> None:
            await _run_in(theirs, send(message))

        await _run_in(self._loop, self._proxy(scope, receive_there, send_there))

    def take_error(self) -> Exception | None:
        """What the ingress raised since the last time, if it did."""
        error, self._ingress.error = self._ingress.error, None
        return error

    def close(self) -> None:
        """End the deployments and the thread; does nothing the second time."""
        if self._loop.is_closed() or threading.current_thread() is self._thread:
            return  # the second time, or by a finaliser that runs in the thread itself
        for sender in reversed(self._senders.values()):
            self._do(sender.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _sender(self, deployment: str) -> LocalSender:
        if deployment not in self._senders:
            self._senders[deployment] = LocalSender(self._loop)
        return self._senders[deployment]

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


class LocalSender:
    """The calls to one deployment of a LocalApplication, which has one object of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._code: UserCode | None = None
        self.error: Exception | None = None

    async def construct(self, node: Node, app_name: str) -> None:
        """Run the constructor."""
        config = node.config
        context = ReplicaContext(app_name, node.name, f"{app_name}#{node.name}#local", None)
        code = UserCode(context, config.max_ongoing_requests, set_local_replica_context)
        await code.construct(node.target, node.args, dict(node.kwargs), config.user_config)
        self._code = code

    async def close(self) -> None:
        """Let the object go."""
        if self._code is not None:
            await self._code.close()

    async def answer_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The user's code as an ASGI app."""
        try:
            await self._entered().app(scope, receive, send)
        except Exception as error:
            self.error = error
            raise

    def send(self, call: Call) -> None:
        """Run the call in the deployments' thread."""
        call.dispatch = self
        items: SimpleQueue[Any] = SimpleQueue()
        work = self._fill(call, items) if call.is_stream else self._run(call)
        answer = asyncio.run_coroutine_threadsafe(work, self._loop)
        if call.is_stream:  # the end of the items is the answer itself
            answer.add_done_callback(lambda done: items.put(done))
        call.begin(answer, None, items)

    def send_after(self, call: Call) -> None:
        """As `send`: what its arguments stand for is waited for there."""
        try:
            call.resolve()
        except Exception as error:  # noqa: BLE001 - the argument's error is the call's error
            call.begin(None, error)
        else:
            self.send(call)

    def answer(self, call: Call, timeout_s: float | None) -> Any:
        """Wait for the answer in this thread."""
        if call.error is not None:
            raise call.error
        try:
            return call.ref.result(timeout_s)
        except concurrent.futures.CancelledError:
            raise RequestCancelledError("the request was cancelled") from None
        except concurrent.futures.TimeoutError:
            if call.ref.done():
                raise  # it is the user's
            raise TimeoutError(f"no answer after {timeout_s} s") from None

    async def answer_async(self, call: Call) -> Any:
        """Wait for the answer in an event loop."""
        if call.error is not None:
            raise call.error
        try:
            return await asyncio.wrap_future(call.ref)
        except asyncio.CancelledError:
            if call.is_cancelled:
                raise RequestCancelledError("the request was cancelled") from None
            raise

    def next_item(self, call: Call) -> Any:
        """Wait for a stream's next item in this thread."""
        item = call.items.get()
        if item is not call.ref:
            return item
        call.items.put(item)  # it ends whenever it is asked
        self.answer(call, None)
        raise StopIteration

    async def next_item_async(self, call: Call) -> Any:
        """Wait for a stream's next item in an event loop."""
        item = await asyncio.to_thread(call.items.get)
        if item is not call.ref:
            return item
        call.items.put(item)
        await self.answer_async(call)
        raise StopAsyncIteration

    def broadcast(self, make: Callable[[], Call]) -> concurrent.futures.Future[list[Call]]:
        """Send it to the one object there is."""
        call = make()
        self.send_after(call)
        sent: concurrent.futures.Future[list[Call]] = concurrent.futures.Future()
        sent.set_result([call])
        return sent

    async def reserve(self, reservation: Reservation) -> None:
        """There is always room."""
        reservation.replica = self._entered().context.replica_tag

    def send_reserved(self, call: Call, reservation: Reservation) -> None:
        """As `send_after`."""
        self.send_after(call)

    def release(self, reservation: Reservation) -> None:
        """Nothing was kept."""

    def cancel(self, call: Call) -> None:
        """Stop the call."""
        if call.ref is not None:
            call.ref.cancel()

    def abandon(self, call: Call) -> None:
        """Nobody will ask for the answer."""

    def _entered(self) -> UserCode:
        assert self._code is not None
        set_local_replica_context(self._code.context)
        return self._code

    async def _run(self, call: Call) -> Any:
        code = self._entered()
        args, kwargs = await _values(call)
        with serving(RequestContext(*call.context)):
            return await code.call(call.method, args, kwargs)

    async def _fill(self, call: Call, items: SimpleQueue[Any]) -> None:
        code = self._entered()
        args, kwargs = await _values(call)
        with serving(RequestContext(*call.context)):
            async for item in code.stream(call.method, args, kwargs):
                items.put(item)


async def _values(call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, with the values of responses instead of responses."""
    args = [await _value(value) for value in call.args]
    return tuple(args), {key: await _value(value) for key, value in call.kwargs.items()}


async def _value(value: Any) -> Any:
    if isinstance(value, concurrent.futures.Future):
        return await asyncio.wrap_future(value)
    return value


async def _run_in(loop: asyncio.AbstractEventLoop, work: Awaitable[Any]) -> Any:
    async def run() -> Any:
        return await work

    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))


def _nowhere(route: Route, context: RequestContext, request: HttpRequest) -> AsyncIterator[Message]:
    raise AssertionError(f"{route} is not here")
