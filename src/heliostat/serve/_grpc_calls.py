"""gRPC calls in a replica: the user's method, its context, and what is told of it afterwards.

It does not know connections: `_grpc.py` has them, in a process of its own.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from heliostat.serve._user_code import UserCode
from heliostat.serve.exceptions import gRPCStatusError
from heliostat.serve.grpc_util import RayServegRPCContext

logger = logging.getLogger("heliostat.serve")

GRPC = "/grpc"  # the method name of gRPC calls; no Python method is called so
_CONTEXT = "grpc_context"


class Reply(NamedTuple):
    """The end of a call."""

    message: Any  # None at the end of a stream, and when it failed
    code: Any  # a grpc.StatusCode, or None for success
    details: str
    trailing: list[tuple[str, Any]]
    compression: Any


async def answer(code: UserCode, name: str, message: Any, context: RayServegRPCContext) -> Reply:
    """A call with one answer."""
    try:
        return _reply(await code.call(name, (message,), _extra(code, name, context)), context)
    except Exception as error:  # noqa: BLE001 - user code: it may have said what is to be told
        return _failed(error, context)


async def stream(
    code: UserCode, name: str, message: Any, context: RayServegRPCContext
) -> AsyncIterator[Any]:
    """A call with many answers; the last item is a Reply."""
    try:
        async for item in code.stream(name, (message,), _extra(code, name, context)):
            yield item
    except Exception as error:  # noqa: BLE001 - user code: it may have said what is to be told
        yield _failed(error, context)
    else:
        yield _reply(None, context)


def _extra(code: UserCode, name: str, context: RayServegRPCContext) -> dict[str, Any]:
    method: Callable[..., Any] = code.method(name)
    return {_CONTEXT: context} if _CONTEXT in inspect.signature(method).parameters else {}


def _reply(message: Any, context: RayServegRPCContext) -> Reply:
    return Reply(
        message,
        context.code(),
        context.details(),
        context.trailing_metadata(),
        context.compression(),
    )


def _failed(error: Exception, context: RayServegRPCContext) -> Reply:
    """What the user has said of an error; who says nothing has it raised.

    Raises:
        Exception: The error.
    """
    if isinstance(error, gRPCStatusError) and error.grpc_code is not None:
        context.set_code(error.grpc_code)
        context.set_details(error.grpc_details or str(error))
    if not context.code():
        raise error
    logger.info("a gRPC call ends with %s: %s", context.code(), error)
    if not context.details():
        context.set_details(str(error))
    return _reply(None, context)
