# ruff: noqa: PT028 - it is called as tests are, and is none
"""test_client: an application without processes or a port, for unit tests."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING

from heliostat.serve._exchange import BrokenOffError
from heliostat.serve._local import LocalApplication
from heliostat.serve.deployment import Application

if TYPE_CHECKING:
    from starlette.testclient import TestClient
    from starlette.types import Message, Receive, Scope, Send


def test_client(
    app: Application,
    *,
    name: str = "default",
    route_prefix: str = "/",
    raise_server_exceptions: bool = True,
) -> TestClient:
    """A client that talks to an application in this process: no replicas, no port, no engine.

    Constructors run at once, all deployments in one thread; handles, routers, dependencies,
    lifespan, WebSockets, `@serve.batch` and `@serve.multiplexed` work as they do in replicas.

    Args:
        app: What `.bind()` returned.
        name: The application's name.
        route_prefix: Where its routes begin.
        raise_server_exceptions: Raise in the test what the ingress raises; False answers with
            status 500, as a client would see it.

    Returns:
        A `starlette.testclient.TestClient`; it has the methods of `httpx.Client`, and
        `websocket_connect`. The application ends with it, or at the end of `with`.

    Raises:
        ImportError: When httpx is not installed.
        Exception: What a constructor raises.

    Example:
        >>> from heliostat import serve
        >>> @serve.deployment
        ... class Echo:
        ...     async def __call__(self, request): return await request.json()
        >>> client = serve.test_client(Echo.bind())
        >>> client.post("/", json={"x": 1}).json()
        {'x': 1}
    """
    try:
        from starlette.testclient import TestClient  # noqa: PLC0415 - needs httpx, which is optional
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            "serve.test_client needs httpx; install it with: pip install httpx"
        ) from error
    local = LocalApplication(app, name, route_prefix)

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(BrokenOffError):  # the local application has kept the error
            await local(scope, receive, send)
        error = local.take_error()
        if error is not None and raise_server_exceptions:
            raise error

    client = TestClient(_closing(run, local), raise_server_exceptions=raise_server_exceptions)
    weakref.finalize(client, local.close)
    return client


def _closing(app: _App, local: LocalApplication) -> _App:
    """Where the client is a context manager, its end is the application's."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        message: Message = await receive()
        while message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
            message = await receive()
        await asyncio.to_thread(local.close)
        await send({"type": "lifespan.shutdown.complete"})

    return run


if TYPE_CHECKING:
    from starlette.types import ASGIApp as _App

test_client.__test__ = False  # type: ignore[attr-defined]  # pytest collects what is called so
