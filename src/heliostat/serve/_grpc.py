"""GrpcServer: the actor that listens for gRPC, and calls deployments for whoever asks.

The user's generated `add_..._to_server` functions say which methods there are and how messages are
written; what they add are handlers of a servicer that does nothing, and each call goes through a
handle to the application's ingress instead, to the method of the call's name.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import heliostat as ray
from heliostat.exceptions import RayActorError, RayTaskError
from heliostat.serve._acceptor import holder_of
from heliostat.serve._by_path import found_at
from heliostat.serve._call import Call
from heliostat.serve._dispatch import dispatch_to
from heliostat.serve._grpc_calls import GRPC, Reply
from heliostat.serve._measures import grpc_answered
from heliostat.serve._proxy import new_request_id
from heliostat.serve.config import gRPCOptions
from heliostat.serve.context import RequestContext, serving
from heliostat.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    PortTakenError,
    RequestCancelledError,
)
from heliostat.serve.grpc_util import Pulled, RayServegRPCContext, gRPCInputStream

logger = logging.getLogger("heliostat.serve")

_ID_FORM = re.compile(r"[\x21-\x7e]{1,200}")
_MOST_DETAILS = 4096  # they travel as a header
_OWN_SERVICE = "/ray.serve.RayServeAPIService/"
_STOP_S = 1.0


class GrpcServer:
    """One for all applications; an actor with `async` methods only.

    Args:
        options: What to serve, and where.
        host: The address to listen on.
    """

    def __init__(self, options: gRPCOptions, host: str) -> None:
        self._options = options
        self._host = host
        self._ingresses: dict[str, str] = {}
        self._sessions: dict[str, tuple[AsyncIterator[Any], Call]] = {}
        self._server: Any = None

    async def start(self) -> None:
        """Listen.

        Raises:
            ImportError: Without grpcio, or a servicer function that is not there.
            PortTakenError: When somebody else has the port.
        """
        grpc = _library()
        self._handle = ray.get_runtime_context().current_actor
        services = _Heard()
        for path in self._options.grpc_servicer_functions:
            servicer_function(path)(_Servicer(), services)
        unlimited = [(f"grpc.max_{what}_message_length", -1) for what in ("send", "receive")]
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *unlimited])
        self._server.add_generic_rpc_handlers([_Methods(grpc, services.handlers, self)])
        if self._options.enable_reflection:
            _reflect(services, self._server)
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            port = self._server.add_insecure_port(f"{host}:{self._options.port}")
        except RuntimeError:
            port = 0
        if not port:
            taken = self._options.port
            raise PortTakenError(
                98,
                f"gRPC's port {taken} on {self._host} is taken by {holder_of(taken)}; stop it, or "
                "choose another port with serve.start(grpc_options={'port': ...})",
            )
        await self._server.start()

    async def set_applications(self, ingresses: Mapping[str, str]) -> None:
        """The applications there are now, each with the name of its ingress."""
        self._ingresses = dict(ingresses)

    async def stop(self) -> None:
        """Let running calls end, for a moment, and free the port."""
        if self._server is not None:
            await self._server.stop(_STOP_S)

    async def next_message(self, session: str) -> Pulled:
        """What a client has streamed next; replicas ask for it."""
        known = self._sessions.get(session)
        if known is None:
            return Pulled(None, is_last=True)
        messages, call = known
        call.taken = 1  # what was read once cannot be sent to another replica
        async for message in messages:
            return Pulled(message, is_last=False)
        return Pulled(None, is_last=True)

    async def applications(self, _request: bytes, _context: Any) -> bytes:
        """Ray's `ListApplications`."""
        return b"".join(_field(name) for name in self._ingresses)

    async def healthz(self, _request: bytes, _context: Any) -> bytes:
        """Ray's `Healthz`."""
        return _field("success")

    async def one(self, path: str, message: Any, context: Any) -> Any:
        """A call with one answer."""
        answer = None
        async for item in self.many(path, message, context, is_stream=False):
            answer = item
        return answer

    async def many(
        self, path: str, message: Any, context: Any, *, is_stream: bool = True
    ) -> AsyncIterator[Any]:
        """A call with many answers."""
        began, sent = time.monotonic(), dict(context.invocation_metadata() or ())
        request_id = str(sent.get("request_id", ""))
        if not _ID_FORM.fullmatch(request_id):
            request_id = new_request_id()
        app_name = str(sent.get("application") or self._only())
        code = "CANCELLED"  # unless it ends in another way
        session = ""
        try:
            call = self._call(path, app_name, context, request_id, is_stream=is_stream)
            if hasattr(message, "__aiter__"):
                session = uuid.uuid4().hex
                self._sessions[session] = message.__aiter__(), call
                message = gRPCInputStream(self._handle, session)
            call.args = (path.rsplit("/", 1)[1], message, *call.args)
            timeout_s = self._options.request_timeout_s
            async with asyncio.timeout(timeout_s):
                async for item in self._answers(call, app_name):
                    if isinstance(item, Reply):
                        code = _end(context, item, request_id)
                        if item.message is not None:
                            yield item.message
                    else:
                        yield item
        except Exception as error:  # noqa: BLE001 - of the user's code: the client gets a status
            code, details = status_of(error)
            trailing = (("request_id", request_id),)
            logger.error("gRPC request %s to %s: %s: %s", request_id, path, code, error)
            await context.abort(getattr(_library().StatusCode, code), details, trailing)
        finally:
            self._sessions.pop(session, None)
            known = app_name if app_name in self._ingresses else ""
            grpc_answered(known, path, code, began)

    def _only(self) -> str:
        """The application that is meant by who names none."""
        return next(iter(self._ingresses)) if len(self._ingresses) == 1 else ""

    def _call(
        self, path: str, app_name: str, context: Any, request_id: str, *, is_stream: bool
    ) -> Call:
        if app_name not in self._ingresses:
            raise _NotFoundError(
                f"Application {app_name!r} not found."
                if app_name
                else "Application metadata not set, and there is not exactly one application."
            )
        seen = RayServegRPCContext(context, request_id)
        request = RequestContext(app_name, request_id, app_name, seen.multiplexed_model_id() or "")
        return Call(GRPC, request, (seen,), {}, is_stream=is_stream)

    async def _answers(self, call: Call, app_name: str) -> AsyncIterator[Any]:
        dispatch = dispatch_to(app_name, self._ingresses[app_name])
        with serving(call.context):
            dispatch.send(call)
        if not call.is_stream:
            yield await dispatch.answer_async(call)
            return
        try:
            while True:
                try:
                    item = await dispatch.next_item_async(call)
                except StopAsyncIteration:
                    return
                yield item
        finally:
            dispatch.abandon(call)


