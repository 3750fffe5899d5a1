"""An ActorPool gives each value to an idle actor, and results in order or as they come."""

import os

import pytest

import heliostat as ray
from heliostat.exceptions import ActorDiedError
from heliostat.testing._session import Gate
from heliostat.util import ActorPool

pytestmark = pytest.mark.usefixtures("local")


@ray.remote
class Doubler:
    def double(self, x):
        return 2 * x

    def when_open(self, gate, x):
        gate.wait()
        return x

    def die(self, x):
        os._exit(x)


def double(actor, x):
    return actor.double.remote(x)


@pytest.fixture(scope="module")
def doublers(local):
    actors = [Doubler.remote(), Doubler.remote()]
    ray.get([actor.double.remote(0) for actor in actors])
    return actors


def test_map_gives_results_in_order(doublers):
    pool = ActorPool(doublers)
    assert list(pool.map(double, range(7))) == [0, 2, 4, 6, 8, 10, 12]
    assert not pool.has_next()
    assert pool.has_free()


def test_map_unordered_gives_each_result_once(doublers, tmp_path):
    gate = Gate(tmp_path)
    pool = ActorPool(doublers)

    def call(actor, x):
        return actor.when_open.remote(gate, x) if x == 0 else actor.double.remote(x)

    results = pool.map_unordered(call, range(5))
    assert next(results) == 2
    gate.open()
    assert sorted([2, *results]) == [0, 2, 4, 6, 8]


def test_a_second_map_does_not_see_what_the_first_left(doublers):
    pool = ActorPool(doublers)
    first = pool.map(double, range(6))
    assert next(first) == 0
    assert list(pool.map(double, [10, 20])) == [20, 40]
    assert list(pool.map_unordered(double, [10])) == [20]


def test_submit_waits_for_an_idle_actor(doublers):
    pool = ActorPool(doublers)
    for n in range(4):
        pool.submit(double, n)
    assert not pool.has_free()
    assert pool.pop_idle() is None
    assert [pool.get_next() for _ in range(4)] == [0, 2, 4, 6]
    with pytest.raises(StopIteration, match="no results are left"):
        pool.get_next()
    with pytest.raises(StopIteration):
        pool.get_next_unordered()


def test_a_result_that_is_late_may_be_waited_for_again_or_skipped(doublers, tmp_path):
    gate = Gate(tmp_path)
    pool = ActorPool(doublers[:1])
    pool.submit(lambda actor, x: actor.when_open.remote(gate, x), 1)
    pool.submit(double, 2)
    for take in (pool.get_next, pool.get_next_unordered):
        with pytest.raises(TimeoutError, match=r"no result after 0\.01 s$"):
            take(timeout=0.01)
    with pytest.raises(TimeoutError, match="it is skipped"):
        pool.get_next(timeout=0.01, ignore_if_timedout=True)
    gate.open()
    assert pool.get_next(timeout=20) == 4


def test_get_next_refuses_to_follow_get_next_unordered(doublers, tmp_path):
    gate = Gate(tmp_path)
    pool = ActorPool(doublers)
    pool.submit(lambda actor, x: actor.when_open.remote(gate, x), 1)
    pool.submit(double, 2)
    assert pool.get_next_unordered() == 4
    with pytest.raises(ValueError, match="order is lost"):
        pool.get_next()
    gate.open()
    assert pool.get_next_unordered() == 1


def test_actors_come_and_go(doublers):
    pool = ActorPool(doublers)
    taken = pool.pop_idle()
    assert taken in doublers
    with pytest.raises(ValueError, match="is in the pool already"):
        pool.push(next(actor for actor in doublers if actor != taken))
    pool.push(taken)
    assert list(pool.map(double, [1, 2])) == [2, 4]


def test_a_dead_actor_leaves_the_pool():
    mortal, other = Doubler.remote(), Doubler.remote()
    pool = ActorPool([other, mortal])
    pool.submit(lambda actor, x: actor.die.remote(x), 1)
    with pytest.raises(ActorDiedError):
        pool.get_next()
    assert list(pool.map(double, [1, 2])) == [2, 4]
    pool.submit(lambda actor, x: actor.die.remote(x), 1)
    pool.submit(double, 5)
    with pytest.raises(ActorDiedError):
        pool.get_next()
    with pytest.raises(ValueError, match="1 values wait, but every actor"):
        pool.get_next()
    pool.push(Doubler.remote())
    assert pool.get_next() == 10
