"""What a Dataset has for other systems: each verb loads the file about its system when it is called."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from heliostat.data._planned import Planned
from heliostat.data.block import to_batch
from heliostat.data.connectors import needed

if TYPE_CHECKING:
    import pyarrow as pa

    from heliostat.data.connectors.random_access import RandomAccessDataset


class Connected(Planned):
    """The part of Dataset that is about other systems."""

    def write_kafka(
        self,
        topic: str,
        bootstrap_servers: str,
        key_field: str | None = None,
        key_serializer: str = "string",
        value_serializer: str = "json",
        producer_config: Mapping[str, Any] | None = None,
        *,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Send each row as a message of a Kafka topic. Needs confluent-kafka.

        Args:
            topic: Which.
            bootstrap_servers: Addresses of brokers, with commas between.
            key_field: The column that becomes the key.
            key_serializer: How: `"string"`, `"json"` or `"bytes"`.
            value_serializer: How a row becomes the value: `"json"`, `"string"`, or `"bytes"` for rows
                of one column besides the key.
            producer_config: Options of librdkafka's producer.
            ray_remote_args: Options of the tasks that send.
            concurrency: How many tasks at once.

        Raises:
            ImportError: If confluent-kafka is not installed.
            ValueError: If a serializer is none of these.
            RuntimeError: If messages were not taken; others may have been.
        """
        from heliostat.data.connectors.kafka import KafkaDatasink  # noqa: PLC0415 - see above

        sink = KafkaDatasink(
            topic, bootstrap_servers, key_field, key_serializer, value_serializer, producer_config
        )
        self._self().write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def write_clickhouse(
        self,
        table: str,
        dsn: str,
        *,
        mode: Any = None,
        schema: "pa.Schema | None" = None,
        client_settings: Mapping[str, Any] | None = None,
        client_kwargs: Mapping[str, Any] | None = None,
        table_settings: Any = None,
        max_insert_block_rows: int | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Insert the rows into a table of ClickHouse. Needs clickhouse-connect.

        Args:
            table: Its name, such as `"default.trips"`.
            dsn: Where: `"clickhouse+http://user:password@host:8123/database"`.
            mode: A `SinkMode`: CREATE (the default) refuses a table that is there, APPEND adds to it,
                OVERWRITE makes it anew.
            schema: Of a table that is made; None: that of the rows.
            client_settings: Settings of ClickHouse's for the session.
            client_kwargs: More for `clickhouse_connect.get_client`.
            table_settings: `ClickHouseTableSettings`: how a table is made.
            max_insert_block_rows: No more rows in one insert.
            ray_remote_args: Options of the tasks that insert.
            concurrency: How many tasks at once.

        Raises:
            ImportError: If clickhouse-connect is not installed.
            ValueError: If the mode does not allow the table that is there.
            TypeError: If ClickHouse has no type for a column.
        """
        from heliostat.data.connectors.clickhouse import (  # noqa: PLC0415 - see above
            ClickHouseDatasink,
            SinkMode,
        )

        server = (dsn, client_settings, client_kwargs)
        how = (SinkMode.CREATE if mode is None else mode, schema, table_settings)
        sink = ClickHouseDatasink(table, server, *how, max_insert_block_rows)
        self._self().write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def write_snowflake(
        self,
        table: str,
        connection_parameters: Mapping[str, Any],
        *,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Add the rows to a table of Snowflake, which is made if it is not there.

        Args:
            table: Its name, perhaps with database and schema: `"DB.PUBLIC.TRIPS"`.
            connection_parameters: Of `snowflake.connector.connect`.
            ray_remote_args: Options of the tasks that upload.
            concurrency: How many tasks at once.

        Raises:
            ImportError: If snowflake-connector-python is not installed.
            TypeError: If the parameters are no dict.
        """
        from heliostat.data.connectors.snowflake import SnowflakeDatasink  # noqa: PLC0415 - see above

        sink = SnowflakeDatasink(table, connection_parameters)
        self._self().write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def to_spark(self, spark: Any) -> Any:
        """All rows as a DataFrame of a Spark session.

        Args:
            spark: The session; any, on this machine or elsewhere.

        Returns:
            The DataFrame.

        Raises:
            TypeError: If it is no session of Spark's.
        """
        if not hasattr(spark, "createDataFrame"):
            raise TypeError(f"to_spark takes a SparkSession, got {type(spark).__name__}")
        rows = self._self().to_arrow()
        # Spark takes Arrow tables since 4.0.
        return spark.createDataFrame(rows if spark.version >= "4" else rows.to_pandas())

    def to_modin(self) -> Any:
        """All rows as a DataFrame of Modin's.

        Returns:
            The DataFrame, on the engine that Modin is set to.

        Raises:
            ImportError: If modin is not installed.
        """
        frames = needed("modin.pandas", "modin", "to_modin")
        return frames.DataFrame(to_batch(self._self().to_arrow(), "pandas"))

    def to_daft(self) -> Any:
        """All rows as a daft DataFrame.

        Returns:
            The DataFrame.

        Raises:
            ImportError: if daft is not installed.
        """
        return needed("daft", "daft", "to_daft").from_arrow(self._self().to_arrow())

    def to_dask(self, meta: Any = None, verify_meta: bool = True) -> Any:
        """All rows as a Dask DataFrame, with a partition for each block.

        Args:
            meta: An empty DataFrame that tells Dask names and types, or what else Dask takes;
                by default that of the columns.
            verify_meta: Whether Dask looks if the partitions are as `meta` says.

        Returns:
            The DataFrame. Its scheduler is the one that Dask is set to.

        Raises:
            ImportError: if dask is not installed.
            ValueError: if nothing tells which columns there are.
        """
        dask = needed("dask", "dask[dataframe]", "to_dask")
        frames = needed("dask.dataframe", "dask[dataframe]", "to_dask")
        tables = self._self()._tables()
        if not tables:
            raise ValueError("to_dask: the dataset has no rows, so nothing tells its columns")
        if meta is None:
            meta = to_batch(tables[0].slice(0, 0), "pandas")
        parts = [dask.delayed(to_batch)(table, "pandas") for table in tables]
        return frames.from_delayed(parts, meta=meta, verify_meta=verify_meta)

    def to_random_access_dataset(
        self, key: str, num_workers: int | None = None
    ) -> "RandomAccessDataset":
        """The rows sorted by a key and held by actors, to be looked up one by one.

        Args:
            key: The column; of rows with the same key one is found.
            num_workers: How many actors; by default four.

        Returns:
            With `get_async(key)` and `multiget(keys)`.

        Raises:
            KeyError: If there is no such column.
            ValueError: If there are no rows, or a key is null.
        """
        from heliostat.data.connectors.random_access import (  # noqa: PLC0415 - see above
            RandomAccessDataset,
        )

        return RandomAccessDataset(self._self(), key, 4 if num_workers is None else num_workers)
