"""DataType: the type of a column as users name it; a thin value around one of Arrow, numpy or Python."""

import datetime
import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.arrays import RaggedTensorType, is_tensor

__all__ = ["DataType", "TypeCategory"]


class TypeCategory(Enum):
    """Kinds of types, for `DataType.is_of`."""

    LIST = "list"
    LARGE_LIST = "large_list"
    STRUCT = "struct"
    MAP = "map"
    TENSOR = "tensor"
    TEMPORAL = "temporal"


_Bool = bool  # `DataType.bool` is a type of columns
_OF_PYTHON: dict[type, pa.DataType] = {
    bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary(),
    datetime.datetime: pa.timestamp("us"), datetime.date: pa.date32(),
    datetime.timedelta: pa.duration("us"), datetime.time: pa.time64("us"),
    type(None): pa.null(), decimal.Decimal: pa.decimal128(38, 18),
}  # fmt: skip
_TEMPORAL: dict[str, Any] = {
    "timestamp": lambda unit, tz: pa.timestamp(unit or "us", tz),
    "date32": lambda unit, tz: pa.date32(),
    "date64": lambda unit, tz: pa.date64(),
    "time32": lambda unit, tz: pa.time32(unit or "s"),
    "time64": lambda unit, tz: pa.time64(unit or "us"),
    "duration": lambda unit, tz: pa.duration(unit or "us"),
}


