"""AxSearch: Ax proposes, for every kind of space, and learns from what trials report."""

import math
import sys

import pytest

from heliostat import tune
from heliostat.tune.search.ax import AxSearch

# Ax and what it stands on warn of each other.
pytestmark = pytest.mark.filterwarnings("ignore")

SPACE = {"a": {"x": tune.uniform(-10, 10)}, "n": tune.randint(1, 5), "c": tune.choice("ab"), "k": 1}


def test_without_ax_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ax", None)
    with pytest.raises(ImportError, match="pip install ax-platform"):
        tune.create_searcher("ax")


@pytest.fixture
def service():
    return pytest.importorskip("ax.service.ax_client")


def begin(space=SPACE, **given):
    searcher = AxSearch(**{"metric": "loss", "mode": "min", "random_seed": 1, **given})
    searcher.set_search_properties(None, None, space)
    return searcher


@pytest.mark.usefixtures("service")
def test_it_learns():
    searcher, losses = begin({"a": {"x": tune.uniform(-10, 10)}, "k": 1}), []
    for n in range(8):
        config = searcher.suggest(str(n))
        losses.append((config["a"]["x"] - 3) ** 2)
        searcher.on_trial_complete(str(n), {"loss": losses[-1]})
        assert config["k"] == 1
    assert min(losses[5:]) < min(losses[:5])


@pytest.mark.usefixtures("service")
def test_every_kind_of_distribution_gives_values_of_its_own():
    space = {
        "log": tune.loguniform(1e-5, 1e-1),
        "step": tune.quniform(0, 1, 0.25),
        "logstep": tune.qloguniform(1, 100, 5),
        "int": tune.qrandint(8, 32, 8),
        "logint": tune.lograndint(1, 1000),
        "one": tune.randint(3, 4),
        "any": tune.choice([None, (1, 2), "x"]),
        "numbers": tune.choice([1, 4, 2]),
        "bools": tune.choice([True, False]),
        "only": tune.choice(["x"]),
    }
    searcher = begin(space)
    for n in range(4):
        config = searcher.suggest(str(n))
        for name, domain in space.items():
            assert domain.is_valid(config[name]), (name, config[name])
        assert config["step"] % 0.25 == config["logstep"] % 5 == config["int"] % 8 == 0
    with pytest.raises(ValueError, match="normally distributed"):
        begin({"z": tune.randn()}).suggest("0")


@pytest.mark.usefixtures("service")
def test_points_come_first_and_a_study_with_the_same_seed_is_the_same():
    point = {"a": {"x": 2.5}, "n": 3, "c": "b"}
    first, second = begin(points_to_evaluate=[point]), begin(points_to_evaluate=[point])
    assert first.suggest("0") == second.suggest("0") == {**point, "k": 1}
    assert [first.suggest(str(n)) for n in (1, 2)] == [second.suggest(str(n)) for n in (1, 2)]


@pytest.mark.usefixtures("service")
def test_it_waits_for_results_and_goes_on_when_trials_fail():
    searcher, asked = begin(), []
    while (config := searcher.suggest(str(len(asked)))) is not None:
        asked.append(config)
    assert 0 < len(asked) < 20
    for n in range(len(asked)):
        searcher.on_trial_complete(str(n), {"loss": math.nan} if n % 2 else None, error=not n % 2)
    searcher.on_trial_complete("of another study", {"loss": 1})
    assert searcher.suggest("next") is not None


def test_a_client_with_an_experiment_is_taken_as_it_is(service):
    client = service.AxClient(verbose_logging=False)
    with pytest.raises(ValueError, match=r"create_experiment\(parameters="):
        AxSearch(ax_client=client)
    client.create_experiment(
        parameters=[{"name": "x", "type": "range", "bounds": [0.0, 1.0]}],
        objectives={"score": service.ObjectiveProperties(minimize=False)},
    )
    with pytest.raises(ValueError, match="metric already"):
        AxSearch(metric="score", ax_client=client)
    searcher = AxSearch(ax_client=client)
    assert not searcher.set_search_properties(None, None, {})
    assert 0 <= searcher.suggest("0")["x"] <= 1
    searcher.on_trial_complete("0", {"score": 1.0})
    assert client.get_trials_data_frame()["score"].to_list() == [1.0]


@pytest.mark.usefixtures("service")
def test_constraints_hold_and_a_space_may_be_in_ax_own_words():
    space = [{"name": name, "type": "range", "bounds": [0.0, 1.0]} for name in ("x", "y")]
    searcher = AxSearch(space, "loss", "min", None, ["x <= y"], ["latency <= 3"], random_seed=2)
    for n in range(3):
        config = searcher.suggest(str(n))
        assert config["x"] <= config["y"]
        searcher.on_trial_complete(str(n), {"loss": 1.0, "latency": 2.0} if n else {"loss": 1.0})
    states = searcher._client.get_trials_data_frame()["trial_status"].to_list()
    assert states == ["FAILED", "COMPLETED", "COMPLETED"]
    with pytest.raises(ValueError, match="give these as param_space"):
        AxSearch([{"name": "x", "type": "range", "bounds": tune.uniform(0, 1)}])
    with pytest.raises(ValueError, match="needs 'name' and 'type'"):
        AxSearch([{"name": "x"}])


@pytest.mark.usefixtures("service")
def test_without_a_goal_or_a_space_it_says_what_is_missing():
    with pytest.raises(RuntimeError, match="no metric"):
        AxSearch({"x": tune.uniform(0, 1)}).suggest("0")
    with pytest.raises(RuntimeError, match="no search space"):
        begin({"k": 1}).suggest("0")


@pytest.mark.usefixtures("service")
def test_a_study_is_searched_and_what_is_known_is_learned(run_study):
    searcher = AxSearch(random_seed=3)
    grid = run_study(
        lambda config: {"loss": (config["x"] - 3) ** 2},
        {"x": tune.uniform(0, 10)},
        metric="loss",
        mode="min",
        num_samples=3,
        search_alg=searcher,
    )
    assert len({result.config["x"] for result in grid}) == 3
    known = begin({"x": tune.uniform(0, 10)})
    known.add_evaluated_point({"x": 3.0}, 0.0)
    known.add_evaluated_point({"x": 4.0}, 1.0, error=True)
    assert len(known._client.get_trials_data_frame()) == 1
