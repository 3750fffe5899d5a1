"""Files that DuckDB reads by itself: it takes filters and columns down to the row groups."""

from typing import Any

from pyarrow import fs

from heliostat.data._failures import RAISE
from heliostat.data._native.relation import Relation, clash, quoted, text
from heliostat.data.datasource.parquet import ParquetSource


def scan_of(source: Any) -> Relation | None:
    """A source as a relation that DuckDB scans.

    Args:
        source: Any.

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
    if source.on_error != RAISE:
        return None
    first = source.files[0].schema
    if any(file.constants or not file.schema.equals(first) for file in source.files):
        return None
    if any(name not in first.names or first.field(name).type != source.schema.field(name).type
           for name in names):  # fmt: skip
        return None
    files = ", ".join(text(file.path) for file in source.files)
    limit = "" if source.row_limit is None else f" LIMIT {source.row_limit}"
    sql = f"SELECT {quoted(names)} FROM read_parquet([{files}], hive_partitioning = false){limit}"
    return Relation(sql, source.schema, is_scan=True)
