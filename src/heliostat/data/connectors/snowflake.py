"""Snowflake, by its own connector: a query's rows as blocks of Arrow, and blocks as rows of a table."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from heliostat.data._plan import Read
from heliostat.data.block import Block, BlockMetadata, to_batch
from heliostat.data.connectors import needed
from heliostat.data.dataset import Dataset
from heliostat.data.datasource.custom import CustomSource, Datasource, ReadTask
from heliostat.data.datasource.datasink import Datasink, TaskContext
from heliostat.data.read_options import ReadOptions, check_names, parse_place, pieces

__all__ = ["SnowflakeDatasink", "read_snowflake"]

PACKAGE = "snowflake-connector-python[pandas]"


def _check(parameters: Any, verb: str) -> None:
    needed("snowflake.connector", PACKAGE, verb)
    if not isinstance(parameters, Mapping):
        raise TypeError(f"{verb}: connection_parameters is a dict, got {parameters!r:.80}")


def _connect(parameters: Mapping[str, Any], verb: str) -> Any:
    return needed("snowflake.connector", PACKAGE, verb).connect(**parameters)


def read_snowflake(
    sql: str,
    connection_parameters: Mapping[str, Any],
    *,
    shard_keys: Sequence[str] | None = None,
    **options: Any,
) -> Dataset:
    """Read what a query of Snowflake gives. Needs snowflake-connector-python.

    Args:
        sql: The query.
        connection_parameters: Of `snowflake.connector.connect`.
        shard_keys: Columns by whose hash the rows are shared out to `override_num_blocks` queries;
            None: one query reads all.
        **options: See `ReadOptions`.

    Returns:
        A Dataset.

    Raises:
        ImportError: If the connector is not installed.
        TypeError: If the parameters are no dict.
        ValueError: If it is to be cut into blocks, and no keys are given.
    """
    check_names("read_snowflake", options, ReadOptions)
    _check(connection_parameters, "read_snowflake")
    wanted = pieces(options)
    if wanted is not None and wanted > 1 and not shard_keys:
        raise ValueError("read_snowflake with override_num_blocks needs shard_keys to cut rows by")
    source = SnowflakeDatasource(sql.strip().rstrip(";"), connection_parameters, shard_keys or ())
    return Dataset(Read(CustomSource(source, wanted), parse_place(options)))


class SnowflakeDatasource(Datasource):
    """A query, or one for each shard of its rows."""

    def __init__(self, sql: str, parameters: Mapping[str, Any], keys: Sequence[str]) -> None:
        self._sql, self._parameters, self._keys = sql, dict(parameters), tuple(keys)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One for each shard."""
        shards = max(1, parallelism) if self._keys else 1
        return [
            ReadTask(self._reading(number, shards), BlockMetadata(None, None))
            for number in range(shards)
        ]

    def _reading(self, number: int, shards: int) -> Callable[[], Iterator[pa.Table]]:
        sql, parameters = self._sql, self._parameters
        if shards > 1:
            keys = ", ".join(self._keys)
            sql = f"SELECT * FROM ({sql}) WHERE MOD(ABS(HASH({keys})), {shards}) = {number}"

        def read() -> Iterator[pa.Table]:
            with closing(_connect(parameters, "read_snowflake")) as connection:
                cursor = connection.cursor()
                cursor.execute(sql)
                for batch in cursor.get_result_batches() or ():
                    yield batch.to_arrow()

        return read


class SnowflakeDatasink(Datasink[int]):
    """Blocks as rows of a table, which is made if it is not there.

    Args:
        table: Its name, perhaps with schema and database before it.
        parameters: Of `snowflake.connector.connect`.
    """

    def __init__(self, table: str, parameters: Mapping[str, Any]) -> None:
        _check(parameters, "write_snowflake")
        *above, self._table = table.split(".")
        names = ("schema", "database")
        self._place = dict(zip(names, reversed(above), strict=False))
        self._parameters = dict(parameters)

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> int:
        """Upload the rows, and have them copied into the table."""
        tools = needed("snowflake.connector.pandas_tools", PACKAGE, "write_snowflake")
        written = 0
        with closing(_connect(self._parameters, "write_snowflake")) as connection:
            for block in blocks:
                if not block.num_rows:
                    continue
                _, _, rows, _ = tools.write_pandas(
                    connection, to_batch(block, "pandas"), self._table,
                    auto_create_table=True, quote_identifiers=False, **self._place,
                )  # fmt: skip
                written += rows
        return written
