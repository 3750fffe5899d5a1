"""Tuner: fit, restore. It checks what it was given, makes the study's directory and runs the Loop."""

import copy
import importlib
import itertools
import math
import os
import posixpath
import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import cloudpickle  # type: ignore[import-untyped]  # ships no annotations

import heliostat
from heliostat._shared_directory import check_shared
from heliostat.train import RunConfig, ScalingConfig
from heliostat.train._names import check_name
from heliostat.train.config import log_files, writing_to
from heliostat.tune import _restore, _written
from heliostat.tune._beyond import Beyond, find
from heliostat.tune._display import Display
from heliostat.tune._experiment import Experiment
from heliostat.tune._loop import Loop
from heliostat.tune._runnable import Runnable, as_runnable
from heliostat.tune._snapshot import (
    CALLBACKS_FILE,
    LOG_PREFIX,
    TUNER_FILE,
    Log,
    newest_log,
    write_whole,
)
from heliostat.tune._study import Study
from heliostat.tune._trial import Trial, check_fits
from heliostat.tune.callback import Callback
from heliostat.tune.error import TuneError
from heliostat.tune.progress_reporter import (
    JupyterNotebookReporter,
    ProgressReporter,
    TrialProgressCallback,
)
from heliostat.tune.result_grid import ResultGrid
from heliostat.tune.schedulers import FIFOScheduler, TrialScheduler
from heliostat.tune.search import (
    BasicVariantGenerator,
    ConcurrencyLimiter,
    Searcher,
    SearchGenerator,
    _space,
)
from heliostat.tune.stopper import NoopStopper, as_stopper
from heliostat.tune.tune_config import TuneConfig
from heliostat.util import progress

if TYPE_CHECKING:
    from heliostat.tune._mirror import Mirror

_LONGEST_DIRECTORY = 180
# What searchers that are still there have searched.
_SEARCHED: WeakKeyDictionary[Searcher, str] = WeakKeyDictionary()


@dataclass(frozen=True)
class _Given:
    """What the user gave a Tuner; kept beside the study for `restore`."""

    param_space: dict[str, Any]
    tune_config: TuneConfig
    run_config: RunConfig


