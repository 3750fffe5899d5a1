"""BoostingTrainer: a DataParallelTrainer that takes a label column and parameters, or a loop."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import heliostat
from heliostat.train._boosting import AllRows, Boosting, check_columns, parse, refuse_both
from heliostat.train._controller import Job
from heliostat.train.config import DataConfig, RunConfig
from heliostat.train.data_parallel_trainer import DataParallelTrainer

if TYPE_CHECKING:
    from heliostat.data import Dataset


class BoostingTrainer(DataParallelTrainer):
    """What XGBoostTrainer and LightGBMTrainer share. It knows neither library.

    Args:
        train_loop_per_worker: A loop of the user's, or None.
        by_label: `label_column`, `params` and `num_boost_round`, in this order.
        boost: What each rank runs when there is no loop.
        train_loop_config: What the loop is given.
        run_config: Where results go, and how failures are met.
        datasets: Datasets by name.
        more: Arguments of DataParallelTrainer.
    """

    framework: ClassVar[str]

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any] | None,
        by_label: Mapping[str, Any],
        boost: Callable[[Boosting], None],
        *,
        train_loop_config: dict[str, Any] | None,
        run_config: RunConfig | None,
        datasets: Mapping[str, Dataset | Callable[[], Dataset]] | None,
        **more: Any,
    ) -> None:
        self._boosting: Boosting | None = None
        self._boost = boost
        loop = train_loop_per_worker
        if loop is None:
            if train_loop_config is not None:
                raise ValueError("train_loop_config is for a train_loop_per_worker; use params")
            self._boosting = parse(self.framework, by_label, datasets, run_config or RunConfig())
            loop = functools.partial(boost, self._boosting)
        else:
            refuse_both(self.framework, by_label)
        super().__init__(
            loop,
            train_loop_config=train_loop_config,
            run_config=run_config,
            datasets=datasets,
            **more,
        )

    def _job(self, datasets: dict[str, Dataset]) -> Job:
        job, boosting = super()._job(datasets), self._boosting
        if boosting is None:
            return job
        divided = self.dataset_config
        if type(divided) is DataConfig:
            divided = AllRows(divided.datasets_to_split)
        asked = dataclasses.replace(boosting, threads=self._threads())
        return dataclasses.replace(
            job,
            loop=functools.partial(self._boost, asked),
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
            check_columns(self.framework, name, dataset.schema(), self._boosting.label_column)

    def _made_datasets(self) -> dict[str, Dataset]:
        datasets = super()._made_datasets()
        if self._boosting is not None:
            for name, dataset in datasets.items():
                self._check_rows(name, dataset.count())
        return datasets

    def _check_rows(self, name: str, rows: int) -> None:
        workers = self.scaling_config.max_workers
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
        return max(1, min(logical, physical) // max(1, scaling.max_workers))
