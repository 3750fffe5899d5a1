"""TorchTrainer: a training loop in PyTorch, on N ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from heliostat.train.checkpoint import Checkpoint
from heliostat.train.config import DataConfig, RunConfig, ScalingConfig
from heliostat.train.data_parallel_trainer import DataParallelTrainer
from heliostat.train.torch._backend import TorchConfig
from heliostat.train.validation_config import ValidationConfig

if TYPE_CHECKING:
    from heliostat.data import Dataset


class TorchTrainer(DataParallelTrainer):
    """Runs a PyTorch training loop on `scaling_config.num_workers` ranks at once.

    The ranks are joined by torch.distributed when the loop begins. `prepare_model` and
    `prepare_data_loader` make a loop for one process run on all of them.

    Args:
        train_loop_per_worker: The loop: a function of nothing, or of `train_loop_config`.
        train_loop_config: What the loop is given.
        torch_config: How ranks are joined.
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
        >>> import torch
        >>> from heliostat import train
        >>> from heliostat.train.torch import TorchTrainer, prepare_model
        >>> def loop():
        ...     model = prepare_model(torch.nn.Linear(2, 1))
        ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ...     loss = model(torch.ones(4, 2)).square().mean()
        ...     loss.backward()
        ...     optimizer.step()
        ...     train.report({"ranks": torch.distributed.get_world_size()})
        >>> trainer = TorchTrainer(
        ...     loop, scaling_config=train.ScalingConfig(num_workers=2),
        ...     run_config=train.RunConfig(storage_path="results", verbose=0))
        >>> trainer.fit().metrics
        {'ranks': 2}
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: dict[str, Any] | None = None,
        torch_config: TorchConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Dataset | Callable[[], Dataset]] | None = None,
        dataset_config: DataConfig | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: dict[str, Any] | None = None,
        validation_config: ValidationConfig | None = None,
    ) -> None:
        if torch_config is not None and not isinstance(torch_config, TorchConfig):
            raise TypeError(f"torch_config must be a TorchConfig, got {torch_config!r}")
        super().__init__(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=torch_config or TorchConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=dataset_config,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            validation_config=validation_config,
        )
