"""The verbs that write: each runs the plan and hands its blocks to a sink."""

import os
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, Unpack

import pyarrow as pa

from heliostat.data import connectors
from heliostat.data._commit import SaveMode
from heliostat.data._expr import Expr
from heliostat.data._plan import schema_of
from heliostat.data._planned import Planned
from heliostat.data._write import WriteOptions, run_write
from heliostat.data.block import require_columns
from heliostat.data.datasource.datasink import Datasink, FileDatasink
from heliostat.data.datasource.filename_provider import FilenameProvider

# Sinks are loaded when they are called: a program that writes Parquet needs no pictures.


class WriteFileOptions(TypedDict, total=False):
    """What every writer of files takes.

    Attributes:
        filesystem: Where the directory is, if the path does not say; of `pyarrow.fs` or fsspec.
        try_create_dir: Make the directory if it is not there.
        arrow_open_stream_args: `compression` and `buffer_size` of the files.
        filename_provider: A `FilenameProvider` that names the files.
        min_rows_per_file: Put as many rows into each file but the last.
        max_rows_per_file: Put no more rows into a file.
        min_bytes_per_file: Put at least so many bytes (as in memory) into each file but the last.
        num_rows_per_file: Older name of `min_rows_per_file`.
        ray_remote_args: Options of tasks that write; without, files that Arrow writes are
            written by threads, others by tasks.
        concurrency: How many files are written at once.
        mode: What to do if something is there: `"append"` (the default), `"overwrite"`,
            `"ignore"`, `"error"` or `"create"`. Readers see all of a write, or nothing.
        checkpoint: A directory of its own that keeps what is finished: the same write, run again
            after its process was killed, goes on from there. For a read followed by functions of rows or
            batches; batches then end where a part that is read ends.
    """

    filesystem: Any
    try_create_dir: bool
    arrow_open_stream_args: Mapping[str, Any] | None
    filename_provider: FilenameProvider | None
    min_rows_per_file: int | None
    max_rows_per_file: int | None
    min_bytes_per_file: int | None
    num_rows_per_file: int | None
    ray_remote_args: Mapping[str, Any] | None
    concurrency: int | None
    mode: SaveMode | str
    checkpoint: str | os.PathLike[str] | None


