"""NevergradSearch: Nevergrad's proposals.

Nevergrad needs a bayesian-optimization older than BayesOptSearch does. It is installed apart, and these
tests run in a process of their own that has it.
"""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from heliostat import tune
from heliostat.tune.search.nevergrad import NevergradSearch

try:
    import nevergrad as ng
except ImportError:
    ng = None

APART = Path(sys.prefix, "apart")
with_nevergrad = pytest.mark.skipif(ng is None, reason="in a process that has Nevergrad")

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


@with_nevergrad
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


@with_nevergrad
def test_points_come_first_and_an_instance_may_be_given():
    searcher = begin({"x": tune.uniform(-10, 10)}, points_to_evaluate=[{"x": 2.5}])
    assert searcher.suggest("0")["x"] == pytest.approx(2.5)
    made = ng.optimizers.OnePlusOne(parametrization=ng.p.Dict(x=ng.p.Scalar()))
    searcher = NevergradSearch(made, metric="loss", mode="max")
    assert set(searcher.suggest("0")) == {"x"}
    searcher.on_trial_complete("0", {"loss": math.nan})


@pytest.mark.skipif(
    ng is not None or not APART.is_dir(), reason="Nevergrad is here already, or not installed"
)
def test_all_of_this_with_nevergrad():
    path = os.pathsep.join([str(APART), *filter(None, sys.path)])
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "4 passed, 1 skipped" in done.stdout


def test_without_nevergrad_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nevergrad", None)
    with pytest.raises(ImportError, match="pip install nevergrad 'bayesian-optimization<2'"):
        NevergradSearch()


@with_nevergrad
def test_what_makes_no_sense_is_refused():
    made = ng.optimizers.OnePlusOne(parametrization=1)
    with pytest.raises(ValueError, match="made already"):
        NevergradSearch(made, {"budget": 1})
    with pytest.raises(ValueError, match="has steps"):
        begin({"x": tune.quniform(0, 1, 0.5)})
    with pytest.raises(RuntimeError, match="no metric or no mode"):
        NevergradSearch().suggest("0")
