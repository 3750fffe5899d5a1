"""Who gives up waiting for memory leaves nothing behind: no range, and nobody's place in the queue."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import heliostat as ray
from heliostat import _faults
from heliostat.exceptions import GetTimeoutError, TaskCancelledError
from heliostat.testing.clock import until
from heliostat.util.state import list_objects, summarize_objects

MIB = 1 << 20


def ramp(mib, start=0):
    return np.arange(start, start + mib * MIB // 8)


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    ray.init(num_cpus=3, object_store_memory=64 * MIB)
    yield
    _faults.clear()
    ray.shutdown()


def all_of_memory_is_free():
    """There is room for a value that takes nearly all of it."""
    return bool(ray.get(ray.put(ramp(62)))[5] == 5)


def on_disk(ref):
    return any(row["spilled"] for row in list_objects(limit=100) if row["object_id"] == ref.hex())


def push_out(ref):
    """Have it moved to disk."""
    filled = [ray.put(ramp(16)) for _ in range(4)]
    until(lambda: on_disk(ref), "it is on disk")
    del filled


def interrupt_soon():
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


@ray.remote
def look(refs, directory):
    """Look at a value until a file is there: what may change soon, so that others wait for it."""
    array = ray.get(refs[0])
    (directory / "begun").touch()
    until((directory / "end").exists, "the end of the look", timeout_s=60)
    return int(array[0])


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[None]:
    """Two thirds of memory are looked at by a task for as long as the test wants."""
    held = ray.put(ramp(40, 3))
    looked = look.remote([held], tmp_path)
    until((tmp_path / "begun").exists, "it looks")
    yield
    (tmp_path / "end").touch()
    assert ray.get(looked) == 3
    del held, looked
    assert all_of_memory_is_free()


def test_ctrl_c_while_a_put_waits_for_room(watched):
    timer = interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        ray.put(ramp(40))
    timer.join()


def test_ctrl_c_while_a_value_is_written():
    with _faults.inject("store.write", "SIGINT"), pytest.raises(KeyboardInterrupt):
        ray.put(ramp(40))
    assert all_of_memory_is_free()


def test_ctrl_c_while_a_get_waits_for_room():
    ref = ray.put(ramp(40, 7))
    push_out(ref)
    views = [ray.get(ray.put(ramp(20))) for _ in range(2)]
    timer = interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        ray.get(ref)
    timer.join()
    del views
    assert all_of_memory_is_free()
    assert ray.get(ref)[0] == 7


def test_a_cancelled_task_that_waits_for_room_ends_at_once(watched):
    @ray.remote
    def put():
        ray.put(ramp(40))

    @ray.remote
    def give():
        return ramp(40)

    for task in (put, give):
        ref = task.remote()
        until(lambda: waiting_for_room() == 1, "it waits for room")
        ray.cancel(ref)
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=30)
        assert waiting_for_room() == 0


def waiting_for_room():
    """How many values wait for room, and objects to come back."""
    return summarize_objects()["cluster"]["waiting_for_memory"]


def test_a_cancelled_task_that_waits_for_a_value_from_disk_leaves_it_there(watched):
    @ray.remote
    def fetch(refs):
        ray.get(refs[0])

    ref = ray.put(ramp(20, 7))
    push_out(ref)
    views = ray.get(ray.put(ramp(16)))
    task = fetch.remote([ref])
    until(lambda: waiting_for_room() == 1, "it waits for the value")
    ray.cancel(task)
    with pytest.raises(TaskCancelledError):
        ray.get(task, timeout=30)
    assert waiting_for_room() == 0
    del views
    assert on_disk(ref)
    assert ray.get(ref)[0] == 7


def test_a_get_in_a_task_that_takes_too_long_leaves_the_value_on_disk(watched):
    @ray.remote
    def fetch(refs):
        try:
            ray.get(refs[0], timeout=0.1)
        except GetTimeoutError as error:
            return str(error)

    ref = ray.put(ramp(20, 7))
    push_out(ref)
    views = ray.get(ray.put(ramp(16)))
    assert "still on disk" in ray.get(fetch.remote([ref]), timeout=30)
    assert waiting_for_room() == 0
    del views
    assert on_disk(ref)
    assert ray.get(ref)[0] == 7


def test_no_cancellation_leaves_a_wait_behind(watched):
    @ray.remote
    def fetch(refs):
        ray.get(refs[0])

    ref = ray.put(ramp(20, 7))
    push_out(ref)
    views = ray.get(ray.put(ramp(16)))
    for _ in range(150):  # its news and its signal reach the worker in either order
        task = fetch.remote([ref])
        until(lambda: waiting_for_room() == 1, "it waits for the value")
        ray.cancel(task)
        with pytest.raises(TaskCancelledError):
            ray.get(task, timeout=30)
        assert waiting_for_room() == 0
    del views
