"""Datasets of the frames of other systems: Spark, Modin, Dask and daft.

All rows pass through this process, as Arrow tables or frames of pandas.
"""

from typing import Any

import pyarrow as pa

from heliostat.data.connectors import needed
from heliostat.data.dataset import MaterializedDataset
from heliostat.data.read_api import from_arrow, from_pandas

__all__ = ["from_daft", "from_dask", "from_modin", "from_spark"]


def from_spark(
    df: Any, *, parallelism: int | None = None, override_num_blocks: int | None = None
) -> MaterializedDataset:
    """A dataset of a Spark DataFrame. Needs pyspark, and the Java that it needs.

    Args:
        df: The DataFrame, of any Spark session.
        parallelism: Older name of `override_num_blocks`.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        TypeError: If it is no DataFrame of Spark's.
    """
    if not hasattr(df, "toPandas"):
        raise TypeError(f"from_spark takes a DataFrame of Spark's, got {type(df).__name__}")
    table = df.toArrow() if hasattr(df, "toArrow") else pa.Table.from_pandas(df.toPandas())
    return from_arrow(table, override_num_blocks=override_num_blocks or parallelism)


def from_modin(df: Any, *, override_num_blocks: int | None = None) -> MaterializedDataset:
    """A dataset of a Modin DataFrame. Needs modin.

    Args:
        df: The DataFrame, on any engine of Modin's.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        ImportError: If modin is not installed.
        TypeError: If it is no DataFrame of Modin's.
    """
    frames = needed("modin.pandas", "modin", "from_modin")
    if not isinstance(df, frames.DataFrame):
        raise TypeError(f"from_modin takes a DataFrame of Modin's, got {type(df).__name__}")
    return from_pandas(df.modin.to_pandas(), override_num_blocks=override_num_blocks)


def from_daft(df: Any) -> MaterializedDataset:
    """A dataset of a daft DataFrame.

    Args:
        df: The DataFrame; it is computed now.

    Returns:
        A Dataset.

    Raises:
        TypeError: if it is something else.
    """
    if not hasattr(df, "to_arrow") or not hasattr(df, "collect"):
        raise TypeError(f"from_daft needs a daft.DataFrame, got {type(df).__name__}")
    return from_arrow(df.to_arrow())


def from_dask(df: Any) -> MaterializedDataset:
    """A dataset of a Dask DataFrame; each of its partitions is a block.

    Args:
        df: The DataFrame; it is computed now, by Dask.

    Returns:
        A Dataset.

    Raises:
        TypeError: if it is something else.
    """
    if not hasattr(df, "to_delayed"):
        raise TypeError(f"from_dask needs a dask.dataframe.DataFrame, got {type(df).__name__}")
    dask = needed("dask", "dask[dataframe]", "from_dask")
    return from_pandas(list(dask.compute(*df.to_delayed())))