class Writing(Planned):
    """The part of Dataset that writes."""

    def write_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        partition_cols: list[str] | None = None,
        arrow_parquet_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """Write Parquet files into a directory: all of them, or none.

        Args:
            path: The directory, or a URI.
            partition_cols: Columns whose values become directories (`year=2024/`).
            arrow_parquet_args_fn: Called for each file; what it returns is added to the arguments.
            **options: See `WriteFileOptions`; `catalog`, a `Catalog`, which says where the table of
                this name is; others go to `pyarrow.parquet.write_table`.

        Raises:
            FileExistsError: if the mode does not allow what is there.
            KeyError: if a column does not exist.
            ValueError: if an option makes no sense.

        Example:
            >>> import tempfile
            >>> import heliostat as ray
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     ray.data.range(3).write_parquet(directory)
            ...     ray.data.read_parquet(directory).count()
            3
        """
        from heliostat.data.datasource.parquet import ParquetDatasink  # noqa: PLC0415 - see above

        if (catalog := options.pop("catalog", None)) is not None:
            asked = (catalog, path, "parquet", "write_parquet", "write")
            found = connectors.located(*asked, filesystem=options.get("filesystem"))
            path, options["filesystem"] = found.path, found.filesystem
        common, own = _split("write_parquet", options)
        columns = [partition_cols] if isinstance(partition_cols, str) else partition_cols or []
        sink = ParquetDatasink(path, own, arrow_parquet_args_fn, columns, **_file(common))
        self._write(sink, common)

    def write_csv(
        self,
        path: str | os.PathLike[str],
        *,
        arrow_csv_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """Write CSV files into a directory: all of them, or none.

        Args:
            path: The directory, or a URI.
            arrow_csv_args_fn: Called once; what it returns is added to the arguments.
            **options: See `WriteFileOptions`; `write_options` goes to `pyarrow.csv.write_csv`.

        Raises:
            FileExistsError: if the mode does not allow what is there.
            ValueError: if a column holds lists, structs or tensors.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(2).write_csv("numbers")
            >>> ray.data.read_csv("numbers").take_all()
            [{'id': 0}, {'id': 1}]
        """
        from heliostat.data.datasource.csv import CsvDatasink  # noqa: PLC0415 - see above

        common, own = _split("write_csv", options)
        own.update(arrow_csv_args_fn() if arrow_csv_args_fn else {})
        self._write(CsvDatasink(path, own, **_file(common)), common)

    def write_json(
        self,
        path: str | os.PathLike[str],
        *,
        pandas_json_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """Write JSON files into a directory, an object a line: all of them, or none.

        Args:
            path: The directory, or a URI.
            pandas_json_args_fn: Called once; what it returns is added to the arguments.
            **options: See `WriteFileOptions`; others go to `pandas.DataFrame.to_json`.

        Raises:
            FileExistsError: if the mode does not allow what is there.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(2).write_json("numbers")
            >>> ray.data.read_json("numbers").take_all()
            [{'id': 0}, {'id': 1}]
        """
        from heliostat.data.datasource.json import JsonDatasink  # noqa: PLC0415 - see above

        common, own = _split("write_json", options)
        own.update(pandas_json_args_fn() if pandas_json_args_fn else {})
        self._write(JsonDatasink(path, own, **_file(common)), common)

    def write_numpy(
        self, path: str | os.PathLike[str], *, column: str, **options: Unpack[WriteFileOptions]
    ) -> None:
        """Write a column as `.npy` files into a directory: all of them, or none.

        Args:
            path: The directory, or a URI.
            column: Which.
            **options: See `WriteFileOptions`.

        Raises:
            FileExistsError: if the mode does not allow what is there.
            KeyError: if there is no such column.
            ValueError: if its values are no numbers, or have several shapes.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(2).write_numpy("numbers", column="id")
            >>> ray.data.read_numpy("numbers").take_all()
            [{'data': 0}, {'data': 1}]
        """
        from heliostat.data.datasource.numpy import NumpyDatasink  # noqa: PLC0415 - see above

        _known("write_numpy", options)
        self._write(NumpyDatasink(path, column, **_file(options)), options)

    def write_images(
        self,
        path: str | os.PathLike[str],
        column: str,
        file_format: str = "png",
        **options: Unpack[WriteFileOptions],
    ) -> None:
        """Write a column of arrays as pictures, a file each: all of them, or none.

        Args:
            path: The directory, or a URI.
            column: Which.
            file_format: Of Pillow, such as `"png"` or `"jpeg"`.
            **options: See `WriteFileOptions`.

        Raises:
            FileExistsError: if the mode does not allow what is there.
            KeyError: if there is no such column.
            ValueError: if a value is no picture, or the format is unknown.

        Example:
            >>> import heliostat as ray
            >>> import numpy as np
            >>> ray.data.from_numpy(np.zeros((2, 4, 4), np.uint8)).write_images("black", "data")
            >>> ray.data.read_images("black").count()
            2
        """
        from heliostat.data.datasource.images import ImageDatasink  # noqa: PLC0415 - see above

        _known("write_images", options)
        self._write(ImageDatasink(path, column, file_format, **_file(options)), options)

    def write_webdataset(
        self,
        path: str | os.PathLike[str],
        *,
        encoder: Any = True,
        **options: Unpack[WriteFileOptions],
    ) -> None:
        """Write rows as samples of tar files: all of them, or none.

        A column `__key__` names samples; without one they get random names.

        Args:
            path: The directory, or a URI.
            encoder: True encodes columns by the ends of their names (txt, cls, json, npy, mp,
                pictures); None takes bytes and text only; or a function from a sample to a
                sample; or a list of these.
            **options: See `WriteFileOptions`.

        Raises:
            FileExistsError: if the mode does not allow what is there.
            ValueError: if a column cannot be encoded.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([{"__key__": "a", "cls": 3}]).write_webdataset("shards")
            >>> ray.data.read_webdataset("shards").take(1)[0]["cls"]
            3
        """
        from heliostat.data.datasource.webdataset import (  # noqa: PLC0415 - see above
            WebDatasetDatasink,
        )

        _known("write_webdataset", options)
        self._write(WebDatasetDatasink(path, encoder, **_file(options)), options)

    def write_tfrecords(
        self,
        path: str | os.PathLike[str],
        *,
        tf_schema: Any = None,
        **options: Unpack[WriteFileOptions],
    ) -> None:
        """Write rows as TFRecords of `tf.train.Example`: all files, or none.

        Args:
            path: The directory, or a URI.
            tf_schema: Not offered.
            **options: See `WriteFileOptions`.

        Raises:
            FileExistsError: if the mode does not allow what is there.
            ValueError: if a value is no number, text or bytes, nor a list of one of them.
            NotImplementedError: if `tf_schema` is given.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(2).write_tfrecords("numbers")
            >>> ray.data.read_tfrecords("numbers").take_all()
            [{'id': 0}, {'id': 1}]
        """
        from heliostat.data.datasource.tfrecords import TfrecordsDatasink  # noqa: PLC0415 - above

        if tf_schema is not None:
            raise NotImplementedError("write_tfrecords(tf_schema=...) is not offered; leave it out")
        _known("write_tfrecords", options)
        self._write(TfrecordsDatasink(path, **_file(options)), options)

    def write_orc(
        self,
        path: str | os.PathLike[str],
        *,
        arrow_orc_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """Write ORC files into a directory: all of them, or none.

        Args:
            path: The directory, or a URI.
            arrow_orc_args_fn: Called once; what it returns is added to the arguments.
            **options: See `WriteFileOptions`; others go to `pyarrow.orc.write_table`.

        Raises:
            FileExistsError: if the mode does not allow what is there.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(2).write_orc("numbers")
            >>> ray.data.read_orc("numbers").count()
            2
        """
        from heliostat.data.datasource.orc import OrcDatasink  # noqa: PLC0415 - see above

        common, own = _split("write_orc", options)
        own.update(arrow_orc_args_fn() if arrow_orc_args_fn else {})
        self._write(OrcDatasink(path, own, **_file(common)), common)

    def write_sql(
        self,
        sql: str,
        connection_factory: Callable[[], Any],
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Execute a statement for each row, all in one transaction.

        Args:
            sql: The statement, with a placeholder for each column in the driver's notation.
            connection_factory: Makes a DBAPI connection.
            ray_remote_args: Not needed: a transaction is one connection's, in this process.
            concurrency: The same.

        Raises:
            TypeError: if the factory makes no connection.
            Exception: what the driver raises; then nothing is written.

        Example:
            >>> import sqlite3
            >>> import heliostat as ray
            >>> connection = sqlite3.connect("numbers.db")
            >>> _ = connection.execute("CREATE TABLE numbers (id INTEGER)")
            >>> connection.close()
            >>> factory = lambda: sqlite3.connect("numbers.db")
            >>> ray.data.range(2).write_sql("INSERT INTO numbers VALUES (?)", factory)
            >>> ray.data.read_sql("SELECT id FROM numbers", factory).take_all()
            [{'id': 0}, {'id': 1}]
        """
        from heliostat.data.datasource.sql import SqlDatasink  # noqa: PLC0415 - see above

        self._write(SqlDatasink(sql, connection_factory), {})

    def write_delta(
        self,
        path: str,
        *,
        mode: SaveMode | str = SaveMode.APPEND,
        partition_by: list[str] | None = None,
        storage_options: Mapping[str, str] | None = None,
        catalog: Any = None,
        schema_mode: str = "merge",
        **options: Any,
    ) -> None:
        """Write a Delta table, in one transaction. Needs deltalake.

        Args:
            path: The table's directory or URI.
            mode: `"append"`, `"overwrite"`, `"error"` (or `"create"`) or `"ignore"`.
            partition_by: Columns whose values become directories.
            storage_options: Credentials and the like, for deltalake.
            catalog: A `Catalog`, which says where the table of this name is.
            schema_mode: `"merge"` or `"overwrite"`: what columns the table gets.
            **options: `name`, `description` and others of `deltalake.write_deltalake`.

        Raises:
            ImportError: if deltalake is not installed.
            NotImplementedError: for `mode="upsert"`.
            Exception: what deltalake raises; then nothing is written.
        """
        from heliostat.data.datasource.tables import library, streamed  # noqa: PLC0415 - see above

        mode = SaveMode(mode)
        if mode is SaveMode.UPSERT:
            raise NotImplementedError(
                "write_delta(mode='upsert') is not offered; use DeltaTable.merge of deltalake"
            )
        delta = library("deltalake", "delta", "write_delta")
        if catalog is not None:
            asked = (catalog, path, "delta", "write_delta", "write")
            found = connectors.located(*asked, storage_options=storage_options)
            path, storage_options = found.path, found.storage_options
        arguments: dict[str, Any] = {"partition_by": partition_by, **options}
        if mode in (SaveMode.APPEND, SaveMode.OVERWRITE):
            arguments["schema_mode"] = schema_mode
        arguments["mode"] = "error" if mode is SaveMode.CREATE else mode.value
        with streamed(self._bundles(), self._columns, mode) as rows:
            if rows is not None:
                delta.write_deltalake(path, rows, storage_options=storage_options, **arguments)

    def write_iceberg(
        self,
        table_identifier: str,
        catalog_kwargs: Mapping[str, Any] | None = None,
        catalog: Any = None,
        snapshot_properties: Mapping[str, str] | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
        overwrite_filter: Expr | None = None,
        upsert_kwargs: Mapping[str, Any] | None = None,
        overwrite_kwargs: Mapping[str, Any] | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Write to an Iceberg table that is there, in one transaction. Needs pyiceberg.

        Columns that the table lacks are added to it.

        Args:
            table_identifier: Its name in the catalog, such as `"db.trips"`.
            catalog_kwargs: Of `pyiceberg.catalog.load_catalog`: `name`, `type`, `uri`, ...
            catalog: A `Catalog`, which says in which catalog and by what name the table is.
            snapshot_properties: Kept with the new snapshots.
            mode: `"append"`; `"overwrite"`, of all rows or those of `overwrite_filter`; or
                `"upsert"`, which replaces rows that are equal in some columns; all rows are in
                memory then.
            overwrite_filter: An expression: which rows are replaced.
            upsert_kwargs: `join_cols`, the columns; and others of pyiceberg's `upsert`.
            overwrite_kwargs: `branch` and others of pyiceberg's `delete`.
            ray_remote_args: Not needed: files are written by threads of this process.
            concurrency: The same.

        Raises:
            ImportError: if pyiceberg is not installed.
            FileNotFoundError: if there is no such table.
            NotImplementedError: if the filter cannot be said to Iceberg.
            ValueError: for another mode, or arguments of one with another.
            Exception: what pyiceberg raises; then nothing is written.
        """
        from heliostat.data.datasource.iceberg import (  # noqa: PLC0415 - see above
            check_mode,
            load_table,
            write_table,
        )

        if catalog is not None:
            asked = (catalog, table_identifier, "iceberg", "write_iceberg", "write")
            found = connectors.located(*asked, catalog_kwargs=catalog_kwargs)
            table_identifier, catalog_kwargs = found.table_identifier, found.catalog_kwargs
        mode = check_mode(SaveMode(mode), overwrite_filter, overwrite_kwargs, upsert_kwargs)
        write_table(
            load_table(table_identifier, catalog_kwargs, "write_iceberg"),
            self._bundles(),
            mode,
            snapshot_properties=snapshot_properties or {},
            overwrite_filter=overwrite_filter,
            upsert=upsert_kwargs or {},
            overwrite=overwrite_kwargs or {},
        )

    def write_lance(
        self,
        path: str,
        *,
        schema: pa.Schema | None = None,
        mode: SaveMode | str = SaveMode.CREATE,
        **options: Any,
    ) -> None:
        """Write a Lance dataset, in one transaction. Needs pylance.

        Args:
            path: The dataset's directory or URI.
            schema: The columns, if they are not those of the rows.
            mode: `"create"`, `"append"` or `"overwrite"`.
            **options: `max_rows_per_file` and others of `lance.write_dataset`.

        Raises:
            ImportError: if pylance is not installed.
            ValueError: for another mode.
            Exception: what Lance raises; then nothing is written.
        """
        from heliostat.data.datasource.tables import library, streamed  # noqa: PLC0415 - see above

        mode = SaveMode(mode)
        if mode not in (SaveMode.CREATE, SaveMode.APPEND, SaveMode.OVERWRITE):
            raise ValueError(f"write_lance(mode={mode.value!r}): use create, append or overwrite")
        lance = library("lance", "lance", "write_lance")
        with streamed(self._bundles(), self._columns, mode) as rows:
            if rows is not None:
                lance.write_dataset(rows, path, schema=schema, mode=mode.value, **options)

    def write_datasink(
        self,
        datasink: Datasink[Any],
        *,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Write to a sink of your own.

        Args:
            datasink: An instance of a subclass of `Datasink`.
            ray_remote_args: Options of the tasks that write.
            concurrency: How many parts at once.

        Raises:
            TypeError: if it is no Datasink.
            Exception: what the sink raises, after its `on_write_failed` was called.

        Example:
            >>> import heliostat as ray
            >>> class Show(ray.data.Datasink):
            ...     def write(self, blocks, ctx):
            ...         return [block.num_rows for block in blocks]
            ...
            ...     def on_write_complete(self, write_result):
            ...         print(write_result.num_rows)
            >>> ray.data.range(3).write_datasink(Show())
            3
        """
        if not isinstance(datasink, Datasink):
            raise TypeError(f"datasink must be a Datasink, got {type(datasink).__name__}")
        self._write(datasink, {"ray_remote_args": ray_remote_args, "concurrency": concurrency})

    def _columns(self) -> pa.Schema | None:
        """As far as they are known: by the plan, or by what has run."""
        return schema_of(self._plan) or self._schema

    def _write(self, sink: Datasink[Any], options: Mapping[str, Any]) -> None:
        schema: pa.Schema | None = schema_of(self._plan)
        asked = WriteOptions(
            concurrency=options.get("concurrency"),
            remote=options.get("ray_remote_args"),
            min_rows=_first(
                options.get("min_rows_per_file"),
                options.get("num_rows_per_file"),
                sink.min_rows_per_write,
            ),
            max_rows=options.get("max_rows_per_file"),
            min_bytes=_first(options.get("min_bytes_per_file"), sink.min_bytes_per_write),
        )
        checkpoint = options.get("checkpoint")
        config = self._knobs.checkpoint_config
        if checkpoint is None and config is not None and isinstance(sink, FileDatasink):
            if schema is not None:
                require_columns([config.id_column], schema.names, "checkpoint_config")
            checkpoint = config.folder(sink.path)
        if checkpoint is None:
            run_write(self._bundles(), schema, sink, asked, lambda: self._schema)
            return
        from heliostat.data._resume import resumable_write  # noqa: PLC0415 - seldom asked for

        assert isinstance(sink, FileDatasink)
        resumable_write(self._plan, sink, asked, os.fspath(checkpoint), self._bundles)


def _first(*given: int | None) -> int | None:
    return next((one for one in given if one is not None), None)


_NAMES = tuple(WriteFileOptions.__annotations__)


def _file(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the sink takes of the options, by the names it has for them."""
    names = {
        "filesystem": "filesystem",
        "try_create_dir": "try_create_dir",
        "arrow_open_stream_args": "open_stream_args",
        "filename_provider": "filename_provider",
        "mode": "mode",
    }
    return {names[name]: value for name, value in options.items() if name in names}


def _split(
    verb: str, options: Mapping[str, Any], *not_offered: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of every writer, and what goes to the library that writes."""
    for name in not_offered:
        if options.get(name) is not None:
            raise NotImplementedError(f"{verb}({name}=...) is not offered; leave it out")
    common = {name: value for name, value in options.items() if name in _NAMES}
    own = {name: value for name, value in options.items() if name not in (*_NAMES, *not_offered)}
    return common, own


def _known(verb: str, options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in _NAMES:
            raise TypeError(
                f"{verb}() got an unexpected argument {name!r}; "
                f"besides its own it takes {sorted(_NAMES)}"
            )
