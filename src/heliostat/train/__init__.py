"""Train: a group of ranks that run one loop, and survive.

The map: `data_parallel_trainer.py` parses what the user says into a Job; `_controller.py`
drives a Run (`_run.py`, which decides) with a WorkerGroup (`_worker_group.py`) of TrainWorker
actors (`_worker.py`), each of which runs the user's loop in a thread that talks through a
Session (`session.py`); `_storage.py` owns the run's directory.
"""

from heliostat.train.backend import Backend, BackendConfig
from heliostat.train.callback import UserCallback
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.config import (
    CheckpointConfig,
    DataConfig,
    FailureConfig,
    RunConfig,
    ScalingConfig,
)
from heliostat.train.context import TrainContext, get_context
from heliostat.train.data_parallel_trainer import DataParallelTrainer
from heliostat.train.error import ControllerError, TrainingFailedError, WorkerGroupError
from heliostat.train.result import Result
from heliostat.train.session import get_checkpoint, get_dataset_shard, report

TRAIN_DATASET_KEY = "train"

__all__ = [
    "TRAIN_DATASET_KEY",
    "Backend",
    "BackendConfig",
    "Checkpoint",
    "CheckpointConfig",
    "ControllerError",
    "DataConfig",
    "DataParallelTrainer",
    "FailureConfig",
    "Result",
    "RunConfig",
    "ScalingConfig",
    "TrainContext",
    "TrainingFailedError",
    "UserCallback",
    "WorkerGroupError",
    "get_checkpoint",
    "get_context",
    "get_dataset_shard",
    "report",
]