class Tuner:
    """Runs many trials of something with different configurations, and finds the best.

    Args:
        trainable: A function of the config, a Trainable class, or a trainer.
        param_space: The search space; for a trainer, its own arguments.
        tune_config: How to search.
        run_config: Where results go, when to stop, what to survive.

    Raises:
        TypeError: An argument of the wrong type.
        ValueError: Values that contradict each other.
        NotImplementedError: What Heliostat does not offer yet.

    Example:
        >>> from heliostat import tune
        >>> def trial(config):
        ...     tune.report({"loss": (config["x"] - 3) ** 2})
        >>> tuner = tune.Tuner(
        ...     trial,
        ...     param_space={"x": tune.grid_search([1, 3, 5])},
        ...     tune_config=tune.TuneConfig(metric="loss", mode="min"),
        ...     run_config=tune.RunConfig(storage_path="/tmp/heliostat-docs", verbose=0),
        ... )
        >>> tuner.fit().get_best_result().config
        {'x': 3}
    """

    def __init__(
        self,
        trainable: Any = None,
        *,
        param_space: Mapping[str, Any] | None = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
    ) -> None:
        _check_type("param_space", param_space, Mapping, "a dict")
        _check_type("tune_config", tune_config, TuneConfig, "a TuneConfig")
        _check_type("run_config", run_config, RunConfig, "a RunConfig")
        run = run_config or RunConfig()
        _check_type(
            "progress_reporter", run.progress_reporter, ProgressReporter, "a tune.ProgressReporter"
        )
        for callback in run.callbacks or ():
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"RunConfig(callbacks=) of a Tuner takes tune.Callback objects, got {callback!r}; "
                    "callbacks of a trainer go into the trainer's own run_config"
                )
        if run.stop is not None:
            as_stopper(run.stop)
        config = tune_config or TuneConfig()
        self._runnable: Runnable = as_runnable(trainable, run, reuse=bool(config.reuse_actors))
        _space.check_called(param_space)
        self._given = _Given(_space.copy_containers(_opened(param_space or {})), config, run)
        self._resumed: _restore.Resumed | None = None
        self._results: ResultGrid | None = None
        self._dirnames: set[str] = set()  # those that the user has given
        self._unused: Searcher | None = None  # a copy of the searcher from before the first fit
        # For a study that is kept beyond this machine.
        self._mirror: Mirror | None = None

    @classmethod
    def restore(
        cls,
        path: str | os.PathLike[str],
        trainable: Any,
        resume_unfinished: bool = True,
        resume_errored: bool = False,
        restart_errored: bool = False,
        param_space: Mapping[str, Any] | None = None,
        storage_filesystem: Any = None,
    ) -> "Tuner":
        """Take up a study that was cut short, also by a kill. Only from a path that you trust.

        Args:
            path: The study's directory, `ResultGrid.experiment_path`, or its address.
            trainable: What was tuned.
            resume_unfinished: Go on with trials that were running or waiting, from their checkpoints;
                else they count as ended.
            resume_errored: Try failed trials again, from their checkpoints.
            restart_errored: Try failed trials again, from the beginning.
            param_space: The same search space again, where the stored one cannot be read back.
            storage_filesystem: The file system of pyarrow's or fsspec's that it is on; None for what the
                address says.

        Returns:
            A Tuner whose `fit` goes on where the study was.

        Raises:
            ValueError: There is no study, or the flags contradict each other.
            NotImplementedError: The study's searcher cannot go on.

        Example:
            >>> from heliostat import tune
            >>> tune.Tuner.can_restore("/tmp/no-such-study")
            False
        """
        if resume_errored and restart_errored:
            raise ValueError("resume_errored and restart_errored contradict each other; drop one")
        where, remote = find("Tuner.restore", path, storage_filesystem)
        if not cls.can_restore(where, remote):
            if remote is None and _written.is_rays(Path(where)):
                raise ValueError(
                    f"Ray has written the study in {where}: it can be looked into by "
                    "ExperimentAnalysis(path), and not be taken up"
                )
            raise ValueError(
                f"there is no study in {where}; give the directory that ResultGrid.experiment_path "
                "named"
            )
        mirror = None if remote is None else _mirrored(where, remote)
        if mirror is not None:
            mirror.fetch()
        directory = Path(where) if mirror is None else mirror.here
        given = cloudpickle.loads((directory / TUNER_FILE).read_bytes())
        run = replace(
            given.run_config,
            name=posixpath.basename(where),
            storage_path=posixpath.dirname(where),
            storage_filesystem=remote,
        )
        space = given.param_space if param_space is None else param_space
        tuner = cls(trainable, param_space=space, tune_config=given.tune_config, run_config=run)
        tuner._mirror = mirror
        log = newest_log(directory)
        assert log is not None
        tuner._resumed = _restore.read(
            log,
            unfinished="resume" if resume_unfinished else "skip",
            errored="restart" if restart_errored else "resume" if resume_errored else "skip",
        )
        return tuner

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
        """Whether there is a study at a path.

        Args:
            path: A directory, or its address.
            storage_filesystem: The file system that it is on; None for what the address says.

        Returns:
            Whether `restore` can read it.

        Example:
            >>> Tuner.can_restore("/tmp/no-such-study")
            False
        """
        where, remote = find("Tuner.can_restore", path, storage_filesystem)
        if remote is not None:
            return bool(_beyond().exists(where, remote))
        directory = Path(where)
        return (directory / TUNER_FILE).is_file() and newest_log(directory) is not None

    def fit(self) -> ResultGrid:
        """Run the study to its end. Ctrl-C ends it early, with what there is.

        Returns:
            The results. A failed trial is one of them; it does not raise.

        Raises:
            TuneError: No trial can run, or none reports the metric.
        """
        given = self._given
        config = given.tune_config
        capacity = heliostat.cluster_resources()
        self._check_can_run(capacity)
        directory = self._directory()
        name, self._dirnames = directory.name, set()
        searcher = self._searcher()
        # A copy: a Tuner may be fitted again, and a config may serve several.
        scheduler, stop = copy.deepcopy((config.scheduler, given.run_config.stop))
        if self._resumed is None:
            # Without the store's address and credentials: whoever restores the study has them.
            run = replace(given.run_config, storage_path=None, storage_filesystem=None)
            kept = replace(given, tune_config=replace(config, search_alg=searcher), run_config=run)
            write_whole(directory / TUNER_FILE, _pickle(kept))
        study = self._study(name, directory, capacity, searcher)
        self._introduce(searcher, scheduler)
        stopper = None if stop is None else as_stopper(stop)
        trials: list[Trial] = []
        ended: list[Trial] = []
        if self._resumed is not None:
            told = scheduler or FIFOScheduler(), stopper or NoopStopper()
            deciders = _restore.Deciders(study.space, capacity, searcher, *told)
            trials, ended = self._take_up(self._resumed, deciders, directory)
        experiment = Experiment(study, searcher, scheduler, stopper, trials)
        try:
            self._run(experiment, name, directory, ended)
        finally:
            if self._mirror is not None:
                self._mirror.close()
        self._results = self._grid(experiment.get_trials(), directory)
        self._raise_failure(experiment)
        return self._results

    def get_results(self) -> ResultGrid:
        """The results of the last `fit`, or of the study that was restored.

        Returns:
            The results.

        Raises:
            RuntimeError: There was neither.
        """
        if self._results is not None:
            return self._results
        if self._resumed is None:
            raise RuntimeError("there are no results yet; call fit() first")
        directory = self._resumed.log.parent
        trials = self._resumed.trials(directory, self._runnable.name)
        for trial in trials:
            trial.beyond = self._beyond
        return self._grid(trials, directory)

    @property
    def _beyond(self) -> Beyond | None:
        return None if self._mirror is None else self._mirror.beyond

    def _stored(self, directory: Path) -> str:
        """Where people find the study."""
        return str(directory) if self._mirror is None else self._mirror.beyond.there

    def _grid(self, trials: list[Trial], directory: Path) -> ResultGrid:
        config, where = self._given.tune_config, self._stored(directory)
        return ResultGrid(trials, where, config.metric, config.mode, self._mirror)

    def _directory(self) -> Path:
        """Make the study's directory: that of its name, or a new one."""
        run = self._given.run_config
        root = os.fspath(run.storage_path or "~/ray_results")
        if run.storage_filesystem is not None or "://" in root:
            root, remote = find("storage_path", root, run.storage_filesystem)
            if remote is not None:
                return self._mirrored_directory(root, remote)
        parent = Path(root).expanduser().absolute()
        nodes = heliostat.nodes()
        if len(nodes) > 1:  # one machine shares with nobody
            check_shared("storage_path", str(parent), nodes)
        with writing_to(root):
            parent.mkdir(parents=True, exist_ok=True)
            if run.name is not None:
                (parent / run.name).mkdir(exist_ok=True)
                return parent / run.name
            base = f"{self._runnable.name}_{_now()}"
            for number in itertools.count(1):
                directory = parent / (base if number == 1 else f"{base}_{number}")
                with suppress(FileExistsError):  # another study began within the same second
                    directory.mkdir()
                    return directory
        raise AssertionError

    def _mirrored_directory(self, root: str, filesystem: Any) -> Path:
        """The one that is copied to where the study is kept beyond this machine."""
        name = self._given.run_config.name
        if len({node["NodeManagerAddress"] for node in heliostat.nodes() if node["Alive"]}) > 1:
            raise NotImplementedError(
                f"storage_path={root!r}: trials on several machines write their reports into a "
                "directory that all of them share; use a mounted network file system"
            )
        if self._mirror is None or self._resumed is None:  # another fit() is another study
            there = posixpath.join(root, name or f"{self._runnable.name}_{_now()}")
            self._mirror = _mirrored(there, filesystem, new=name is None)
        return self._mirror.here

    def _check_can_run(self, capacity: Mapping[str, float]) -> None:
        """Before anything is made on disk: can a trial ever run?"""
        request = self._runnable.common_request(self._given.param_space)
        if request is not None:  # else it is known when there is a config
            who = f"a trial of {self._runnable.name}"
            check_fits(request.required_resources, capacity, who)

    def _searcher(self) -> Searcher:
        """The user's own, which can be asked and saved afterwards; for another fit as it was before."""
        given = self._given.tune_config.search_alg
        if given is None:
            return BasicVariantGenerator()
        if self._unused is None:
            self._unused = copy.deepcopy(given)
            return given
        return copy.deepcopy(self._unused)

    def _introduce(self, searcher: Searcher, scheduler: TrialScheduler | None) -> None:
        config = self._given.tune_config
        space = repr(list(_space.open_values(self._given.param_space)))
        if _SEARCHED.setdefault(searcher, space) != space and searcher.learns:
            raise ValueError(
                f"this {type(searcher).__name__} has searched another param_space in a study before "
                f"({_SEARCHED[searcher]}); make a new one for this study"
            )
        searcher.set_search_properties(
            config.metric, config.mode, self._given.param_space, num_samples=config.num_samples
        )
        taken = scheduler is None or scheduler.set_search_properties(config.metric, config.mode)
        if not taken and config.metric is not None:
            raise ValueError(
                f"{type(scheduler).__name__} has a metric or mode of its own and TuneConfig names one "
                "too; drop one of them"
            )

    def _study(
        self, name: str, directory: Path, capacity: Mapping[str, float], searcher: Searcher
    ) -> Study:
        config, run = self._given.tune_config, self._given.run_config
        keep = getattr(self._runnable, "run_config", run).checkpoint_config  # a trainer's own
        samples = config.num_samples
        return Study(
            name=name,
            trainable_name=self._runnable.name,
            id_prefix=self._resumed.id_prefix if self._resumed else uuid.uuid4().hex[:5],
            space=self._given.param_space,
            # A searcher that knows its own end, as grids do, is asked until it says so.
            limit=samples if samples > 0 and not _knows_end(searcher) else None,
            capacity=capacity,
            request=lambda trial_config: self._runnable.request(trial_config).required_resources,
            create=lambda trial: self._name_trial(trial, directory),
            metric=config.metric,
            mode=config.mode,
            max_concurrent=config.max_concurrent_trials or 0,
            time_budget_s=config.budget_s,
            max_failures=run.failure_config.max_failures,
            fail_fast=bool(run.failure_config.fail_fast),
            ahead=not searcher.learns,
            chdir=config.changes_directory,
            log_files=log_files(run.log_to_file),
            environment=run.worker_runtime_env,
            keep=keep.num_to_keep,
            keep_by=keep.checkpoint_score_attribute,
            keep_mode=keep.checkpoint_score_order,
        )

    def _name_trial(self, trial: Trial, directory: Path) -> Trial:
        config = self._given.tune_config
        trial.base = self._runnable.request(trial.config)
        if config.trial_name_creator is not None:
            called = config.trial_name_creator(trial)
            if not isinstance(called, str):
                raise TypeError(
                    f"trial_name_creator must return a text, got {called!r} for the trial with "
                    f"{trial.config}"
                )
            trial.name = called
        if config.trial_dirname_creator is None:
            below = f"{trial}_{trial.experiment_tag}".replace("/", "_")
            below = below.encode()[:_LONGEST_DIRECTORY].decode(errors="ignore")
        else:
            below = config.trial_dirname_creator(trial)
            check_name("the name that trial_dirname_creator returns", below)
            if below in self._dirnames:
                raise ValueError(
                    f"trial_dirname_creator returned {below!r} for trial {trial} and for one before; "
                    "their files would be mixed up"
                )
            self._dirnames.add(below)
        trial.path = str(directory / below)
        trial.beyond = self._beyond
        return trial

    def _take_up(
        self, resumed: _restore.Resumed, deciders: _restore.Deciders, directory: Path
    ) -> tuple[list[Trial], list[Trial]]:
        trials, ended = resumed.take_up(directory, self._runnable.name, deciders)
        for trial in trials:
            trial.base = self._runnable.request(trial.config)
            trial.beyond = self._beyond
            self._dirnames.add(os.path.basename(trial.path))
        return trials, ended

    def _run(self, experiment: Experiment, name: str, directory: Path, ended: list[Trial]) -> None:
        run, config = self._given.run_config, self._given.tune_config
        log = Log(self._resumed.log if self._resumed else _new_log(directory))
        if self._resumed is None:
            log.append("begin", version=1, name=name, id_prefix=experiment.study.id_prefix)
        else:
            log.append("restore", **self._resumed.record())
        for trial in ended:
            log.append("complete", trial=trial.trial_id)
        callbacks = list(run.callbacks or ())
        talks = (run.verbose or 0) > 1
        if talks and not any(isinstance(one, TrialProgressCallback) for one in callbacks):
            callbacks.append(TrialProgressCallback.of(run.verbose, config.metric))
        _give_states(callbacks, directory / CALLBACKS_FILE)
        for callback in callbacks:
            total = experiment.total
            callback.setup(stop=run.stop, num_samples=config.num_samples, total_num_samples=total)
        reporter = self._reporter(experiment)
        quiet = run.verbose == 0 or reporter is not None
        shown = nullcontext() if quiet else progress.line(f"Tune {name}", unit="trials")
        with shown as line:
            display = Display(line, self._given.param_space, config.metric, config.mode, reporter)
            loop = Loop(
                experiment, self._runnable, name, directory, log, callbacks, display, self._mirror
            )
            try:
                loop.run()
            finally:
                log.close()
        for callback in callbacks:
            callback.on_experiment_end(experiment.get_trials())
        display.finish(experiment.get_trials(), self._stored(directory))

    def _reporter(self, experiment: Experiment) -> ProgressReporter | None:
        """Who shows tables; a notebook has no terminal for a live line."""
        run, config = self._given.run_config, self._given.tune_config
        if run.verbose == 0:
            return None
        reporter = run.progress_reporter or (
            JupyterNotebookReporter(sort_by_metric=True) if progress.in_notebook() else None
        )
        if reporter is not None:
            total = experiment.total
            reporter.setup(
                start_time=time.time(),
                total_samples=None if total is None or math.isinf(total) else int(total),
                metric=config.metric,
                mode=config.mode,
                param_space=self._given.param_space,
            )
        return reporter

    def _raise_failure(self, experiment: Experiment) -> None:
        if experiment.failure is not None:
            raise experiment.failure
        if self._given.run_config.failure_config.fail_fast == "raise":
            for trial in experiment.get_trials():
                if trial.error is not None:
                    raise trial.error


