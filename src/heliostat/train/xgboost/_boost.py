"""What each rank runs for `XGBoostTrainer(label_column=..., params=...)`: its rows, boosted.

Columns travel from Arrow into XGBoost without a detour over pandas. It does not know how ranks
are joined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import xgboost

import heliostat.train as train
from heliostat.train.xgboost._callback import RayTrainReportCallback


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


class AllRows(train.DataConfig):
    """Divides the rows evenly and leaves none out: boosting does not count batches."""

    equal = False


class ReportEachRound(RayTrainReportCallback):
    """As its parent, but the last round's report carries the model: one report a round."""

    def __init__(self, job: Boosting) -> None:
        super().__init__(
            frequency=job.checkpoint_frequency, checkpoint_at_end=job.checkpoint_at_end
        )
        self._rounds = job.num_boost_round

    def _due(self, rounds: int) -> bool:
        return super()._due(rounds) or (self._at_end and rounds == self._rounds)


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
    shard = train.get_dataset_shard(name)
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
    """Cast what is a number but not one that every XGBoost since 2.1 reads from Arrow."""
    fields = [pa.field(f.name, _readable(f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))


def _readable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_boolean(kind):
        return pa.int8()
    odd = (pa.types.is_float16, pa.types.is_null, pa.types.is_decimal)
    return pa.float32() if any(check(kind) for check in odd) else kind
