"""Where datasets begin: `range`, `from_*` and `read_*`."""

import builtins
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import fs

from heliostat.data._plan import Blocks, Read
from heliostat.data.block import Block, Bundle, from_batch, from_rows, is_frame
from heliostat.data.compute import parse_tasks
from heliostat.data.dataset import Dataset, MaterializedDataset
from heliostat.data.datasource import RangeSource
from heliostat.data.datasource.parquet import EXTENSIONS, open_parquet

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "from_arrow",
    "from_blocks",
    "from_items",
    "from_numpy",
    "from_pandas",
    "range",
    "read_parquet",
]


def read_parquet(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    filesystem: fs.FileSystem | None = None,
    columns: Sequence[str] | None = None,
    include_paths: bool = False,
    file_extensions: Sequence[str] | None = EXTENSIONS,
    ignore_missing_paths: bool = False,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
    parallelism: int = -1,
    override_num_blocks: int | None = None,
    **arrow_parquet_args: Any,
) -> Dataset:
    """Read Parquet files. Now only their footers; the rows when they are wanted.

    Directories named like `year=2024` become columns of strings.

    Args:
        paths: A file, directory, glob or URI, or a list of them. `s3://anonymous@bucket/key` reads
            a public bucket without credentials.
        filesystem: Where the files are, if the paths do not say.
        columns: Which columns to read.
        include_paths: Add each row's file as column `path`.
        file_extensions: Which files of a directory count; None for all.
        ignore_missing_paths: Leave out paths that do not exist.
        num_cpus: CPUs for each read. With this or one of the next four, reads are tasks of their
            own; without, they are made where it is best.
        num_gpus: GPUs for each read.
        memory: Bytes for each read.
        concurrency: How many reads at once.
        ray_remote_args: Other options of the read tasks.
        parallelism: Older name of `override_num_blocks`.
        override_num_blocks: Read in at least this many tasks, if there are row groups enough.
        **arrow_parquet_args: `memory_map`, `buffer_size`, `pre_buffer`, `thrift_string_size_limit`
            or `thrift_container_size_limit` for `pyarrow.parquet.ParquetFile`.

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if a directory has no Parquet file, or a file is not Parquet; names it.
        KeyError: if a column does not exist; lists those that do.
        NotImplementedError: if an argument of Ray's is not offered.

    Example:
        >>> import tempfile
        >>> import heliostat as ray
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     ray.data.range(3).write_parquet(directory)
        ...     ray.data.read_parquet(directory, columns=["id"]).take(1)
        [{'id': 0}]
    """
    for name, value in arrow_parquet_args.items():
        if name not in _PARQUET_ARGS and value is not None:
            raise NotImplementedError(
                f"read_parquet({name}={value!r}) is not offered; "
                f"besides the documented arguments it takes {list(_PARQUET_ARGS)}"
            )
    options = tuple(
        (name, value) for name, value in arrow_parquet_args.items() if name in _PARQUET_ARGS
    )
    blocks = override_num_blocks or parallelism
    source = open_parquet(
        paths,
        filesystem=filesystem,
        columns=columns,
        include_paths=include_paths,
        extensions=file_extensions,
        ignore_missing_paths=ignore_missing_paths,
        options=options,
        min_tasks=max(1, blocks),
    )
    asked = (num_cpus, num_gpus, memory, concurrency, ray_remote_args)
    if all(one is None for one in asked):
        return Dataset(Read(source))
    place = parse_tasks(
        concurrency=concurrency,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        memory=memory,
        ray_remote_args=ray_remote_args,
    )
    return Dataset(Read(source, place))


_PARQUET_ARGS = (
    "buffer_size",
    "memory_map",
    "pre_buffer",
    "thrift_container_size_limit",
    "thrift_string_size_limit",
)


def range(  # Ray's name for it
    n: int, *, parallelism: int = -1, override_num_blocks: int | None = None
) -> Dataset:
    """The integers from 0 to `n - 1`, in a column `id`.

    Args:
        n: How many.
        parallelism: Older name of `override_num_blocks`.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        ValueError: if `n` is negative.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(3).take_all()
        [{'id': 0}, {'id': 1}, {'id': 2}]
    """
    if n < 0:
        raise ValueError(f"range needs n >= 0, got {n}")
    pieces = override_num_blocks or (parallelism if parallelism > 0 else None)
    return Dataset(Read(RangeSource(n, pieces)))