def _opened(space: Mapping[str, Any]) -> Mapping[str, Any]:
    """A space in which a trainer's ScalingConfig that is to be chosen is a dict of its parts."""
    scaling = space.get("scaling_config")
    if not isinstance(scaling, ScalingConfig) or not scaling.is_open:
        return space
    return {**space, "scaling_config": dict(vars(scaling))}


def _give_states(callbacks: list[Callback], path: Path) -> None:
    """What callbacks remembered, back to them, if they are as many as they were."""
    states = cloudpickle.loads(path.read_bytes()) if path.is_file() else []
    if len(states) == len(callbacks):
        for callback, state in zip(callbacks, states, strict=True):
            if state is not None:
                callback.set_state(state)


def _knows_end(searcher: Searcher) -> bool:
    while isinstance(searcher, ConcurrencyLimiter | SearchGenerator):
        searcher = searcher.searcher
    return isinstance(searcher, BasicVariantGenerator)


def _mirrored(there: str, filesystem: Any, *, new: bool = False) -> "Mirror":
    mirrors = _beyond()
    made: Mirror = mirrors.Mirror(mirrors.unused(there, filesystem) if new else there, filesystem)
    return made


def _beyond() -> Any:
    """What copies a study; few need it, and pyarrow is slow to load."""
    return importlib.import_module("heliostat.tune._mirror")


def _new_log(directory: Path) -> Path:
    return directory / f"{LOG_PREFIX}{_now()}-{uuid.uuid4().hex[:4]}.jsonl"


def _pickle(given: _Given) -> bytes:
    try:
        data: bytes = cloudpickle.dumps(given)
    except Exception as error:  # values of the user's: anything may come
        raise TuneError(
            f"the study cannot be written down for restore: something in param_space, tune_config or "
            f"run_config cannot be pickled ({type(error).__name__}: {error})"
        ) from error
    return data


def _now() -> str:
    return time.strftime("%Y-%m-%d_%H-%M-%S")


def _check_type(name: str, value: Any, kind: Any, expected: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be {expected} or None, got {value!r}")
