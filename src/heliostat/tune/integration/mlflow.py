"""MLflow: a callback that keeps a study there, and a session for the code of trials and ranks."""

import os
from collections.abc import Mapping
from numbers import Real
from typing import Any, Self

from heliostat.tune._metrics import flatten
from heliostat.tune._trial import Trial
from heliostat.tune.integration import _caller
from heliostat.tune.logger import LoggerCallback

__all__ = ["MLflowLoggerCallback", "setup_mlflow"]


class MLflowLoggerCallback(LoggerCallback):
    """Keeps each trial of a study as a run of MLflow's: its config, its numbers, how it ended.

    It speaks to MLflow from the process that called `fit`; for calls of your own in a trial there is
    `setup_mlflow`. A study that is restored goes on in the same runs.

    Args:
        tracking_uri: Where MLflow keeps runs, such as `sqlite:///mlflow.db` or a server's address;
            what MLflow takes by itself if None.
        registry_uri: Where MLflow keeps models.
        experiment_name: The experiment; it is made if it is not there. If None, that of
            `MLFLOW_EXPERIMENT_NAME`, else MLflow's default.
        tags: Tags of each run.
        tracking_token: A token for the server; `MLFLOW_TRACKING_TOKEN` is set to it.
        save_artifact: Keep each trial's directory as artifacts of its run.
        log_params_on_trial_end: Keep the config when a trial ends, and not when it starts.

    Raises:
        ImportError: MLflow is not installed.

    Example:
        >>> callbacks = [MLflowLoggerCallback(experiment_name="speeds")]  # doctest: +SKIP
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        registry_uri: str | None = None,
        experiment_name: str | None = None,
        tags: dict[str, Any] | None = None,
        tracking_token: str | None = None,
        save_artifact: bool = False,
        log_params_on_trial_end: bool = False,
    ) -> None:
        _mlflow()
        self._uris = {"tracking_uri": tracking_uri, "registry_uri": registry_uri}
        self._experiment_name = experiment_name
        self._tags = dict(tags or {})
        self._token = tracking_token
        self._artifacts = save_artifact
        self._params_at_end = log_params_on_trial_end
        self._experiment_id = ""
        # Runs by trial; what outlives this process.
        self._runs: dict[str, str] = {}

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Find the experiment, or make it."""
        _set_token(self._token)
        client = self._client()
        name = self._experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
        found = client.get_experiment_by_name(name)
        self._experiment_id = found.experiment_id if found else client.create_experiment(name)

    def _client(self) -> Any:
        """Cheap to make, and not to be pickled with the study."""
        return _mlflow().MlflowClient(**self._uris)

    def log_trial_start(self, trial: Trial) -> None:
        """Begin a run, unless an attempt before has one."""
        client = self._client()
        if trial.trial_id in self._runs:
            client.update_run(self._runs[trial.trial_id], status="RUNNING")
            return
        tags = {**self._tags, "trial_name": str(trial)}
        run = client.create_run(self._experiment_id, tags=tags, run_name=str(trial))
        self._runs[trial.trial_id] = run.info.run_id
        if not self._params_at_end:
            self._log_params(trial)

    def _log_params(self, trial: Trial) -> None:
        run = self._runs[trial.trial_id]
        known = self._client().get_run(run).data.params
        params = [
            _mlflow().entities.Param(name, value)
            for name, value in _params(trial.config).items()
            if name not in known  # MLflow keeps the first value for ever
        ]
        self._client().log_batch(run, params=params)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Keep the numbers of a report, at the trial's own iteration."""
        mlflow = _mlflow()
        step = int(result.get("training_iteration", 0))
        time_ms = int(result.get("timestamp", 0)) * 1000
        metrics = [
            mlflow.entities.Metric(name, float(value), time_ms, step)
            for name, value in flatten(result).items()
            if isinstance(value, Real) and name != "done"
        ]
        self._client().log_batch(self._runs[trial.trial_id], metrics=metrics)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """End the run."""
        run = self._runs.get(trial.trial_id)
        if run is None:
            return
        if self._params_at_end:
            self._log_params(trial)
        client = self._client()
        if self._artifacts:
            client.log_artifacts(run, trial.path)
        client.set_terminated(run, "FAILED" if failed else "FINISHED")

    def get_state(self) -> dict[str, Any]:
        """Which run is whose."""
        return {"runs": self._runs}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on in these runs."""
        self._runs = dict(state["runs"])


class _Silent:
    """Stands in for MLflow on ranks other than the first: whatever is called does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def setup_mlflow(
    config: Mapping[str, Any] | None = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    tracking_token: str | None = None,
    artifact_location: str | None = None,
    run_name: str | None = None,
    create_experiment_if_not_exists: bool = False,
    tags: dict[str, Any] | None = None,
    rank_zero_only: bool = True,
) -> Any:
    """Begin a run of MLflow's in the code of a trial or a rank.

    Args:
        config: Kept as the run's parameters, without what is called `mlflow` in it.
        tracking_uri: Where MLflow keeps runs.
        registry_uri: Where MLflow keeps models.
        experiment_id: An experiment that is there; the trial's id if None.
        experiment_name: An experiment by its name, where there is none of that id; the trial's name if
            None.
        tracking_token: A token for the server; `MLFLOW_TRACKING_TOKEN` is set to it.
        artifact_location: Where the files of an experiment that is made here go.
        run_name: The run's name; the experiment's name if None.
        create_experiment_if_not_exists: Make the experiment if there is none of that name.
        tags: Tags of the run.
        rank_zero_only: Only the first rank of a training begins a run.

    Returns:
        The module `mlflow`; on other ranks something that takes all its calls and does nothing.

    Raises:
        ImportError: MLflow is not installed.
        ValueError: There is no such experiment.

    Example:
        >>> def trial(config):
        ...     mlflow = setup_mlflow(config, experiment_name="speeds")
        ...     mlflow.log_metric("loss", config["x"], step=0)
    """
    mlflow, caller = _mlflow(), _caller.find()
    if rank_zero_only and caller.rank != 0:
        return _Silent()
    _set_token(tracking_token)
    if tracking_uri is not None:
        mlflow.set_tracking_uri(tracking_uri)
    if registry_uri is not None:
        mlflow.set_registry_uri(registry_uri)
    name = experiment_name or caller.trial_name
    found = _experiment(experiment_id or caller.trial_id, name)
    if found is None and create_experiment_if_not_exists and name:
        found = mlflow.MlflowClient().create_experiment(name, artifact_location)
    if found is None:
        raise ValueError(
            f"MLflow at {mlflow.get_tracking_uri()} has no experiment of the id {experiment_id!r} or "
            f"the name {name!r}; give one that is there, or create_experiment_if_not_exists=True"
        )
    mlflow.set_experiment(experiment_id=found)
    mlflow.start_run(run_name=run_name or name, tags=tags)
    params = {key: value for key, value in (config or {}).items() if key != "mlflow"}
    mlflow.log_params(_params(params))
    return mlflow


def _experiment(by_id: str | None, name: str | None) -> str | None:
    """The id of an experiment that is there."""
    mlflow = _mlflow()
    client = mlflow.MlflowClient()
    if by_id is not None:
        try:
            found: str = client.get_experiment(by_id).experiment_id
        except mlflow.exceptions.MlflowException:
            pass  # nothing of that id: by its name, then
        else:
            return found
    named = client.get_experiment_by_name(name) if name else None
    return named.experiment_id if named else None


def _params(config: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in flatten(config).items()}


def _set_token(token: str | None) -> None:
    if token is not None:
        os.environ["MLFLOW_TRACKING_TOKEN"] = token


def _mlflow() -> Any:
    try:
        import mlflow  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("MLflow is needed here: pip install mlflow") from error
    return mlflow
