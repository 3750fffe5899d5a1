"""A Queue is one queue for the driver, tasks and actors, with the standard library's manners."""

import asyncio
import queue

import pytest

import heliostat as ray
from heliostat.exceptions import RayActorError
from heliostat.util.queue import Empty, Full, Queue

pytestmark = pytest.mark.usefixtures("local")


def test_items_come_out_in_order():
    shared = Queue()
    for n in range(5):
        shared.put(n)
    assert (len(shared), shared.qsize(), shared.empty(), shared.full()) == (5, 5, False, False)
    assert [shared.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert shared.empty()


def test_full_and_empty_are_the_standard_librarys():
    shared = Queue(maxsize=1)
    with pytest.raises(Empty):
        shared.get_nowait()
    with pytest.raises(queue.Empty, match=r"empty for 0\.01 s"):
        shared.get(timeout=0.01)
    shared.put("one")
    assert shared.full()
    with pytest.raises(Full):
        shared.put_nowait("two")
    with pytest.raises(queue.Full, match="1 items was full"):
        shared.put("two", timeout=0.01)
    assert shared.get() == "one"
    with pytest.raises(ValueError, match="timeout must be >= 0"):
        shared.get(timeout=-1)
    with pytest.raises(ValueError, match="timeout must be >= 0"):
        shared.put(1, timeout=-1)


def test_batches_go_whole_or_not_at_all():
    shared = Queue(maxsize=3)
    shared.put_nowait_batch([1, 2])
    with pytest.raises(Full, match="room for 1 of 2 items"):
        shared.put_nowait_batch([3, 4])
    with pytest.raises(Empty, match="2 items, not 3"):
        shared.get_nowait_batch(3)
    assert shared.get_nowait_batch(2) == [1, 2]
    with pytest.raises(ValueError, match="num_items"):
        shared.get_nowait_batch(-1)


def test_tasks_share_it():
    shared = Queue(maxsize=2)

    @ray.remote
    def produce(shared, n):
        for item in range(n):
            shared.put(item)

    @ray.remote
    def consume(shared, n):
        return [shared.get() for _ in range(n)]

    produced = produce.remote(shared, 20)
    assert ray.get(consume.remote(shared, 20), timeout=30) == list(range(20))
    ray.get(produced)


def test_the_event_loop_goes_on_while_it_waits():
    async def main() -> list[str]:
        shared = Queue()
        order = []

        async def take():
            order.append(await shared.get_async(timeout=20))

        taking = asyncio.create_task(take())
        await asyncio.sleep(0)
        order.append("before")
        await shared.put_async("item")
        await taking
        with pytest.raises(Empty):
            await shared.get_async(block=False)
        return order

    assert asyncio.run(main()) == ["before", "item"]


def test_options_reach_its_actor_and_shutdown_ends_it():
    shared = Queue(actor_options={"name": "the queue"})
    assert "the queue" in ray.util.list_named_actors()
    actor = shared.actor
    shared.shutdown(grace_period_s=5)
    with pytest.raises(RayActorError):
        ray.get(actor.qsize.remote())
    shared.shutdown(force=True)


def test_a_full_or_empty_queue_is_no_error_of_a_task():
    shared = Queue(maxsize=1)
    shared.put(1)
    for action in (lambda: shared.put_nowait(2), lambda: shared.put(2, timeout=0.05)):
        with pytest.raises(Full) as caught:
            action()
        assert type(caught.value) is Full
    assert shared.get_nowait() == 1
    for action in (shared.get_nowait, lambda: shared.get(timeout=0.05)):
        with pytest.raises(Empty) as caught:
            action()
        assert type(caught.value) is Empty
    with pytest.raises(TypeError, match="num_items must be an int, got 'x'"):
        shared.get_nowait_batch("x")
