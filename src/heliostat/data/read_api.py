"""Where datasets begin: `range`, `from_*` and `read_*`."""

import builtins
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from heliostat.data import connectors
from heliostat.data._deal import split_at
from heliostat.data._plan import Blocks, Read
from heliostat.data.arrays import is_frame
from heliostat.data.block import Block, Bundle, from_batch, from_rows, schema_of_blocks
from heliostat.data.compute import TaskPoolStrategy
from heliostat.data.dataset import Dataset, MaterializedDataset
from heliostat.data.datasource.custom import CustomSource, Datasource
from heliostat.data.datasource.parquet import EXTENSIONS, HIVE, open_parquet
from heliostat.data.datasource.paths import Paths
from heliostat.data.datasource.range import RangeSource, TensorRangeSource
from heliostat.data.read_options import (
    ReadOptions,
    check_names,
    of_files,
    own_options,
    parse_place,
    pieces,
    shuffling,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "from_arrow",
    "from_blocks",
    "from_items",
    "from_numpy",
    "from_pandas",
    "range",
    "range_tensor",
    "read_datasource",
    "read_parquet",
]


def read_parquet(paths: Paths, *, columns: Sequence[str] | None = None, **options: Any) -> Dataset:
    """Read Parquet files. Now only their footers; the rows when they are wanted.

    Directories named like `year=2024` become columns of strings.

    Args:
        paths: A file, directory, glob or URI, or a list of them. `s3://anonymous@bucket/key` reads
            a public bucket without credentials.
        columns: Which columns to read.
        **options: `filter` (an expression of Arrow's or of `heliostat.data.expressions`: which rows
            to keep), `schema` (columns and types to read, instead of those of the files),
            `tensor_column_schema` (a dict of columns of bytes that are arrays, with their numpy type
            and shape), `skip_paths` (files to leave out), `catalog` (a `Catalog`, which says where
            the table of this name is); `memory_map`, `buffer_size`, `pre_buffer`,
            `thrift_string_size_limit` and `thrift_container_size_limit` of
            `pyarrow.parquet.ParquetFile`; and those of every reader of files (`FileOptions`).

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if a directory has no Parquet file, or a file is not Parquet; names it.
        KeyError: if a column does not exist; lists those that do.
        NotImplementedError: if an argument of Ray's is not offered.
        TypeError: if an option is unknown.

    Example:
        >>> import tempfile
        >>> import heliostat as ray
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     ray.data.range(3).write_parquet(directory)
        ...     ray.data.read_parquet(directory, columns=["id"]).take(1)
        [{'id': 0}]
    """
    for name in _NOT_OFFERED:
        if (value := options.pop(name, None)) not in (None, False):
            raise NotImplementedError(
                f"read_parquet({name}={value!r}) is not offered; leave it out"
            )
    if (catalog := options.pop("catalog", None)) is not None:
        given = options.get("filesystem")
        found = connectors.located(catalog, paths, "parquet", "read_parquet", filesystem=given)
        paths, options["filesystem"] = found.path, found.filesystem
    own, common = own_options("read_parquet", options, (*_PARQUET_ARGS, *_PARQUET_OWN))
    place = parse_place(common)
    skip_paths = own.pop("skip_paths", None) or ()
    kept = own.pop("filter", None)
    of_arrow = isinstance(kept, pc.Expression)
    source = open_parquet(
        paths,
        filesystem=common.get("filesystem"),
        # An expression of ours may speak of columns that are not kept.
        columns=columns if kept is None or of_arrow else None,
        include_paths=common.get("include_paths", False),
        extensions=common.get("file_extensions", EXTENSIONS),
        ignore_missing_paths=common.get("ignore_missing_paths", False),
        options=tuple((name, own[name]) for name in _PARQUET_ARGS if own.get(name) is not None),
        min_tasks=pieces(common) or 1,
        partitioning=common.get("partitioning", HIVE),
        partition_filter=common.get("partition_filter"),
        shuffling=shuffling(common.get("shuffle")),
        skip_paths=[skip_paths] if isinstance(skip_paths, str) else skip_paths,
        on_error=of_files(common, "read_parquet", one_each=False),
        predicate=kept if of_arrow else None,
        schema=own.pop("schema", None),
        tensor_columns=own.pop("tensor_column_schema", None),
    )
    read = Dataset(Read(source, place))
    if kept is None or of_arrow:
        return read
    read = read.filter(expr=kept)
    if columns is None:
        return read
    paths_too = ["path"] if common.get("include_paths") and "path" not in columns else []
    return read.select_columns([*columns, *paths_too])


def read_datasource(datasource: Datasource, *, compute: Any = None, **options: Any) -> Dataset:
    """Read from a source of your own.

    Args:
        datasource: An instance of a subclass of `Datasource`.
        compute: A `TaskPoolStrategy`: how many reads at once.
        **options: See `ReadOptions`.

    Returns:
        A Dataset.

    Raises:
        TypeError: if it is no Datasource, or an option is unknown.

    Example:
        >>> import heliostat as ray
        >>> class Two(ray.data.Datasource):
        ...     def get_read_tasks(self, parallelism, per_task_row_limit=None, data_context=None):
        ...         from heliostat.data.block import BlockMetadata
        ...         return [ray.data.ReadTask(lambda: [{"a": [1, 2]}], BlockMetadata(2))]
        >>> ray.data.read_datasource(Two()).count()
        2
    """
    if not isinstance(datasource, Datasource):
        raise TypeError(
            f"datasource must be a heliostat.data.Datasource, got {type(datasource).__name__}"
        )
    if compute is not None:
        if not isinstance(compute, TaskPoolStrategy):
            raise NotImplementedError(
                f"read_datasource(compute={compute!r}) is not offered; "
                "use TaskPoolStrategy(size) or concurrency"
            )
        options.setdefault("concurrency", compute.size)
    check_names("read_datasource", options, ReadOptions)
    return Dataset(Read(CustomSource(datasource, pieces(options)), parse_place(options)))


