"""Values that are on disk are awaited like others: the event loop runs on while they come back."""

import asyncio
import gc
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import heliostat as ray
from heliostat import _faults
from heliostat.exceptions import GetTimeoutError, ObjectStoreFullError
from heliostat.testing.clock import until
from heliostat.util.state import list_objects

MIB = 1 << 20


def ramp(mib, start=0):
    return np.arange(start, start + mib * MIB // 8)


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    ray.init(num_cpus=2, object_store_memory=64 * MIB)
    yield
    _faults.clear()
    ray.shutdown()


def on_disk(ref):
    return any(row["spilled"] for row in list_objects(limit=100) if row["object_id"] == ref.hex())


def push_out(ref):
    """Have it moved to disk."""
    filled = [ray.put(ramp(16)) for _ in range(4)]
    until(lambda: on_disk(ref), "it is on disk")
    del filled


async def turns_until(task):
    """How many turns the loop makes until a task of it has ended."""
    turns = 0
    while not task.done():
        await asyncio.sleep(0.01)
        turns += 1
    return turns


def test_the_loop_of_the_driver_runs_on_while_a_value_is_read():
    ref = ray.put(ramp(40, 7))
    push_out(ref)

    async def main():
        with _faults.inject("spill.read", "delay=0.5"):
            task = asyncio.ensure_future(ref)
            turns = await turns_until(task)
        return turns, int((await task)[0])

    turns, first = asyncio.run(main())
    assert first == 7
    assert turns >= 10


def test_a_future_is_there_at_once_and_done_when_the_value_is():
    ref = ray.put(ramp(40, 7))
    push_out(ref)
    with _faults.inject("spill.read", "delay=0.3"):
        future = ref.future()
        assert not future.done()
        assert future.result(30)[0] == 7


def test_a_value_that_cannot_come_back_is_the_error_of_whoever_awaits_it():
    ref = ray.put(ramp(40, 7))
    push_out(ref)
    views = [ray.get(ray.put(ramp(20))) for _ in range(2)]

    async def main():
        await ref

    with pytest.raises(ObjectStoreFullError, match="does not fit"):
        asyncio.run(main())
    with pytest.raises(ObjectStoreFullError, match="does not fit"):
        ref.future().result(30)
    del views
    assert ray.get(ref)[0] == 7


def test_a_timeout_that_is_the_value_stays_the_error_it_is():
    @ray.remote
    def fail():
        raise GetTimeoutError("of the task itself")

    async def main():
        await fail.remote()

    with pytest.raises(GetTimeoutError, match="of the task itself"):
        asyncio.run(main())
    with pytest.raises(GetTimeoutError, match="of the task itself"):
        fail.remote().future().result(30)


def test_who_is_cancelled_while_a_value_is_read_leaves_it_to_others():
    ref = ray.put(ramp(40, 7))
    push_out(ref)

    async def main():
        with _faults.inject("spill.read", "delay=0.3"):
            task = asyncio.ensure_future(ref)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return int((await ref)[0])

    assert asyncio.run(main()) == 7
    gc.collect()  # what a cancelled task of the loop leaves behind
    until(lambda: all(row["reference_count"] == 1 for row in list_objects()), "nobody looks at it")


@ray.remote
class Loop:
    """An asyncio actor."""

    def __init__(self):
        self.arrived = threading.Event()

    async def fetch(self, refs):
        return int((await refs[0])[0])

    async def tick(self):
        return True


def test_the_loop_of_an_actor_answers_others_while_a_value_is_read():
    actor = Loop.remote()
    ref = ray.put(ramp(40, 7))
    push_out(ref)
    assert ray.get(actor.tick.remote())
    with _faults.inject("spill.read", "delay=0.5"):
        fetched = actor.fetch.remote([ref])
        ticks = 0
        while not ray.wait([fetched], timeout=0)[0]:
            assert ray.get(actor.tick.remote())
            ticks += 1
    assert ray.get(fetched) == 7
    assert ticks >= 10
