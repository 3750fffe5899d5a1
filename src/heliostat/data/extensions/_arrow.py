"""Ray's names for columns of tensors in Arrow, over the types that Data has for them.

Tensors of one shape are Arrow's own (`pa.FixedShapeTensorType`), those of several shapes
`RaggedTensorType`. Ray's three types for the former are one here: what is made by any of these names
is such a column, and every such column is an instance of all of them.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.arrays import RaggedTensorType, is_object, ragged, tensors, to_arrow, to_numpy

__all__ = [
    "ArrowConversionError",
    "ArrowTensorArray",
    "ArrowTensorType",
    "ArrowTensorTypeV2",
    "ArrowVariableShapedTensorArray",
    "ArrowVariableShapedTensorType",
    "FixedShapeTensorFormat",
    "FixedShapeTensorType",
    "create_arrow_fixed_shape_tensor_type",
    "get_arrow_extension_tensor_types",
]

FixedShapeTensorType = pa.FixedShapeTensorType


class _Named(type):
    """A class whose instances are those of another: a name for it, with a constructor of its own."""

    stands_for: type

    def __instancecheck__(cls, instance: Any) -> bool:
        # Arrow has one class for the columns of all extension types, which their types tell apart.
        kind = getattr(instance, "type", None) if isinstance(instance, pa.Array) else instance
        column = issubclass(cls, _Column)
        return isinstance(kind, cls.stands_for) and column == isinstance(instance, pa.Array)


class ArrowTensorType(metaclass=_Named):
    """The type of a column of tensors of one shape; `ArrowTensorTypeV2` is the same.

    Args:
        shape: Of each tensor.
        dtype: Of its elements, as Arrow's.

    Example:
        >>> kind = ArrowTensorType((2, 3), pa.int64())
        >>> kind.shape, kind.value_type
        ([2, 3], DataType(int64))
        >>> import heliostat as ray
        >>> column = ray.data.from_numpy(np.zeros((4, 2, 3))).schema().types[0]
        >>> isinstance(column, ArrowTensorType)
        True
    """

    stands_for = pa.FixedShapeTensorType

    def __new__(cls, shape: tuple[int, ...], dtype: pa.DataType) -> Any:
        """A type of Arrow's."""
        return pa.fixed_shape_tensor(dtype, shape)


ArrowTensorTypeV2 = ArrowTensorType


class ArrowVariableShapedTensorType(metaclass=_Named):
    """The type of a column of tensors of several shapes, each of which keeps its own.

    Args:
        dtype: Of their elements, as Arrow's.

    Example:
        >>> ArrowVariableShapedTensorType(pa.float32()).value_type
        DataType(float)
    """

    stands_for = RaggedTensorType

    def __new__(cls, dtype: pa.DataType) -> Any:
        """A type of Data's."""
        return RaggedTensorType(dtype)


class _Column(metaclass=_Named):
    """What is a column, and no type."""

    stands_for: type = pa.DataType


class ArrowTensorArray(_Column):
    """A column of tensors of one shape, which `from_numpy` makes; `to_numpy_ndarray` is the way back."""

    stands_for = pa.FixedShapeTensorType

    @classmethod
    def from_numpy(cls, arr: Any, column_name: str | None = None) -> Any:
        """Arrays of one shape as a column, or of several shapes as one of those.

        Args:
            arr: An array with a dimension for the rows, or an iterable of arrays.
            column_name: For the text of an error.

        Raises:
            ArrowConversionError: If they are no arrays that Arrow has a type for.

        Example:
            >>> ArrowTensorArray.from_numpy(np.ones((2, 2, 2))).to_numpy_ndarray().shape
            (2, 2, 2)
        """
        try:
            if isinstance(arr, np.ndarray) and arr.dtype != object and arr.ndim > 1:
                return tensors(np.ascontiguousarray(arr))
            name = "" if column_name is None else column_name
            made = to_arrow(list(arr), name, "from_numpy")
            if is_object(made.type):
                raise TypeError(f"column {name!r}: these values are no arrays")
            return made
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise ArrowConversionError(str(error), column_name) from error


class ArrowVariableShapedTensorArray(_Column):
    """A column of tensors of several shapes, which `from_numpy` makes."""

    stands_for = RaggedTensorType

    @classmethod
    def from_numpy(
        cls, arr: "np.ndarray[Any, Any] | Iterable[Any]", column_name: str | None = None
    ) -> Any:
        """Arrays of any shapes as a column.

        Args:
            arr: Arrays of numbers of one type.
            column_name: For the text of an error.

        Raises:
            ArrowConversionError: If they have several types, or none that Arrow knows.

        Example:
            >>> made = ArrowVariableShapedTensorArray.from_numpy([np.ones((1, 2)), np.ones((3, 1))])
            >>> made.type.value_type
            DataType(double)
        """
        values = [None if value is None else np.asarray(value) for value in arr]
        kinds = {value.dtype for value in values if value is not None}
        if len(kinds) != 1 or next(iter(kinds)).kind not in "biuf":
            text = (
                f"tensors of several shapes have numbers of one type, got {sorted(map(str, kinds))}"
            )
            raise ArrowConversionError(text, column_name)
        return ragged(values)


class ArrowConversionError(Exception):
    """What cannot be stored as a column of Arrow's.

    Args:
        data_str: What is wrong; its beginning is told.
        column_name: Of the column.
        pa_type: What it was to become.

    Example:
        >>> raise ArrowConversionError("a lock", "guard", pa.int8())
        Traceback (most recent call last):
            ...
        heliostat.data.extensions._arrow.ArrowConversionError: Error converting data to Arrow: column 'guard' as int8: a lock
    """

    MAX_DATA_STR_LEN = 200

    def __init__(
        self, data_str: str, column_name: str | None = None, pa_type: pa.DataType | None = None
    ) -> None:
        if len(data_str) > self.MAX_DATA_STR_LEN:
            data_str = data_str[: self.MAX_DATA_STR_LEN] + "..."
        kind = "" if pa_type is None else f" as {pa_type}"
        where = "" if column_name is None else f"column {column_name!r}{kind}: "
        super().__init__(f"Error converting data to Arrow: {where}{data_str}")


class FixedShapeTensorFormat(Enum):
    """Ray's ways to store tensors of one shape. There is one here, Arrow's own, whichever is named."""

    V1 = "v1"
    V2 = "v2"
    ARROW_NATIVE = "native"

    def to_type(self) -> type:
        """The class of such columns' types.

        Example:
            >>> FixedShapeTensorFormat.V2.to_type().__name__
            'FixedShapeTensorType'
        """
        return pa.FixedShapeTensorType


def create_arrow_fixed_shape_tensor_type(shape: tuple[int, ...], dtype: pa.DataType) -> Any:
    """The type of a column of tensors of one shape.

    Args:
        shape: Of each tensor.
        dtype: Of its elements, as Arrow's.

    Example:
        >>> create_arrow_fixed_shape_tensor_type((2,), pa.int8()).shape
        [2]
    """
    return pa.fixed_shape_tensor(dtype, shape)


def get_arrow_extension_tensor_types() -> tuple[type, ...]:
    """The classes of types of columns that hold tensors.

    Example:
        >>> isinstance(ArrowTensorType((2,), pa.int8()), get_arrow_extension_tensor_types())
        True
    """
    return pa.FixedShapeTensorType, RaggedTensorType


def numpy_of(column: Any) -> "np.ndarray[Any, Any]":
    """A column of tensors, in chunks or not, as one array, or an array of arrays."""
    whole = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    made: np.ndarray[Any, Any] = to_numpy(whole, True)
    return made
