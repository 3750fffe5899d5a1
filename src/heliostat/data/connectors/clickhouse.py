"""ClickHouse, by clickhouse-connect: a table's rows as blocks of Arrow, and blocks as its rows."""

import enum
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import pyarrow as pa

from heliostat.data._plan import Read
from heliostat.data.block import Block, BlockMetadata
from heliostat.data.connectors import needed
from heliostat.data.dataset import Dataset
from heliostat.data.datasource.custom import CustomSource, Datasource, ReadTask
from heliostat.data.datasource.datasink import Datasink, TaskContext
from heliostat.data.read_options import ReadOptions, check_names, parse_place, pieces

__all__ = ["ClickHouseDatasink", "ClickHouseTableSettings", "SinkMode", "read_clickhouse"]

_TYPES: dict[Any, str] = {
    pa.bool_(): "Bool", pa.float32(): "Float32", pa.float64(): "Float64", pa.date32(): "Date32",
    pa.int8(): "Int8", pa.int16(): "Int16", pa.int32(): "Int32", pa.int64(): "Int64",
    pa.uint8(): "UInt8", pa.uint16(): "UInt16", pa.uint32(): "UInt32", pa.uint64(): "UInt64",
    **dict.fromkeys((pa.string(), pa.large_string(), pa.binary(), pa.large_binary()), "String"),
}  # fmt: skip
_TAKES_NULL = r"(LowCardinality\()?(Nullable|Variant|Dynamic|Nothing)"
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


class SinkMode(enum.IntEnum):
    """What a write does about a table that is there.

    Example:
        >>> SinkMode.OVERWRITE.name
        'OVERWRITE'
    """

    CREATE = 1
    APPEND = 2
    OVERWRITE = 3

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"mode must be SinkMode.CREATE, APPEND or OVERWRITE, got {value!r}")


@dataclass(frozen=True)
class ClickHouseTableSettings:
    """How a table is made: clauses of CREATE TABLE, as they are.

    Example:
        >>> ClickHouseTableSettings(order_by="id").clauses()
        'ENGINE = MergeTree() ORDER BY id'
    """

    engine: str = "MergeTree()"
    order_by: str | None = None
    partition_by: str | None = None
    primary_key: str | None = None
    settings: str | None = None

    def clauses(self) -> str:
        """What stands behind the columns."""
        parts = {
            "PARTITION BY": self.partition_by,
            "PRIMARY KEY": self.primary_key,
            "ORDER BY": self.order_by or self.primary_key or "tuple()",
            "SETTINGS": self.settings,
        }
        return " ".join(
            [f"ENGINE = {self.engine}", *(f"{name} {said}" for name, said in parts.items() if said)]
        )


@dataclass(frozen=True)
class _Server:
    """How a client is made; each process makes its own."""

    dsn: str
    settings: Mapping[str, Any] | None
    more: Mapping[str, Any] | None

    def client(self, verb: str) -> Any:
        connect = needed("clickhouse_connect", "clickhouse-connect", verb)
        return connect.get_client(
            dsn=self.dsn, settings=dict(self.settings or {}), **(self.more or {})
        )


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _table(name: str) -> str:
    """`database.table`, each quoted."""
    if not isinstance(name, str) or not all(name.split(".")):
        raise ValueError(f"table must be its name, as in 'default.trips', got {name!r}")
    return ".".join(_quoted(part.strip("`")) for part in name.split("."))


