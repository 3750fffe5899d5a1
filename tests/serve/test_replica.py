"""Replica: limits, threads, draining; without an actor around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from heliostat.serve import context
from heliostat.serve._replica import Identity, Load, Replica, Up
from heliostat.serve.config import DeploymentConfig
from heliostat.serve.exceptions import ReplicaClosedError


@pytest.fixture(autouse=True)
def no_replica_afterwards(monkeypatch: pytest.MonkeyPatch, loggers_as_before: None) -> None:
    monkeypatch.setattr(context, "_replica", None)


def run(target: Any, test: Callable[[Replica], Awaitable[None]], **options: Any) -> None:
    async def go() -> None:
        replica = Replica(
            "app", "D", Identity("D#1"), DeploymentConfig().with_options(options), None
        )
        payload: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        payload.set_result((target, (), {}))
        assert await replica.start([payload], []) == Up("", False, "")  # type: ignore[list-item]
        await test(replica)

    asyncio.run(asyncio.wait_for(go(), 20))


async def call(replica: Replica, method: str = "__call__", *args: Any) -> Any:
    return await replica.call(method, "/", "id", "app", "", "", *args)


def test_sync_methods_run_in_threads_and_async_ones_in_the_loop():
    class Two:
        def sync(self) -> threading.Thread:
            return threading.current_thread()

        async def loop(self) -> threading.Thread:
            return threading.current_thread()

    async def test(replica: Replica) -> None:
        assert await call(replica, "sync") is not threading.current_thread()
        assert await call(replica, "loop") is threading.current_thread()

    run(Two, test)


def test_threads_know_the_request_that_they_answer():
    class Who:
        def who(self) -> str:
            return context.current_request().request_id

    async def test(replica: Replica) -> None:
        assert await call(replica, "who") == "id"

    run(Who, test)


def test_a_function_is_its_own_call_even_when_its_result_must_be_awaited():
    async def later(x: int) -> int:
        return x + 1

    async def test(replica: Replica) -> None:
        assert await call(replica, "__call__", 1) == 2

    run(lambda x: later(x), test)


def test_no_more_than_max_ongoing_requests_run():
    class Gate:
        def __init__(self) -> None:
            self.running = 0
            self.open = asyncio.Event()

        async def __call__(self) -> int:
            self.running += 1
            await self.open.wait()
            return self.running

    async def test(replica: Replica) -> None:
        calls = [asyncio.create_task(call(replica)) for _ in range(5)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert replica._code._object.running == 2
        replica._code._object.open.set()
        await asyncio.gather(*calls)

    run(Gate, test, max_ongoing_requests=2)


def test_draining_waits_for_what_runs_then_refuses_and_lets_the_object_go():
    gone = []

    class Slow:
        def __init__(self) -> None:
            self.open = asyncio.Event()

        async def __call__(self) -> str:
            await self.open.wait()
            return "done"

        def __del__(self) -> None:
            gone.append(True)

    async def test(replica: Replica) -> None:
        running = asyncio.create_task(call(replica))
        await asyncio.sleep(0)
        draining = asyncio.create_task(replica.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        replica._code._object.open.set()
        assert await running == "done"
        await draining
        with pytest.raises(ReplicaClosedError):
            await call(replica)
        assert gone == [True]

    run(Slow, test)


def test_an_unknown_method_is_told_with_those_there_are():
    class Some:
        def predict(self) -> None: ...

    async def test(replica: Replica) -> None:
        with pytest.raises(AttributeError, match=r"'D' has no method 'x'; it has \['predict'\]"):
            await call(replica, "x")

    run(Some, test)


def test_the_users_health_check_is_asked_where_there_is_one():
    class Ill:
        def check_health(self) -> None:
            raise RuntimeError("ill")

    async def ill(replica: Replica) -> None:
        with pytest.raises(RuntimeError, match="ill"):
            await replica.check_health()

    async def well(replica: Replica) -> None:
        await replica.check_health()

    run(Ill, ill)
    run(dict, well)


def test_a_replica_tells_its_load_and_what_its_object_records():
    class Counted:
        fails = False

        async def record_autoscaling_stats(self) -> dict[str, int]:
            if self.fails:
                raise ValueError("not now")
            return {"tokens": 3}

    async def test(replica: Replica) -> None:
        assert await replica.load() == Load(0.0, {"tokens": 3.0})
        replica._code._object.fails = True
        assert (await replica.load()).stats == {}

    run(Counted, test)


def test_a_slow_record_of_statistics_holds_up_neither_load_nor_health_nor_the_next():
    class Slow:
        def __init__(self) -> None:
            self.count = 0
            self.open = threading.Event()

        def __call__(self) -> None:
            self.open.wait()

        def record_autoscaling_stats(self) -> dict[str, int]:
            self.count += 1
            self.open.wait()
            return {"asked": self.count}

        def check_health(self) -> None:
            pass

        async def go_on(self) -> None:
            self.open.set()

    async def test(replica: Replica) -> None:
        busy = [asyncio.create_task(call(replica)) for _ in range(2)]
        await asyncio.sleep(0)  # both have taken their threads
        assert [(await replica.load()).stats for _ in range(3)] == [{}] * 3
        await replica.check_health()
        await replica._code.call("go_on", (), {})
        await asyncio.gather(*busy)
        while (await replica.load()).stats.get("asked", 0) < 2:  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(0)

    run(Slow, test, max_ongoing_requests=2)


def test_a_replica_can_be_told_another_rank():
    class Who:
        def rank(self) -> tuple[int, int]:
            me = context.get_replica_context()
            return me.rank.rank, me.world_size

    async def test(replica: Replica) -> None:
        assert await call(replica, "rank") == (0, 1)
        await replica.identify(Identity("D#1", 2, 5))
        assert await call(replica, "rank") == (2, 5)

    run(Who, test)
