"""Router: counts and choices."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from heliostat.serve._router import Router


def router(*names: str, queued: int = -1) -> Router:
    made = Router()
    made.publish(names, 2, queued)
    return made


def test_without_a_replica_nothing_is_assigned():
    assert Router().assign(Random(0)) is None


def test_of_two_replicas_the_less_busy_one_is_chosen():
    one = router("a", "b")
    first = one.assign(Random(1))
    second = one.assign(Random(1))
    assert {first, second} == {"a", "b"}


def test_a_dead_replica_is_not_chosen_again_until_it_is_published_anew():
    one = router("a", "b")
    one.lost("a")
    assert [one.assign(Random(seed)) for seed in range(3)] == ["b", "b", None]
    one.publish(["a"], 2, -1)
    assert one.assign(Random(0)) == "a"


def test_news_of_a_replica_that_is_gone_is_ignored():
    one = router("a")
    one.finished("x")
    assert one.loads == {"a": 0}


def test_requests_beyond_capacity_and_queue_are_refused():
    one = router("a", queued=1)
    for chosen in ("a", "a", None):
        assert one.admits(waiting=0)
        assert one.assign(Random(0)) == chosen
    assert not one.admits(waiting=1)
    one.finished("a")
    assert one.admits(waiting=1)
    assert not one.admits(waiting=2)


@given(st.integers(0, 2**32))
def test_the_one_that_has_room_is_found_among_many(seed: int):
    one = router(*(str(number) for number in range(20)))
    for number in range(20):
        one.take(str(number))
        if number != 7:
            one.take(str(number))
    assert one.assign(Random(seed)) == "7"
    assert one.assign(Random(seed)) is None
    one.check()


@given(st.integers(2, 8), st.integers(0, 2**32))
def test_power_of_two_keeps_replicas_almost_level(replicas: int, seed: int):
    rng, one = Random(seed), Router()
    one.publish([str(i) for i in range(replicas)], 1000, -1)
    for _ in range(50 * replicas):
        one.assign(rng)
        one.check()
    assert max(one.loads.values()) - min(one.loads.values()) <= 12


def test_a_model_is_asked_of_those_that_have_it_as_long_as_one_is_free():
    one = Router()
    one.publish(["a", "b", "c"], 2, -1, {"b": ["m"]})
    assert [one.assign(Random(0), "m") for _ in range(2)] == ["b", "b"]
    third = one.assign(Random(0), "m")
    assert third in ("a", "c")
    one.finished("b")
    assert {one.assign(Random(seed), "m") for seed in range(2)} <= {"b", third}


def test_a_new_model_goes_where_the_fewest_are():
    one = Router()
    one.publish(["a", "b"], 100, -1)
    first = one.assign(Random(0), "m1")
    second = one.assign(Random(0), "m2")
    assert {first, second} == {"a", "b"}
    assert {one.assign(Random(seed), "m1") for seed in range(9)} == {first}


def test_a_model_that_was_sent_somewhere_stays_there_until_the_replica_says_otherwise():
    one = Router()
    one.publish(["a", "b"], 100, -1)
    home = one.assign(Random(0), "m")
    assert home is not None
    one.publish(["a", "b"], 100, -1)  # a table from before
    assert one.assign(Random(1), "m") == home
    one.publish(["a", "b"], 100, -1, {home: ["m"]})
    one.publish(["a", "b"], 100, -1, {home: ["other"]})  # it had to go
    assert one.assign(Random(1), "m") != home
    one.check()
