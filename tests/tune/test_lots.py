"""Lots: how many go together, who follows whom, and who may not."""

import pytest

from heliostat.tune._lots import MOST, SPAN_S, Lots
from heliostat.tune._resources import ONE_CPU, PlacementGroupFactory
from heliostat.tune._trial import Trial

ENGINE = None


def make(name, **fields):
    return Trial(name, "f", {}, "0", "/x", {"CPU": 1}, base=ONE_CPU, **fields)


def test_a_lot_is_twice_as_large_as_the_last_if_that_was_short():
    lots = Lots()
    sizes, now = [], 0.0
    for _ in range(10):
        first = make("a")
        sizes.append(lots.size(first))
        then = [make(f"b{n}") for n in range(sizes[-1] - 1)]
        lots.begin(first, then, now)
        now += 1e-6
        for trial in [first, *then]:
            lots.pass_on(trial, now)
    assert sizes == [1, 2, 4, 8, 16, 32, 64, MOST, MOST, MOST]
    lots.begin(make("slow"), [], now)
    lots.pass_on(make("slow"), now + SPAN_S)
    assert lots.size(make("next")) == 1


def test_each_has_the_place_of_the_one_before():
    lots, (a, b, c) = Lots(), map(make, "abc")
    lots.begin(a, [b, c], 0.0)
    assert lots.get_trials() == [b, c]
    assert lots.pass_on(a, 1.0) is b
    assert lots.pass_on(b, 1.0) is c
    assert lots.pass_on(c, 1.0) is None
    assert lots.get_trials() == []


def test_who_is_taken_back_follows_nobody():
    lots, (a, b, c) = Lots(), map(make, "abc")
    lots.begin(a, [b, c], 0.0)
    assert lots.take_back(a) == [b, c]
    assert lots.take_back(a) == []
    assert lots.pass_on(a, 1.0) is None


@pytest.mark.parametrize(
    "other",
    [
        {"attempt": 1},
        {"resources": {"CPU": 2}},
        {"base": PlacementGroupFactory([{"CPU": 0.5}, {"CPU": 0.5}])},
        {"request": ONE_CPU},
    ],
)
def test_only_new_trials_that_need_the_same_go_together(other):
    trial = make("b")
    assert Lots().fits(make("a"), trial)
    for name, value in other.items():
        setattr(trial, name, value)
    assert not Lots().fits(make("a"), trial)


def test_suspects_go_alone():
    lots, (a, b, c) = Lots(), map(make, "abc")
    lots.part([b])
    assert lots.size(b) == 1
    assert not lots.fits(a, b)
    assert lots.fits(a, c)
