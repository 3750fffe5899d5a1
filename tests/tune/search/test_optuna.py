"""OptunaSearch: Optuna's proposals, in every form in which it takes a space."""

import math
import sys

import pytest

from heliostat import tune
from heliostat.tune.search.optuna import OptunaSearch

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)


def begin(space, **given):
    searcher = OptunaSearch(**{"metric": "loss", "mode": "min", "seed": 1, **given})
    searcher.set_search_properties(None, None, space)
    return searcher


def ask_and_tell(searcher, count, loss):
    values = []
    for n in range(count):
        config = searcher.suggest(str(n))
        values.append(loss(config))
        searcher.on_trial_complete(str(n), {"loss": values[-1]})
    return values


SPACE = {
    "net": {"width": tune.randint(1, 9), "act": tune.choice([[1], {"b": 2}, "c"])},
    "lr": tune.loguniform(1e-4, 1e-1),
    "q": tune.quniform(0, 1, 0.25),
    "steps": tune.qrandint(2, 8, 2),
    "ql": tune.qloguniform(0.1, 10, 0.1),
    "k": 7,
}


def test_every_distribution_is_searched_within_its_bounds_and_constants_stay():
    searcher = begin(SPACE)
    for n in range(60):
        config = searcher.suggest(str(n))
        assert config["k"] == 7
        assert config["net"]["width"] in range(1, 9)
        assert config["net"]["act"] in ([1], {"b": 2}, "c")
        assert 1e-4 <= config["lr"] <= 1e-1
        assert config["q"] in (0, 0.25, 0.5, 0.75, 1)
        assert config["steps"] in (2, 4, 6, 8)
        assert math.isclose(config["ql"] * 10, round(config["ql"] * 10))
        searcher.on_trial_complete(str(n), {"loss": config["lr"]})


# Optuna's own benchmark functions.


def sphere(x, y):
    return x**2 + y**2


def rosenbrock(x, y):
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


@pytest.mark.parametrize("function", [sphere, rosenbrock])
def test_it_finds_what_optuna_finds_by_itself(function):
    space = {"x": tune.uniform(-5, 5), "y": tune.uniform(-5, 5)}
    ours = ask_and_tell(begin(space, seed=3), 40, lambda config: function(**config))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=3))
    theirs = []
    for _ in range(40):
        trial = study.ask()
        theirs.append(function(trial.suggest_float("x", -5, 5), trial.suggest_float("y", -5, 5)))
        study.tell(trial, theirs[-1])
    assert sorted(ours) == pytest.approx(sorted(theirs), rel=1e-6) or min(ours) <= 3 * min(theirs)


def test_points_come_first_also_nested_ones_and_parts():
    points = [{"net": {"width": 3, "act": {"b": 2}}, "lr": 0.01}, {"net/width": 5}]
    searcher = begin(SPACE, points_to_evaluate=points)
    first, second = searcher.suggest("0"), searcher.suggest("1")
    assert (first["net"], first["lr"]) == ({"width": 3, "act": {"b": 2}}, 0.01)
    assert second["net"]["width"] == 5


@pytest.mark.parametrize(
    ("point", "says"),
    [
        ({"lr": 7}, "lr=7, which is not in"),
        ({"typo": 1}, "'typo'=1, which param_space does not have there"),
        ({"net": {}}, "none of the values"),
    ],
)
def test_points_outside_the_space_are_refused(point, says):
    with pytest.raises(ValueError, match=says):
        begin(SPACE, points_to_evaluate=[point])


def test_known_rewards_are_learned_from_and_not_tried():
    searcher = begin(
        {"x": tune.uniform(0, 1)}, points_to_evaluate=[{"x": 0.5}], evaluated_rewards=[0.25]
    )
    assert searcher._study.best_value == 0.25
    assert searcher.suggest("0")["x"] != 0.5
    with pytest.raises(ValueError, match="2 evaluated_rewards for 1"):
        OptunaSearch(points_to_evaluate=[{"x": 1}], evaluated_rewards=[1, 2])


def test_a_function_as_space_defines_by_run():
    def space(trial):
        kind = trial.suggest_categorical("kind", ["a", "b"])
        if kind == "a":
            trial.suggest_float("x", 0, 1)
        else:
            trial.suggest_int("n", 1, 3)
        return {"constant": 9}

    searcher = OptunaSearch(space, metric="loss", mode="min", seed=0)
    for n in range(20):
        config = searcher.suggest(str(n))
        assert config["constant"] == 9
        assert set(config) == {"kind", "constant", "x" if config["kind"] == "a" else "n"}
        searcher.on_trial_complete(str(n), {"loss": 1.0})
    bad = OptunaSearch(lambda trial: 3, metric="loss", mode="min")
    with pytest.raises(TypeError, match="must return a dict"):
        bad.suggest("0")
    with pytest.raises(TypeError, match="does not say"):
        bad.add_evaluated_point({"x": 1}, 1)


