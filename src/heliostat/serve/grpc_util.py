"""What a deployment sees of a gRPC call: its context, and the messages that a client streams.

Values that travel between the gRPC server and the replica. They do not need grpc themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

__all__ = ["RayServegRPCContext", "gRPCInputStream"]


class RayServegRPCContext:
    """The call that is being answered; a method gets it that has a parameter `grpc_context`.

    What is set here before the method returns or raises is what the client sees.

    Args:
        grpc_context: The server's own context of the call.
        request_id: The call's id, which is the client's if it sent one.

    Example:
        >>> from heliostat.serve.grpc_util import RayServegRPCContext
        >>> class Fares:
        ...     def Ask(self, trip, grpc_context: RayServegRPCContext):
        ...         grpc_context.set_trailing_metadata([("currency", "EUR")])
    """

    def __init__(self, grpc_context: Any, request_id: str = "") -> None:
        self._metadata = [(key, value) for key, value in grpc_context.invocation_metadata() or ()]
        self._request_id = request_id
        self._peer = grpc_context.peer()
        self._peer_identities = grpc_context.peer_identities()
        self._peer_identity_key = grpc_context.peer_identity_key()
        self._auth_context = dict(grpc_context.auth_context() or {})
        self._code: Any = None
        self._details = ""
        self._trailing: list[tuple[str, Any]] = []
        self._compression: Any = None

    def invocation_metadata(self) -> list[tuple[str, Any]]:
        """What the client sent beside its message."""
        return self._metadata

    def request_id(self) -> str | None:
        """The call's id."""
        return self._request_id or self._sent("request_id")

    def application(self) -> str | None:
        """The application that the client named."""
        return self._sent("application")

    def multiplexed_model_id(self) -> str | None:
        """The model that the client named."""
        return self._sent("multiplexed_model_id")

    def traceparent(self) -> str | None:
        """The trace that the call belongs to, as W3C has it."""
        return self._sent("traceparent")

    def tracestate(self) -> str | None:
        """What came with the trace."""
        return self._sent("tracestate")

    def peer(self) -> str:
        """The client's address."""
        return str(self._peer)

    def peer_identities(self) -> Any:
        """Who the client is, by its certificate."""
        return self._peer_identities

    def peer_identity_key(self) -> Any:
        """Which property of the certificate tells that."""
        return self._peer_identity_key

    def auth_context(self) -> dict[str, Any]:
        """The properties of the connection's encryption."""
        return self._auth_context

    def code(self) -> Any:
        """The status that was set; None before."""
        return self._code

    def set_code(self, code: Any) -> None:
        """Answer with this `grpc.StatusCode`."""
        self._code = code

    def details(self) -> str:
        """The text that was set."""
        return self._details

    def set_details(self, details: str) -> None:
        """Say so with the status."""
        self._details = details

    def trailing_metadata(self) -> list[tuple[str, Any]]:
        """What was set to follow the answer."""
        return self._trailing

    def set_trailing_metadata(self, trailing_metadata: Sequence[tuple[str, Any]]) -> None:
        """Send this after the answer."""
        self._trailing = [(key, value) for key, value in trailing_metadata]

    def compression(self) -> Any:
        """The compression that was set."""
        return self._compression

    def set_compression(self, compression: Any) -> None:
        """Send the answer with this `grpc.Compression`."""
        self._compression = compression

    def _sent(self, key: str) -> str | None:
        return next((str(value) for name, value in self._metadata if name == key), None)


class Pulled(NamedTuple):
    """What the server answers who asks for a stream's next message."""

    message: Any
    is_last: bool  # then there is no message


class gRPCInputStream(AsyncIterator[Any]):
    """The messages that a client streams: `async for message in stream`.

    Args:
        server: The actor that has the client's connection.
        session: The call there.
    """

    def __init__(self, server: Any, session: str) -> None:
        self._server = server
        self._session = session
        self._is_exhausted = False
        self._is_cancelled = False

    def __aiter__(self) -> gRPCInputStream:
        return self

    async def __anext__(self) -> Any:
        if self._is_exhausted or self._is_cancelled:
            raise StopAsyncIteration
        pulled: Pulled = await self._server.next_message.remote(self._session)
        if pulled.is_last:
            self._is_exhausted = True
            raise StopAsyncIteration
        return pulled.message

    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Read no more."""
        self._is_cancelled = True

    @property
    def is_exhausted(self) -> bool:
        """Whether the client's last message was read."""
        return self._is_exhausted
