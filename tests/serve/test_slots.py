"""Slots: so many at a time, the others in order."""

from __future__ import annotations

import asyncio

import pytest

from heliostat.serve._slots import Slots


def test_they_run_in_the_order_in_which_they_came():
    async def go() -> None:
        slots, order = Slots(1), []

        async def work(name: str) -> None:
            await slots.take()
            order.append(name)
            await asyncio.sleep(0)
            slots.give()

        await asyncio.gather(*(work(name) for name in "abc"))
        assert order == list("abc")
        assert slots.load == 0

    asyncio.run(go())


def test_who_stops_waiting_takes_no_slot():
    async def go() -> None:
        slots = Slots(1)
        await slots.take()
        waiting = [asyncio.create_task(slots.take()) for _ in range(2)]
        await asyncio.sleep(0)
        assert slots.load == 3
        waiting[0].cancel()
        slots.give()
        await waiting[1]
        assert (slots.running, slots.load) == (1, 1)

    asyncio.run(go())


def test_one_who_is_cancelled_at_the_moment_of_its_turn_passes_it_on():
    async def go() -> None:
        slots = Slots(1)
        await slots.take()
        first, second = (asyncio.create_task(slots.take()) for _ in range(2))
        await asyncio.sleep(0)
        slots.give()
        first.cancel()
        await second
        assert slots.running == 1

    asyncio.run(go())


def test_more_slots_wake_those_who_wait_and_idleness_can_be_waited_for():
    async def go() -> None:
        slots = Slots(1)
        await slots.take()
        more = asyncio.create_task(slots.take())
        idle = asyncio.create_task(slots.until_idle())
        await asyncio.sleep(0)
        slots.resize(2)
        await more
        slots.give()
        await asyncio.sleep(0)
        assert not idle.done()
        slots.give()
        await idle

    asyncio.run(go())


def test_the_mean_load_counts_what_came_and_went_between_measurements(
    monkeypatch: pytest.MonkeyPatch,
):
    now = 0.0
    monkeypatch.setattr("heliostat.serve._slots.time.monotonic", lambda: now)

    async def go() -> None:
        nonlocal now
        slots = Slots(9)
        for _ in range(2):
            await slots.take()
        now = 1.0
        slots.give()
        slots.give()
        now = 4.0
        assert slots.mean_load() == 0.5
        assert slots.mean_load() == 0.0

    asyncio.run(go())


def test_two_may_wait_for_idleness_and_what_begins_meanwhile_is_waited_for():
    async def go() -> None:
        slots = Slots(2)
        assert slots.take_now()
        waiting = [asyncio.create_task(slots.until_idle()) for _ in range(2)]
        await asyncio.sleep(0)
        slots.give()
        assert slots.take_now()  # before they look
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        slots.give()
        await asyncio.gather(*waiting)

    asyncio.run(go())
