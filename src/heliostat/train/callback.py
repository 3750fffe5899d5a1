"""UserCallback: what to call in the driver's process as a run goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heliostat.train.backend import BackendConfig
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.config import DataConfig, RunConfig, ScalingConfig

__all__ = ["TrainRunContext", "UserCallback"]


@dataclass(frozen=True)
class TrainRunContext:
    """Facts about a run, for callbacks."""

    run_config: RunConfig
    scaling_config: ScalingConfig
    train_loop_config: dict[str, Any] | None
    backend_config: BackendConfig
    dataset_config: DataConfig
    path: str


class UserCallback:
    """Called in the process that called `fit`. Override what you need.

    What a callback raises ends the run and leaves `fit` as it is.

    Example:
        >>> class Print(UserCallback):
        ...     def after_report(self, run_context, metrics, checkpoint):
        ...         print(metrics[0])
    """

    def after_report(
        self,
        run_context: TrainRunContext,
        metrics: list[dict[str, Any]],
        checkpoint: Checkpoint | None,
    ) -> None:
        """All ranks have reported.

        Args:
            run_context: Facts about the run.
            metrics: What each rank reported, by rank.
            checkpoint: The stored checkpoint, if one was reported.
        """

    def after_exception(
        self, run_context: TrainRunContext, worker_exceptions: dict[int, Exception]
    ) -> None:
        """Ranks have failed.

        Args:
            run_context: Facts about the run.
            worker_exceptions: World rank to what it raised, the culprit first.
        """
