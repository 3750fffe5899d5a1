"""NevergradSearch: Nevergrad's proposals."""

import math
import sys

import pytest

from heliostat import tune
from heliostat.tune.search.nevergrad import NevergradSearch

try:
    import nevergrad as ng
except ImportError as error:  # also when it does not load with a newer library of others
    pytest.skip(f"no nevergrad: {error}", allow_module_level=True)

SPACE = {
    "a": {"x": tune.uniform(-10, 10)},
    "n": tune.randint(1, 5),
    "l": tune.loguniform(1e-3, 1),
    "c": tune.choice(["a", None]),
    "k": 1,
}


def begin(space=SPACE, **given):
    searcher = NevergradSearch(
        **{"optimizer": ng.optimizers.OnePlusOne, "metric": "loss", "mode": "min", **given}
    )
    searcher.set_search_properties(None, None, space)
    return searcher


def test_it_learns_within_the_bounds():
    searcher, losses = begin(optimizer_kwargs={"budget": 80}), []
    for n in range(80):
        config = searcher.suggest(str(n))
        assert config["n"] in range(1, 5)
        assert config["c"] in ("a", None)
        assert 1e-3 <= config["l"] <= 1
        assert config["k"] == 1
        losses.append((config["a"]["x"] - 3) ** 2)
        searcher.on_trial_complete(str(n), {"loss": losses[-1]})
    assert sum(losses[40:]) < sum(losses[:40])


def test_points_come_first_and_an_instance_may_be_given():
    searcher = begin({"x": tune.uniform(-10, 10)}, points_to_evaluate=[{"x": 2.5}])
    assert searcher.suggest("0")["x"] == pytest.approx(2.5)
    made = ng.optimizers.OnePlusOne(parametrization=ng.p.Dict(x=ng.p.Scalar()))
    searcher = NevergradSearch(made, metric="loss", mode="max")
    assert set(searcher.suggest("0")) == {"x"}
    searcher.on_trial_complete("0", {"loss": math.nan})


def test_what_makes_no_sense_is_refused(monkeypatch):
    made = ng.optimizers.OnePlusOne(parametrization=1)
    with pytest.raises(ValueError, match="made already"):
        NevergradSearch(made, {"budget": 1})
    with pytest.raises(ValueError, match="has steps"):
        begin({"x": tune.quniform(0, 1, 0.5)})
    with pytest.raises(RuntimeError, match="no metric or no mode"):
        NevergradSearch().suggest("0")
    monkeypatch.setitem(sys.modules, "nevergrad", None)
    with pytest.raises(ImportError, match="pip install nevergrad"):
        NevergradSearch()
