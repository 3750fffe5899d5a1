"""Train: a group of ranks that run one loop, and survive.

The map: `data_parallel_trainer.py` parses what the user says into a Job; `_controller.py`
drives a Run (`_run.py`, which decides) with a WorkerGroup (`_worker_group.py`) of TrainWorker
actors (`_worker.py`), each of which runs the user's loop in a thread that talks through a
Session (`session.py`); `_storage.py` owns the run's directory, `_remote.py` one that is not on this
machine. Events and commands of Run are in `_run_messages.py`; `_validations.py` is its part about checkpoints that are validated, by the
tasks of a Validator (`_validator.py`).

A name is loaded when it is first touched: where a rank runs, few are.
"""

from typing import TYPE_CHECKING

from heliostat._late import late

if TYPE_CHECKING:  # for those who check types; `_HOMES` has the same for those who run
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
    from heliostat.train.error import (
        ControllerError,
        NCCLHangError,
        PreemptionError,
        TrainingFailedError,
        WorkerGroupError,
    )
    from heliostat.train.logging_config import LoggingConfig
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
    from heliostat.train.sync_config import SyncConfig
    from heliostat.train.validation_config import (
        ValidationConfig,
        ValidationFn,
        ValidationTaskConfig,
    )

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
    "SyncConfig",
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

_HOMES = {
    "Backend": "train.backend",
    "BackendConfig": "train.backend",
    "Checkpoint": "train.checkpoint",
    "CheckpointConfig": "train.config",
    "CheckpointConsistencyMode": "train.report_config",
    "CheckpointUploadMode": "train.report_config",
    "ControllerError": "train.error",
    "DataConfig": "train.config",
    "DataParallelTrainer": "train.data_parallel_trainer",
    "FailureConfig": "train.config",
    "LoggingConfig": "train.logging_config",
    "NCCLHangError": "train.error",
    "PreemptionError": "train.error",
    "PreemptionInfo": "train.preemption",
    "ReportedCheckpoint": "train.reported_checkpoint",
    "ReportedCheckpointStatus": "train.reported_checkpoint",
    "Result": "train.result",
    "RunConfig": "train.config",
    "ScalingConfig": "train.config",
    "SyncConfig": "train.sync_config",
    "TrainContext": "train.context",
    "TrainingFailedError": "train.error",
    "UserCallback": "train.callback",
    "ValidationConfig": "train.validation_config",
    "ValidationFn": "train.validation_config",
    "ValidationTaskConfig": "train.validation_config",
    "WorkerGroupError": "train.error",
    "get_all_reported_checkpoints": "train.session",
    "get_checkpoint": "train.session",
    "get_context": "train.context",
    "get_dataset_shard": "train.session",
    "get_preemption_info": "train.preemption",
    "report": "train.session",
}
# Modules that are attributes, as if they were loaded.
_MODULES = frozenset(
    [
        "backend",
        "callback",
        "checkpoint",
        "config",
        "context",
        "current",
        "data_parallel_trainer",
        "error",
        "preemption",
        "report_config",
        "reported_checkpoint",
        "result",
        "session",
        "validation_config",
    ]
)

if not TYPE_CHECKING:  # else any name would do for them
    __getattr__, __dir__ = late(globals(), _HOMES, _MODULES)
