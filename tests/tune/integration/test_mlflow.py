"""MLflow: a study is an experiment, a trial a run; code of trials has a session of its own."""

import sys

import pytest

import heliostat
from heliostat import tune
from heliostat.air.integrations.mlflow import MLflowLoggerCallback, setup_mlflow
from heliostat.tune.integration import mlflow as integration

pytestmark = pytest.mark.filterwarnings("ignore")


def test_without_mlflow_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for call in (MLflowLoggerCallback, setup_mlflow):
        with pytest.raises(ImportError, match="pip install mlflow"):
            call()


def test_what_stands_in_on_other_ranks_takes_every_call():
    silent = integration._Silent()
    with silent.start_run(run_name="a") as run:
        run.log_metric("loss", 1.0, step=2)


@pytest.fixture
def uri(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)  # MLflow keeps artifacts below where it is
    return f"sqlite:///{tmp_path}/mlflow.db"


def runs_of(uri, name):
    client = heliostat.tune.integration.mlflow._mlflow().MlflowClient(uri)
    return client, client.search_runs([client.get_experiment_by_name(name).experiment_id])


@pytest.mark.parametrize("at_end", [False, True])
def test_each_trial_is_a_run_with_config_numbers_and_end(uri, run_study, at_end):
    def trial(config):
        for step in range(2):
            tune.report({"loss": config["x"] / (step + 1), "in": {"n": step}, "text": "a"})
        if config["x"] == 2:
            raise ValueError("two")

    callback = MLflowLoggerCallback(
        uri, experiment_name="e", tags={"who": "me"}, save_artifact=at_end,
        log_params_on_trial_end=at_end,
    )  # fmt: skip
    space = {"x": tune.grid_search([1, 2]), "net": {"width": 3}}
    grid = run_study(trial, space, run={"callbacks": [callback]})
    client, runs = runs_of(uri, "e")
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]
    for run in runs:
        assert run.data.params["net/width"] == "3"
        assert run.data.tags["who"] == "me"
        assert run.data.metrics["in/n"] == 1
        history = client.get_metric_history(run.info.run_id, "loss")
        assert [entry.step for entry in history] == [1, 2]
        assert bool(client.list_artifacts(run.info.run_id)) == at_end
    assert len(grid) == len({run.info.run_name for run in runs}) == 2
    again = MLflowLoggerCallback(uri, experiment_name="e")
    again.set_state(callback.get_state())
    assert again.get_state() == callback.get_state() != {"runs": {}}


def test_a_trial_has_a_session_of_its_own(uri, run_study):
    def trial(config):
        mlflow = setup_mlflow(
            {**config, "mlflow": {"left": "out"}}, uri, uri, experiment_name="own",
            create_experiment_if_not_exists=True, tags={"a": "b"}, run_name="r",
        )  # fmt: skip
        mlflow.log_metric("loss", 2.0, step=0)
        mlflow.end_run()
        return {"loss": 2.0}

    (result,) = run_study(trial, {"x": 1})
    assert result.error is None
    _, (run,) = runs_of(uri, "own")
    assert (run.data.params, run.data.metrics, run.info.run_name) == ({"x": "1"}, {"loss": 2}, "r")


def test_an_experiment_that_is_not_there_is_named(uri):
    with pytest.raises(ValueError, match="no experiment of the id '9' or the name 'none'"):
        setup_mlflow({}, uri, experiment_id="9", experiment_name="none")
