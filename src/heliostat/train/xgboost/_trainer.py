"""XGBoostTrainer: a DataParallelTrainer whose ranks are joined by XGBoost's collective."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import xgboost

import heliostat
from heliostat.train._controller import Job
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.config import DataConfig, RunConfig, ScalingConfig
from heliostat.train.data_parallel_trainer import DataParallelTrainer
from heliostat.train.xgboost._backend import XGBoostConfig
from heliostat.train.xgboost._boost import AllRows, Boosting, boost, check_types
from heliostat.train.xgboost._callback import RayTrainReportCallback

if TYPE_CHECKING:
    from heliostat.data import Dataset

__all__ = ["XGBoostTrainer"]

ROUNDS = 10


class XGBoostTrainer(DataParallelTrainer):
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
        validation_config: Only None.

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
        validation_config: Any = None,
    ) -> None:
        by_label = {
            "label_column": label_column,
            "params": params,
            "num_boost_round": num_boost_round,
        }
        self._boosting: Boosting | None = None
        loop = train_loop_per_worker
        if loop is None:
            if train_loop_config is not None:
                raise ValueError("train_loop_config is for a train_loop_per_worker; use params")
            self._boosting = _boosting(by_label, datasets, run_config or RunConfig())
            loop = functools.partial(boost, self._boosting)
        else:
            _refuse_both(by_label)
        super().__init__(
            loop,
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

    def _job(self, datasets: dict[str, Dataset]) -> Job:
        job, boosting = super()._job(datasets), self._boosting
        if boosting is None:
            return job
        divided = self.dataset_config
        if type(divided) is DataConfig:
            divided = AllRows(divided.datasets_to_split)
        return dataclasses.replace(
            job,
            loop=functools.partial(boost, dataclasses.replace(boosting, threads=self._threads())),
            config={
                "label_column": boosting.label_column,
                "params": boosting.params,
                "num_boost_round": boosting.num_boost_round,
            },
            data_config=divided,
            unit="rounds",
            total=boosting.num_boost_round,
        )

    def _check_dataset(self, name: str, dataset: Dataset) -> None:
        if self._boosting is not None:
            _check_columns(name, dataset, self._boosting.label_column)

    def _made_datasets(self) -> dict[str, Dataset]:
        datasets = super()._made_datasets()
        if self._boosting is not None:
            for name, dataset in datasets.items():
                self._check_rows(name, dataset.count())
        return datasets

    def _check_rows(self, name: str, rows: int) -> None:
        workers = self.scaling_config.num_workers
        if rows < max(1, workers):
            raise ValueError(
                f"datasets[{name!r}] has {rows} rows for {workers} workers; every worker needs at "
                "least one: use a smaller num_workers"
            )

    def _threads(self) -> int:
        """How many threads each rank uses.

        Whoever says how many CPUs a rank has means it. The default of one CPU is a share of the
        machine instead, as long as nobody else trains beside us: inside a task or an actor, such
        as a trial, the others have their shares too.
        """
        scaling = self.scaling_config
        reserved = max(1, int(scaling.num_cpus_per_worker))
        nested = heliostat.get_runtime_context().get_task_id() is not None
        if scaling.resources_per_worker is not None or nested:
            return reserved
        logical = int(heliostat.cluster_resources().get("CPU", 1))
        physical = len(os.sched_getaffinity(0))
        return max(1, min(logical, physical) // max(1, scaling.num_workers))


def _refuse_both(by_label: Mapping[str, object]) -> None:
    also = [name for name, value in by_label.items() if value is not None]
    if also:
        raise ValueError(
            f"XGBoostTrainer takes either a training loop or {', '.join(also)}, not both; hand "
            "them to the loop with train_loop_config"
        )


def _boosting(by_label: Mapping[str, Any], datasets: object, run_config: RunConfig) -> Boosting:
    """What the arguments ask for, checked."""
    label, params, rounds = by_label.values()
    if label is None:
        raise ValueError(
            "XGBoostTrainer needs a label_column (with params and datasets), or a "
            "train_loop_per_worker"
        )
    if not isinstance(datasets, Mapping) or "train" not in datasets:
        names = list(datasets) if isinstance(datasets, Mapping) else datasets
        raise ValueError(
            f"XGBoostTrainer(datasets=...) needs a dataset named 'train', got {names!r}"
        )
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"params must be a dict, got {params!r}")
    if rounds is None:
        rounds = ROUNDS
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f"num_boost_round must be a whole number >= 1, got {rounds!r}")
    keep = run_config.checkpoint_config
    return Boosting(
        label_column=label,
        params=dict(params or {}),
        num_boost_round=rounds,
        evaluated=tuple(datasets),
        checkpoint_frequency=keep.checkpoint_frequency or 0,
        checkpoint_at_end=keep.checkpoint_at_end is not False,
    )


def _check_columns(name: str, dataset: Dataset, label: str) -> None:
    schema = dataset.schema()
    if schema is None:
        raise ValueError(f"datasets[{name!r}] has no rows")
    types = dict(zip(schema.names, schema.types, strict=True))
    if label not in types:
        raise ValueError(
            f"label_column={label!r} is not in datasets[{name!r}]; its columns are: "
            f"{', '.join(types)}"
        )
    if len(types) == 1:
        raise ValueError(f"datasets[{name!r}] has no column beside the label {label!r}")
    check_types(f"datasets[{name!r}]", types)
