"""UserCode: constructors, calls, streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from heliostat.serve._user_code import UserCode
from heliostat.serve.context import ReplicaContext


def run(target: Any, test: Callable[[UserCode], Awaitable[None]], user_config: Any = None) -> None:
    async def go() -> None:
        code = UserCode(ReplicaContext("a", "D", "D#1", None), 2, lambda context: None)
        await code.construct(target, (), {}, user_config)
        await test(code)
        await code.close()

    asyncio.run(asyncio.wait_for(go(), 20))


class Many:
    async def __init__(self) -> None:  # type: ignore[misc]  # Ray lets constructors be async
        await asyncio.sleep(0)
        self.ready = True

    def sync(self) -> Any:
        yield from "ab"

    async def loop(self) -> Any:
        yield 1

    def indirect(self) -> Any:
        return iter([1, 2])

    def plain(self) -> bool:
        return self.ready


def test_constructors_may_be_async_and_generators_of_all_kinds_stream():
    async def test(code: UserCode) -> None:
        assert await code.call("plain", (), {})
        got = {
            name: [x async for x in code.stream(name, (), {})]
            for name in ("sync", "loop", "indirect")
        }
        assert got == {"sync": ["a", "b"], "loop": [1], "indirect": [1, 2]}

    run(Many, test)


def test_streams_and_answers_are_not_taken_for_each_other():
    async def test(code: UserCode) -> None:
        for name in ("sync", "loop"):
            with pytest.raises(TypeError, match=r"options\(stream=True\)"):
                await code.call(name, (), {})
        with pytest.raises(TypeError, match="returned bool and no generator"):
            await anext(code.stream("plain", (), {}))

    run(Many, test)


def test_user_config_needs_reconfigure():
    async def test(code: UserCode) -> None: ...

    with pytest.raises(AttributeError, match="no method 'reconfigure'"):
        run(Many, test, {"x": 1})
