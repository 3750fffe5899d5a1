"""Iceberg tables, by pyiceberg. A write is one transaction of the table, whatever its size."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from heliostat.data._commit import SaveMode
from heliostat.data._expr import Alias, Call, Column, Expr, Literal
from heliostat.data.arrays import refuse_objects
from heliostat.data.block import Bundle, concat
from heliostat.data.datasource.tables import TableSource, library

__all__ = ["check_mode", "iceberg_filter", "iceberg_source", "load_table", "write_table"]

# So much goes into one append: each makes files and a snapshot of its own, committed together.
APPEND_BYTES = 256 << 20


def load_table(identifier: str, catalog: Mapping[str, Any] | None, verb: str) -> Any:
    """A table of a catalog.

    Args:
        identifier: Its name there, such as `db.trips`.
        catalog: Arguments of `pyiceberg.catalog.load_catalog`, the name among them.
        verb: Who wants it.

    Returns:
        The table of pyiceberg.

    Raises:
        ImportError: if pyiceberg is not installed.
        FileNotFoundError: if there is no such table.
    """
    iceberg = library("pyiceberg.catalog", "iceberg", verb)
    errors = library("pyiceberg.exceptions", "iceberg", verb)
    arguments = {"name": "default", **(catalog or {})}
    try:
        return iceberg.load_catalog(**arguments).load_table(identifier)
    except (errors.NoSuchTableError, errors.NoSuchNamespaceError) as error:
        raise FileNotFoundError(
            f"no Iceberg table {identifier!r} in the catalog {arguments['name']!r}: {error}"
        ) from error


def iceberg_source(
    table: Any,
    row_filter: Any,
    fields: Sequence[str],
    snapshot_id: int | None,
    arguments: Mapping[str, Any] | None,
) -> TableSource:
    """What reads a table, as it is now or was at a snapshot.

    Args:
        table: Of pyiceberg.
        row_filter: Which rows, as pyiceberg takes it, or as an expression of ours.
        fields: Which columns; `*` for all.
        snapshot_id: Which snapshot; None for the latest.
        arguments: Others of `Table.scan`.

    Returns:
        The source.

    Raises:
        KeyError: if there is no such column.
    """
    if isinstance(row_filter, Expr):
        row_filter = iceberg_filter(row_filter)
    said = {} if row_filter is None else {"row_filter": row_filter}
    whole = table.scan(snapshot_id=snapshot_id, **said, **(arguments or {}))

    def batches(names: list[str] | None) -> Iterator[pa.RecordBatch]:
        scan = whole if names is None else whole.select(*names)
        yield from scan.to_arrow_batch_reader()

    source = TableSource("Iceberg", batches, whole.to_arrow_batch_reader().schema)
    return source if tuple(fields) == ("*",) else source.select(tuple(fields))


_COMPARISONS = {
    "equal": "EqualTo",
    "not_equal": "NotEqualTo",
    "less": "LessThan",
    "less_equal": "LessThanOrEqual",
    "greater": "GreaterThan",
    "greater_equal": "GreaterThanOrEqual",
}
_TURNED = {
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}


def iceberg_filter(expr: Expr) -> Any:
    """An expression of ours as pyiceberg's.

    Args:
        expr: Comparisons of columns with values, `is_null`, `is_in`, and `&`, `|`, `~` of these.

    Returns:
        A `BooleanExpression`.

    Raises:
        NotImplementedError: if it is something else.
    """
    made = library("pyiceberg.expressions", "iceberg", "overwrite_filter")
    match expr:
        case Alias(value):
            return iceberg_filter(value)
        case Call("and_kleene", (left, right)):
            return made.And(iceberg_filter(left), iceberg_filter(right))
        case Call("or_kleene", (left, right)):
            return made.Or(iceberg_filter(left), iceberg_filter(right))
        case Call("invert", (inner,)):
            return made.Not(iceberg_filter(inner))
        case Call("is_null", (Column(name),)):
            return made.IsNull(name)
        case Call("is_valid", (Column(name),)):
            return made.NotNull(name)
        case Call("is_in", (Column(name),), (("values", values),)):
            return made.In(name, values)
        case Call(kind, (Column(name), Literal(value))) if kind in _COMPARISONS:
            return getattr(made, _COMPARISONS[kind])(name, value)
        case Call(kind, (Literal(value), Column(name))) if kind in _COMPARISONS:
            return getattr(made, _COMPARISONS[_TURNED.get(kind, kind)])(name, value)
    raise NotImplementedError(
        f"{expr!r} cannot be said to Iceberg: compare columns with values, and join such "
        "comparisons by &, | and ~"
    )


def check_mode(mode: SaveMode, overwrite_filter: Any, overwrite: Any, upsert: Any) -> SaveMode:
    """A mode of an Iceberg write, with arguments that are of it.

    Args:
        mode: The mode.
        overwrite_filter: Of `overwrite`.
        overwrite: Of `overwrite`.
        upsert: Of `upsert`.

    Returns:
        The mode.

    Raises:
        ValueError: if it is another one, or has arguments of another.
    """
    if mode not in (SaveMode.APPEND, SaveMode.OVERWRITE, SaveMode.UPSERT):
        raise ValueError(
            f"write_iceberg(mode={mode.value!r}): use append, overwrite or upsert; the table has "
            "to be there already"
        )
    of_overwrite = overwrite_filter is not None or bool(overwrite)
    if of_overwrite and mode is not SaveMode.OVERWRITE:
        raise ValueError(
            f"overwrite_filter and overwrite_kwargs are for mode='overwrite', not {mode.value!r}"
        )
    if upsert and mode is not SaveMode.UPSERT:
        raise ValueError(f"upsert_kwargs are for mode='upsert', not {mode.value!r}")
    return mode


def write_table(
    table: Any,
    bundles: Iterator[Bundle],
    mode: SaveMode,
    *,
    snapshot_properties: Mapping[str, str],
    overwrite_filter: Expr | None,
    upsert: Mapping[str, Any],
    overwrite: Mapping[str, Any],
) -> None:
    """Write blocks, all in one transaction; columns that the table lacks are added to it.

    Args:
        table: Of pyiceberg.
        bundles: The blocks, which are made as they are taken.
        mode: Append, overwrite or upsert.
        snapshot_properties: Kept with the snapshots.
        overwrite_filter: Which rows are replaced; None for all.
        upsert: `join_cols` and others of pyiceberg's `upsert`.
        overwrite: `branch` and others of its `delete`.

    Raises:
        Exception: what pyiceberg or the making of a block raises; then nothing is written.
    """
    properties = dict(snapshot_properties)
    with table.transaction() as transaction:
        if mode is SaveMode.UPSERT:
            _upsert(transaction, [bundle.table() for bundle in bundles], upsert)
            return
        if mode is SaveMode.OVERWRITE:
            rows = _all_rows() if overwrite_filter is None else iceberg_filter(overwrite_filter)
            transaction.delete(delete_filter=rows, snapshot_properties=properties, **overwrite)
        branch = {name: value for name, value in overwrite.items() if name == "branch"}
        for block in _appends(bundles):
            _add_columns(transaction, block.schema)
            transaction.append(block, snapshot_properties=properties, **branch)


def _all_rows() -> Any:
    return library("pyiceberg.expressions", "iceberg", "write_iceberg").AlwaysTrue()


def _upsert(transaction: Any, tables: list[pa.Table], arguments: Mapping[str, Any]) -> None:
    if tables:
        whole = concat(tables).replace_schema_metadata(None)
        there = transaction.table_metadata.schema().column_names
        new = [name for name in whole.column_names if name not in there]
        if new and transaction.table_metadata.current_snapshot() is not None:
            # pyiceberg compares with rows as they were written, which have none of these.
            raise ValueError(
                f"mode='upsert' cannot add columns to a table that has rows, such as {new}: "
                "leave them out, or append rows that have them first"
            )
        _add_columns(transaction, whole.schema)
        # An upsert, unlike an append, wants all columns, in the order of the table.
        columns = [
            whole[one.name] if one.name in whole.column_names else pa.nulls(len(whole), one.type)
            for one in transaction.table_metadata.schema().as_arrow()
        ]
        names = transaction.table_metadata.schema().column_names
        transaction.upsert(pa.table(columns, names=names), **arguments)


def _add_columns(transaction: Any, schema: pa.Schema) -> None:
    refuse_objects(schema, "write_iceberg")
    with transaction.update_schema() as update:
        update.union_by_name(schema)


def _appends(bundles: Iterator[Bundle]) -> Iterator[pa.Table]:
    """Blocks joined until they are worth files of their own."""
    together: list[pa.Table] = []
    size = 0
    for bundle in bundles:
        together.append(bundle.table().replace_schema_metadata(None))
        size += bundle.size_bytes
        if size >= APPEND_BYTES:
            yield concat(together)
            together, size = [], 0
    if together:
        yield concat(together)