_NOT_OFFERED = ("arrow_open_stream_args", "include_row_hash")
_PARQUET_OWN = ("filter", "schema", "skip_paths", "tensor_column_schema")
_PARQUET_ARGS = (
    "buffer_size",
    "memory_map",
    "pre_buffer",
    "thrift_container_size_limit",
    "thrift_string_size_limit",
)


def range(  # Ray's name for it
    n: int,
    *,
    parallelism: int = -1,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
) -> Dataset:
    """The integers from 0 to `n - 1`, in a column `id`.

    Args:
        n: How many.
        parallelism: Older name of `override_num_blocks`.
        concurrency: How many blocks at once, in tasks; None makes them where they are wanted.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        ValueError: if `n` is negative, or `concurrency` below 1.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(3).take_all()
        [{'id': 0}, {'id': 1}, {'id': 2}]
    """
    _check_rows("range", n)
    wanted = pieces({"override_num_blocks": override_num_blocks, "parallelism": parallelism})
    place = parse_place({"concurrency": concurrency})
    return Dataset(Read(RangeSource(n, wanted), place, wanted is not None))


def _check_rows(verb: str, n: Any) -> None:
    if not hasattr(n, "__index__"):
        raise TypeError(f"{verb} needs a whole number of rows, got {n!r}")
    if n < 0:
        raise ValueError(f"{verb} needs n >= 0, got {n}")


def range_tensor(
    n: int,
    *,
    shape: tuple[int, ...] = (1,),
    parallelism: int = -1,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
) -> Dataset:
    """Tensors filled with the integers from 0 to `n - 1`, in a column `data`.

    Args:
        n: How many.
        shape: Of each.
        parallelism: Older name of `override_num_blocks`.
        concurrency: Not needed: filling memory needs no task.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        ValueError: if `n` is negative, or the shape is empty or has a dimension below 1.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range_tensor(2, shape=(2, 2)).take_all()[1]["data"].tolist()
        [[1, 1], [1, 1]]
    """
    _check_rows("range_tensor", n)
    if not shape or min(shape) < 1:
        raise ValueError(f"range_tensor needs a shape of dimensions >= 1, got {shape!r}")
    wanted = pieces({"override_num_blocks": override_num_blocks, "parallelism": parallelism})
    return Dataset(Read(TensorRangeSource(n, tuple(shape), wanted), None, wanted is not None))


def from_items(
    items: Sequence[Any], *, parallelism: int = -1, override_num_blocks: int | None = None
) -> MaterializedDataset:
    """A dataset of Python values.

    Args:
        items: Dicts, which become rows; other values become rows with a column `item`. What Arrow
            has no type for is kept as pickled objects.
        parallelism: Older name of `override_num_blocks`.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([1, 2]).take_all()
        [{'item': 1}, {'item': 2}]
    """
    if not isinstance(items, Iterable):
        raise TypeError(f"from_items needs a list of values or rows, got {items!r:.80}")
    rows = [item if isinstance(item, dict) else {"item": item} for item in items]
    if not rows:
        return MaterializedDataset(Blocks((), None))
    pieces = override_num_blocks or (parallelism if parallelism > 0 else None)
    return _of([from_rows(rows)], pieces, pieces is not None)


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


def from_arrow(tables: Any, *, override_num_blocks: int | None = None) -> MaterializedDataset:
    """A dataset of Arrow tables, or of whatever speaks Arrow's C stream; nothing is copied.

    Args:
        tables: One or more; also polars DataFrames, DuckDB relations, other datasets.
        override_num_blocks: In how many blocks.

    Returns:
        A Dataset.

    Raises:
        TypeError: if something else is given.
        ValueError: if two columns have one name.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_arrow(pa.table({"a": [1, 2]})).count()
        2
    """
    listed = list(tables) if isinstance(tables, list | tuple) else [tables]
    made = [from_batch(_arrow(table), "from_arrow") for table in listed]
    return _of(made, override_num_blocks)


def _arrow(table: Any) -> pa.Table:
    if isinstance(table, pa.Table):
        return table
    if hasattr(table, "__arrow_c_stream__") or hasattr(table, "__arrow_c_array__"):
        return pa.table(table)
    raise TypeError(
        "from_arrow needs pyarrow Tables or what has __arrow_c_stream__, "
        f"got {type(table).__name__}"
    )


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
    if isinstance(ndarrays, Mapping | str):
        raise TypeError(
            f"from_numpy needs an array or a list of arrays, got {type(ndarrays).__name__}; columns "
            "of several names are from_arrow(pa.table(...)) or from_pandas(pd.DataFrame(...))"
        )
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


def _of(
    tables: Sequence[pa.Table], pieces: int | None = None, as_blocks: bool = True
) -> MaterializedDataset:
    tables = [table.replace_schema_metadata(None) for table in tables]
    bundles = [Bundle.of(table) for table in tables]
    schema = schema_of_blocks(bundles)
    if pieces and len(bundles) == 1 and bundles[0].rows:
        rows, pieces = bundles[0].rows, min(pieces, bundles[0].rows)
        cuts = [rows * part // pieces for part in builtins.range(1, pieces)]
        bundles = [one for part in split_at(bundles, cuts) for one in part]
    return MaterializedDataset(Blocks(tuple(bundles), schema, as_blocks))
