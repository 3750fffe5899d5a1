"""Repeater: groups of trials, and the mean of each."""

import pytest

from heliostat import tune
from heliostat.tune.search import Repeater, Searcher


class Heard(Searcher):
    def __init__(self):
        super().__init__("loss", "min")
        self.ended, self.left = [], 2

    def suggest(self, trial_id):
        if not self.left:
            return Searcher.FINISHED
        self.left -= 1
        return {"x": self.left}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.ended.append((trial_id, None if result is None else result["loss"], error))


def test_each_configuration_is_tried_as_often_and_the_mean_is_told():
    inner = Heard()
    repeater = Repeater(inner, repeat=2)
    assert [repeater.suggest(str(n)) for n in range(5)] == [
        {"x": 1, "__trial_index__": 0},
        {"x": 1, "__trial_index__": 1},
        {"x": 0, "__trial_index__": 0},
        {"x": 0, "__trial_index__": 1},
        "FINISHED",
    ]
    repeater.on_trial_complete("0", {"loss": 1.0})
    assert inner.ended == []
    repeater.on_trial_complete("1", {"loss": 3.0})
    repeater.on_trial_complete("2", {"loss": 5.0})
    repeater.on_trial_complete("3", None, error=True)
    assert inner.ended == [("0", 2.0, False), ("2", 5.0, False)]
    repeater.on_trial_complete("3", None, error=True)


def test_a_group_that_failed_has_failed():
    inner = Heard()
    repeater = Repeater(inner, repeat=1, set_index=False)
    assert repeater.suggest("0") == {"x": 1}
    repeater.on_trial_complete("0", {"loss": 1.0}, error=True)
    assert inner.ended == [("0", None, True)]


def test_a_study_with_it(run_study):
    grid = run_study(
        lambda config: {"loss": config["x"]},
        {"x": 0},
        metric="loss",
        mode="min",
        num_samples=4,
        search_alg=Repeater(Heard(), 2),
    )
    assert [result.config["x"] for result in grid] == [1, 1, 0, 0]


def test_less_than_once_is_refused():
    with pytest.raises(ValueError, match="repeat"):
        Repeater(Heard(), 0)
    with pytest.raises(ValueError, match="one metric"):
        Repeater(Searcher(["a", "b"], ["min", "min"]), 2).set_search_properties(None, None, {})
    assert tune.search.Repeater is Repeater
