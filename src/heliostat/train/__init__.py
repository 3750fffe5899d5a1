"""Train: a group of ranks that run one loop, and survive.

The map: `data_parallel_trainer.py` parses what the user says into a Job; `_controller.py`
drives a Run (`_run.py`, which decides) with a WorkerGroup (`_worker_group.py`) of TrainWorker
actors (`_worker.py`), each of which runs the user's loop in a thread that talks through a
Session (`session.py`); `_storage.py` owns the run's directory. Events and commands of Run are in
`_run_messages.py`; `_validations.py` is its part about checkpoints that are validated, by the
tasks of a Validator (`_validator.py`).
"""

from heliostat.train.backend import Backend, BackendConfig
from heliostat.train.callback import UserCallback
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.config import (
    CheckpointConfig,
    DataConfig,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
)
from heliostat.train.context import TrainContext, get_context
from heliostat.train.data_parallel_trainer import DataParallelTrainer
from heliostat.train.error import (
    ControllerError,
    NCCLHangError,
    PreemptionError,
    TrainingFailedError,
    WorkerGroupError,
)
from heliostat.train.preemption import PreemptionInfo, get_preemption_info
from heliostat.train.report_config import CheckpointConsistencyMode, CheckpointUploadMode
from heliostat.train.reported_checkpoint import ReportedCheckpoint, ReportedCheckpointStatus
from heliostat.train.result import Result
from heliostat.train.session import (
    get_all_reported_checkpoints,
    get_checkpoint,
    get_dataset_shard,
    report,
)
from heliostat.train.validation_config import ValidationConfig, ValidationFn, ValidationTaskConfig

TRAIN_DATASET_KEY = "train"

__all__ = [
    "TRAIN_DATASET_KEY",
    "Backend",
    "BackendConfig",
    "Checkpoint",
    "CheckpointConfig",
    "CheckpointConsistencyMode",
    "CheckpointUploadMode",
    "ControllerError",
    "DataConfig",
    "DataParallelTrainer",
    "FailureConfig",
    "LoggingConfig",
    "NCCLHangError",
    "PreemptionError",
    "PreemptionInfo",
    "ReportedCheckpoint",
    "ReportedCheckpointStatus",
    "Result",
    "RunConfig",
    "ScalingConfig",
    "TrainContext",
    "TrainingFailedError",
    "UserCallback",
    "ValidationConfig",
    "ValidationFn",
    "ValidationTaskConfig",
    "WorkerGroupError",
    "get_all_reported_checkpoints",
    "get_checkpoint",
    "get_context",
    "get_dataset_shard",
    "get_preemption_info",
    "report",
]
