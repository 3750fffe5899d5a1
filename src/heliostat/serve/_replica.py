"""Replica: the actor that hosts the user's class or function.

It runs requests, at most `max_ongoing_requests` at a time: those of handles come as calls, those
of HTTP on connections that the acceptor has given it, straight to the user's code.
It does not know the other replicas, nor what the controller wants.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from starlette.types import Message, Receive, Scope, Send

import heliostat as ray
from heliostat.serve import _grpc_calls, _logs
from heliostat.serve._call import Call
from heliostat.serve._connections import Connections, Intake, whereabouts
from heliostat.serve._dispatch import dispatch_to
from heliostat.serve._event_loop import new_event_loop
from heliostat.serve._exchange import Exchange
from heliostat.serve._grpc_calls import GRPC
from heliostat.serve._http import HttpRequest, body_first, run_app
from heliostat.serve._measures import replica_answered, tell_now
from heliostat.serve._proxy import Proxy, Route
from heliostat.serve._slots import Slots
from heliostat.serve._user_code import UserCode
from heliostat.serve._views import keep_own_views
from heliostat.serve.config import DeploymentConfig, HTTPOptions, RequestRouterConfig
from heliostat.serve.context import (
    ReplicaContext,
    ReplicaRank,
    RequestContext,
    current_request,
    serving,
)
from heliostat.serve.exceptions import BackPressureError, ReplicaClosedError
from heliostat.serve.multiplex import watch_models
from heliostat.serve.server_options import TracingConfig

logger = logging.getLogger("heliostat.serve")

_RECORD_S = 10.0  # how long `record_autoscaling_stats` may take


class Up(NamedTuple):
    """What a replica says of itself when its constructor is done."""

    address: str  # where it takes HTTP connections; empty unless it is an ingress
    has_notes: bool  # it has something to say of itself later: see `Notes`
    where: str  # from where connections can be passed to the address


class Identity(NamedTuple):
    """Which replica it is of its deployment."""

    name: str
    rank: int = 0  # among the replicas of the deployment, from 0
    world_size: int = 1  # how many there shall be
    code_version: str = ""


class Load(NamedTuple):
    """What autoscaling knows of a replica."""

    requests: float  # that have run or waited, on average since it was asked the last time
    stats: Mapping[str, float]  # what its `record_autoscaling_stats` returned


class Notes(NamedTuple):
    """What callers know of a replica, and choose by."""

    models: tuple[str, ...] = ()
    stats: Mapping[str, Any] = {}


class Replica:
    """One running copy of a deployment; an actor with `async` methods only."""

    __event_loop_factory__ = staticmethod(new_event_loop)

    def __init__(
        self,
        app_name: str,
        deployment: str,
        identity: Identity,
        config: DeploymentConfig,
        http: HTTPOptions | None,
        tracing: TracingConfig | None = None,
    ) -> None:
        self._tracing = tracing
        self._serving: Callable[[RequestContext], serving] = serving
        self._app_name = app_name
        self._name = name = identity.name
        self._config = config
        self._http = http
        rank = ReplicaRank(identity.rank, 0, identity.rank)
        context = ReplicaContext(
            app_name,
            deployment,
            name,
            None,
            rank=rank,
            world_size=identity.world_size,
            code_version=identity.code_version,
        )
        self._code = UserCode(context, config.max_ongoing_requests)
        self._names = deployment, name, app_name
        self._is_closed = False
        self._end_tracing: Callable[[], None] = lambda: None
        self._recording: list[asyncio.Task[None]] = []
        self._load_stats: Mapping[str, float] = {}
        self._load_asked: asyncio.Event | None = None  # when somebody records them

    async def placed(self) -> int:
        """The number of its process, as soon as there is one."""
        return os.getpid()

    async def identify(self, identity: Identity) -> None:
        """Another rank, or another number of replicas."""
        rank = ReplicaRank(identity.rank, 0, identity.rank)
        self._code.announce(rank=rank, world_size=identity.world_size)

    async def start(self, payload: list[ray.ObjectRef[Any]], routes: list[Route]) -> Up:
        """Run the user's constructor.

        Args:
            payload: A reference to (class or function, args, kwargs).
            routes: The table of routes, for the ingress.
        """
        _logs.install(self._config.logging_config, self._fields())
        traced = None
        if self._tracing is not None:
            from heliostat.serve._tracing import install  # noqa: PLC0415 - only with OpenTelemetry

            tracing = install(self._tracing)
            traced, self._end_tracing = tracing.named, tracing.close
            self._serving = traced("replica_handle_request", self._fields())
        self._slots = Slots(self._config.max_ongoing_requests)
        self._noted = asyncio.Event()
        self._stats: Mapping[str, Any] = {}
        target, args, kwargs = await payload[0]
        keep_own_views(target)
        await self._code.construct(target, args, kwargs, self._config.user_config)
        if self._code.is_multiplexed:
            watch_models(self._noted.set)
        has_notes = self._record_stats() or self._code.is_multiplexed
        if self._http is None:
            return Up("", has_notes, "")
        self._proxy = Proxy(forward, self._http, {self._app_name: self._answer})
        if traced is not None:
            self._proxy.trace(traced("proxy_http_request", self._fields()))
        self._proxy.set_routes(routes)
        self._connections = Connections(
            self._proxy, self._http.keep_alive_timeout_s, self._http.tls()
        )
        self._intake = Intake(self._connections)
        return Up(self._intake.address, has_notes, whereabouts())

    def _record_stats(self) -> bool:
        """Ask the user's `record_routing_stats` from time to time, if there is one."""
        router = self._config.request_router_config
        if router is None or not self._code.has_method("record_routing_stats"):
            return False
        self._recording.append(asyncio.create_task(self._record(router)))
        return True

    async def _record(self, router: RequestRouterConfig) -> None:
        method = self._code.method("record_routing_stats")
        while not self._is_closed:
            try:
                async with asyncio.timeout(router.request_routing_stats_timeout_s):
                    self._stats = dict(await self._code.run_beside(method))
                self._noted.set()
            except Exception as error:  # noqa: BLE001 - user code: the next time may be better
                logger.warning("record_routing_stats of replica %s failed: %s", self._name, error)
            await asyncio.sleep(router.request_routing_stats_period_s)

    async def set_routes(self, routes: list[Route]) -> None:
        """Replace the ingress's table of routes."""
        self._proxy.set_routes(routes)

    async def reconfigure(self, config: DeploymentConfig) -> None:
        """Other options for the same code."""
        old, self._config = self._config, config
        self._slots.resize(config.max_ongoing_requests)
        if config.logging_config != old.logging_config:
            _logs.install(config.logging_config, self._fields())
        if config.user_config is not None and config.user_config != old.user_config:
            await self._code.reconfigure(config.user_config)

    async def call(
        self,
        method: str,
        route: str,
        id_: str,
        app: str,
        model: str,
        trace: str,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """A handle's call; its RequestContext comes in pieces, which are quicker to send."""
        self._refuse_if_closed()
        with self._serving(RequestContext(route, id_, app, model, trace)):
            async with _Slot(self._slots, self._names, route, method):
                if method == GRPC:
                    return await _grpc_calls.answer(self._code, *args)
                return await self._code.call(method, args, kwargs)

    async def stream(
        self,
        method: str,
        route: str,
        id_: str,
        app: str,
        model: str,
        trace: str,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """As `call`, of a generator; and HTTP requests from elsewhere, as messages of ASGI."""
        self._refuse_if_closed()
        with self._serving(RequestContext(route, id_, app, model, trace)):
            if method == HTTP:
                async for message in run_app(self._answer, args[0]):
                    yield message
                return
            async with _Slot(self._slots, self._names, route, method):
                if method == GRPC:
                    items = _grpc_calls.stream(self._code, *args)
                else:
                    items = self._code.stream(method, args, kwargs)
                async for item in items:
                    yield item

    async def load(self) -> Load:
        """How busy it was since the last time."""
        if self._load_asked is not None:
            self._load_asked.set()
        elif self._code.has_method("record_autoscaling_stats"):
            self._load_asked = asyncio.Event()
            self._recording.append(asyncio.create_task(self._record_load(self._load_asked)))
        # User code may be slow, and is not waited for: what waits for nothing has its round of
        # the loop, and what takes longer is told the next time.
        await asyncio.sleep(0)
        return Load(self._slots.mean_load(), self._load_stats)

    async def _record_load(self, asked: asyncio.Event) -> None:
        """Ask the user's `record_autoscaling_stats`, each time after somebody wanted the load."""
        method = self._code.method("record_autoscaling_stats")
        while not self._is_closed:
            try:
                async with asyncio.timeout(_RECORD_S):
                    found = dict(await self._code.run_beside(method))
                self._load_stats = {str(name): float(value) for name, value in found.items()}
            except Exception as error:  # noqa: BLE001 - user code: the next time may be better
                self._load_stats = {}
                logger.warning(
                    "record_autoscaling_stats of replica %s failed: %s", self._name, error
                )
            asked.clear()
            await asked.wait()

    async def notes(self, known: Notes | None) -> Notes:
        """What there is to know of it, as soon as that is something else than the known."""
        while (notes := Notes(self._code.models, self._stats)) == known:
            self._noted.clear()
            await self._noted.wait()
        return notes

    async def release(self) -> None:
        """Hand idle connections back now, and the others when they have been answered."""
        if self._http is not None:
            self._intake.drain()
            await asyncio.sleep(0)  # they go at the end of the loop's round

    async def drain(self) -> None:
        """Finish what there is; then let the user's object go, with its `__del__`."""
        if self._http is not None:
            await self._connections.drained.wait()
        await self._slots.until_idle()
        tell_now()
        self._is_closed = True
        for recording in self._recording:
            recording.cancel()
        await self._code.close()
        await asyncio.to_thread(self._end_tracing)

    async def check_health(self) -> None:
        """Raises what the user's `check_health` raises."""
        await self._code.check_health()

    async def until_gone(self) -> None:
        """Never answers: the caller learns at once when this process dies."""
        await asyncio.Event().wait()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The user's code as an ASGI app."""
        has_body = scope["type"] == "http" and scope["method"] not in ("GET", "HEAD")
        # Of a short one an exchange has mostly all by now.
        if has_body and not (isinstance(receive, Exchange) and not receive.more_body):
            receive = await body_first(receive)
        limit = self._config.max_queued_requests
        if 0 <= limit <= self._slots.load - self._slots.most:
            error = BackPressureError(
                f"replica {self._name} runs {self._slots.running} requests, and "
                f"max_queued_requests={limit} wait already"
            )
            if self._config.backpressure_config is not None:
                self._config.backpressure_config.stamp(error)
            raise error
        slots, failed = self._slots, False
        if not slots.take_now():
            await slots.take()
        began = time.monotonic()
        try:
            await self._code.app(scope, receive, send)
        except Exception:
            failed = True
            raise
        finally:
            slots.give()
            replica_answered(self._names, current_request().route, began, failed=failed)

    def _fields(self) -> dict[str, str]:
        """What every line that is logged here tells."""
        deployment, replica, app = self._names
        tells = {"application": app, "deployment": deployment, "replica": replica}
        return {**tells, "component_name": "replica"}

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise ReplicaClosedError(f"replica {self._name} has ended")


class _Slot:
    """A slot for one request, which is measured; a class, since generators cost more."""

    __slots__ = ("_began", "_method", "_names", "_route", "_slots")

    def __init__(self, slots: Slots, names: tuple[str, str, str], route: str, method: str) -> None:
        self._method = method
        self._slots = slots
        self._names = names
        self._route = route

    async def __aenter__(self) -> None:
        if not self._slots.take_now():
            await self._slots.take()
        self._began = time.monotonic()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._slots.give()
        failed = error is not None and isinstance(error, Exception)
        replica_answered(self._names, self._route, self._began, failed=failed)
        if _logs.is_access_logged():
            status = "OK" if error is None else "ERROR" if failed else "CANCELLED"
            _logs.answered(f"CALL {self._method}", status, self._began, current_request())


_SESSION_HEADER = b"x-session-id"
HTTP = "/http"  # the method name of forwarded HTTP requests; no Python method is called so


async def forward(
    route: Route, context: RequestContext, request: HttpRequest
) -> AsyncIterator[Message]:
    """Send a whole request to the application's ingress in another process."""
    call = Call(HTTP, context, (request,), {}, is_stream=True)
    for name, value in request.scope["headers"]:
        if name == _SESSION_HEADER:
            call.session_id = str(value, "latin-1")
    dispatch = dispatch_to(route.app_name, route.ingress)
    dispatch.send(call)
    try:
        while True:
            try:
                message = await dispatch.next_item_async(call)
            except StopAsyncIteration:
                return
            yield message
            if message["type"] == "http.response.body" and not message.get("more_body"):
                return  # whatever the app does afterwards is its own affair
    finally:
        dispatch.abandon(call)  # nothing, unless the client went away