@dataclass(frozen=True, repr=False)
class DataType:
    """The type of a column.

    Args:
        given: A type of Arrow's, a dtype of numpy's or a class of Python's.

    Raises:
        TypeError: If it is something else.

    Example:
        >>> DataType.int64(), DataType(int), DataType.from_numpy("int8")
        (DataType(arrow:int64), DataType(python:int), DataType(numpy:int8))
        >>> DataType.list(DataType.string()).to_arrow_dtype()
        ListType(list<item: string>)
    """

    given: Any

    def __post_init__(self) -> None:
        if not isinstance(self.given, pa.DataType | np.dtype | type):
            raise TypeError(f"a DataType is of Arrow, numpy or Python, got {self.given!r:.80}")

    def __repr__(self) -> str:
        if isinstance(self.given, type):
            return f"DataType(python:{self.given.__name__})"
        return f"DataType({'arrow' if self.is_arrow_type() else 'numpy'}:{self.given})"

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type.

        Raises:
            TypeError: If there is none for a class of Python's.
        """
        return self.to_arrow_dtype()

    def to_arrow_dtype(self, values: Sequence[Any] | None = None) -> pa.DataType:
        """The Arrow type.

        Args:
            values: Of a class of Python's, from which its type is inferred.

        Raises:
            TypeError: If there is none for a class, and no values are given.
        """
        if isinstance(self.given, pa.DataType):
            return self.given
        if isinstance(self.given, np.dtype):
            return pa.from_numpy_dtype(self.given)
        if values:
            return pa.infer_type(values)  # type: ignore[call-arg]  # the stubs want a mask
        if self.given not in _OF_PYTHON:
            raise TypeError(f"{self} has no type in Arrow by itself: give values of it")
        return _OF_PYTHON[self.given]

    def to_numpy_dtype(self) -> "np.dtype[Any]":
        """The dtype in numpy; object where it has none."""
        if isinstance(self.given, np.dtype):
            return self.given
        try:
            return np.dtype("O" if self.is_python_type() else self.given.to_pandas_dtype())
        except (NotImplementedError, TypeError):
            return np.dtype("O")

    def to_python_type(self) -> type:
        """The class it was made of.

        Raises:
            ValueError: If it was made of something else.
        """
        if not isinstance(self.given, type):
            raise ValueError(f"{self} is not of a class of Python's; see to_arrow_dtype()")
        return self.given

    def _is(self, *names: str) -> _Bool:
        try:
            kind = self.to_arrow_dtype()
        except (TypeError, pa.ArrowNotImplementedError):
            return False
        return any(getattr(pa.types, f"is_{name}")(kind) for name in names)

    def is_of(self, category: TypeCategory | str) -> _Bool:
        """Whether it is of a kind.

        Args:
            category: Which.

        Example:
            >>> DataType.list(DataType.int64()).is_of(TypeCategory.LIST)
            True
        """
        kind = TypeCategory(category)
        if kind is TypeCategory.LARGE_LIST:
            return self._is("large_list")
        return bool(getattr(self, f"is_{kind.value}_type")())

    def is_arrow_type(self) -> _Bool:
        """Whether it was made of a type of Arrow's."""
        return isinstance(self.given, pa.DataType)

    def is_numpy_type(self) -> _Bool:
        """Whether it was made of a dtype of numpy's."""
        return isinstance(self.given, np.dtype)

    def is_python_type(self) -> _Bool:
        """Whether it was made of a class of Python's."""
        return isinstance(self.given, type)

    def is_list_type(self) -> _Bool:
        """Lists, of any or one length."""
        views = ("list_view", "large_list_view")
        return self._is("list", "large_list", "fixed_size_list", *views)

    def is_struct_type(self) -> _Bool:
        """Structs."""
        return self._is("struct")

    def is_map_type(self) -> _Bool:
        """Maps."""
        return self._is("map")

    def is_nested_type(self) -> _Bool:
        """Lists, structs, maps and unions."""
        return self._is("nested")

    def is_tensor_type(self) -> _Bool:
        """Tensors, of one or several shapes."""
        return is_tensor(self.given)

    def is_temporal_type(self) -> _Bool:
        """Dates, times and durations."""
        return self._is("temporal")

    def is_null_type(self) -> _Bool:
        """Nothing but nulls."""
        return self._is("null")

    def is_string_type(self) -> _Bool:
        """Texts."""
        return self._is("string", "large_string", "string_view")

    def is_binary_type(self) -> _Bool:
        """Bytes."""
        return self._is("binary", "large_binary", "fixed_size_binary", "binary_view")

    def is_boolean_type(self) -> _Bool:
        """True or false."""
        return self._is("boolean")

    def is_integer_type(self) -> _Bool:
        """Integers."""
        return self._is("integer")

    def is_uint64_type(self) -> _Bool:
        """Integers of 64 bits from 0."""
        return self._is("uint64")

    def is_floating_type(self) -> _Bool:
        """Floating-point numbers."""
        return self._is("floating")

    def is_numerical_type(self) -> _Bool:
        """Integers, floating-point numbers and decimals."""
        return self._is("integer", "floating", "decimal")

    @classmethod
    def from_arrow(cls, arrow_type: pa.DataType) -> "DataType":
        """Of an Arrow type.

        Args:
            arrow_type: The type.
        """
        return cls(arrow_type)

    @classmethod
    def from_numpy(cls, numpy_dtype: "np.dtype[Any] | str") -> "DataType":
        """Of a dtype of numpy's.

        Args:
            numpy_dtype: It, or its name.
        """
        return cls(np.dtype(numpy_dtype))

    @classmethod
    def from_dtype(cls, dtype: Any) -> "DataType | None":
        """Of whatever names a type; None if it does not.

        Args:
            dtype: A DataType, a type of Arrow's or Python's, or what numpy takes for a dtype.
        """
        if isinstance(dtype, cls):
            return dtype
        try:
            return cls(dtype if isinstance(dtype, pa.DataType | type) else np.dtype(dtype))
        except TypeError:
            return None

    @classmethod
    def infer_dtype(cls, value: Any) -> "DataType":
        """Of a value: that of an array's elements, else what Arrow would store it as, else its class.

        Args:
            value: Any.

        Example:
            >>> DataType.infer_dtype([1, 2])
            DataType(arrow:list<item: int64>)
        """
        if isinstance(value, np.ndarray | np.generic):
            return cls(value.dtype)
        try:
            return cls(pa.infer_type([value]))  # type: ignore[call-arg]  # the same
        except (pa.ArrowException, OverflowError):
            return cls(type(value))

    @classmethod
    def large_list(cls, value_type: "DataType") -> "DataType":
        """Lists with offsets of 64 bits.

        Args:
            value_type: Of what.
        """
        return cls(pa.large_list(value_type.arrow))

    @classmethod
    def fixed_size_list(cls, value_type: "DataType", list_size: int) -> "DataType":
        """Lists of one length.

        Args:
            value_type: Of what.
            list_size: The length.
        """
        return cls(pa.list_(value_type.arrow, list_size))

    @classmethod
    def struct(cls, fields: "Sequence[tuple[str, DataType]]") -> "DataType":
        """Structs.

        Args:
            fields: Names and their types.
        """
        return cls(pa.struct([(name, kind.arrow) for name, kind in fields]))

    @classmethod
    def map(cls, key_type: "DataType", value_type: "DataType") -> "DataType":
        """Maps.

        Args:
            key_type: Of keys.
            value_type: Of values.
        """
        return cls(pa.map_(key_type.arrow, value_type.arrow))

    @classmethod
    def tensor(cls, shape: tuple[int, ...], dtype: "DataType") -> "DataType":
        """Tensors of one shape.

        Args:
            shape: Theirs.
            dtype: Of their elements.
        """
        return cls(pa.fixed_shape_tensor(dtype.arrow, shape))

    @classmethod
    def variable_shaped_tensor(cls, dtype: "DataType", ndim: int = 2) -> "DataType":
        """Tensors of several shapes.

        Args:
            dtype: Of their elements.
            ndim: Is not kept: each has its own number of dimensions.
        """
        return cls(RaggedTensorType(dtype.arrow))

    @classmethod
    def temporal(
        cls, temporal_type: str, unit: str | None = None, tz: str | None = None
    ) -> "DataType":
        """Times.

        Args:
            temporal_type: `timestamp`, `date32`, `date64`, `time32`, `time64` or `duration`.
            unit: `s`, `ms`, `us` or `ns`.
            tz: The time zone of a timestamp.

        Raises:
            ValueError: If there is no such type, or not of that unit.
        """
        if temporal_type not in _TEMPORAL:
            known = ", ".join(_TEMPORAL)
            raise ValueError(f"temporal_type must be one of {known}, got {temporal_type!r}")
        return cls(_TEMPORAL[temporal_type](unit, tz))

    @classmethod
    def int8(cls) -> "DataType":
        """Integers of 8 bits."""
        return cls(pa.int8())

    @classmethod
    def int16(cls) -> "DataType":
        """Integers of 16 bits."""
        return cls(pa.int16())

    @classmethod
    def int32(cls) -> "DataType":
        """Integers of 32 bits."""
        return cls(pa.int32())

    @classmethod
    def int64(cls) -> "DataType":
        """Integers of 64 bits."""
        return cls(pa.int64())

    @classmethod
    def uint8(cls) -> "DataType":
        """Integers of 8 bits from 0."""
        return cls(pa.uint8())

    @classmethod
    def uint16(cls) -> "DataType":
        """Integers of 16 bits from 0."""
        return cls(pa.uint16())

    @classmethod
    def uint32(cls) -> "DataType":
        """Integers of 32 bits from 0."""
        return cls(pa.uint32())

    @classmethod
    def uint64(cls) -> "DataType":
        """Integers of 64 bits from 0."""
        return cls(pa.uint64())

    @classmethod
    def float32(cls) -> "DataType":
        """Numbers of single precision."""
        return cls(pa.float32())

    @classmethod
    def float64(cls) -> "DataType":
        """Numbers of double precision."""
        return cls(pa.float64())

    @classmethod
    def bool(cls) -> "DataType":
        """True or false."""
        return cls(pa.bool_())

    @classmethod
    def string(cls) -> "DataType":
        """Text."""
        return cls(pa.string())

    @classmethod
    def binary(cls) -> "DataType":
        """Bytes."""
        return cls(pa.binary())

    @classmethod
    def timestamp(cls, unit: str = "us", tz: str | None = None) -> "DataType":
        """Points in time.

        Args:
            unit: `s`, `ms`, `us` or `ns`.
            tz: The time zone, if any.
        """
        return cls(pa.timestamp(unit, tz))

    @classmethod
    def list(cls, value_type: "DataType") -> "DataType":
        """Lists.

        Args:
            value_type: Of what.
        """
        return cls(pa.list_(value_type.arrow))


def arrow_type(kind: object) -> pa.DataType:
    """The Arrow type of what a user gave as a type.

    Args:
        kind: A DataType or an Arrow type.

    Returns:
        The Arrow type.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(kind, DataType):
        return kind.arrow
    if isinstance(kind, pa.DataType):
        return kind
    raise TypeError(f"a type must be a DataType or a pyarrow type, got {kind!r}")
