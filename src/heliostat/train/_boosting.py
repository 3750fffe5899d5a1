"""What `label_column=..., params=...` asks of a boosting library: checked, and a rank's rows as numbers.

Columns stay in Arrow until the library takes them, without a detour over pandas. This file knows
no library, and not how ranks are joined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

import heliostat.train as train

ROUNDS = 10


@dataclass(frozen=True)
class Boosting:
    """What is to be trained, and with which library, for its errors."""

    framework: str
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


def parse(
    framework: str, by_label: Mapping[str, Any], datasets: object, run_config: train.RunConfig
) -> Boosting:
    """What the arguments ask for.

    Raises:
        TypeError: For an argument of the wrong type.
        ValueError: For one that is missing or has a wrong value.
    """
    label, params, rounds = by_label.values()
    trainer = f"{framework}Trainer"
    if label is None:
        raise ValueError(
            f"{trainer} needs a label_column (with params and datasets), or a train_loop_per_worker"
        )
    if not isinstance(datasets, Mapping) or "train" not in datasets:
        names = list(datasets) if isinstance(datasets, Mapping) else datasets
        raise ValueError(f"{trainer}(datasets=...) needs a dataset named 'train', got {names!r}")
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"params must be a dict, got {params!r}")
    if rounds is None:
        rounds = ROUNDS
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f"num_boost_round must be a whole number >= 1, got {rounds!r}")
    keep = run_config.checkpoint_config
    return Boosting(
        framework=framework,
        label_column=label,
        params=dict(params or {}),
        num_boost_round=rounds,
        evaluated=tuple(datasets),
        checkpoint_frequency=keep.checkpoint_frequency or 0,
        checkpoint_at_end=keep.checkpoint_at_end is not False,
    )


def refuse_both(framework: str, by_label: Mapping[str, object]) -> None:
    """A loop does not go with a label column.

    Raises:
        ValueError: If one of these was given.
    """
    also = [name for name, value in by_label.items() if value is not None]
    if also:
        raise ValueError(
            f"{framework}Trainer takes either a training loop or {', '.join(also)}, not both; hand "
            "them to the loop with train_loop_config"
        )


def rows_of(name: str, job: Boosting) -> tuple[pa.Table, Any]:
    """This rank's features, each of a type that every library reads, and its labels as an array.

    Raises:
        ValueError: If it has no rows.
        TypeError: If a column has no numbers.
    """
    shard = train.get_dataset_shard(name)
    batches = list(shard.iter_batches(batch_size=None, batch_format="pyarrow"))
    if not batches:
        raise ValueError(
            f"rank {train.get_context().get_world_rank()} has no rows of datasets[{name!r}]; use "
            "a smaller num_workers"
        )
    table = pa.concat_tables(batches, promote_options="permissive")
    types = dict(zip(table.column_names, table.schema.types, strict=True))
    check_types(job.framework, f"datasets[{name!r}]", types)
    label = table.column(job.label_column).cast(pa.float32()).to_numpy()
    return numeric(table.drop_columns([job.label_column])), label


def check_columns(framework: str, name: str, schema: Any, label: str) -> None:
    """Refuse a dataset without the label, or with nothing to predict it from.

    Raises:
        ValueError: If it has no rows, no such label, or nothing beside it.
        TypeError: If a column has no numbers.
    """
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
    check_types(framework, f"datasets[{name!r}]", types)


def check_types(framework: str, dataset: str, types: Mapping[str, Any]) -> None:
    """Refuse columns that are not numbers.

    Raises:
        TypeError: Names the columns.
    """
    bad = {name: kind for name, kind in types.items() if not _is_number(kind)}
    if bad:
        raise TypeError(
            f"{framework} takes numbers, but {dataset} has "
            + ", ".join(f"{name!r} of type {kind}" for name, kind in bad.items())
            + "; drop them with drop_columns, or encode them as numbers"
        )


def _is_number(kind: pa.DataType) -> bool:
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean,
              pa.types.is_decimal, pa.types.is_null)  # fmt: skip
    return any(check(kind) for check in checks)


def numeric(table: pa.Table) -> pa.Table:
    """Cast what is a number but not one that every library of boosting reads from Arrow."""
    fields = [pa.field(f.name, _readable(f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))


def _readable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_boolean(kind):
        return pa.int8()
    odd = (pa.types.is_float16, pa.types.is_null, pa.types.is_decimal)
    return pa.float32() if any(check(kind) for check in odd) else kind


def chosen(
    names: list[str] | dict[str, str] | None, found: dict[str, Any], why_none: str
) -> dict[str, Any]:
    """Of the metrics of a round those that a callback was asked for, under the names it was given.

    Raises:
        KeyError: For one that is not there; those that are there are listed.
    """
    if names is None:
        return found
    renamed = names if isinstance(names, dict) else {name: name for name in names}
    unknown = [name for name in renamed.values() if name not in found]
    if unknown:
        raise KeyError(
            f"RayTrainReportCallback(metrics=...): no metric {unknown[0]!r}; there are: "
            f"{', '.join(found) or why_none}"
        )
    return {new: found[name] for new, name in renamed.items()}
