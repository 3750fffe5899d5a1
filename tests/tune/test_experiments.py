"""Studies are seen with their trials, the best first, and the curve of the metric."""

from heliostat import tune
from heliostat.train import RunConfig
from heliostat.tune.experiments import POINTS, list_experiments, thin
from heliostat.util import progress


def test_a_study_is_seen_with_its_trials_when_it_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(progress.Ledger, "kept_everywhere", True)

    def objective(config):
        for step in range(3):
            tune.report({"loss": config["x"] / (step + 1)})

    tune.Tuner(
        objective,
        param_space={"x": tune.grid_search([3.0, 1.0, 2.0])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=RunConfig(storage_path=str(tmp_path), name="seen", verbose=0),
    ).fit()
    row = list_experiments()[-1]
    assert (row["name"], row["state"], row["counts"]) == ("seen", "FINISHED", {"TERMINATED": 3})
    assert (row["total"], row["parameters"], row["metrics"]) == (3, ["x"], ["loss"])
    assert [trial["config"]["x"] for trial in row["trials"]] == [1.0, 2.0, 3.0]
    assert row["trials"][0]["curve"] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert len(list_experiments(1)[-1]["trials"]) == 1


def test_a_long_curve_is_thinned_and_its_last_point_stays():
    found = thin([(n, 0.5) for n in range(5 * POINTS)])
    assert len(found) <= POINTS
    assert found[-1] == (5 * POINTS - 1, 0.5)
