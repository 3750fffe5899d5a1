"""What each rank runs for `XGBoostTrainer(label_column=..., params=...)`: its rows, boosted.

Columns travel from Arrow into XGBoost without a detour over pandas. It does not know how ranks
are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import xgboost

import heliostat.train as train
from heliostat.train.xgboost._callback import RayTrainReportCallback

if TYPE_CHECKING:
    from heliostat.data import Dataset


@dataclass(frozen=True)
class Boosting:
    """What is to be trained."""

    label_column: str
    params: dict[str, Any]
    num_boost_round: int
    evaluated: tuple[str, ...]
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool = True
    threads: int = 1


class Tables(Protocol):
    """A DataIterator, as far as boosting needs one; also a RowShare."""

    def iter_batches(self, *, batch_size: int | None, batch_format: str) -> Iterable[Any]:
        """Arrow tables, when asked for batch_format="pyarrow"."""
        ...


@dataclass(frozen=True)
class RowShare:
    """The rows from `start` to `stop` of a dataset that is in memory already."""

    dataset: Dataset
    start: int
    stop: int

    def iter_batches(self, *, batch_size: int | None, batch_format: str) -> Iterator[pa.Table]:
        """The rows, cut out of the dataset's own blocks without a copy."""
        assert (batch_size, batch_format) == (None, "pyarrow")
        at = 0
        for table in self.dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            low, high = max(self.start - at, 0), min(self.stop - at, len(table))
            at += len(table)
            if low < high:
                yield table.slice(low, high - low)
            if at >= self.stop:
                return


class RowShares(train.DataConfig):
    """Gives every rank the same number of rows, give or take one, and loses none."""

    def configure(
        self,
        datasets: dict[str, Dataset],
        world_size: int,
        worker_handles: list[Any] | None,
        worker_node_ids: list[str] | None,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Cut each dataset by row numbers."""
        shards: list[dict[str, Any]] = [{} for _ in range(world_size)]
        for name, dataset in datasets.items():
            rows = dataset.count()
            if rows < world_size:
                raise ValueError(
                    f"datasets[{name!r}] has {rows} rows for {world_size} workers; every worker "
                    "needs at least one: use a smaller num_workers"
                )
            for rank, shard in enumerate(shards):
                low, high = rank * rows // world_size, (rank + 1) * rows // world_size
                shard[name] = RowShare(dataset, low, high)
        return shards


class ReportEachRound(RayTrainReportCallback):
    """As its parent, but the last round's report carries the model: one report a round."""

    def __init__(self, job: Boosting) -> None:
        super().__init__(
            frequency=job.checkpoint_frequency, checkpoint_at_end=job.checkpoint_at_end
        )
        self._last_round = job.num_boost_round - 1

    def _due(self, epoch: int) -> bool:
        return super()._due(epoch) or (self._at_end and epoch == self._last_round)


def boost(job: Boosting) -> None:
    """Train on this rank's rows, together with the other ranks."""
    checkpoint = train.get_checkpoint()
    booster = None if checkpoint is None else RayTrainReportCallback.get_model(checkpoint)
    rounds = job.num_boost_round - (booster.num_boosted_rounds() if booster else 0)
    if rounds <= 0:
        return
    matrices = {name: _matrix(name, job) for name in job.evaluated}
    xgboost.train(
        {"nthread": job.threads, **job.params},
        matrices["train"],
        num_boost_round=rounds,
        evals=[(matrix, name) for name, matrix in matrices.items()],
        xgb_model=booster,
        callbacks=[ReportEachRound(job)],
        verbose_eval=False,
    )


def _matrix(name: str, job: Boosting) -> xgboost.DMatrix:
    shard: Tables = train.get_dataset_shard(name)
    batches = list(shard.iter_batches(batch_size=None, batch_format="pyarrow"))
    if not batches:
        raise ValueError(
            f"rank {train.get_context().get_world_rank()} has no rows of datasets[{name!r}]; use "
            "a smaller num_workers"
        )
    table = pa.concat_tables(batches, promote_options="permissive")
    label = table.column(job.label_column)
    features = table.drop_columns([job.label_column])
    check_types(
        f"datasets[{name!r}]", dict(zip(table.column_names, table.schema.types, strict=True))
    )
    return xgboost.DMatrix(
        _numeric(features),
        label.cast(pa.float32()).to_numpy(),
        nthread=int(job.params.get("nthread", job.threads)),
    )


def check_types(dataset: str, types: Mapping[str, Any]) -> None:
    """Refuse columns that are not numbers.

    Raises:
        TypeError: Names the columns.
    """
    bad = {name: kind for name, kind in types.items() if not _is_number(kind)}
    if bad:
        raise TypeError(
            f"XGBoost takes numbers, but {dataset} has "
            + ", ".join(f"{name!r} of type {kind}" for name, kind in bad.items())
            + "; drop them with drop_columns, or encode them as numbers"
        )


def _is_number(kind: pa.DataType) -> bool:
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean,
              pa.types.is_decimal, pa.types.is_null)  # fmt: skip
    return any(check(kind) for check in checks)


def _numeric(table: pa.Table) -> pa.Table:
    """Cast what is a number but not one that XGBoost reads from Arrow."""
    fields = [
        pa.field(f.name, pa.float32())
        if pa.types.is_float16(f.type) or pa.types.is_null(f.type) or pa.types.is_decimal(f.type)
        else f
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))
