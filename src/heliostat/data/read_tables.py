"""Readers of databases and tables that keep a log; each needs its own package."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from heliostat.data import connectors
from heliostat.data._plan import Read
from heliostat.data.dataset import Dataset
from heliostat.data.datasource.iceberg import iceberg_source, load_table
from heliostat.data.datasource.sql import SqlSource
from heliostat.data.datasource.tables import TableSource, library
from heliostat.data.read_options import ReadOptions, check_names, parse_place, pieces

__all__ = ["read_delta", "read_iceberg", "read_lance", "read_sql"]


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


def read_delta(
    path: str,
    version: int | None = None,
    *,
    storage_options: Mapping[str, str] | None = None,
    catalog: Any = None,
    columns: Sequence[str] | None = None,
    **options: Any,
) -> Dataset:
    """Read a Delta table. Needs deltalake: `pip install 'heliostat[delta]'`.

    Such a table has no order of its own: rows come in that of its files.

    Args:
        path: The table's directory or URI.
        version: Which version; None for the latest.
        storage_options: Credentials and the like, for deltalake.
        catalog: A `Catalog`, which says where the table of this name is.
        columns: Which columns to read.
        **options: See `ReadOptions`.

    Returns:
        A Dataset.

    Raises:
        ImportError: if deltalake is not installed.
        FileNotFoundError: if there is no such table.
        KeyError: if a column does not exist.
    """
    check_names("read_delta", options, ReadOptions)
    delta = library("deltalake", "delta", "read_delta")
    if catalog is not None:
        given = {"storage_options": storage_options, "filesystem": options.get("filesystem")}
        found = connectors.located(catalog, path, "delta", "read_delta", **given)
        path, storage_options = found.path, found.storage_options
    try:
        there = delta.DeltaTable(path, version=version, storage_options=storage_options)
    except delta.exceptions.TableNotFoundError as error:
        raise FileNotFoundError(f"no Delta table at {path!r}") from error
    table = there.to_pyarrow_dataset()
    source = TableSource("Delta", lambda names: table.to_batches(columns=names), table.schema)
    return _selected(source, columns, options)


def read_iceberg(
    *,
    table_identifier: str,
    row_filter: Any = None,
    selected_fields: Sequence[str] = ("*",),
    snapshot_id: int | None = None,
    scan_kwargs: Mapping[str, Any] | None = None,
    catalog_kwargs: Mapping[str, Any] | None = None,
    catalog: Any = None,
    **options: Any,
) -> Dataset:
    """Read an Iceberg table. Needs pyiceberg: `pip install 'heliostat[iceberg]'`.

    Such a table has no order of its own: rows come in that of its files.

    Args:
        table_identifier: Its name in the catalog, such as `"db.trips"`.
        row_filter: Which rows: an expression, or what pyiceberg takes.
        selected_fields: Which columns; `select_columns` does the same.
        snapshot_id: Which snapshot; None for the latest.
        scan_kwargs: Others of pyiceberg's `Table.scan`.
        catalog_kwargs: Of `pyiceberg.catalog.load_catalog`: `name`, `type`, `uri`, ...
        catalog: A `Catalog`, which says in which catalog and by what name the table is.
        **options: See `ReadOptions`.

    Returns:
        A Dataset.

    Raises:
        ImportError: if pyiceberg is not installed.
        FileNotFoundError: if there is no such table.
        KeyError: if a column does not exist.
        NotImplementedError: if the filter cannot be said to Iceberg.
    """
    check_names("read_iceberg", options, ReadOptions)
    if catalog is not None:
        asked = (catalog, table_identifier, "iceberg", "read_iceberg")
        found = connectors.located(*asked, catalog_kwargs=catalog_kwargs)
        table_identifier, catalog_kwargs = found.table_identifier, found.catalog_kwargs
    table = load_table(table_identifier, catalog_kwargs, "read_iceberg")
    source = iceberg_source(table, row_filter, selected_fields, snapshot_id, scan_kwargs)
    return Dataset(Read(source, parse_place(options)))


def read_lance(
    uri: str,
    *,
    version: int | str | None = None,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    storage_options: Mapping[str, str] | None = None,
    scanner_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Dataset:
    """Read a Lance dataset. Needs pylance: `pip install 'heliostat[lance]'`.

    Args:
        uri: The dataset's directory or URI.
        version: Which version; None for the latest.
        columns: Which columns to read.
        filter: Which rows, as SQL.
        storage_options: Credentials and the like, for Lance.
        scanner_options: Others of `lance.LanceDataset.scanner`.
        **options: See `ReadOptions`.

    Returns:
        A Dataset.

    Raises:
        ImportError: if pylance is not installed.
        ValueError: if there is no such dataset.
        KeyError: if a column does not exist.
    """
    check_names("read_lance", options, ReadOptions)
    lance = library("lance", "lance", "read_lance")
    found = lance.dataset(uri, version=version, storage_options=storage_options)
    more = dict(scanner_options or {})

    def batches(names: list[str] | None) -> Any:
        return found.scanner(columns=names, filter=filter, **more).to_batches()

    return _selected(TableSource("Lance", batches, found.schema), columns, options)


def _selected(
    source: TableSource, columns: Sequence[str] | None, options: Mapping[str, Any]
) -> Dataset:
    narrow = source if columns is None else source.select(tuple(columns))
    return Dataset(Read(narrow, parse_place(options)))
