"""TuneBOHB: densities of good and bad configurations."""

import math

import pytest

from heliostat import tune
from heliostat.tune.schedulers import HyperBandForBOHB
from heliostat.tune.search.bohb import TuneBOHB

SPACE = {"a": {"x": tune.uniform(-10, 10)}, "c": tune.choice([None, "b"]), "k": 1}


def begin(space=SPACE, **given):
    searcher = TuneBOHB(**{"metric": "loss", "mode": "min", "seed": 1, **given})
    searcher.set_search_properties(None, None, space)
    return searcher


def loss(config):
    return (config["a"]["x"] - 3) ** 2 + (config["c"] is None)


def test_it_learns():
    searcher, losses = begin(), []
    for n in range(60):
        losses.append(loss(searcher.suggest(str(n))))
        searcher.on_trial_complete(str(n), {"loss": losses[-1], "training_iteration": 1})
    assert sum(losses[40:]) < sum(losses[:20]) / 2
    assert min(losses) < 1.5


def test_the_largest_budget_with_enough_trials_counts():
    searcher = begin(bohb_config={"random_fraction": 0.0})
    for n in range(40):
        config = searcher.suggest(str(n))
        # Short trials deceive.
        searcher.on_trial_result(str(n), {"loss": -loss(config), "training_iteration": 1})
        searcher.on_trial_result(str(n), {"loss": loss(config), "training_iteration": 9})
        searcher.on_trial_complete(str(n), {"loss": loss(config), "training_iteration": 9})
    assert loss(searcher.suggest("x")) < 10


def test_points_come_first_and_the_seed_decides():
    point = {"a": {"x": 2.5}, "c": "b"}
    given = begin(points_to_evaluate=[point]).suggest("0")
    assert given["a"]["x"] == pytest.approx(2.5)
    assert given["c"] == "b"
    assert begin().suggest("0") == begin().suggest("0")


def test_a_limit_is_kept():
    searcher = begin(max_concurrent=1)
    searcher.suggest("0")
    assert searcher.suggest("1") is None
    searcher.on_trial_complete("0", {"loss": math.nan})
    assert searcher.suggest("1") is not None


def test_a_study_with_it_and_its_scheduler(run_study):
    class Step(tune.Trainable):
        def setup(self, config):
            self.age = 0

        def step(self):
            self.age += 1
            return {"loss": loss(self.config) + 1 / self.age}

        def save_checkpoint(self, checkpoint_dir):
            return {"age": self.age}

        def load_checkpoint(self, checkpoint):
            self.age = checkpoint["age"]

    grid = run_study(
        Step,
        SPACE,
        metric="loss",
        mode="min",
        num_samples=17,
        search_alg=TuneBOHB(seed=2),
        scheduler=HyperBandForBOHB(max_t=9),
    )
    assert grid.num_terminated == 17
    ages = sorted(result.metrics["training_iteration"] for result in grid)
    assert ages[0] < ages[-1] == 9


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="typo"):
        TuneBOHB(bohb_config={"typo": 1})
    with pytest.raises(TypeError, match="must be a search space"):
        TuneBOHB(3)
    with pytest.raises(RuntimeError, match="no metric or no mode"):
        TuneBOHB().suggest("0")
    with pytest.raises(RuntimeError, match="no search space"):
        begin({}).suggest("0")
