"""in_thread: plain iterators for an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from heliostat.serve._iteration import in_thread


def collect(items: Any) -> list[Any]:
    async def go() -> list[Any]:
        with ThreadPoolExecutor(1) as threads:
            return [item async for some in in_thread(items, threads) for item in some]

    return asyncio.run(asyncio.wait_for(go(), 20))


def test_all_items_come_in_order_though_the_thread_runs_ahead():
    assert collect(iter(range(1000))) == list(range(1000))
    assert collect(iter(())) == []


def test_an_item_does_not_wait_for_the_next_one():
    go_on = threading.Event()

    def slow() -> Iterator[int]:
        yield 1
        assert go_on.wait(20)
        yield 2

    async def go() -> list[int]:
        seen = []
        with ThreadPoolExecutor(1) as threads:
            async for some in in_thread(slow(), threads):
                seen += some
                go_on.set()
        return seen

    assert asyncio.run(go()) == [1, 2]


def test_an_error_comes_after_the_items_before_it():
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("x")

    async def go() -> None:
        with ThreadPoolExecutor(1) as threads:
            items = in_thread(broken(), threads)
            assert await anext(items) == [1]
            with pytest.raises(KeyError):
                await anext(items)

    asyncio.run(go())


def test_who_stops_reading_ends_the_iterator_and_frees_its_thread():
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    async def go() -> None:
        with ThreadPoolExecutor(1) as threads:
            items = in_thread(endless(), threads)
            await anext(items)
            await items.aclose()  # type: ignore[attr-defined]

    asyncio.run(go())
    assert closed.is_set()
