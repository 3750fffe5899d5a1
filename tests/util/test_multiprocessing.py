"""Pool does what `multiprocessing.Pool` does; the first tests run on both."""

import multiprocessing
import os
import threading
from multiprocessing.pool import ThreadPool

import pytest

import heliostat as ray
from heliostat.exceptions import RayActorError, SerializationError
from heliostat.testing._session import Gate, Tally
from heliostat.util.multiprocessing import Pool

pytestmark = pytest.mark.usefixtures("local")


def square(x):
    return x * x


def add(a, b=0):
    return a + b


def pick(n):
    if n == 3:
        raise KeyError("three")
    return n


STATE = []


def prepare(value):
    STATE.append(value)


def state(_):
    return STATE[-1]


def kinds(pool):
    """What a program sees of a pool."""
    seen = [
        pool.apply(add, (1,), {"b": 2}),
        pool.map(square, range(10)),
        pool.map(square, []),
        pool.map(square, range(10), chunksize=3),
        pool.starmap(add, [(1, 2), (3, 4)]),
        list(pool.imap(square, range(10), chunksize=4)),
        sorted(pool.imap_unordered(square, range(10))),
        pool.map_async(square, [2]).get(timeout=30),
        pool.starmap_async(add, [(5, 6)]).get(timeout=30),
        pool.map(state, [0]),
    ]
    for call in (lambda: pool.map(pick, range(6)), lambda: pool.apply(pick, (3,))):
        with pytest.raises(KeyError, match="three"):
            call()
    items = pool.imap(pick, range(5))
    got = []
    for _ in range(5):
        try:
            got.append(next(items))
        except KeyError as error:
            got.append(str(error))
    with pytest.raises(StopIteration):
        next(items)
    result = pool.apply_async(pick, (3,))
    result.wait(30)
    seen += [got, result.ready(), result.successful()]
    return seen


def test_it_behaves_as_the_standard_librarys_pool():
    with Pool(2, initializer=prepare, initargs=("ready",)) as pool:
        ours = kinds(pool)
    with ThreadPool(2, initializer=prepare, initargs=("ready",)) as pool:  # leaves no processes
        theirs = kinds(pool)
    assert ours == theirs


def test_callbacks_get_the_result_or_the_error():
    got, came = [], threading.Semaphore(0)

    def take(value):
        got.append(value)
        came.release()

    with Pool(2) as pool:
        pool.map_async(square, [1, 2], callback=take)
        came.acquire(timeout=30)
        pool.apply_async(pick, (3,), callback=print, error_callback=take)
        came.acquire(timeout=30)
    assert got[0] == [1, 4]
    assert isinstance(got[1], KeyError)


def test_a_result_that_is_late_times_out(tmp_path):
    gate = Gate(tmp_path)
    with Pool(1) as pool:
        result = pool.apply_async(gate.wait)
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(timeout=0.01)
        with pytest.raises(ValueError, match="not there yet"):
            result.successful()
        items = pool.imap(square, [1])
        with pytest.raises(multiprocessing.TimeoutError):
            items.next(timeout=0.01)
        gate.open()
        assert result.get(timeout=30) is None
        assert items.next(timeout=30) == 1


def test_close_then_join_does_what_was_submitted(tmp_path):
    done = Tally(tmp_path)
    pool = Pool(2)
    results = [pool.apply_async(done.add) for _ in range(10)]
    with pytest.raises(ValueError, match="call close"):
        pool.join()
    pool.close()
    with pytest.raises(ValueError, match="the pool is closed"):
        pool.apply(done.add)
    pool.join()
    assert done.count() == 10
    assert all(result.ready() for result in results)


def test_terminate_fails_what_was_not_done(tmp_path):
    gate = Gate(tmp_path)
    pool = Pool(1)
    running, waiting = pool.apply_async(gate.wait), pool.apply_async(square, (1,))
    pool.terminate()
    with pytest.raises(RuntimeError, match="terminated before"):
        waiting.get(timeout=30)
    with pytest.raises(RayActorError):
        running.get(timeout=30)
    pool.join()


def test_a_process_that_dies_costs_its_chunk_only():
    with Pool(1) as pool:
        with pytest.raises(RayActorError):
            pool.apply(os._exit, (3,))
        assert pool.map(square, [2, 3]) == [4, 9]


def test_processes_are_replaced_after_so_many_tasks():
    with Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(os.getpid) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_imap_takes_items_as_actors_come_free(tmp_path):
    taken = Tally(tmp_path)

    def items():
        while True:
            taken.add()
            yield 2

    with Pool(1) as pool:
        squares = pool.imap(square, items())
        assert [next(squares) for _ in range(5)] == [4] * 5
        assert taken.count() <= 5 + 2


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        Pool(0)
    with pytest.raises(ValueError, match="maxtasksperchild"):
        Pool(1, maxtasksperchild=0)
    with pytest.raises(NotImplementedError, match="context="):
        Pool(1, context=multiprocessing)
    with Pool(1) as pool:
        with pytest.raises(ValueError, match="chunksize must be at least 1"):
            pool.map(square, [1], chunksize=-1)
        with pytest.raises(ValueError, match="chunksize must be at least 1, got 0"):
            pool.map(square, [1], chunksize=0)
        with pytest.raises(ValueError, match="chunksize must be at least 1, got 0"):
            pool.imap(square, [1], chunksize=0)
        with pytest.raises(SerializationError, match="cannot be pickled"):
            ray.put(pool)
