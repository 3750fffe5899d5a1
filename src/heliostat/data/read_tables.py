"""Readers of databases and tables that keep a log; each needs its own package."""

from collections.abc import Callable, Sequence
from typing import Any, Unpack

from heliostat.data._plan import Read
from heliostat.data.dataset import Dataset
from heliostat.data.datasource.sql import SqlSource
from heliostat.data.read_options import ReadOptions, check_names, parse_place, pieces

__all__ = ["read_sql"]


def read_sql(
    sql: str,
    connection_factory: Callable[[], Any],
    *,
    sql_params: Any = None,
    shard_keys: Sequence[str] | None = None,
    shard_hash_fn: str = "MD5",
    **options: Unpack[ReadOptions],
) -> Dataset:
    """Read what a query gives, through any driver that speaks DBAPI 2.0.

    Args:
        sql: The query.
        connection_factory: Makes a connection; called wherever a part is read.
        sql_params: Values for the query's placeholders.
        shard_keys: Columns by which the rows are shared out among `override_num_blocks` queries,
            where the database has the functions for it (`MOD`, `ABS` and the hash function);
            else one query reads all.
        shard_hash_fn: The hash function; empty for none, if the key is a whole number.
        **options: See `ReadOptions`.

    Returns:
        A Dataset.

    Raises:
        TypeError: if an option is unknown; when it is read, if the factory makes no connection.
        Exception: when it is read, what the driver raises.

    Example:
        >>> import sqlite3
        >>> import heliostat as ray
        >>> factory = lambda: sqlite3.connect(":memory:")
        >>> ray.data.read_sql("SELECT 1 AS one, ? AS two", factory, sql_params=(2,)).take_all()
        [{'one': 1, 'two': 2}]
    """
    check_names("read_sql", options, ReadOptions)
    if not callable(connection_factory):
        raise TypeError(f"connection_factory must be callable, got {connection_factory!r}")
    keys = (shard_keys,) if isinstance(shard_keys, str) else tuple(shard_keys or ())
    source = SqlSource(
        sql, connection_factory, sql_params, keys, shard_hash_fn, pieces(options) or 16
    )
    return Dataset(Read(source, parse_place(options)))
