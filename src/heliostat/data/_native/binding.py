"""What a query gives, asked without running it: DuckDB binds it over tables without rows.

DuckDB is loaded here and nowhere else, when the first relational verb needs it.
"""

import contextlib
import functools
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from heliostat.data._native.queries import Query
from heliostat.data._native.relation import UNNAMED, Relation, clash
from heliostat.data._native.temp_files import folder_of, remove_stale_folders
from heliostat.data._native.types import as_it_was, plain, storage_schema
from heliostat.data.block import require_names

_WHERE = re.compile(r"\n\nLINE (1: |\d+: \) AS _)")
_REFUSED = re.compile(r"(?!IO )[A-Z][A-Za-z ]+ Error: ")


@functools.cache
def database(pid: int) -> Any:
    """The one DuckDB of this process, in memory; what does not fit goes to a folder of its own.

    Args:
        pid: Of this process: a fork gets a database of its own.

    Returns:
        A connection, to take cursors from.

    Raises:
        ImportError: if DuckDB is not installed.
    """
    try:
        import duckdb  # noqa: PLC0415 - optional, and it takes longer than all else here
    except ImportError as error:
        raise ImportError(
            "sort, join, groupby and other relational verbs need DuckDB: "
            "pip install 'heliostat[data]'"
        ) from error
    remove_stale_folders()
    connection = duckdb.connect(":memory:")
    for name, value in (
        ("TimeZone", "UTC"),
        ("temp_directory", folder_of(pid)),
        ("threads", str(len(os.sched_getaffinity(0)))),
        # Dividing by zero gives what it gives in Arrow and numpy, not null.
        ("ieee_floating_point_ops", "true"),
        # The bounds of a file's numbers know nothing of NaN.
        ("parquet_can_have_nan", "true"),
        # No `parquet_metadata_cache`: for it, a file that keeps size and time stays what it was.
        # What a query has let go does not stay until the next.
        ("allocator_background_threads", "true"),
        ("autoinstall_known_extensions", "false"),
        # Groups of whole numbers within a range of 2 to the power of this are places in an array.
        ("perfect_ht_threshold", "17"),
        # A query sees the datasets that are named for it, not variables that happen to be near.
        ("python_enable_replacements", "false"),
    ):
        # Globally: each query has a connection of its own.
        connection.execute(f"SET GLOBAL {name} = '{value}'")
    return connection


@functools.cache
def _shows_a_bar(pid: int) -> bool:
    """Whether DuckDB would draw in a notebook. Without ipywidgets it refuses to hear of it."""
    bar = database(pid).execute("SELECT current_setting('enable_progress_bar')").fetchone()
    return bool(bar != (False,))


@contextlib.contextmanager
def cursor() -> Iterator[Any]:
    """A cursor of the database of this process, closed at the end.

    Yields:
        It.
    """
    pid = os.getpid()
    made = database(pid).cursor()
    try:
        if _shows_a_bar(pid):
            made.execute("SET enable_progress_bar = false")
        yield made
    finally:
        made.close()


class _Set:
    """The memory limit that was set last, and in which process."""

    limit: tuple[int, int] | None = None


def limit_memory(duck: Any, mebibytes: int) -> None:
    """One setting for the process: executions at the same time share what is left.

    Not set again if it is what it was: that gives away what the last query has in its hands, and
    costs a short one a fifth of its time.
    """
    wanted = (os.getpid(), mebibytes)
    if _Set.limit != wanted:
        duck.execute(f"SET memory_limit = '{mebibytes}MiB'")
        _Set.limit = wanted


def bind(query: Query, inputs: Sequence[Relation]) -> Relation:
    """A query over its inputs, with the schema it gives.

    Args:
        query: The verb.
        inputs: What it is over.

    Returns:
        The relation.

    Raises:
        KeyError: if a column is not there.
        ValueError: if DuckDB cannot make sense of it.
    """
    for one in inputs:
        if clash(one.names):
            raise ValueError(
                f"{query.name}: two columns differ only in case, which the native engine cannot "
                f"tell apart: {one.names}; rename one"
            )
    written = query.write(inputs)
    columns = written.columns
    require_names([name for name, _ in columns or ()], query.name)
    known = [(name, kind) for name, kind in columns or () if kind is not None]
    if columns is not None and len(known) == len(columns):
        return Relation(written.sql, pa.schema(known))
    # Asked of tables with the same columns, whatever the inputs are: so it need be asked only once.
    tables = [Relation(f"in{number}", one.schema) for number, one in enumerate(inputs)]
    known_as = tuple((one.sql, one.schema) for one in tables)
    try:
        asked = _ask(query.write(tables).sql, known_as, query.name)
    except ValueError as error:
        seen, said = getattr(query, "tables", ()), str(error).partition("\nDid you mean")[0]
        if "Table with name" in said:
            raise ValueError(f"{said} The query sees {', '.join(seen) or 'no dataset'}") from error
        raise
    if columns is None:
        schemas = [one.schema for one in inputs]
        named = [("" if f.name == UNNAMED else f.name, as_it_was(f, schemas)) for f in asked]
        return Relation(written.sql, pa.schema(named))
    fields = [
        (name, found.type if kind is None else kind)
        for (name, kind), found in zip(columns, asked, strict=True)
    ]
    return Relation(written.sql, pa.schema(fields))


@functools.lru_cache(maxsize=256)
def _ask(sql: str, tables: tuple[tuple[str, pa.Schema], ...], name: str) -> pa.Schema:
    with cursor() as duck:
        for table, schema in tables:
            stored = storage_schema(schema)
            duck.register(table, pa.table([pa.array([], f.type) for f in stored], schema=stored))
        try:
            relation = duck.sql(f"SELECT * FROM ({sql}) AS _ LIMIT 0")
            found = zip(relation.to_arrow_table().schema, relation.types, strict=True)
        except Exception as error:
            raise refused(error, name) from error
    # Arrow has the same type for a whole DECIMAL of full width as for an integer of 128 bits.
    return pa.schema(
        [
            one.with_type(one.type if str(kind)[:3] == "DEC" else plain(one.type))
            for one, kind in found
        ]
    )


def refused(error: Exception, name: str) -> Exception:
    """DuckDB's error as one of ours, or the error itself if it is of something else."""
    # The line that DuckDB shows begins with what is ours; the query's name has the user's.
    said = _WHERE.split(str(error))[0]
    if said.startswith("Out of Memory"):
        remedy = "raise DataContext.memory_budget_bytes, or free memory"
        return MemoryError(f"{name} needs more memory than it may have; {remedy}: {said}")
    if isinstance(error, OSError) and _REFUSED.match(said):  # it came by Arrow's stream of blocks
        return ValueError(f"{name}: {said}")
    if not type(error).__module__.endswith("duckdb"):
        return error
    if type(error).__name__ == "IOException":
        return OSError(f"{name}: {said}")
    return ValueError(f"{name}: {said}")


def query_schema(query: Query, schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The schema that a query gives over inputs of these schemas.

    Args:
        query: The verb.
        schemas: Of its inputs.

    Returns:
        The schema.

    Raises:
        KeyError: if a column is not there.
        ValueError: if it cannot be said of these inputs.
    """
    return bind(query, [Relation(f"in{n}", one) for n, one in enumerate(schemas)]).schema
