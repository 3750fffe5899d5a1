"""Files that DuckDB reads by itself: it takes filters and columns down to the row groups."""

from collections.abc import Collection
from typing import Any

import pyarrow as pa
from pyarrow import fs

from heliostat.data._failures import RAISE
from heliostat.data._native.relation import Relation, clash, quoted, text
from heliostat.data.datasource.parquet import ParquetSource

# A file by itself costs the planner half a millisecond.
FEW_FILES = 64


def scan_of(source: Any, hashed: Collection[str] = ()) -> Relation | None:
    """A source as a relation that DuckDB scans.

    Args:
        source: Any.
        hashed: Columns that rows are matched or grouped by.

    Returns:
        The relation, or None if it is not Parquet on a local disk whose files are all alike and
        none of which may be left out.
    """
    if not isinstance(source, ParquetSource) or not isinstance(
        source.filesystem, fs.LocalFileSystem
    ):
        return None
    names = source.schema.names
    if clash(names) or not names or source.options or source.shuffling is not None:
        return None
    if source.on_error != RAISE or source.predicate is not None:
        return None
    first = source.files[0].schema
    if any(file.constants or not file.schema.equals(first) for file in source.files):
        return None
    if any(name not in first.names or first.field(name).type != source.schema.field(name).type
           for name in names):  # fmt: skip
        return None
    paths = [text(file.path) for file in source.files]
    if source.row_limit is None and _bounds_matter(source, hashed):
        return Relation(
            " UNION ALL ".join(_select(names, [one]) for one in paths), source.schema, True
        )
    limit = "" if source.row_limit is None else f" LIMIT {source.row_limit}"
    return Relation(_select(names, paths) + limit, source.schema, is_scan=True)


def _select(names: list[str], paths: list[str]) -> str:
    files = ", ".join(paths)
    return f"SELECT {quoted(names)} FROM read_parquet([{files}], hive_partitioning = false)"


def _bounds_matter(source: ParquetSource, hashed: Collection[str]) -> bool:
    """Whether the files had better be scanned each by itself.

    DuckDB looks at the bounds of a column in a single file only. With bounds, whole numbers that
    are near each other are places in an array, which takes a third of the time of hashing them.
    """
    if not 1 < len(source.files) <= FEW_FILES:
        return False
    return any(one.name in hashed and pa.types.is_integer(one.type) for one in source.schema)
