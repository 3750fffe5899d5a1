"""XGBoostTrainer: a DataParallelTrainer whose ranks are joined by XGBoost's collective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import xgboost

from heliostat.train._boosting_trainer import BoostingTrainer
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.config import DataConfig, RunConfig, ScalingConfig
from heliostat.train.validation_config import ValidationConfig
from heliostat.train.xgboost._backend import XGBoostConfig
from heliostat.train.xgboost._boost import boost
from heliostat.train.xgboost._callback import RayTrainReportCallback

if TYPE_CHECKING:
    from heliostat.data import Dataset

__all__ = ["XGBoostTrainer"]


class XGBoostTrainer(BoostingTrainer):
    """Trains XGBoost on N ranks.

    Give either a label column with parameters, and every rank boosts its share of the rows; or a
    training loop of your own, which calls `xgboost.train` on its shard.

    Args:
        train_loop_per_worker: The loop: a function of nothing, or of `train_loop_config`.
        train_loop_config: What the loop is given.
        xgboost_config: How ranks are joined.
        label_column: The column to predict.
        params: XGBoost's parameters.
        num_boost_round: How many rounds; 10 if left out.
        scaling_config: How many ranks, and what each needs.
        run_config: Where results go, and how failures are met.
        datasets: Datasets by name: "train" is trained on, all are evaluated each round, as
            `train-logloss`, `valid-logloss` and so on.
        dataset_config: Which datasets are split between the ranks; all if left out.
        resume_from_checkpoint: What to go on from.
        metadata: Facts for `get_context().get_metadata()`.
        validation_config: The function that validates checkpoints that are reported with
            `validation=...`.

    Raises:
        TypeError: For an argument of the wrong type.
        ValueError: For arguments that are missing or contradict each other.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.train import RunConfig, ScalingConfig
        >>> rows = ray.data.from_items([{"x": i, "y": i % 2} for i in range(100)])
        >>> trainer = XGBoostTrainer(
        ...     label_column="y", params={"objective": "binary:logistic"}, num_boost_round=3,
        ...     datasets={"train": rows}, scaling_config=ScalingConfig(num_workers=1),
        ...     run_config=RunConfig(storage_path="results", verbose=0))
        >>> result = trainer.fit()
        >>> sorted(result.metrics), len(result.metrics_dataframe)
        (['train-logloss'], 3)
        >>> XGBoostTrainer.get_model(result.checkpoint).num_boosted_rounds()
        3
    """

    framework = "XGBoost"

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any] | None = None,
        *,
        train_loop_config: dict[str, Any] | None = None,
        xgboost_config: XGBoostConfig | None = None,
        label_column: str | None = None,
        params: Mapping[str, Any] | None = None,
        num_boost_round: int | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Dataset | Callable[[], Dataset]] | None = None,
        dataset_config: DataConfig | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: dict[str, Any] | None = None,
        validation_config: ValidationConfig | None = None,
    ) -> None:
        by_label = {
            "label_column": label_column,
            "params": params,
            "num_boost_round": num_boost_round,
        }
        super().__init__(
            train_loop_per_worker,
            by_label,
            boost,
            train_loop_config=train_loop_config,
            backend_config=xgboost_config or XGBoostConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=dataset_config,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            validation_config=validation_config,
        )

    @classmethod
    def get_model(cls, checkpoint: Checkpoint) -> xgboost.Booster:
        """The model that a checkpoint holds.

        Args:
            checkpoint: From the result of a fit.

        Returns:
            The model.

        Raises:
            FileNotFoundError: If the checkpoint holds no model.

        Example:
            >>> # booster = XGBoostTrainer.get_model(result.checkpoint)
        """
        return RayTrainReportCallback.get_model(checkpoint)
