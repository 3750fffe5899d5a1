"""PB2: changes where a Gaussian process expects the most."""

import random
import sys

import pytest

from heliostat.tune._messages import Snapshot

pytest.importorskip("sklearn")

from heliostat.tune.schedulers.pb2 import PB2


def make(**given):
    return PB2(
        **{
            "time_attr": "training_iteration",
            "metric": "loss",
            "mode": "min",
            "perturbation_interval": 4,
            "hyperparam_bounds": {"x": [0.0, 1.0]},
            **given,
        }
    )


def test_it_stays_in_bounds_and_finds_what_gains_most(simulate):
    random.seed(2)
    ran = simulate(make(), lambda config, age: (config["x"] - 0.7) ** 2 * age - age, samples=6)
    proposed = [snapshot.exploit.config["x"] for snapshot in ran.exploits()]
    assert proposed
    assert all(0 <= x <= 1 for x in proposed)
    late = proposed[len(proposed) // 2 :]
    assert sum(abs(x - 0.7) < 0.35 for x in late) > len(late) / 2
    assert all(isinstance(snapshot, Snapshot) for snapshot in ran.exploits())


def test_whole_numbers_stay_whole():
    pb2 = make(hyperparam_bounds={"n": [1, 9]})
    from heliostat.tune._trial import Trial

    trial = Trial("t", "f", {"n": 3}, "0", "/x", {})
    pb2.on_trial_add(None, trial)
    config, changes = pb2._explore(trial, pb2._members["t"])
    assert isinstance(config["n"], int)
    assert changes == f"n={config['n']}"


def test_bounds_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"hyperparam_bounds\['x'\]"):
        make(hyperparam_bounds={"x": [1, 0]})


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.gaussian_process", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        make()
