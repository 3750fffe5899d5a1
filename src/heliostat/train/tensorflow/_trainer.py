"""TensorflowTrainer: a training loop in TensorFlow, on N ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from heliostat.train.checkpoint import Checkpoint
from heliostat.train.config import DataConfig, RunConfig, ScalingConfig
from heliostat.train.data_parallel_trainer import DataParallelTrainer
from heliostat.train.tensorflow._backend import TensorflowConfig
from heliostat.train.validation_config import ValidationConfig

if TYPE_CHECKING:
    from heliostat.data import Dataset


class TensorflowTrainer(DataParallelTrainer):
    """Runs a training loop in TensorFlow on `scaling_config.num_workers` ranks at once.

    Each rank finds the others in TF_CONFIG, which `tf.distribute.MultiWorkerMirroredStrategy()`
    reads. TensorFlow is needed by the loop only.

    Args:
        train_loop_per_worker: The loop: a function of nothing, or of `train_loop_config`.
        train_loop_config: What the loop is given.
        tensorflow_config: How ranks are joined.
        scaling_config: How many ranks, and what each needs.
        run_config: Where results go, and how failures are met.
        datasets: Datasets by name, or functions that make them; "train" for the training data.
        dataset_config: Which datasets are split between the ranks.
        resume_from_checkpoint: What `get_checkpoint()` returns at a fresh start.
        metadata: Facts for `get_context().get_metadata()`.
        validation_config: The function that validates checkpoints that are reported with
            `validation=...`.

    Raises:
        TypeError: For an argument of the wrong type.
        ValueError: For an argument with a wrong value.
        NotImplementedError: For what Heliostat does not offer yet.

    Example:
        >>> import json, os
        >>> from heliostat import train
        >>> from heliostat.train.tensorflow import TensorflowTrainer
        >>> def loop():
        ...     # strategy = tf.distribute.MultiWorkerMirroredStrategy()
        ...     train.report(json.loads(os.environ["TF_CONFIG"])["task"])
        >>> trainer = TensorflowTrainer(
        ...     loop, scaling_config=train.ScalingConfig(num_workers=2),
        ...     run_config=train.RunConfig(storage_path="results", verbose=0))
        >>> trainer.fit().metrics
        {'type': 'worker', 'index': 0}
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: dict[str, Any] | None = None,
        tensorflow_config: TensorflowConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Dataset | Callable[[], Dataset]] | None = None,
        dataset_config: DataConfig | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: dict[str, Any] | None = None,
        validation_config: ValidationConfig | None = None,
    ) -> None:
        if tensorflow_config is not None and not isinstance(tensorflow_config, TensorflowConfig):
            raise TypeError(
                f"tensorflow_config must be a TensorflowConfig, got {tensorflow_config!r}"
            )
        super().__init__(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=tensorflow_config or TensorflowConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=dataset_config,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            validation_config=validation_config,
        )
