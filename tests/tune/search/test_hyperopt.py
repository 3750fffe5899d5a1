"""HyperOptSearch: Hyperopt's proposals."""

import math
import sys

import pytest

from heliostat import tune
from heliostat.tune.search.hyperopt import HyperOptSearch

hyperopt = pytest.importorskip("hyperopt")

SPACE = {
    "net": {"width": tune.randint(1, 9), "act": tune.choice([[1], {"b": 2}, "c"])},
    "lr": tune.loguniform(1e-4, 1e-1),
    "q": tune.quniform(0, 1, 0.25),
    "ql": tune.qloguniform(0.1, 10, 0.1),
    "steps": tune.qrandint(2, 8, 2),
    "log": tune.lograndint(1, 100),
    "n": tune.randn(5, 0.1),
    "qn": tune.qrandn(5, 0.1, 0.5),
    "k": 7,
}


def begin(space, **given):
    searcher = HyperOptSearch(**{"metric": "loss", "mode": "min", "random_state_seed": 1, **given})
    searcher.set_search_properties(None, None, space)
    return searcher


def test_every_distribution_is_searched_within_its_bounds_and_constants_stay():
    searcher = begin(SPACE, n_initial_points=5)
    for n in range(30):
        config = searcher.suggest(str(n))
        assert config["k"] == 7
        assert config["net"]["width"] in range(1, 9)
        assert config["net"]["act"] in ([1], {"b": 2}, "c")
        assert 1e-4 <= config["lr"] <= 1e-1
        assert config["q"] in (0, 0.25, 0.5, 0.75, 1)
        assert config["steps"] in (2, 4, 6, 8)
        assert config["log"] in range(1, 100)
        assert 4 < config["n"] < 6
        assert config["qn"] % 0.5 == 0
        searcher.on_trial_complete(str(n), {"loss": config["lr"]})


def test_it_learns():
    searcher = begin({"x": tune.uniform(-10, 10)}, n_initial_points=10)
    losses = []
    for n in range(40):
        losses.append((searcher.suggest(str(n))["x"] - 3) ** 2)
        searcher.on_trial_complete(str(n), {"loss": losses[-1]})
    assert sum(losses[20:]) < sum(losses[:20])
    assert min(losses) < 0.5


def test_points_come_first():
    point = {
        "net": {"width": 3, "act": {"b": 2}}, "lr": 0.01, "q": 0.5, "steps": 4, "log": 5,
        "n": 5.0, "qn": 5.0, "ql": 1.0,
    }  # fmt: skip
    searcher = begin(SPACE, points_to_evaluate=[point])
    assert searcher.suggest("0") == {**point, "k": 7}
    searcher.on_trial_complete("0", {"loss": 1})
    assert searcher.suggest("1")["lr"] != 0.01


def test_hyperopts_own_space_may_be_given():
    searcher = HyperOptSearch(
        {"x": hyperopt.hp.uniform("x", 0, 1)},
        metric="loss",
        mode="max",
        points_to_evaluate=[{"x": 0.5}],
    )
    assert searcher.suggest("0") == {"x": 0.5}
    assert not searcher.set_search_properties(None, None, {})


def test_failed_trials_do_not_count():
    searcher = begin({"x": tune.uniform(0, 1)}, n_initial_points=1)
    for n, (result, error) in enumerate([({}, True), ({"loss": math.nan}, False), (None, False)]):
        searcher.suggest(str(n))
        searcher.on_trial_complete(str(n), result, error)
    searcher.on_trial_complete("of another study", {"loss": 1})
    assert 0 <= searcher.suggest("9")["x"] <= 1


def test_a_study_with_it_can_be_taken_up_again(run_study):
    def trial(config):
        return {"loss": (config["x"] - 3) ** 2}

    grid = run_study(
        trial,
        {"x": tune.uniform(-9, 9)},
        metric="loss",
        mode="min",
        num_samples=12,
        search_alg=HyperOptSearch(n_initial_points=4),
        max_concurrent_trials=1,
    )
    again = tune.Tuner.restore(grid.experiment_path, trial).fit()
    assert [r.config for r in again] == [r.config for r in grid]


def test_what_is_missing_is_said(monkeypatch):
    with pytest.raises(RuntimeError, match="no metric or no mode"):
        HyperOptSearch().suggest("0")
    with pytest.raises(RuntimeError, match="no search space"):
        HyperOptSearch(metric="loss", mode="min").suggest("0")
    with pytest.raises(ValueError, match="optimises one metric"):
        HyperOptSearch(metric=["a", "b"], mode=["min", "min"])
    monkeypatch.setitem(sys.modules, "hyperopt", None)
    with pytest.raises(ImportError, match="pip install hyperopt"):
        HyperOptSearch()
