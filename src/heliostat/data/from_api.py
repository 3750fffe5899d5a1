"""Datasets of what other libraries hold: references, polars, torch, Hugging Face, and their like."""

from typing import Any

import numpy as np
import pyarrow as pa

import heliostat
from heliostat.data._plan import Blocks, Read
from heliostat.data.block import Bundle, Cell, from_batch, from_rows, schema_of_blocks
from heliostat.data.dataset import Dataset, MaterializedDataset
from heliostat.data.datasource.iterable import IterableSource, row_of
from heliostat.data.read_api import from_arrow

__all__ = [
    "from_arrow_refs",
    "from_huggingface",
    "from_numpy_refs",
    "from_pandas_refs",
    "from_polars",
    "from_tf",
    "from_torch",
]


def _of_refs(refs: Any, verb: str, wrap: Any = None) -> MaterializedDataset:
    listed = list(refs) if isinstance(refs, list | tuple) else [refs]
    bundles = []
    for ref in listed:
        value = heliostat.get(ref)
        table = from_batch(value if wrap is None else wrap(value), verb)
        table = table.replace_schema_metadata(None)
        if isinstance(value, pa.Table) and table.nbytes:
            # It is in the object store already, and stays there.
            cell = Cell(table if table.nbytes < 1 << 16 else None, ref)
            bundles.append(Bundle(cell, 0, table.num_rows, table.nbytes, table.schema))
        else:
            bundles.append(Bundle.of(table))
    return MaterializedDataset(Blocks(tuple(bundles), schema_of_blocks(bundles)))


def from_arrow_refs(tables: Any) -> MaterializedDataset:
    """A dataset of Arrow tables in the object store.

    Args:
        tables: A reference, or a list of them.

    Returns:
        A Dataset.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_arrow_refs([ray.put(pa.table({"a": [1]}))]).take_all()
        [{'a': 1}]
    """
    return _of_refs(tables, "from_arrow_refs")


def from_pandas_refs(dfs: Any) -> MaterializedDataset:
    """A dataset of DataFrames in the object store.

    Args:
        dfs: A reference, or a list of them.

    Returns:
        A Dataset.

    Example:
        >>> import heliostat as ray
        >>> import pandas as pd
        >>> ray.data.from_pandas_refs(ray.put(pd.DataFrame({"a": [1]}))).take_all()
        [{'a': 1}]
    """
    return _of_refs(dfs, "from_pandas_refs")


def from_numpy_refs(ndarrays: Any) -> MaterializedDataset:
    """A dataset of arrays in the object store, in a column `data`.

    Args:
        ndarrays: A reference, or a list of them.

    Returns:
        A Dataset.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_numpy_refs([ray.put(np.arange(2))]).take_all()
        [{'data': 0}, {'data': 1}]
    """
    return _of_refs(ndarrays, "from_numpy_refs", lambda array: {"data": np.asarray(array)})


def from_polars(frames: Any, *, override_num_blocks: int | None = None) -> MaterializedDataset:
    """A dataset of polars DataFrames, or of anything that speaks Arrow's C stream.

    Args:
        frames: One, or a list of them; lazy ones are collected.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        TypeError: if something else is given.
    """
    listed = frames if isinstance(frames, list) else [frames]
    eager = [one.collect() if hasattr(one, "collect") else one for one in listed]
    return from_arrow(eager, override_num_blocks=override_num_blocks)


def from_huggingface(
    dataset: Any,
    parallelism: int = -1,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
) -> Dataset:
    """A dataset of a `datasets.Dataset` or `datasets.IterableDataset` of Hugging Face.

    Args:
        dataset: One split; an iterable one is read when rows are wanted.
        parallelism: Older name of `override_num_blocks`.
        concurrency: Not needed: nothing is read by tasks.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        TypeError: if it is something else; a dictionary of splits, for one.
    """
    if isinstance(dataset, dict):
        raise TypeError(
            f"from_huggingface needs one split of the dataset; choose one of {sorted(dataset)}"
        )
    if hasattr(dataset, "with_format") and not hasattr(dataset, "data"):
        return Dataset(Read(IterableSource("HuggingFace", dataset)))
    if not hasattr(dataset, "with_format"):
        raise TypeError(f"from_huggingface needs a datasets.Dataset, got {type(dataset).__name__}")
    # Whole, or the rows that a selection or shuffle has chosen.
    table = dataset.with_format("arrow")[slice(None)]
    wanted = override_num_blocks or (parallelism if parallelism > 0 else None)
    return from_arrow(table, override_num_blocks=wanted)


def from_torch(dataset: Any, local_read: bool = False) -> Dataset:
    """A dataset of a `torch.utils.data.Dataset`, in a column `item`.

    Args:
        dataset: Of the kind with an index, or an iterable one; read when rows are wanted.
        local_read: Not needed: it is read in this process.

    Returns:
        A Dataset.

    Raises:
        TypeError: if it is neither.

    Example:
        >>> import heliostat as ray
        >>> class Squares:
        ...     def __len__(self):
        ...         return 3
        ...
        ...     def __getitem__(self, index):
        ...         return index**2
        >>> ray.data.from_torch(Squares()).take_all()
        [{'item': 0}, {'item': 1}, {'item': 4}]
    """
    indexed = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if not indexed and not hasattr(dataset, "__iter__"):
        raise TypeError(f"from_torch needs a torch Dataset, got {type(dataset).__name__}")
    return Dataset(Read(IterableSource("Torch", dataset, by_index=indexed)))


def from_tf(dataset: Any) -> Dataset:
    """A dataset of a `tf.data.Dataset`, in columns by its element's names or `item`.

    Args:
        dataset: What has `as_numpy_iterator`.

    Returns:
        A Dataset; all rows are read now.

    Raises:
        TypeError: if it is something else.
    """
    if not hasattr(dataset, "as_numpy_iterator"):
        raise TypeError(f"from_tf needs a tf.data.Dataset, got {type(dataset).__name__}")
    rows = [row_of(element) for element in dataset.as_numpy_iterator()]
    return from_arrow(from_rows(rows)) if rows else MaterializedDataset(Blocks((), None))