def test_optunas_own_distributions_may_be_the_space():
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    searcher = OptunaSearch(space, metric="loss", mode="max", points_to_evaluate=[{"x": 0.5}])
    assert searcher.suggest("0") == {"x": 0.5}
    assert not searcher.set_search_properties(None, None, {"k": 1})


@pytest.mark.filterwarnings("ignore:`constraints_func`:FutureWarning")
def test_several_metrics_and_constraints_on_what_was_reported(run_study):
    seen = []

    def constraints(trial):
        seen.append(trial.user_attrs.get("b"))
        return (trial.user_attrs["b"] - 0.5,)

    searcher = OptunaSearch(
        metric=["a", "b"],
        mode=["min", "max"],
        sampler=optuna.samplers.NSGAIISampler(seed=1, constraints_func=constraints),
    )
    searcher.set_search_properties(None, None, {"x": tune.uniform(0, 1)})
    for n in range(6):
        x = searcher.suggest(str(n))["x"]
        searcher.on_trial_result(str(n), {"a": x, "b": x})
        searcher.on_trial_complete(str(n), {"a": x, "b": x})
    assert len(seen) == 6
    assert None not in seen
    assert len(searcher._study.best_trials) >= 1
    searcher = begin({"x": tune.uniform(0, 1)})
    searcher.suggest("0")
    searcher.on_trial_complete("0", {"loss": 1, "constraints": {"size": 2}})
    assert searcher._study.trials[0].constraints == {"size": 2.0}
    grid = run_study(
        lambda config: {"a": config["x"], "b": 1 - config["x"]},
        {"x": tune.uniform(0, 1)},
        search_alg=OptunaSearch(metric=["a", "b"], mode=["min", "min"], seed=1),
        num_samples=6,
    )
    assert grid.num_terminated == 6


def test_failed_trials_and_those_without_a_number_are_told_as_failed():
    searcher = begin({"x": tune.uniform(0, 1)})
    for n, (result, error) in enumerate([({}, True), ({"loss": math.nan}, False), (None, False)]):
        searcher.suggest(str(n))
        searcher.on_trial_result(str(n), {"loss": 1, "training_iteration": 1})
        searcher.on_trial_result(str(n), {"loss": 2, "training_iteration": 1})
        searcher.on_trial_complete(str(n), result, error)
    states = [trial.state.name for trial in searcher._study.trials]
    assert states == ["FAIL", "FAIL", "FAIL"]
    searcher.on_trial_complete("of another study", {"loss": 1})


def test_it_learns_from_the_trials_of_an_earlier_study(run_study):
    space = {"x": tune.uniform(0, 1)}
    grid = run_study(lambda config: {"loss": config["x"]}, space, num_samples=4)
    searcher = begin(space)
    searcher.add_evaluated_trials(grid, "loss")
    assert searcher._study.best_value == grid.get_best_result("loss", "min").metrics["loss"]


def test_a_study_with_it_can_be_taken_up_again(run_study):
    def trial(config):
        return {"loss": (config["x"] - 3) ** 2}

    space = {"x": tune.uniform(-9, 9)}
    whole = run_study(
        trial,
        space,
        metric="loss",
        mode="min",
        num_samples=30,
        search_alg=OptunaSearch(seed=4),
        max_concurrent_trials=1,
    )
    assert whole.get_best_result().metrics["loss"] < 1
    tuner = tune.Tuner.restore(whole.experiment_path, trial)
    again = tuner.fit()
    assert [r.config for r in again] == [r.config for r in whole]


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"x": tune.grid_search([1, 2])}, "grid_search"),
        ({"x": tune.sample_from(lambda: 1)}, "cannot search"),
        ({"x": tune.choice([{"y": tune.uniform(0, 1)}, 1])}, "chooses among spaces"),
        ({"x": tune.randn()}, "normally distributed"),
    ],
)
def test_what_it_cannot_search_is_refused_by_name(space, says):
    with pytest.raises(ValueError, match=rf"param_space\['x'\].*{says}"):
        begin(space)


def test_arguments_that_make_no_sense_are_refused():
    sampler = optuna.samplers.RandomSampler()
    for error, says, given in [
        (ValueError, "drop one", {"sampler": sampler, "seed": 1}),
        (TypeError, "optuna.samplers", {"sampler": 3}),
        (TypeError, "optuna.storages", {"storage": 3}),
        (TypeError, "a list as space", {"space": []}),
        (ValueError, "function", {"space": lambda trial: None, "evaluated_rewards": [1]}),
        (ValueError, "as many", {"metric": ["a"], "mode": ["min", "max"]}),
        (ValueError, "'best'", {"metric": "a", "mode": "best"}),
    ]:
        with pytest.raises(error, match=says):
            OptunaSearch(**given)
    with pytest.raises(RuntimeError, match="no metric or no mode"):
        OptunaSearch().suggest("0")
    with pytest.raises(RuntimeError, match="no search space"):
        OptunaSearch(metric="loss", mode="min").suggest("0")


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match="pip install optuna"):
        OptunaSearch()
