"""DatasetSummary: statistics of each column, by its type."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from heliostat.data.aggregate import (
    AggregateFnV2,
    ApproximateQuantile,
    ApproximateTopK,
    Count,
    Max,
    Mean,
    Min,
    MissingValuePercentage,
    Std,
    ZeroPercentage,
)
from heliostat.data.datatype import DataType

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DatasetSummary"]

TOP = 10

Override = Mapping[DataType, Callable[[str], Sequence[AggregateFnV2[Any, Any]]]]


def aggregates_for(
    column: str, kind: pa.DataType, override: Override | None
) -> list[AggregateFnV2[Any, Any]]:
    """What is told of a column of this type.

    Args:
        column: Its name.
        kind: Its type.
        override: What a user wants instead, by type.

    Returns:
        Aggregates.
    """
    wanted = (override or {}).get(DataType.from_arrow(kind))
    if wanted is not None:
        return list(wanted(column))
    counted: list[AggregateFnV2[Any, Any]] = [Count(column), MissingValuePercentage(column)]
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if number or pa.types.is_boolean(kind):
        more = [Mean(column), Min(column), Max(column), Std(column), ZeroPercentage(column)]
        return [*counted, *more, ApproximateQuantile(column, [0.5])]
    if pa.types.is_temporal(kind):
        return [*counted, Min(column), Max(column)]
    if pa.types.is_nested(kind):
        return counted
    return [*counted, ApproximateTopK(column, TOP)]


class DatasetSummary:
    """Statistics of each column.

    Attributes:
        dataset_schema: The schema of the dataset.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(5).summary().get_column_stats("id")["max"]
        4
    """

    STATISTIC_COLUMN = "statistic"

    def __init__(self, dataset_schema: pa.Schema, columns: Mapping[str, Mapping[str, Any]]) -> None:
        self.dataset_schema = dataset_schema
        self._values = columns

    def get_column_stats(self, column: str) -> dict[str, Any]:
        """What is told of one column.

        Args:
            column: Its name.

        Returns:
            Values by the names of the statistics.

        Raises:
            KeyError: if there is no such column in the summary.
        """
        if column not in self._values:
            raise KeyError(f"no column {column!r} in the summary; there are {list(self._values)}")
        return dict(self._values[column])

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each statistic, a column for each column.

        Returns:
            The DataFrame.
        """
        import pandas as pd  # noqa: PLC0415 - takes longer to load than all else here

        names = sorted({name for stats in self._values.values() for name in stats})
        columns = {
            column: [stats.get(name) for name in names] for column, stats in self._values.items()
        }
        return pd.DataFrame({self.STATISTIC_COLUMN: names, **columns})

    def __repr__(self) -> str:
        return f"DatasetSummary(columns={list(self._values)})"