def from_items(
    items: Sequence[Any], *, parallelism: int = -1, override_num_blocks: int | None = None
) -> MaterializedDataset:
    """A dataset of Python values.

    Args:
        items: Dicts, which become rows; other values become rows with a column `item`.
        parallelism: Older name of `override_num_blocks`.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        ValueError: if a column's values have no common type.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([1, 2]).take_all()
        [{'item': 1}, {'item': 2}]
    """
    rows = [item if isinstance(item, dict) else {"item": item} for item in items]
    if not rows:
        return MaterializedDataset(Blocks((), None))
    pieces = override_num_blocks or (parallelism if parallelism > 0 else 1)
    return _of([from_rows(rows)], pieces)


def from_pandas(
    dfs: "pd.DataFrame | list[pd.DataFrame]", override_num_blocks: int | None = None
) -> MaterializedDataset:
    """A dataset of DataFrames; their index is left out.

    Args:
        dfs: One or more.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        TypeError: if something else is given.
        ValueError: if a column's values have no common type.

    Example:
        >>> import pandas as pd
        >>> import heliostat as ray
        >>> ray.data.from_pandas(pd.DataFrame({"a": [1, 2]})).count()
        2
    """
    frames = [dfs] if is_frame(dfs) else list(dfs)
    for frame in frames:
        if not is_frame(frame):
            raise TypeError(f"from_pandas needs DataFrames, got {type(frame).__name__}")
    return _of([from_batch(frame, "from_pandas") for frame in frames], override_num_blocks)


def from_arrow(
    tables: pa.Table | list[pa.Table], *, override_num_blocks: int | None = None
) -> MaterializedDataset:
    """A dataset of Arrow tables; nothing is copied.

    Args:
        tables: One or more.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        TypeError: if something else is given.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_arrow(pa.table({"a": [1, 2]})).count()
        2
    """
    listed = [tables] if isinstance(tables, pa.Table) else list(tables)
    for table in listed:
        if not isinstance(table, pa.Table):
            raise TypeError(f"from_arrow needs pyarrow Tables, got {type(table).__name__}")
    return _of(listed, override_num_blocks)


def from_numpy(ndarrays: Any) -> MaterializedDataset:
    """A dataset of arrays, in a column `data`; the first dimension counts the rows.

    Args:
        ndarrays: One array or a list of them.

    Returns:
        A Dataset.

    Raises:
        ValueError: if an array has no rows to count.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_numpy(np.zeros((2, 3))).take(1)
        [{'data': array([0., 0., 0.])}]
    """
    arrays = [ndarrays] if isinstance(ndarrays, np.ndarray) else list(ndarrays)
    return _of([from_batch({"data": array}, "from_numpy") for array in arrays])


def from_blocks(blocks: list[Block]) -> MaterializedDataset:
    """A dataset of blocks, that is, Arrow tables or DataFrames.

    Args:
        blocks: Any number.

    Returns:
        A Dataset.

    Raises:
        ValueError: if something else is given.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_blocks([pa.table({"a": [1]}), pa.table({"a": [2]})]).num_blocks()
        2
    """
    return _of([from_batch(block, "from_blocks") for block in blocks])


def _of(tables: Sequence[pa.Table], pieces: int | None = None) -> MaterializedDataset:
    tables = [table.replace_schema_metadata(None) for table in tables]
    bundles = [Bundle.of(table) for table in tables]
    schema = tables[0].schema if tables else None
    if pieces and len(bundles) == 1 and bundles[0].rows:
        whole = bundles[0]
        pieces = min(pieces, whole.rows)
        cuts = [whole.rows * part // pieces for part in builtins.range(pieces + 1)]
        bundles = [whole.view(start, stop - start) for start, stop in itertools.pairwise(cuts)]
    return MaterializedDataset(Blocks(tuple(bundles), schema))
