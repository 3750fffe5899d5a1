"""A large result whose bytes are lost is made again by its task, and what it needs before it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import heliostat as ray
from heliostat import _faults
from heliostat.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    ObjectReconstructionFailedError,
)
from heliostat.testing._session import Gate, Tally
from heliostat.testing.clock import until
from heliostat.util.state import list_objects

MIB = 1 << 20


def ramp(start, mib=16):
    return np.arange(start, start + mib * MIB // 8)


@ray.remote
def make(tally, start):
    tally.add()
    return ramp(start)


@ray.remote
def add(tally, array, number):
    tally.add()
    return array + number


@ray.remote(num_returns=2)
def two(tally):
    tally.add()
    return ramp(1), ramp(2)


@ray.remote
class Maker:
    def make(self, tally, start):
        tally.add()
        return ramp(start)


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    ray.init(num_cpus=2, object_store_memory=64 * MIB)
    yield
    _faults.clear()
    ray.shutdown()


def push_out(*refs):
    """Fill memory until these are on disk."""
    wanted = {ref.hex() for ref in refs}
    ray.wait(list(refs), num_returns=len(refs))
    filled = [ray.put(ramp(0)) for _ in range(4)]

    def gone():
        return wanted <= {row["object_id"] for row in list_objects(limit=100) if row["spilled"]}

    until(gone, "they are on disk")
    del filled


def lose(*refs):
    """Make reading these fail once."""
    push_out(*refs)
    return _faults.inject("spill.read", "EIO", times=len(refs))


def test_a_lost_result_is_made_again(tmp_path: Path):
    tally = Tally(tmp_path)
    ref = make.remote(tally, 5)
    lose(ref)
    assert ray.get(ref)[0] == 5
    assert tally.count() == 2


def test_a_lost_argument_is_made_again(tmp_path: Path):
    tally = Tally(tmp_path)
    ref = make.remote(tally, 5)
    lose(ref)
    assert ray.get(add.remote(Tally(tmp_path, "other"), ref, 1))[0] == 6
    assert tally.count() == 2


def test_a_lost_value_is_made_again_for_a_worker_that_gets_it(tmp_path: Path):
    @ray.remote
    def look(box):
        return int(ray.get(box[0])[0])

    tally = Tally(tmp_path)
    ref = make.remote(tally, 5)
    lose(ref)
    assert ray.get(look.remote([ref]), timeout=60) == 5
    assert tally.count() == 2


def test_arguments_that_were_let_go_are_made_again_first(tmp_path: Path):
    first, second, third = (Tally(tmp_path, name) for name in "abc")
    end = add.remote(third, add.remote(second, make.remote(first, 5), 10), 100)
    lose(end)
    assert ray.get(end)[0] == 115
    assert [tally.count() for tally in (first, second, third)] == [2, 2, 2]


def test_what_is_still_there_is_not_made_again(tmp_path: Path):
    first, second = (Tally(tmp_path, name) for name in "ab")
    source = make.remote(first, 5)
    end = add.remote(second, source, 10)
    lose(end)
    assert ray.get(end)[0] == 15
    assert (first.count(), second.count()) == (1, 2)
    assert ray.get(source)[0] == 5


def test_the_other_result_of_the_task_stays_as_it_is(tmp_path: Path):
    tally = Tally(tmp_path)
    one, other = two.remote(tally)
    push_out(one, other)
    with _faults.inject("spill.read", "EIO"):
        assert ray.get(one)[0] == 1
    assert ray.get(other)[0] == 2
    assert tally.count() == 2


def test_a_value_may_be_lost_as_often_as_its_task_may_be_retried(tmp_path: Path):
    tally = Tally(tmp_path)
    ref = make.options(max_retries=2).remote(tally, 5)
    for _ in range(2):
        lose(ref)
        assert ray.get(ref)[0] == 5
    lose(ref)
    with pytest.raises(ObjectLostError, match="retries are used up"):
        ray.get(ref)
    assert tally.count() == 3


def test_a_task_without_retries_is_not_run_again(tmp_path: Path):
    tally = Tally(tmp_path)
    ref = make.options(max_retries=0).remote(tally, 5)
    lose(ref)
    with pytest.raises(ObjectLostError, match="must not run again") as caught:
        ray.get(ref)
    assert type(caught.value) is ObjectLostError
    assert tally.count() == 1


def test_a_value_that_was_put_cannot_be_made_again():
    ref = ray.put(ramp(5))
    lose(ref)
    with pytest.raises(ObjectLostError, match="cannot be made again"):
        ray.get(ref)


def test_a_source_that_was_put_and_let_go_cannot_be_made_again(tmp_path: Path):
    end = add.remote(Tally(tmp_path), ray.put(ramp(5)), 10)
    lose(end)
    with pytest.raises(ObjectReconstructionFailedError, match=r"its argument .* is gone"):
        ray.get(end)


def test_a_result_of_an_actor_is_made_again_if_its_calls_may_be_repeated(tmp_path: Path):
    tally, other = Tally(tmp_path, "a"), Tally(tmp_path, "b")
    patient = Maker.options(max_task_retries=1).remote()
    ref = patient.make.remote(tally, 5)
    lose(ref)
    assert ray.get(ref)[0] == 5
    assert tally.count() == 2
    once = Maker.remote()
    ref = once.make.remote(other, 5)
    lose(ref)
    with pytest.raises(ObjectLostError):
        ray.get(ref)
    assert other.count() == 1


def test_a_result_of_a_dead_actor_cannot_be_made_again(tmp_path: Path):
    maker = Maker.options(max_task_retries=1).remote()
    ref = maker.make.remote(Tally(tmp_path), 5)
    ray.wait([ref])
    ray.kill(maker)
    lose(ref)
    with pytest.raises(ObjectReconstructionFailedError, match="its actor is dead"):
        ray.get(ref)


def test_a_task_that_fails_when_it_runs_again_gives_its_error(tmp_path: Path):
    @ray.remote
    def once(tally):
        tally.add()
        if tally.count() > 1:
            raise ValueError("not twice")
        return ramp(1)

    ref = once.remote(Tally(tmp_path))
    lose(ref)
    with pytest.raises(ValueError, match="not twice"):
        ray.get(ref)


def test_waiting_for_a_lost_value_may_time_out_while_it_is_made(tmp_path: Path):
    tally = Tally(tmp_path)
    ref = make.remote(tally, 5)
    lose(ref)
    assert ray.get(ref, timeout=60)[0] == 5


def test_a_task_that_was_ready_waits_while_its_argument_is_made_again(tmp_path: Path):
    @ray.remote
    def hold(gate):
        gate.wait(60)

    @ray.remote
    def first_in_the_queue():
        return 1

    gate, tally = Gate(tmp_path), Tally(tmp_path)
    ref = make.remote(tally, 5)
    lose(ref)
    busy = [hold.remote(gate) for _ in range(2)]  # both CPUs
    head = first_in_the_queue.remote()
    behind = add.remote(Tally(tmp_path, "other"), ref, 1)  # ready: its argument is there, on disk
    with pytest.raises(GetTimeoutError):
        ray.get(ref, timeout=0.5)  # finds that it is lost; it is made behind the other two
    gate.open()
    assert ray.get(behind, timeout=60)[0] == 6
    assert ray.get([head, *busy], timeout=60) == [1, None, None]
    assert tally.count() == 2


def test_references_in_the_other_result_are_counted_once():
    @ray.remote(num_returns=2)
    def two_of(refs):
        return ramp(1), refs

    inner = ray.put("inner")
    one, other = two_of.remote([inner])
    ray.wait([other])
    lose(one)
    assert ray.get(one)[0] == 1
    del one, other, inner
    until(lambda: not list_objects(), "nothing is left")


def test_an_item_of_a_stream_that_runs_is_lost_and_nobody_waits_for_it(tmp_path: Path):
    gate = Gate(tmp_path)

    @ray.remote(num_returns="streaming")
    def stream():
        yield ramp(1)
        gate.wait()

    @ray.remote
    def first(array):
        return int(array[0])

    items = stream.remote()
    item = next(items)
    lose(item)
    needed = first.remote(item)
    with pytest.raises(ObjectLostError, match="a generator made it"):
        ray.get(needed, timeout=30)
    with pytest.raises(ObjectLostError):
        ray.get(item, timeout=30)
    gate.open()
