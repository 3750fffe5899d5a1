"""Trial: the moves it may make and what people see of it."""

import pytest

from heliostat.tune._trial import MOVES, Trial

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
