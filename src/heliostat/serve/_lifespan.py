"""Lifespan: the start and the end of an ASGI app's life, as the ASGI specification has them.

An app that does not know the protocol is started all the same. It knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.types import ASGIApp, Message

logger = logging.getLogger("heliostat.serve")


class Lifespan:
    """Runs an app's lifespan in a task of its own.

    Args:
        app: The app.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[str] | None = None
        self.state: dict[str, Any] = {}

    async def startup(self) -> None:
        """Start the app.

        Raises:
            RuntimeError: When the app says that it cannot start.
        """
        self._task = asyncio.create_task(self._run())
        problem = await self._ask("lifespan.startup")
        if problem:
            raise RuntimeError(f"the app's lifespan failed at its start: {problem}")

    async def shutdown(self) -> None:
        """End the app; what it raises meanwhile is logged."""
        if self._task is None or self._task.done():
            return
        problem = await self._ask("lifespan.shutdown")
        if problem:
            logger.error("the app's lifespan failed at its end: %s", problem)
        await asyncio.wait([self._task])

    async def _ask(self, kind: str) -> str:
        self._answer = asyncio.get_running_loop().create_future()
        self._to_app.put_nowait({"type": kind})
        return await self._answer

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        began = False

        async def receive() -> Message:
            nonlocal began
            began = True
            return await self._to_app.get()

        async def send(message: Message) -> None:
            failed = message["type"].endswith(".failed")
            self._tell(message.get("message") or "no reason given" if failed else "")

        try:
            await self._app({**scope, "state": self.state}, receive, send)
        except Exception as error:  # noqa: BLE001 - user code: it becomes the replica's failure
            # Who raises before it listens does not know the protocol.
            self._tell(f"{type(error).__name__}: {error}" if began else "")
        else:
            self._tell("")

    def _tell(self, problem: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(problem)
