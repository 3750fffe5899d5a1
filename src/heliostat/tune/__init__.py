"""Tune: many trials, one decider.

A map of the folder: `tuner.py` is the way in; `_experiment.py` decides (which trial starts, goes on,
stops) and `_loop.py` does it, with one `_trial_actor.py` for each trial at a time, or for a lot of short
ones (`_trial.py`); `session.py` is what a trial talks to. `search/` proposes configs out of a space
(`search/_space.py`, `search/sample.py`), `schedulers/` and `stopper.py` cut trials short.
`_snapshot.py` is everything on disk, `_restore.py` reads it back, `result_grid.py` is what comes out.

A name is loaded when it is first touched: where a trial runs, few are.
"""

from typing import TYPE_CHECKING

from heliostat._late import late

if TYPE_CHECKING:  # for those who check types; `_HOMES` has the same for those who run
    from heliostat.train import (
        Checkpoint,
        CheckpointConfig,
        FailureConfig,
        Result,
        RunConfig,
        SyncConfig,
    )
    from heliostat.tune import schedulers, search
    from heliostat.tune._resources import PlacementGroupFactory
    from heliostat.tune._runnable import with_parameters, with_resources
    from heliostat.tune.analysis import ExperimentAnalysis
    from heliostat.tune.callback import Callback
    from heliostat.tune.context import TuneContext
    from heliostat.tune.error import TuneError
    from heliostat.tune.progress_reporter import (
        CLIReporter,
        JupyterNotebookReporter,
        ProgressReporter,
    )
    from heliostat.tune.registry import register_env, register_trainable
    from heliostat.tune.result_grid import ResultGrid
    from heliostat.tune.resume_config import ResumeConfig
    from heliostat.tune.schedulers import create_scheduler
    from heliostat.tune.search import create_searcher, grid_search
    from heliostat.tune.search.sample import (
        choice,
        lograndint,
        loguniform,
        qlograndint,
        qloguniform,
        qrandint,
        qrandn,
        quniform,
        randint,
        randn,
        sample_from,
        uniform,
    )
    from heliostat.tune.session import get_checkpoint, get_context, report
    from heliostat.tune.stopper import Stopper
    from heliostat.tune.trainable import Trainable
    from heliostat.tune.tune import Experiment, run, run_experiments
    from heliostat.tune.tune_config import TuneConfig
    from heliostat.tune.tuner import Tuner

__all__ = [
    "CLIReporter",
    "Callback",
    "Checkpoint",
    "CheckpointConfig",
    "Experiment",
    "ExperimentAnalysis",
    "FailureConfig",
    "JupyterNotebookReporter",
    "PlacementGroupFactory",
    "ProgressReporter",
    "Result",
    "ResultGrid",
    "ResumeConfig",
    "RunConfig",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "TuneConfig",
    "TuneContext",
    "TuneError",
    "Tuner",
    "choice",
    "create_scheduler",
    "create_searcher",
    "get_checkpoint",
    "get_context",
    "grid_search",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "register_env",
    "register_trainable",
    "report",
    "run",
    "run_experiments",
    "sample_from",
    "schedulers",
    "search",
    "uniform",
    "with_parameters",
    "with_resources",
]

_HOMES = {
    "CLIReporter": "tune.progress_reporter",
    "Callback": "tune.callback",
    "Checkpoint": "train",
    "CheckpointConfig": "train",
    "Experiment": "tune.tune",
    "ExperimentAnalysis": "tune.analysis",
    "FailureConfig": "train",
    "JupyterNotebookReporter": "tune.progress_reporter",
    "PlacementGroupFactory": "tune._resources",
    "ProgressReporter": "tune.progress_reporter",
    "Result": "train",
    "ResultGrid": "tune.result_grid",
    "ResumeConfig": "tune.resume_config",
    "RunConfig": "train",
    "Stopper": "tune.stopper",
    "SyncConfig": "train",
    "Trainable": "tune.trainable",
    "TuneConfig": "tune.tune_config",
    "TuneContext": "tune.context",
    "TuneError": "tune.error",
    "Tuner": "tune.tuner",
    "choice": "tune.search.sample",
    "create_scheduler": "tune.schedulers",
    "create_searcher": "tune.search",
    "get_checkpoint": "tune.session",
    "get_context": "tune.session",
    "grid_search": "tune.search",
    "lograndint": "tune.search.sample",
    "loguniform": "tune.search.sample",
    "qlograndint": "tune.search.sample",
    "qloguniform": "tune.search.sample",
    "qrandint": "tune.search.sample",
    "qrandn": "tune.search.sample",
    "quniform": "tune.search.sample",
    "randint": "tune.search.sample",
    "randn": "tune.search.sample",
    "register_env": "tune.registry",
    "register_trainable": "tune.registry",
    "report": "tune.session",
    "run": "tune.tune",
    "run_experiments": "tune.tune",
    "sample_from": "tune.search.sample",
    "uniform": "tune.search.sample",
    "with_parameters": "tune._runnable",
    "with_resources": "tune._runnable",
}
# Modules that are attributes, as if they were loaded.
_MODULES = frozenset(
    [
        "analysis",
        "callback",
        "context",
        "error",
        "experiment",
        "integration",
        "logger",
        "progress_reporter",
        "registry",
        "result_grid",
        "resume_config",
        "schedulers",
        "search",
        "session",
        "stopper",
        "trainable",
        "tune_config",
        "tuner",
        "utils",
    ]
)

if not TYPE_CHECKING:  # else any name would do for them
    __getattr__, __dir__ = late(globals(), _HOMES, _MODULES)
