"""JaxTrainer: a training loop in JAX, on N ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from heliostat.train.checkpoint import Checkpoint
from heliostat.train.config import DataConfig, RunConfig, ScalingConfig
from heliostat.train.data_parallel_trainer import DataParallelTrainer
from heliostat.train.jax._backend import JaxConfig
from heliostat.train.validation_config import ValidationConfig

if TYPE_CHECKING:
    from heliostat.data import Dataset


class JaxTrainer(DataParallelTrainer):
    """Runs a training loop in JAX on `scaling_config.num_workers` ranks at once.

    The ranks are joined by jax.distributed when the loop begins: `jax.devices()` are those of all
    ranks, and collectives run over gloo on CPUs.

    Args:
        train_loop_per_worker: The loop: a function of nothing, or of `train_loop_config`.
        train_loop_config: What the loop is given.
        jax_config: How ranks are joined.
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
        >>> from heliostat import train
        >>> from heliostat.train.jax import JaxTrainer
        >>> def loop():
        ...     import jax.numpy as jnp
        ...     train.report({"sum": float(jnp.arange(4.0).sum())})
        >>> trainer = JaxTrainer(
        ...     loop, run_config=train.RunConfig(storage_path="results", verbose=0))
        >>> trainer.fit().metrics
        {'sum': 6.0}
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: dict[str, Any] | None = None,
        jax_config: JaxConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Dataset | Callable[[], Dataset]] | None = None,
        dataset_config: DataConfig | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: dict[str, Any] | None = None,
        validation_config: ValidationConfig | None = None,
    ) -> None:
        if jax_config is not None and not isinstance(jax_config, JaxConfig):
            raise TypeError(f"jax_config must be a JaxConfig, got {jax_config!r}")
        scaling = scaling_config or ScalingConfig()
        if jax_config is None and isinstance(scaling, ScalingConfig):
            jax_config = JaxConfig(use_gpu=scaling.use_gpu)
        super().__init__(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=jax_config or JaxConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=dataset_config,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            validation_config=validation_config,
        )
