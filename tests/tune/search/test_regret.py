"""How good searchers are: on functions whose best value is known, beside their libraries driven directly.

The regret is how far the best of some trials is from the best there is.
"""

import math
from itertools import pairwise
from statistics import median

import numpy as np
import pytest

from heliostat import tune
from heliostat.tune.search import BasicVariantGenerator
from heliostat.tune.search.bayesopt import BayesOptSearch
from heliostat.tune.search.bohb import TuneBOHB
from heliostat.tune.search.optuna import OptunaSearch

ENGINE = None


def sphere(x):
    return sum(value**2 for value in x)


def rosenbrock(x):
    return sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairwise(x))


def branin(x):
    bowl = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return bowl**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10


_WEIGHTS = (1.0, 1.2, 3.0, 3.2)
_STEEP = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_CENTRES = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


def hartmann6(x):
    return -sum(
        weight * math.exp(-sum(a * (v - p) ** 2 for a, v, p in zip(steep, x, at, strict=True)))
        for weight, steep, at in zip(_WEIGHTS, _STEEP, _CENTRES, strict=True)
    )


# The function, where it is searched, and its least value there.
FUNCTIONS = {
    "sphere": (sphere, [(-5.0, 5.0)] * 3, 0.0),
    "rosenbrock": (rosenbrock, [(-2.0, 2.0)] * 2, 0.0),
    "branin": (branin, [(-5.0, 10.0), (0.0, 15.0)], 0.39788736),
    "hartmann6": (hartmann6, [(0.0, 1.0)] * 6, -3.32236801),
}


def space_of(bounds):
    return {f"x{n}": tune.uniform(low, high) for n, (low, high) in enumerate(bounds)}


def regret(searcher, name, trials):
    """Of a searcher that is told how each trial ended before it proposes the next."""
    function, bounds, best = FUNCTIONS[name]
    searcher.set_search_properties("loss", "min", space_of(bounds), num_samples=trials)
    losses = []
    for n in range(trials):
        config = searcher.suggest(str(n))
        losses.append(function([config[f"x{k}"] for k in range(len(bounds))]))
        searcher.on_trial_complete(str(n), {"loss": losses[-1], "training_iteration": 1})
    return min(losses) - best


def optuna_regret(name, trials, seed):
    """Of Optuna alone."""
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    function, bounds, best = FUNCTIONS[name]

    def objective(trial):
        return function(
            [trial.suggest_float(f"x{n}", low, high) for n, (low, high) in enumerate(bounds)]
        )

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=trials)
    return study.best_value - best


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_least_value_is_where_it_should_be(name):
    places = {
        "sphere": [0.0] * 3,
        "rosenbrock": [1.0, 1.0],
        "branin": [math.pi, 2.275],
        "hartmann6": [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573],
    }
    function, _, best = FUNCTIONS[name]
    assert function(places[name]) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_optunasearch_is_as_good_as_optuna_with_the_same_seed(name):
    pytest.importorskip("optuna")
    ours = regret(OptunaSearch(seed=1), name, 25)
    assert ours == pytest.approx(optuna_regret(name, 25, 1))


@pytest.mark.soak
@pytest.mark.parametrize("name", FUNCTIONS)
def test_optunasearch_is_as_good_as_optuna_over_twenty_seeds(name):
    ours = [regret(OptunaSearch(seed=seed), name, 60) for seed in range(20)]
    assert ours == pytest.approx([optuna_regret(name, 60, seed) for seed in range(20)])


@pytest.mark.slow
def test_bayesoptsearch_proposes_what_its_library_proposes():
    bayes_opt = pytest.importorskip("bayes_opt")
    function, bounds, _ = FUNCTIONS["branin"]
    names = [f"x{n}" for n in range(len(bounds))]
    limits = dict(zip(names, bounds, strict=True))
    alone = bayes_opt.BayesianOptimization(
        f=None,
        pbounds=limits,
        acquisition_function=bayes_opt.acquisition.UpperConfidenceBound(kappa=2.5),
        random_state=3,
        verbose=0,
        allow_duplicate_points=True,
    )
    searcher = BayesOptSearch(limits, "loss", "min", random_state=3, random_search_steps=4)
    draw = np.random.RandomState(3)
    for n in range(7):
        ours = searcher.suggest(str(n))
        if n < 4:
            theirs = dict(alone.space.array_to_params(alone.space.random_sample(random_state=draw)))
        else:
            theirs = dict(alone.suggest())
        assert ours == pytest.approx(theirs)
        loss = function([ours[key] for key in names])
        searcher.on_trial_complete(str(n), {"loss": loss})
        alone.register(theirs, -loss)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bohb_is_clearly_better_than_chance_over_seeds(name):
    bohb = [regret(TuneBOHB(seed=seed), name, 100) for seed in range(8)]
    chance = [regret(BasicVariantGenerator(random_state=seed), name, 100) for seed in range(8)]
    assert median(bohb) < 0.8 * median(chance)
