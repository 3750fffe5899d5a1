"""What user code can ask about where it runs: replica and request.

Values kept in context variables; set by the replica and the proxy, read by user code and handles.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple


class RequestContext(NamedTuple):
    """The request that is being answered; travels with calls through handles."""

    route: str = ""
    request_id: str = ""
    app_name: str = ""


@dataclass(frozen=True)
class ReplicaContext:
    """Where user code runs: `serve.get_replica_context()`."""

    app_name: str
    deployment: str
    replica_tag: str
    servable_object: Any

    @property
    def replica_id(self) -> str:
        """The replica's unique name."""
        return self.replica_tag


_REQUEST: ContextVar[RequestContext] = ContextVar("heliostat_serve_request")
_NO_REQUEST = RequestContext()
_replica: ReplicaContext | None = None  # one per process: a replica has its process to itself


@contextlib.contextmanager
def serving(request: RequestContext) -> Iterator[None]:
    """The request that the code inside answers."""
    token = _REQUEST.set(request)
    try:
        yield
    finally:
        _REQUEST.reset(token)


def current_request() -> RequestContext:
    """The request that is being answered, or an empty one."""
    return _REQUEST.get(_NO_REQUEST)


def set_replica_context(context: ReplicaContext | None) -> None:
    """Say which replica this process is; None when it has ended."""
    global _replica
    _replica = context


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
    if _replica is None:
        raise RuntimeError(
            "get_replica_context() works only in a deployment's code, inside a replica"
        )
    return _replica