class _NotFoundError(Exception):
    """There is no such application."""


def status_of(error: Exception) -> tuple[str, str]:
    """The name of the status that an error becomes, and what the client is told."""
    if isinstance(error, _NotFoundError):
        hint = f"{_OWN_SERVICE}ListApplications lists the applications there are."
        return "NOT_FOUND", f"{error} {hint}"
    if isinstance(error, TimeoutError) and not isinstance(error, RayTaskError):
        return "DEADLINE_EXCEEDED", "The request took longer than request_timeout_s."
    if isinstance(error, RequestCancelledError):
        return "CANCELLED", "The request was cancelled."
    if isinstance(error, BackPressureError):
        return "RESOURCE_EXHAUSTED", _short(error)
    if isinstance(error, (DeploymentUnavailableError, RayActorError)):
        return "UNAVAILABLE", _short(error)
    return "INTERNAL", _short(error.cause if isinstance(error, RayTaskError) else error)


def _short(error: BaseException) -> str:
    return f"{error}"[:_MOST_DETAILS] or type(error).__name__


def servicer_function(path: str) -> Callable[[Any, Any], Any]:
    """The generated function that an import path names.

    Raises:
        ImportError: When there is nothing at the path.
        ValueError: When that cannot be called.
    """
    advice = "it is 'module.add_XServicer_to_server', of a module in a folder of PYTHONPATH"
    found = found_at(path, "grpc_servicer_functions", advice)
    if not callable(found):
        raise ValueError(f"grpc_servicer_functions has {path!r}, which is no function")
    return found  # type: ignore[no-any-return]


def _library() -> Any:
    try:
        import grpc  # noqa: PLC0415 - optional, and slow to load
        import grpc.aio  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "gRPC needs grpcio; install it with: pip install 'heliostat[grpc]'"
        ) from error
    return grpc


def _reflect(services: _Heard, server: Any) -> None:
    try:
        from grpc_reflection.v1alpha import reflection  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError(
            "enable_reflection=True needs grpcio-reflection; install it with: pip install "
            "'heliostat[grpc]', or say grpc_options={'enable_reflection': False}"
        ) from error
    names = [handler.service_name() for handler in services.handlers]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)


class _Servicer:
    """Has every method; none is called."""

    def __getattr__(self, name: str) -> Any:
        return None


class _Heard:
    """Stands where generated code expects a server, and keeps what it adds."""

    def __init__(self) -> None:
        self.handlers: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """What generated code of every version calls."""
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """The same once more, by newer generated code, for quicker servers."""


def _Methods(grpc: Any, handlers: list[Any], server: GrpcServer) -> Any:
    """A handler of all methods, each through a handle; its base class is there only with grpc."""
    own = {
        f"{_OWN_SERVICE}ListApplications": server.applications,
        f"{_OWN_SERVICE}Healthz": server.healthz,
    }

    class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, call: Any) -> Any:
            if call.method in own:
                return grpc.unary_unary_rpc_method_handler(own[call.method])
            for handler in handlers:
                found = handler.service(call)
                if found is not None:
                    return _through(grpc, found, call.method, server)
            return None  # the client gets UNIMPLEMENTED

    return Methods()


def _through(grpc: Any, handler: Any, path: str, server: GrpcServer) -> Any:
    kind_in = "stream" if handler.request_streaming else "unary"
    kind_out = "stream" if handler.response_streaming else "unary"
    make = getattr(grpc, f"{kind_in}_{kind_out}_rpc_method_handler")

    async def one(message: Any, context: Any) -> Any:
        return await server.one(path, message, context)

    async def many(message: Any, context: Any) -> AsyncIterator[Any]:
        async for item in server.many(path, message, context):
            yield item

    behaviour = many if handler.response_streaming else one
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


def _end(context: Any, reply: Reply, request_id: str) -> str:
    """Tell the client what the user has set; the name of the status."""
    context.set_trailing_metadata((("request_id", request_id), *reply.trailing))
    if reply.compression is not None:
        context.set_compression(reply.compression)
    if reply.details:
        context.set_details(reply.details[:_MOST_DETAILS])
    if reply.code is None:
        return "OK"
    context.set_code(reply.code)
    return str(reply.code.name)


def _field(text: str) -> bytes:
    """A string as field 1 of a message."""
    encoded, length = text.encode(), b""
    size = len(encoded)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return b"\x0a" + length + bytes([size]) + encoded
