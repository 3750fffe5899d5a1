"""Types there and back: what DuckDB has no type for goes in as its storage and comes out as it was."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from heliostat.data._native.relation import UNNAMED
from heliostat.data.arrays import is_object

# SQL sees an object as a struct of this one field: it can pass it on, and takes it for nothing else.
_SEALED = "heliostat.python_object"


def storage_type(kind: pa.DataType) -> pa.DataType:
    """The type as which DuckDB takes a column.

    Args:
        kind: Of a column.

    Returns:
        The same, or one that holds the same values.

    Raises:
        TypeError: if there is none.

    Example:
        >>> storage_type(pa.duration("s"))
        DataType(int64)
    """
    if is_object(kind):
        sealed: Any = kind
        return pa.struct([pa.field(_SEALED, sealed.storage_type)])
    if isinstance(kind, pa.BaseExtensionType):
        return storage_type(kind.storage_type)
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_duration(kind):
        return pa.int64()
    if pa.types.is_dictionary(kind):
        return storage_type(kind.value_type)
    if pa.types.is_nested(kind):
        inner: pa.DataType = _nested(kind)
        return inner
    if pa.types.is_decimal(kind) and kind.scale < 0:
        return pa.decimal128(kind.precision - kind.scale, 0)
    if pa.types.is_decimal256(kind):
        if kind.precision > 38:
            raise TypeError(f"columns of {kind} have more digits than the native engine's 38")
        return pa.decimal128(kind.precision, kind.scale)
    return kind


def _nested(kind: Any) -> Any:
    def inside(field: Any) -> Any:
        outer = isinstance(field.type, pa.BaseExtensionType) or pa.types.is_dictionary(field.type)
        return field if outer else field.with_type(storage_type(field.type))

    if pa.types.is_struct(kind):
        return pa.struct([inside(one) for one in kind])
    if pa.types.is_list(kind):
        return pa.list_(inside(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(inside(kind.value_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(inside(kind.value_field), kind.list_size)
    return kind


def to_storage(table: pa.Table) -> pa.Table:
    """A block as DuckDB takes it."""
    for number, one in enumerate(table.schema):
        kind = storage_type(one.type)
        if kind != one.type:
            column = _stored(table.column(number), kind)
            table = table.set_column(number, pa.field(one.name, kind), column)
    if "" in table.column_names:
        table = table.rename_columns([name or UNNAMED for name in table.column_names])
    return table.replace_schema_metadata(None)


def _stored(column: Any, kind: pa.DataType) -> Any:
    if is_object(column.type):
        struct: Any = kind
        fields = list(struct)
        parts: Any = [
            pa.StructArray.from_arrays([one.storage], fields=fields, mask=one.is_null())
            for one in column.chunks
        ]
        return pa.chunked_array(parts, struct)
    if isinstance(column.type, pa.BaseExtensionType):
        storage: Any = column.type.storage_type
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], storage)
        return column if column.type == kind else _stored(column, kind)
    return column.cast(kind)


def storage_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of `to_storage`."""
    return pa.schema([pa.field(one.name or UNNAMED, storage_type(one.type)) for one in schema])


def from_storage(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """What DuckDB gave, with the names and types that were promised."""
    if batch.num_columns != len(schema):
        raise ValueError(
            f"the query gives other columns where there are rows: {batch.schema.names}; say which, "
            "as in PIVOT ds ON kind IN ('a', 'b')"
        )
    arrays = []
    for column, one in zip(batch.columns, schema, strict=True):
        try:
            arrays.append(_restored(column, one.type))
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"column {one.name!r} has values that {one.type} cannot hold: {error}; "
                "make another type of them before, as a DOUBLE"
            ) from error
    return pa.Table.from_arrays(arrays, schema=schema)


def _restored(column: Any, kind: pa.DataType) -> Any:
    if column.type == kind:
        return column
    if is_object(kind):
        objects: Any = kind
        return pa.ExtensionArray.from_storage(
            objects, column.flatten()[0].cast(objects.storage_type)
        )
    if pa.types.is_list(kind) and is_object(kind.value_type):
        values = _restored(column.values, kind.value_type)
        lists: Any = pa.ListArray
        return lists.from_arrays(column.offsets, values, kind, mask=column.is_null())
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _restored(column, kind.storage_type))
    if pa.types.is_null(kind):
        return pa.nulls(len(column))
    if pa.types.is_dictionary(kind):
        return pc.dictionary_encode(column).cast(kind)
    if pa.types.is_float16(kind):
        values = column.to_numpy(zero_copy_only=False).astype(np.float16)
        return pa.array(values, kind, mask=np.asarray(column.is_null()))
    return column.cast(kind)


def as_it_was(field: Any, inputs: Sequence[pa.Schema]) -> Any:
    """The type of a column that a user's SQL gives: as before, if it had this name, and one that
    DuckDB has no word for, such as a tensor, a span of time or a time in a zone.

    Args:
        field: Name and type as DuckDB gives them.
        inputs: What the SQL is over.

    Returns:
        An Arrow type.
    """
    found: Any = field.type
    for schema in inputs:
        at = schema.get_field_index(field.name)
        kind: Any = schema.field(at).type if at >= 0 else found
        wordless = isinstance(kind, pa.BaseExtensionType) or pa.types.is_duration(kind)
        if (wordless or pa.types.is_nested(kind)) and plain(storage_type(kind)).equals(
            plain(found)
        ):
            return kind
        if all(pa.types.is_timestamp(one) and one.tz for one in (kind, found)):
            return pa.timestamp(found.unit, kind.tz)
    return found


def plain(kind: pa.DataType) -> pa.DataType:
    """A type of DuckDB's as it is promised: integers for its 128 bits, `item` in lists.

    Args:
        kind: As DuckDB gives it.

    Returns:
        An Arrow type.

    Example:
        >>> plain(pa.decimal128(38, 0))
        DataType(int64)
    """
    inner: Any = kind
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):  # DuckDB has one kind of lists
        return pa.list_(plain(inner.value_type))
    if pa.types.is_fixed_size_list(kind):
        sized: pa.DataType = pa.list_(plain(inner.value_type), inner.list_size)
        return sized
    if pa.types.is_struct(kind) and [one.name for one in inner] == [_SEALED]:
        from heliostat.data.extensions import ArrowPythonObjectType  # noqa: PLC0415 - loads pandas

        return ArrowPythonObjectType()
    if pa.types.is_struct(kind):
        fields: list[Any] = [pa.field(one.name, plain(one.type)) for one in inner]
        return pa.struct(fields)
    # What SUM gives for integers; whole DECIMALs of full width are not told from it.
    wide: pa.DataType = pa.decimal128(38, 0)
    return pa.int64() if kind.equals(wide) else kind
