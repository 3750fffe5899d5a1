"""Files that DuckDB reads by itself: it takes filters and columns down to the row groups."""

import re
from collections.abc import Collection
from typing import Any, TypeGuard

import pyarrow as pa
from pyarrow import fs

from heliostat.data._native.relation import Relation, clash, quoted, text
from heliostat.data.datasource.parquet import ParquetSource

# A file by itself costs the planner half a millisecond.
FEW_FILES = 64
# DuckDB takes a name with one of these for a pattern, and reads what fits it.
_PATTERN = re.compile(r"[*?\[\\]").search


def is_scanned(source: Any) -> TypeGuard[ParquetSource]:
    """Whether DuckDB scans a source: Parquet on a local disk, all files of which are alike.

    Args:
        source: Any.

    Returns:
        False as well where a file may be left out, or the order is random.
    """
    if not isinstance(source, ParquetSource):
        return False
    names = source.schema.names
    local = isinstance(source.filesystem, fs.LocalFileSystem)
    plain = local and all(names or [""]) and source.is_plain and not clash(names)
    return plain and not any(_PATTERN(file.path) for file in source.files)


def scan_of(source: ParquetSource, hashed: Collection[str] = ()) -> Relation:
    """A source as a relation that DuckDB scans.

    Args:
        source: One that `is_scanned`.
        hashed: Columns that rows are matched or grouped by.

    Returns:
        The relation.
    """
    names = source.schema.names
    paths = [text(file.path) for file in source.files]
    if source.row_limit is None and _bounds_matter(source, hashed):
        return Relation(
            " UNION ALL ".join(_select(names, [one]) for one in paths),
            source.schema,
            is_scan=True,
            no_nan=source.no_nan,
        )
    limit = "" if source.row_limit is None else f" LIMIT {source.row_limit}"
    sql = _select(names, paths) + limit
    return Relation(sql, source.schema, is_scan=True, no_nan=source.no_nan)


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
