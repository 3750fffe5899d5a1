"""Databases, by any driver that speaks DBAPI 2.0: a query as a source, an INSERT as a sink."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from heliostat.data.arrays import to_arrow
from heliostat.data.block import Block, iter_rows
from heliostat.data.datasource.datasink import Datasink, TaskContext, WriteResult
from heliostat.data.datasource.source import Part

__all__ = ["Connection", "SqlDatasink", "SqlSource"]

Connection: TypeAlias = Any
ROWS_A_FETCH = 50_000
ROWS_AN_INSERT = 1_000


@contextlib.contextmanager
def _cursor(factory: Callable[[], Connection]) -> Generator[Any]:
    """A cursor of a new connection; what it did is kept if all goes well."""
    connection = factory()
    if not callable(getattr(connection, "cursor", None)):
        raise TypeError(
            "connection_factory must return a DBAPI connection (with cursor() and commit()), "
            f"got {type(connection).__name__}"
        )
    try:
        cursor = connection.cursor()
        try:
            yield cursor
            connection.commit()
        except BaseException:
            # Not every driver can.
            with contextlib.suppress(Exception):
                connection.rollback()
            raise
        finally:
            with contextlib.suppress(Exception):
                cursor.close()
    finally:
        connection.close()


def _execute(cursor: Any, sql: str, parameters: Any) -> None:
    if parameters is None:
        cursor.execute(sql)
    else:
        cursor.execute(sql, parameters)


@dataclass(frozen=True)
class SqlTask:
    """A query; what one task reads."""

    sql: str
    factory: Callable[[], Connection]
    parameters: Any
    rows: int = 0
    size_bytes: int = 0

    def read(self) -> Iterator[pa.Table]:
        """What it gives, so many rows at a time."""
        with _cursor(self.factory) as cursor:
            _execute(cursor, self.sql, self.parameters)
            if cursor.description is None:
                raise ValueError(f"the statement gives no rows: {self.sql!r:.200}")
            names = [column[0] for column in cursor.description]
            if len(set(names)) < len(names):
                raise ValueError(f"two columns of the query have one name: {names}; use AS")
            rows = cursor.fetchmany(ROWS_A_FETCH)
            if not rows:
                yield pa.table({name: pa.nulls(0) for name in names})
            while rows:
                columns = zip(*rows, strict=True)
                yield pa.table(
                    {
                        name: to_arrow(list(column), name, "the query")
                        for name, column in zip(names, columns, strict=True)
                    }
                )
                rows = cursor.fetchmany(ROWS_A_FETCH)


@dataclass(frozen=True)
class SqlSource:
    """A query, perhaps shared out by a hash of some columns."""

    sql: str
    factory: Callable[[], Connection]
    parameters: Any = None
    shard_keys: tuple[str, ...] = ()
    hash_function: str = "MD5"
    shards: int = 1

    schema = None
    rows = None

    @property
    def reads_in_driver(self) -> bool:
        """A single query is; shards are read by workers."""
        return not self.shard_keys or self.shards == 1

    def describe(self) -> str:
        """Its name."""
        return "ReadSQL"

    def read_tasks(self, target_bytes: int) -> Sequence[Part]:
        """One for each shard; one, if the database cannot tell shards apart."""
        whole = [SqlTask(self.sql, self.factory, self.parameters)]
        if not self.shard_keys or self.shards == 1 or not self._can_shard():
            return whole
        return [
            SqlTask(self._shard("*", number), self.factory, self.parameters)
            for number in range(self.shards)
        ]

    def _shard(self, what: str, number: int) -> str:
        key = self.shard_keys[0]
        if len(self.shard_keys) > 1:
            key = f"CONCAT({','.join(self.shard_keys)})"
        number_of = f"MOD(ABS({self.hash_function}({key})), {self.shards})"
        # A null belongs to no shard by itself; the first one takes it.
        mine = f"COALESCE({number_of}, 0) = {number}"
        return f"SELECT {what} FROM ({self.sql}) AS T WHERE {mine}"

    def _can_shard(self) -> bool:
        try:
            with _cursor(self.factory) as cursor:
                _execute(cursor, self._shard("COUNT(1)", 0), self.parameters)
        except Exception:  # noqa: BLE001 - every driver has its own
            return False
        return True

    def select(self, columns: tuple[str, ...]) -> None:
        """The query says which columns."""

    def head(self, rows: int) -> None:
        """The query says which rows."""

    def input_files(self) -> list[str]:
        """None."""
        return []


class SqlDatasink(Datasink[int]):
    """Executes a statement for each row, all in one transaction.

    Args:
        sql: The statement, such as `INSERT INTO t VALUES (?, ?)`.
        factory: Makes a connection.
    """

    def __init__(self, sql: str, factory: Callable[[], Connection]) -> None:
        self._sql = sql
        self._factory = factory
        self._open = contextlib.ExitStack()
        self._cursor: Any = None

    @property
    def supports_distributed_writes(self) -> bool:
        """A transaction is one connection's."""
        return False

    def on_write_start(self, schema: pa.Schema | None = None) -> None:
        """Open the connection."""
        self._cursor = self._open.enter_context(_cursor(self._factory))

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> int:
        """Execute the statement for the rows."""
        rows = 0
        for block in blocks:
            for start in range(0, block.num_rows, ROWS_AN_INSERT):
                part = block.slice(start, ROWS_AN_INSERT)
                values = [tuple(row.values()) for row in iter_rows(part)]
                self._cursor.executemany(self._sql, values)
                rows += len(values)
        return rows

    def on_write_complete(self, write_result: WriteResult[int]) -> None:
        """Commit."""
        self._open.close()

    def on_write_failed(self, error: Exception) -> None:
        """Roll back."""
        self._open.__exit__(type(error), error, error.__traceback__)
