"""BayesOptSearch: a Gaussian process over the unit cube."""

import math
import sys

import pytest

from heliostat import tune
from heliostat.tune.search.bayesopt import BayesOptSearch

pytest.importorskip("bayes_opt")

SPACE = {"a": {"x": tune.uniform(-10, 10)}, "n": tune.randint(1, 5), "c": tune.choice("ab"), "k": 1}


def begin(space=SPACE, **given):
    searcher = BayesOptSearch(**{"metric": "loss", "mode": "min", **given})
    searcher.set_search_properties(None, None, space)
    return searcher


def test_it_learns_also_over_whole_numbers_and_choices():
    searcher = begin(random_search_steps=5)
    losses = []
    for n in range(12):
        config = searcher.suggest(str(n))
        assert config["n"] in range(1, 5)
        assert config["c"] in "ab"
        assert config["k"] == 1
        losses.append((config["a"]["x"] - 3) ** 2 + config["n"] + (config["c"] == "a"))
        searcher.on_trial_complete(str(n), {"loss": losses[-1]})
    assert min(losses) < 5


def test_points_come_first_and_bounds_may_be_given():
    point = {"a": {"x": 2.5}, "n": 3, "c": "b"}
    assert begin(points_to_evaluate=[point]).suggest("0") == {**point, "k": 1}
    searcher = BayesOptSearch({"x": (0, 2)}, "loss", "max", [{"x": 1.5}])
    assert searcher.suggest("0") == {"x": 1.5}
    assert not searcher.set_search_properties(None, None, {})


def test_a_search_does_not_end_because_nothing_was_learned_meanwhile():
    searcher = begin({"x": tune.uniform(-10, 10)}, random_search_steps=2, random_state=1)
    for n in range(2):
        x = searcher.suggest(str(n))["x"]
        searcher.on_trial_complete(str(n), {"loss": (x - 3) ** 2})
    proposals = [searcher.suggest(str(n)) for n in range(2, 10)]  # none of them ends
    assert None in proposals
    assert "FINISHED" not in proposals


def test_what_was_tried_is_not_tried_again_and_patience_ends_it():
    searcher = begin(points_to_evaluate=[{"n": 1}] * 9, patience=3)
    assert isinstance(searcher.suggest("0"), dict)
    assert searcher.suggest("1") == "FINISHED"
    searcher = begin(points_to_evaluate=[{"n": 1}] * 2, skip_duplicate=False)
    assert searcher.suggest("0") == searcher.suggest("1")


def test_without_a_result_to_learn_from_it_waits():
    searcher = begin(random_search_steps=1)
    searcher.suggest("0")
    assert searcher.suggest("1") is None
    searcher.on_trial_complete("0", {"loss": math.nan})
    searcher.on_trial_complete("of another study", {"loss": 1})


@pytest.mark.parametrize("kind", ["ucb", "ei", "poi"])
def test_every_kind_of_utility_proposes(kind):
    searcher = begin(utility_kwargs={"kind": kind, "xi": 0.1}, random_search_steps=2)
    for n in range(4):
        config = searcher.suggest(str(n))
        searcher.on_trial_complete(str(n), {"loss": config["a"]["x"]})


def test_it_learns_from_an_earlier_study(run_study):
    space = {"x": tune.uniform(0, 1)}
    grid = run_study(lambda config: {"loss": config["x"]}, space, num_samples=3)
    searcher = begin(space, analysis=grid)
    assert len(searcher._optimizer.space) == 3


def test_what_makes_no_sense_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="patience"):
        BayesOptSearch(patience=0)
    with pytest.raises(ValueError, match="kind"):
        begin(utility_kwargs={"kind": "best"})
    with pytest.raises(RuntimeError, match="no metric or no mode"):
        BayesOptSearch().suggest("0")
    with pytest.raises(RuntimeError, match="no search space"):
        BayesOptSearch(metric="loss", mode="min").suggest("0")
    monkeypatch.setitem(sys.modules, "bayes_opt", None)
    with pytest.raises(ImportError, match="pip install bayesian-optimization"):
        BayesOptSearch()
