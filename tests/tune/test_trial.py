"""Trial: the moves it may make, what people see of it, what can never run. Lots: how many go together, who may not."""

import pytest

from heliostat.tune import TuneError
from heliostat.tune._resources import ONE_CPU, PlacementGroupFactory
from heliostat.tune._trial import MOST, MOVES, SPAN_S, Lots, Trial, check_fits

ENGINE = None


def make(state="PENDING"):
    return Trial("t_00000", "f", {}, "0", "/x", {}, state=state)


@pytest.mark.parametrize("state", MOVES)
@pytest.mark.parametrize("to", MOVES)
def test_only_the_moves_of_the_table_exist(state, to):
    trial = make(state)
    if to in MOVES[state]:
        trial.move(to, "test")
        assert trial.state == to
        return
    with pytest.raises(AssertionError, match=f"{state} -> {to}"):
        trial.move(to, "test")


def test_people_see_no_states_between():
    assert {make(state).status for state in ("STOPPING", "PAUSING", "RUNNING")} == {"RUNNING"}
    assert [make(state).is_finished() for state in ("ERROR", "TERMINATED", "PAUSED")] == [
        True,
        True,
        False,
    ]


def test_the_story_is_bounded():
    trial = make()
    for _ in range(100):
        trial.move("RUNNING", "again")
        trial.move("PENDING", "again")
    assert len(trial.story) == 20


def test_it_is_called_by_its_name():
    trial = make()
    assert (str(trial), repr(trial)) == ("f_t_00000", "Trial(f_t_00000, PENDING)")
    trial.name = "mine"
    assert str(trial) == "mine"


def test_what_can_never_fit_is_refused_by_name_and_amount():
    with pytest.raises(TuneError, match=r"GPU: 2 asked, 1 there; custom: 1 asked, 0 there"):
        check_fits({"CPU": 1, "GPU": 2, "custom": 1}, {"CPU": 4, "GPU": 1}, "a trial")


def test_rounding_is_forgiven():
    check_fits({"CPU": 0.1 + 0.2}, {"CPU": 0.3}, "a trial")


def member(name, **fields):
    return Trial(name, "f", {}, "0", "/x", {"CPU": 1}, base=ONE_CPU, **fields)


def test_a_lot_is_twice_as_large_as_the_last_if_that_was_short():
    lots = Lots()
    sizes, now = [], 0.0
    for _ in range(10):
        first = member("a")
        sizes.append(lots.size(first))
        then = [member(f"b{n}") for n in range(sizes[-1] - 1)]
        lots.begin(first, then, now)
        now += 1e-6
        for trial in [first, *then]:
            lots.pass_on(trial, now)
    assert sizes == [1, 2, 4, 8, 16, 32, 64, MOST, MOST, MOST]
    lots.begin(member("slow"), [], now)
    lots.pass_on(member("slow"), now + SPAN_S)
    assert lots.size(member("next")) == 1


def test_each_has_the_place_of_the_one_before():
    lots, (a, b, c) = Lots(), map(member, "abc")
    lots.begin(a, [b, c], 0.0)
    assert lots.get_trials() == [b, c]
    assert lots.pass_on(a, 1.0) is b
    assert lots.pass_on(b, 1.0) is c
    assert lots.pass_on(c, 1.0) is None
    assert lots.get_trials() == []


def test_who_is_taken_back_follows_nobody():
    lots, (a, b, c) = Lots(), map(member, "abc")
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
    trial = member("b")
    assert Lots().fits(member("a"), trial)
    for name, value in other.items():
        setattr(trial, name, value)
    assert not Lots().fits(member("a"), trial)


def test_suspects_go_alone():
    lots, (a, b, c) = Lots(), map(member, "abc")
    lots.part([b])
    assert lots.size(b) == 1
    assert not lots.fits(a, b)
    assert lots.fits(a, c)
