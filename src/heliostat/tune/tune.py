"""tune.run and run_experiments: Ray's older way in. They make a Tuner and return an ExperimentAnalysis."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from heliostat.train import CheckpointConfig, FailureConfig, RunConfig, SyncConfig
from heliostat.tune import _restore
from heliostat.tune._beyond import find
from heliostat.tune._runnable import with_resources
from heliostat.tune._trial import ERROR, Trial
from heliostat.tune.analysis import ExperimentAnalysis
from heliostat.tune.error import TuneError
from heliostat.tune.registry import get_trainable
from heliostat.tune.resume_config import ResumeConfig, ResumeType
from heliostat.tune.schedulers import create_scheduler
from heliostat.tune.search import create_searcher
from heliostat.tune.tune_config import TuneConfig
from heliostat.tune.tuner import Tuner

_RESUMES: dict[Any, ResumeConfig] = {
    True: ResumeConfig(),
    "LOCAL": ResumeConfig(),
    "AUTO": ResumeConfig(),
    "ERRORED_ONLY": ResumeConfig(unfinished=ResumeType.SKIP, errored=ResumeType.RESUME),
    "RESTART_ERRORED": ResumeConfig(errored=ResumeType.RESTART),
    "RESTART_ERRORED_ONLY": ResumeConfig(unfinished=ResumeType.SKIP, errored=ResumeType.RESTART),
}
# Ray's own names that are no longer its own; the remedy is what it says itself.
_OLD = {
    "local_dir": "storage_path",
    "keep_checkpoints_num": "checkpoint_config=CheckpointConfig(num_to_keep=...)",
    "checkpoint_score_attr": "checkpoint_config=CheckpointConfig(checkpoint_score_attribute=...)",
    "checkpoint_freq": "checkpoint_config=CheckpointConfig(checkpoint_frequency=...)",
    "checkpoint_at_end": "checkpoint_config=CheckpointConfig(checkpoint_at_end=...)",
}


@dataclass(frozen=True)
class Experiment:
    """A study to run: what `tune.run` and `run_experiments` take.

    Args:
        name: Of the study's directory.
        run: A function of the config, a Trainable class, or a registered name.
        stop: When a trial ends.
        time_budget_s: When all of it ends.
        config: The search space.
        resources_per_trial: What a trial needs.
        num_samples: How many times to draw from the space.
        storage_path: Where the directory goes.
        storage_filesystem: The file system of pyarrow's or fsspec's that it is on; None for what
            the address says.
        sync_config: A SyncConfig; on a local or mounted storage there is nothing to copy.
        checkpoint_config: How many checkpoints stay, and when they are made.
        trial_name_creator: A function from a Trial to its name.
        trial_dirname_creator: A function from a Trial to the name of its directory.
        log_to_file: Passed on to RunConfig.
        export_formats: Not offered.
        max_failures: How often a trial may fail and be tried again; -1 for always.
        restore: Not offered.
        local_dir: Not offered: it is `storage_path` now.

    Raises:
        NotImplementedError: What is not offered.

    Example:
        >>> Experiment("walk", lambda config: {"x": 1}, num_samples=2).num_samples
        2
    """

    name: str | None
    run: Any
    stop: Any = None
    time_budget_s: Any = None
    config: Mapping[str, Any] | None = None
    resources_per_trial: Any = None
    num_samples: int = 1
    storage_path: str | None = None
    storage_filesystem: Any = None
    sync_config: Any = None
    checkpoint_config: CheckpointConfig | Mapping[str, Any] | None = None
    trial_name_creator: Any = None
    trial_dirname_creator: Any = None
    log_to_file: Any = False
    export_formats: Sequence[str] | None = None
    max_failures: int = 0
    restore: str | None = None
    local_dir: str | None = None

    def __post_init__(self) -> None:
        for name in ("export_formats", "restore"):
            if getattr(self, name):
                raise NotImplementedError(
                    f"{name}={getattr(self, name)!r} is not offered; do it in the trainable"
                )
        if self.local_dir is not None:
            raise ValueError("local_dir is no more; say storage_path")
        if self.sync_config is not None and not isinstance(self.sync_config, SyncConfig):
            raise TypeError(f"sync_config must be a SyncConfig, got {self.sync_config!r}")


def run(
    run_or_experiment: Any,
    *,
    name: str | None = None,
    metric: str | None = None,
    mode: str | None = None,
    stop: Any = None,
    time_budget_s: Any = None,
    config: Mapping[str, Any] | None = None,
    resources_per_trial: Any = None,
    num_samples: int = 1,
    storage_path: str | None = None,
    storage_filesystem: Any = None,
    search_alg: Any = None,
    scheduler: Any = None,
    checkpoint_config: CheckpointConfig | None = None,
    verbose: int | None = None,
    progress_reporter: Any = None,
    log_to_file: Any = False,
    trial_name_creator: Any = None,
    trial_dirname_creator: Any = None,
    sync_config: Any = None,
    export_formats: Sequence[str] | None = None,
    max_failures: int = 0,
    fail_fast: Any = False,
    restore: str | None = None,
    resume: Any = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool = False,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Any] | None = None,
    max_concurrent_trials: int | None = None,
    keep_checkpoints_num: int | None = None,
    checkpoint_score_attr: str | None = None,
    checkpoint_freq: int = 0,
    checkpoint_at_end: bool = False,
    chdir_to_trial_dir: bool | None = None,
    local_dir: str | None = None,
) -> ExperimentAnalysis:
    """Run a study, by the names of Ray's older interface; `Tuner` is the newer one.

    Args:
        run_or_experiment: A function of the config, a Trainable class, a registered name, or an
            Experiment.
        name: Of the study's directory.
        metric: The metric to optimise.
        mode: "min" or "max".
        stop: When a trial ends.
        time_budget_s: When all of it ends.
        config: The search space.
        resources_per_trial: What a trial needs.
        num_samples: How many times to draw from the space.
        storage_path: Where the directory goes.
        storage_filesystem: The file system of pyarrow's or fsspec's that it is on; None for what
            the address says.
        search_alg: A searcher, or its name.
        scheduler: A scheduler, or its name.
        checkpoint_config: How many checkpoints stay, and when they are made.
        verbose: 0 for silence.
        progress_reporter: Passed on to RunConfig.
        log_to_file: Passed on to RunConfig.
        trial_name_creator: A function from a Trial to its name.
        trial_dirname_creator: A function from a Trial to the name of its directory.
        sync_config: A SyncConfig; on a local or mounted storage there is nothing to copy.
        export_formats: Not offered.
        max_failures: How often a trial may fail and be tried again; -1 for always.
        fail_fast: The first failed trial ends the study.
        restore: Not offered.
        resume: True or "AUTO" goes on with the study of that name, if there is one; "ERRORED_ONLY",
            "RESTART_ERRORED" and "RESTART_ERRORED_ONLY" say with what.
        resume_config: The same in more words.
        reuse_actors: Let an object of a class serve one trial after another.
        raise_on_failed_trial: Raise when a trial failed.
        callbacks: tune.Callback objects.
        max_concurrent_trials: At most so many trials at a time.
        keep_checkpoints_num: Refused: Ray has `checkpoint_config` for it now.
        checkpoint_score_attr: Refused, too.
        checkpoint_freq: Refused, too.
        checkpoint_at_end: Refused, too.
        chdir_to_trial_dir: Whether a trial's working directory is its own; see `TuneConfig`.
        local_dir: Refused: it is `storage_path` now.

    Returns:
        The results.

    Raises:
        TuneError: A trial failed, unless `raise_on_failed_trial=False`.
        ValueError: An older argument; the message names the newer one.
        NotImplementedError: What is not offered.

    Example:
        >>> from heliostat import tune
        >>> analysis = tune.run(
        ...     lambda config: {"loss": config["x"] ** 2},
        ...     config={"x": tune.grid_search([1, 2])},
        ...     storage_path="/tmp/heliostat-docs", verbose=0, metric="loss", mode="min",
        ... )
        >>> analysis.best_result["loss"]
        1
    """
    given = locals()
    _refuse_old({name: given[name] for name in _OLD})
    if isinstance(run_or_experiment, Experiment):
        study = run_or_experiment
    else:
        names = Experiment.__dataclass_fields__.keys() - {"run", "local_dir"}
        study = Experiment(run=run_or_experiment, **{key: given[key] for key in names})
    tune_config = TuneConfig(
        metric=metric,
        mode=mode,
        num_samples=study.num_samples,
        search_alg=create_searcher(search_alg) if isinstance(search_alg, str) else search_alg,
        scheduler=create_scheduler(scheduler) if isinstance(scheduler, str) else scheduler,
        max_concurrent_trials=max_concurrent_trials,
        time_budget_s=study.time_budget_s,
        reuse_actors=reuse_actors,
        trial_name_creator=study.trial_name_creator,
        trial_dirname_creator=study.trial_dirname_creator,
        chdir_to_trial_dir=chdir_to_trial_dir,
    )
    run_config = _run_config(study, fail_fast, verbose, callbacks, progress_reporter)
    if resume is not None and resume not in _RESUMES and resume is not False:
        raise ValueError(f"resume must be one of {list(_RESUMES)}, got {resume!r}")
    how = resume_config or _RESUMES.get(resume or None)
    tuner = _tuner(study, tune_config, run_config, how, must=resume not in ("AUTO", None))
    grid = tuner.fit()
    analysis = ExperimentAnalysis(
        grid.experiment_path, trials=grid._trials, default_metric=metric, default_mode=mode
    )
    analysis._grid = grid  # it has what it needs to read reports of a study beyond this machine
    if raise_on_failed_trial:
        _raise_failed(analysis.trials)
    return analysis


def run_experiments(
    experiments: Experiment | Mapping[str, Any] | Sequence[Experiment],
    scheduler: Any = None,
    verbose: int | None = None,
    progress_reporter: Any = None,
    resume: Any = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool = False,
    raise_on_failed_trial: bool = True,
    concurrent: bool = True,
    callbacks: Sequence[Any] | None = None,
) -> list[Trial]:
    """Run studies one after the other.

    Args:
        experiments: An Experiment, a list of them, or a dict from name to its arguments.
        scheduler: A scheduler, or its name.
        verbose: 0 for silence.
        progress_reporter: Passed on to RunConfig.
        resume: As for `run`.
        resume_config: As for `run`.
        reuse_actors: As for `run`.
        raise_on_failed_trial: Raise when a trial failed.
        concurrent: Taken for Ray's sake; a study has the whole machine, and the next one after it.
        callbacks: tune.Callback objects.

    Returns:
        The trials of all.

    Raises:
        TuneError: A trial failed, unless `raise_on_failed_trial=False`.
        TypeError: Experiments of another kind.

    Example:
        >>> from heliostat import tune
        >>> walk = {"run": lambda config: {"x": 1}, "storage_path": "/tmp/heliostat-docs"}
        >>> len(tune.run_experiments({"walk": walk}, verbose=0))
        1
    """
    trials: list[Trial] = []
    for study in _experiments(experiments):
        trials += run(
            study,
            scheduler=scheduler,
            verbose=verbose,
            progress_reporter=progress_reporter,
            resume=resume,
            resume_config=resume_config,
            reuse_actors=reuse_actors,
            raise_on_failed_trial=raise_on_failed_trial,
            callbacks=callbacks,
        ).trials
    return trials


def _experiments(given: Any) -> list[Experiment]:
    if isinstance(given, Experiment):
        return [given]
    if isinstance(given, Mapping):
        return [Experiment(name=name, **dict(spec)) for name, spec in given.items()]
    if isinstance(given, Sequence) and all(isinstance(one, Experiment) for one in given):
        return list(given)
    raise TypeError(
        f"experiments must be an Experiment, a list of them, or a dict from name to arguments, got "
        f"{given!r}"
    )


def _refuse_old(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value:
            raise ValueError(f"{name}={value!r} is no more; say {_OLD[name]}")


def _run_config(
    study: Experiment, fail_fast: Any, verbose: Any, callbacks: Any, reporter: Any
) -> RunConfig:
    keep = study.checkpoint_config
    checkpoints = keep if isinstance(keep, CheckpointConfig) else CheckpointConfig(**(keep or {}))
    at_end = bool(checkpoints.checkpoint_at_end)  # if not said: of Tuner's it is true
    given = {
        "name": study.name,
        "storage_path": study.storage_path,
        "storage_filesystem": study.storage_filesystem,
        "stop": study.stop,
        "checkpoint_config": replace(checkpoints, checkpoint_at_end=at_end),
        "failure_config": FailureConfig(max_failures=study.max_failures, fail_fast=fail_fast),
        "callbacks": None if callbacks is None else list(callbacks),
        "progress_reporter": reporter,
        "log_to_file": study.log_to_file or None,
        "verbose": verbose,
    }
    return RunConfig(**{name: value for name, value in given.items() if value is not None})


def _tuner(
    study: Experiment,
    tune_config: TuneConfig,
    run_config: RunConfig,
    resume: ResumeConfig | None,
    *,
    must: bool,
) -> Tuner:
    trainable = get_trainable(study.run) if isinstance(study.run, str) else study.run
    if study.resources_per_trial is not None:
        trainable = with_resources(trainable, study.resources_per_trial)
    if resume is not None and run_config.name is not None:
        store = run_config.storage_filesystem
        parent, remote = find("storage_path", run_config.storage_path or "~/ray_results", store)
        directory = posixpath.join(parent, run_config.name)
        if Tuner.can_restore(directory, remote):
            return _resumed(directory, remote, trainable, resume)
    if resume is not None and must:
        raise ValueError(
            f"there is no study to go on with: name={run_config.name!r}, "
            f'storage_path={run_config.storage_path!r}; resume="AUTO" begins one then'
        )
    return Tuner(
        trainable,
        param_space=study.config or {},
        tune_config=tune_config,
        run_config=run_config,
    )


def _resumed(directory: str, remote: Any, trainable: Any, resume: ResumeConfig) -> Tuner:
    tuner = Tuner.restore(directory, trainable, storage_filesystem=remote)
    assert tuner._resumed is not None
    read = _restore.read(tuner._resumed.log, unfinished="resume", errored="skip")
    tuner._resumed = replace(
        read,
        unfinished=resume.unfinished.value,
        errored=resume.errored.value,
        finished=resume.finished.value,
    )
    return tuner


def _raise_failed(trials: Sequence[Trial]) -> None:
    failed = [trial for trial in trials if trial.state == ERROR]
    if failed:
        raise TuneError(
            f"{len(failed)} of {len(trials)} trials failed: {', '.join(map(str, failed))}; the first: "
            f"{failed[0].error}"
        ) from failed[0].error