def read_clickhouse(
    *,
    table: str,
    dsn: str,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    order_by: tuple[Sequence[str], bool] | None = None,
    client_settings: Mapping[str, Any] | None = None,
    client_kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Dataset:
    """Read a table or view of ClickHouse. Needs clickhouse-connect.

    With `order_by` and without `filter` it is read in several parts (`override_num_blocks`), each
    by a query of its own; otherwise by one.

    Args:
        table: Its name, such as `"default.trips"`.
        dsn: Where: `"clickhouse+http://user:password@host:8123/database"`.
        columns: Which; None for all.
        filter: What stands behind WHERE.
        order_by: Columns, and whether the largest come first. For several parts no two rows may be
            equal in them: else the server orders those otherwise for each query.
        client_settings: Settings of ClickHouse's for the session.
        client_kwargs: More for `clickhouse_connect.get_client`.
        **options: See `ReadOptions`.

    Returns:
        A Dataset.

    Raises:
        ImportError: If clickhouse-connect is not installed.
        TypeError: If columns are one text.
        ValueError: If several parts are wanted, and there is no order or a filter.
        Exception: What ClickHouse says, if it is not there, or has no such table or column.
    """
    check_names("read_clickhouse", options, ReadOptions)
    if isinstance(columns, str) or (order_by is not None and isinstance(order_by[0], str)):
        raise TypeError("read_clickhouse: columns, and those of order_by, are a list of names")
    has_parts = order_by is not None and filter is None
    if not has_parts and (pieces(options) or 1) > 1:
        raise ValueError(
            "read_clickhouse(override_num_blocks=...) cuts a table by its order: give order_by, and "
            "filter the rows afterwards with Dataset.filter"
        )
    server = _Server(dsn, client_settings, client_kwargs)
    chosen = "*" if columns is None else ", ".join(map(_quoted, columns))
    query = f"SELECT {chosen} FROM {_table(table)}"
    if filter is not None:
        query += f" WHERE ({filter})"
    if order_by is not None:
        names, down = order_by
        query += " ORDER BY " + ", ".join(_quoted(name) + " DESC" * bool(down) for name in names)
    source = ClickHouseDatasource(server, query, has_parts)
    schema = (
        server.client("read_clickhouse").query_arrow(f"{query} LIMIT 0", use_strings=True).schema
    )
    return Dataset(Read(CustomSource(source, pieces(options), schema), parse_place(options)))


class ClickHouseDatasource(Datasource):
    """What a query gives; cut into parts where its rows have an order."""

    def __init__(self, server: _Server, query: str, has_parts: bool) -> None:
        self._server, self._query, self._has_parts = server, query, has_parts

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One for each part."""
        client = self._server.client("read_clickhouse")
        rows = int(client.query(f"SELECT count() FROM ({self._query})").result_rows[0][0])
        parts = max(1, min(parallelism, rows)) if self._has_parts else 1
        cuts = [rows * number // parts for number in range(parts + 1)]
        return [
            ReadTask(self._reading(start, stop - start), BlockMetadata(stop - start, None))
            for start, stop in itertools.pairwise(cuts)
        ]

    def _reading(self, start: int, count: int) -> Callable[[], Iterator[pa.Table]]:
        query = f"{self._query} LIMIT {count} OFFSET {start}" if self._has_parts else self._query
        server = self._server

        def read() -> Iterator[pa.Table]:
            client = server.client("read_clickhouse")
            with client.query_arrow_stream(query, use_strings=True) as stream:
                for piece in stream:
                    yield (
                        pa.Table.from_batches([piece])
                        if isinstance(piece, pa.RecordBatch)
                        else piece
                    )

        return read


class ClickHouseDatasink(Datasink[None]):
    """Blocks as rows of a table.

    Args:
        table: Its name.
        server: Where it is.
        mode: What is done about a table that is there.
        schema: Of a table that is made; None: that of the rows.
        table_settings: How it is made.
        max_insert_block_rows: No more rows in one insert.
    """

    def __init__(
        self,
        table: str,
        server: tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None],
        mode: SinkMode = SinkMode.CREATE,
        schema: pa.Schema | None = None,
        table_settings: ClickHouseTableSettings | None = None,
        max_insert_block_rows: int | None = None,
    ) -> None:
        self._table, self._server = _table(table), _Server(*server)
        self._name, self._mode, self._schema = table, SinkMode(mode), schema
        self._how, self._most = table_settings or ClickHouseTableSettings(), max_insert_block_rows
        if self._most is not None and self._most < 1:
            raise ValueError(f"max_insert_block_rows must be >= 1, got {self._most}")

    def on_write_start(self, schema: pa.Schema | None = None) -> None:
        """Make the table, if it is to be made."""
        client = self._server.client("write_clickhouse")
        there = bool(client.query(f"EXISTS TABLE {self._table}").result_rows[0][0])
        if there and self._mode is SinkMode.CREATE:
            raise ValueError(
                f"ClickHouse has a table {self._name!r}; write with SinkMode.APPEND or OVERWRITE"
            )
        if there and self._mode is SinkMode.APPEND:
            return
        made = self._schema if self._schema is not None else schema
        if made is None:
            raise ValueError(f"write_clickhouse: to make {self._name!r}, schema=... is needed")
        keys = set(re.findall(r"\w+", f"{self._how.order_by or ''} {self._how.primary_key or ''}"))
        columns = ", ".join(
            f"{_quoted(field.name)} {_type(field.type, field.name, field.name in keys)}"
            for field in made
        )
        if there:
            client.command(f"DROP TABLE {self._table}")
        client.command(f"CREATE TABLE {self._table} ({columns}) {self._how.clauses()}")

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> None:
        """Insert the rows."""
        client = self._server.client("write_clickhouse")
        described = client.query(f"DESCRIBE TABLE {self._table}").result_rows
        # ClickHouse would make zeros and empty lists of them without a word.
        whole = {
            name
            for name, kind, default, *_ in described
            if not default and not re.match(_TAKES_NULL, kind)
        }
        for block in blocks:
            for name in block.column_names:
                if name in whole and block[name].null_count:
                    raise ValueError(
                        f"write_clickhouse: column {name!r} has nulls, {self._name!r} takes none"
                    )
            if self._schema is not None:
                block = block.select(self._schema.names).cast(self._schema)
            step = self._most or max(1, block.num_rows)
            for start in range(0, block.num_rows, step):
                client.insert_arrow(self._name, block.slice(start, step))


def _type(kind: pa.DataType, name: str, is_key: bool) -> str:
    """ClickHouse's type for one of Arrow's; a key is never null."""
    if pa.types.is_dictionary(kind):
        return _type(kind.value_type, name, is_key)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"Array({_type(kind.value_type, name, False)})"
    if pa.types.is_timestamp(kind):
        zone = f", '{kind.tz}'" if kind.tz else ""
        found = f"DateTime64({_DIGITS[kind.unit]}{zone})"
    elif pa.types.is_decimal(kind):
        found = f"Decimal({kind.precision}, {kind.scale})"
    elif kind in _TYPES:
        found = _TYPES[kind]
    else:
        raise TypeError(
            f"column {name!r}: ClickHouse has no type for {kind}; make the table and use SinkMode.APPEND"
        )
    return found if is_key else f"Nullable({found})"
