"""Lifespan: starts, ends, failures, and apps that do not know it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from heliostat.serve._lifespan import Lifespan


def test_an_app_that_does_not_know_the_protocol_starts_all_the_same():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    async def go() -> None:
        life = Lifespan(app)
        await life.startup()
        await life.shutdown()

    asyncio.run(go())


@pytest.mark.parametrize("late", [False, True])
def test_a_failure_is_told_when_the_app_says_so_or_raises(late: bool):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if late:
            raise KeyError("gone")
        await send({"type": "lifespan.startup.failed", "message": "gone"})

    with pytest.raises(RuntimeError, match=r"at its start: .*gone"):
        asyncio.run(Lifespan(app).startup())


def test_a_failure_at_the_end_is_logged(caplog: pytest.LogCaptureFixture):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        scope["state"]["x"] = 1
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed"})

    async def go() -> None:
        life = Lifespan(app)
        await life.startup()
        assert life.state == {"x": 1}
        await life.shutdown()

    with caplog.at_level(logging.ERROR, "heliostat.serve"):
        asyncio.run(go())
    assert "failed at its end: no reason given" in caplog.text
