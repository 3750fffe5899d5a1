"""What user code can ask about where it runs: replica and request.

Values kept in context variables; set by the replica and the proxy, read by user code and handles.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class RequestContext(NamedTuple):
    """The request that is being answered; travels with calls through handles."""

    route: str = ""
    request_id: str = ""
    app_name: str = ""
    multiplexed_model_id: str = ""
    trace: str = ""  # the span that it is answered in, as a header `traceparent` has it


class Cancellable(Protocol):
    """What ends with the request that has begun it."""

    def cancel(self) -> None:
        """End it now, if it has not ended."""


@dataclass(frozen=True)
class ReplicaRank:
    """Which replica of its deployment one is, counted from 0; on one machine two numbers are one.

    Args:
        rank: Among all replicas of the deployment.
        node_rank: Of the machine, among those that have some.
        local_rank: Among those on its machine.
    """

    rank: int = 0
    node_rank: int = 0
    local_rank: int = 0


@dataclass(frozen=True)
class ReplicaContext:
    """Where user code runs: `serve.get_replica_context()`.

    Args:
        app_name: The application.
        deployment: The deployment in it.
        replica_tag: The replica's unique name.
        servable_object: The user's object; None while its constructor runs.
        rank: Which of the replicas it is. Ranks have gaps while replicas come and go, and are
            0, 1, 2, ... again when as many run as shall.
        world_size: How many replicas there shall be.
        gang_context: None: there are no gangs.
        code_version: Changes with each update that makes new replicas.
    """

    app_name: str
    deployment: str
    replica_tag: str
    servable_object: Any
    rank: ReplicaRank = ReplicaRank()
    world_size: int = 1
    gang_context: None = None
    code_version: str = ""

    @property
    def replica_id(self) -> str:
        """The replica's unique name."""
        return self.replica_tag


_SERVING: ContextVar[serving] = ContextVar("heliostat_serve_request")
_LOCAL_REPLICA: ContextVar[ReplicaContext | None] = ContextVar("heliostat_serve_replica")
_replica: ReplicaContext | None = None  # one per process: a replica has its process to itself


class serving:
    """The request that the code inside answers; if it is cancelled, so are the calls it made.

    Attributes:
        request: The request.
        children: The calls that end with it; made with the first of them.
    """

    __slots__ = ("_token", "children", "request")

    def __init__(self, request: RequestContext) -> None:
        self.request = request
        self.children: set[Cancellable] | None = None

    def __enter__(self) -> None:
        self._token = _SERVING.set(self)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.children and issubclass(kind, asyncio.CancelledError):
            for child in list(self.children):
                child.cancel()
        try:  # noqa: SIM105 - every request comes here
            _SERVING.reset(self._token)
        except ValueError:  # a generator that is finalised somewhere else
            pass


_NOTHING = serving(RequestContext())


def current_request() -> RequestContext:
    """The request that is being answered, or an empty one."""
    return _SERVING.get(_NOTHING).request


def current_children() -> set[Cancellable] | None:
    """Where the calls announce themselves that end with the request; None outside of one."""
    current = _SERVING.get(_NOTHING)
    if current is _NOTHING:
        return None
    if current.children is None:
        current.children = set()
    return current.children


def set_replica_context(context: ReplicaContext | None) -> None:
    """Say which replica this process is; None when it has ended."""
    global _replica
    _replica = context


def set_local_replica_context(context: ReplicaContext | None) -> None:
    """The same for the running task alone: in local testing mode a process has many."""
    _LOCAL_REPLICA.set(context)


def get_replica_context() -> ReplicaContext:
    """Which replica this code runs in.

    Raises:
        RuntimeError: Outside a replica.

    Example:
        >>> from heliostat import serve
        >>> serve.get_replica_context()
        Traceback (most recent call last):
        ...
        RuntimeError: get_replica_context() works only in a deployment's code, inside a replica
    """
    replica = _LOCAL_REPLICA.get(None) or _replica
    if replica is None:
        raise RuntimeError(
            "get_replica_context() works only in a deployment's code, inside a replica"
        )
    return replica


def get_multiplexed_model_id() -> str:
    """The model that the request is for; an empty string when it names none.

    HTTP requests name it in the header `serve_multiplexed_model_id`, handles by
    `handle.options(multiplexed_model_id=...)`.

    Example:
        >>> from heliostat import serve
        >>> serve.get_multiplexed_model_id()
        ''
    """
    return current_request().multiplexed_model_id


def get_trace_context() -> Any:
    """OpenTelemetry's context of the request's span, for spans of your own below it.

    Returns:
        What `tracer.start_as_current_span(name, context=...)` takes; None where nothing is traced.

    Example:
        >>> from heliostat import serve
        >>> serve.get_trace_context() is None
        True
    """
    trace = current_request().trace
    if not trace:
        return None
    from heliostat.serve._tracing import context_of  # noqa: PLC0415 - only with OpenTelemetry

    return context_of(trace)
