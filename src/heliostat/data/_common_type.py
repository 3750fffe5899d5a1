"""One type for a column whose blocks or files have several: as Arrow promotes, and tensors beside.

Arrow's own promotion knows nothing of tensors. A function that gives arrays gives blocks of tensors
of one shape where they happen to be of one, lists or tensors of several shapes elsewhere.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.arrays import (
    RaggedTensorType,
    is_object,
    is_tensor,
    ragged,
    to_numpy,
    values_of,
)


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all of them, in a type each that holds the values of all.

    Args:
        schemas: At least one.

    Returns:
        The schema.

    Raises:
        pa.ArrowInvalid, pa.ArrowTypeError: if a column has types that cannot be combined.

    Example:
        >>> common_schema([pa.schema([("a", pa.null())]), pa.schema([("a", pa.int64())])]).types
        [DataType(int64)]
    """
    if all(schema.equals(schemas[0]) for schema in schemas):
        return schemas[0]
    kinds = _special(schemas)
    fitted = [
        pa.schema([one.with_type(kinds.get(one.name, one.type)) for one in schema])
        for schema in schemas
    ]
    return pa.unify_schemas(fitted, promote_options="permissive")


def fitted(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables, as far as tensors and objects have to change for Arrow to put them together.

    Args:
        tables: Blocks whose schemas differ.

    Returns:
        Tables with the same values.

    Raises:
        pa.ArrowInvalid, pa.ArrowTypeError: if tensors are of types that cannot be combined.
    """
    kinds = _special([table.schema for table in tables])
    if not kinds:
        return list(tables)
    return [
        pa.table(
            {
                name: as_type(table.column(name), kinds.get(name, table.schema.field(name).type))
                for name in table.column_names
            }
        )
        for table in tables
    ]


def as_type(column: Any, kind: Any) -> Any:
    """A column in the type that was found for it.

    Args:
        column: A chunked array.
        kind: That of the column, or one of tensors, lists or objects.

    Returns:
        The same values.
    """
    if column.type == kind:
        return column
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), kind)
    if is_object(kind):
        from heliostat.data.extensions import ArrowPythonObjectArray  # noqa: PLC0415 - loads pandas

        return pa.chunked_array([ArrowPythonObjectArray.from_objects(values_of(column))])
    if isinstance(kind, RaggedTensorType):
        if column.null_count == len(column):
            return pa.nulls(len(column), kind)
        if not is_tensor(column.type) and column.combine_chunks().flatten().null_count:
            raise pa.ArrowInvalid("lists that have nulls among their values are no tensors")
        dtype: Any = kind.value_type.to_pandas_dtype()
        values = [
            None if one is None else np.asarray(one, dtype) for one in to_numpy(column, False)
        ]
        return pa.chunked_array([ragged(values)])
    if not is_tensor(kind) and not is_tensor(column.type):
        return column.cast(kind)
    if not is_tensor(kind):
        storage = pa.chunked_array([chunk.storage for chunk in column.chunks])
        return storage.cast(kind)
    chunks = [chunk.storage.cast(kind.storage_type) for chunk in column.chunks]
    return pa.chunked_array([pa.ExtensionArray.from_storage(kind, one) for one in chunks])


def _special(schemas: Sequence[pa.Schema]) -> dict[str, pa.DataType]:
    """What becomes of the columns that Arrow's promotion does not know, and that differ."""
    kinds: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for one in schema:
            found = kinds.setdefault(one.name, [])
            if one.type not in found and not pa.types.is_null(one.type):
                found.append(one.type)
    return {
        name: _common(found)
        for name, found in kinds.items()
        if len(found) > 1
        and (any(is_tensor(kind) or is_object(kind) for kind in found) or _some_are_encoded(found))
    }


def _some_are_encoded(kinds: Sequence[pa.DataType]) -> bool:
    return len({pa.types.is_dictionary(kind) for kind in kinds}) > 1


def _common(kinds: list[Any]) -> Any:
    for kind in kinds:
        if is_object(kind):
            return kind
    if _some_are_encoded(kinds):
        inner = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in kinds]
        return common_schema([pa.schema([("", kind)]) for kind in inner]).field(0).type
    others = [kind for kind in kinds if not is_tensor(kind)]
    if not all(pa.types.is_list(kind) or pa.types.is_large_list(kind) for kind in others):
        raise pa.ArrowInvalid(f"there is no type for both of {' and '.join(map(str, kinds))}")
    values = [pa.schema([("", kind.value_type)]) for kind in kinds]
    value = pa.unify_schemas(values, promote_options="permissive").field(0).type
    fixed = [kind for kind in kinds if isinstance(kind, pa.FixedShapeTensorType)]
    shapes = {tuple(kind.shape) for kind in fixed}
    if len(fixed) == len(kinds) - len(others) and others and all(len(one) == 1 for one in shapes):
        return pa.list_(value)
    plain = not any(kind.permutation for kind in fixed)
    if len(fixed) == len(kinds) and len(shapes) == 1 and plain:
        return pa.fixed_shape_tensor(value, shapes.pop())
    return RaggedTensorType(value)
