"""Columns of tensors in pandas: one array with a dimension for the rows, or arrays of several shapes."""

import ast
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from heliostat.data.extensions._arrow import (
    ArrowTensorArray,
    ArrowVariableShapedTensorArray,
    numpy_of,
)

__all__ = ["TensorArray", "TensorArrayElement", "TensorDtype", "column_needs_tensor_extension"]

Array = Any  # of numpy: the stubs of its attributes know less than it does
_NAME = re.compile(
    r"TensorDtype\(shape=(?P<shape>\((?:(?:\d+|None),?\s?)*\)), dtype=(?P<dtype>\w+)\)"
)


def column_needs_tensor_extension(s: "pd.Series[Any]") -> bool:
    """Whether a column of pandas' holds arrays as objects, which are better a `TensorArray`.

    Args:
        s: The column; its first value is looked at.

    Example:
        >>> column_needs_tensor_extension(pd.Series([np.zeros(2), np.zeros(2)]))
        True
    """
    return s.dtype == object and not s.empty and isinstance(s.iloc[0], np.ndarray)


def _plain(value: Any) -> Any:
    return value.to_numpy() if isinstance(value, TensorArray | TensorArrayElement) else value


class _Tensor:
    """What holds an array: numpy's operators, also as functions, as numpy calls them; and its facts."""

    _tensor: Any

    @property
    def numpy_dtype(self) -> Any:
        """Of the elements."""
        return self._tensor.dtype

    @property
    def numpy_ndim(self) -> int:
        """How many dimensions the array has; in a column, that of the rows with them."""
        return int(self._tensor.ndim)

    @property
    def numpy_shape(self) -> tuple[int, ...]:
        """The sizes of the array; in a column, that of the rows first."""
        return tuple(self._tensor.shape)

    @property
    def numpy_size(self) -> int:
        """How many elements the array has."""
        return int(self._tensor.size)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if kwargs.pop("out", None) is not None or method != "__call__":
            return NotImplemented
        return self._of(getattr(ufunc, method)(*map(_plain, inputs), **kwargs))

    def _of(self, values: Any) -> Any:
        raise NotImplementedError


def _operator(function: Callable[[Any, Any], Any], backwards: bool) -> Any:
    def method(self: Any, other: Any) -> Any:
        if isinstance(other, pd.Series | pd.DataFrame | pd.Index):
            return NotImplemented  # pandas takes itself apart and asks again
        sides = (_plain(other), _plain(self)) if backwards else (_plain(self), _plain(other))
        return self._of(function(*sides))

    return method


for _word in [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and_",
    "or_",
    "xor",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
]:
    _method = _word.rstrip("_")
    setattr(_Tensor, f"__{_method}__", _operator(getattr(operator, _word), False))
    if _word not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(_Tensor, f"__r{_method}__", _operator(getattr(operator, _word), True))


class TensorArrayElement(_Tensor):
    """One tensor of a column. It computes as an array does.

    Args:
        values: The array.

    Example:
        >>> (TensorArrayElement(np.arange(3)) + 1).to_numpy().tolist()
        [1, 2, 3]
    """

    __hash__ = None  # type: ignore[assignment]  # as of arrays

    def __init__(self, values: Array) -> None:
        self._tensor = values

    def _of(self, values: Any) -> Any:
        return TensorArrayElement(values) if isinstance(values, np.ndarray) else values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._tensor, dtype, copy=copy) if copy else np.asarray(self._tensor, dtype)

    def __repr__(self) -> str:
        return repr(self._tensor)

    def __str__(self) -> str:
        return str(self._tensor)

    def __float__(self) -> float:
        return float(self._tensor)

    def __int__(self) -> int:
        return int(self._tensor)

    def __complex__(self) -> complex:
        return complex(self._tensor)

    def to_numpy(self) -> Array:
        """The array."""
        return np.asarray(self._tensor)


class TensorArray(_Tensor, pd.api.extensions.ExtensionArray):
    """A column of tensors.

    Args:
        values: An array with a dimension for the rows, or arrays.

    Raises:
        TypeError: If they are no arrays.

    Example:
        >>> frame = pd.DataFrame({"image": TensorArray(np.zeros((3, 2, 2)))})
        >>> frame.dtypes["image"]
        TensorDtype(shape=(2, 2), dtype=float64)
        >>> import heliostat as ray
        >>> ray.data.from_pandas(frame).take_batch(3)["image"].shape
        (3, 2, 2)
    """

    __hash__ = None  # type: ignore[assignment]  # as of arrays
    _REDUCERS = frozenset(
        ["sum", "all", "any", "min", "max", "mean", "median", "prod", "std", "var"]
    )

    def __init__(self, values: Any) -> None:
        if isinstance(values, TensorArray):
            raise TypeError("Use the copy() method to create a copy of a TensorArray")
        if isinstance(values, TensorArrayElement):
            values = [values]
        if not isinstance(values, np.ndarray) or values.dtype == object:
            values = _stacked(values)
        if not values.ndim:
            raise TypeError(f"a column of tensors has a dimension for its rows, got {values!r}")
        self._tensor = values

    def _of(self, values: Any) -> Any:
        rows = isinstance(values, np.ndarray) and len(values) == len(self)
        return TensorArray(values) if rows else values

    @classmethod
    def _from_sequence(
        cls, scalars: Any, *, dtype: Any = None, copy: bool = False
    ) -> "TensorArray":
        values = scalars.to_numpy() if isinstance(scalars, TensorArray) else scalars
        return cls(values.copy() if copy and isinstance(values, np.ndarray) else values)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence["TensorArray"]) -> "TensorArray":
        shapes = {part.dtype.element_shape for part in to_concat}
        if len(shapes) == 1 and not any(part.is_variable_shaped for part in to_concat):
            return cls(np.concatenate([part._tensor for part in to_concat]))
        return cls([value for part in to_concat for value in part._tensor])

    def __getitem__(self, item: Any) -> Any:
        item = pd.api.indexers.check_array_indexer(self, _plain(item))
        found = self._tensor[item]
        if isinstance(item, slice | np.ndarray):
            return TensorArray(found)
        return TensorArrayElement(found) if isinstance(found, np.ndarray) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        key = pd.api.indexers.check_array_indexer(self, key)
        if isinstance(value, pd.Series):
            value = value.array
        if isinstance(value, list):
            value = [_plain(one) for one in value]
        self._tensor[key] = np.nan if value is None else _plain(value)

    def __len__(self) -> int:
        return len(self._tensor)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._tensor, dtype) if copy else np.asarray(self._tensor, dtype)

    def __repr__(self) -> str:
        return repr(self._tensor)

    def __str__(self) -> str:
        return str(self._tensor)

    @property
    def dtype(self) -> "TensorDtype":
        """The shape of each tensor, with None for sizes that differ, and the dtype of the elements."""
        if self.is_variable_shaped:
            return TensorDtype((None,) * self._tensor[0].ndim, self._tensor[0].dtype)
        return TensorDtype(self._tensor.shape[1:], self._tensor.dtype)

    @property
    def is_variable_shaped(self) -> bool:
        """Whether the tensors have several shapes."""
        return bool(self._tensor.dtype == object)

    @property
    def nbytes(self) -> int:
        """The size of the elements."""
        parts = self._tensor if self.is_variable_shaped else [self._tensor]
        return sum(part.nbytes for part in parts)

    def isna(self) -> Any:
        """Which tensors are NaN altogether."""
        return np.array([_is_missing(value) for value in self._tensor], bool)

    def take(
        self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None
    ) -> "TensorArray":
        """Those at positions.

        Args:
            indices: Their positions; with `allow_fill`, -1 is one that is missing.
            allow_fill: Whether -1 is that, and not the last one.
            fill_value: What its elements are instead; NaN, if not said.
        """
        positions = np.asarray(indices, np.intp)
        if not allow_fill or not (positions < 0).any():
            return TensorArray(self._tensor.take(positions, axis=0))
        pd.api.extensions.take(
            np.empty(len(self)), positions, allow_fill=True
        )  # refuses what is none
        fill = np.nan if fill_value is None else _plain(fill_value)
        taken = [
            self._tensor[at] if at >= 0 else np.full(self._tensor.shape[1:], fill)
            for at in positions
        ]
        return TensorArray(np.stack(taken))

    def copy(self) -> "TensorArray":
        """Another array with the same elements."""
        return TensorArray(self._tensor.copy())

    def to_numpy(self, dtype: Any = None, copy: bool = False, na_value: Any = None) -> Array:
        """The array.

        Args:
            dtype: What its elements become.
            copy: Whether it is one that nobody else has.
            na_value: What stands for tensors that are missing.
        """
        made = np.array(self._tensor, dtype, copy=True) if copy else np.asarray(self._tensor, dtype)
        if na_value is not None and na_value is not pd.api.extensions.no_default:
            made = made.copy()
            made[self.isna()] = na_value
        return made

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """The elements as another type; `object` and `str` are a column of arrays or of their texts.

        Args:
            dtype: Of numpy or pandas.
            copy: Whether it is another array where nothing changes.
        """
        kind = pd.api.types.pandas_dtype(dtype)
        if isinstance(kind, TensorDtype):
            other = (
                self._tensor if self.is_variable_shaped else self._tensor.astype(kind.element_dtype)
            )
            return TensorArray(other.copy() if copy else other)
        if kind.kind in "OUT":
            text = kind.kind != "O" or dtype is str
            made = np.empty(len(self), object)
            for position, value in enumerate(self._tensor):
                made[position] = str(value) if text else value
            return made
        return TensorArray(self._tensor.astype(kind))

    def _reduce(
        self, name: str, *, skipna: bool = True, keepdims: bool = False, **kwargs: Any
    ) -> Any:
        if name not in self._REDUCERS:
            raise NotImplementedError(f"{name!r} of tensors; there are {sorted(self._REDUCERS)}")
        made = getattr(np, name)(self._tensor, axis=0, keepdims=keepdims)
        return TensorArray(made) if keepdims else TensorArrayElement(made)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Whether any element is true, along an axis or of all; as numpy's."""
        return self._tensor.any(axis=axis, out=out, keepdims=keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Whether every element is true, along an axis or of all; as numpy's."""
        return self._tensor.all(axis=axis, out=out, keepdims=keepdims)

    def __arrow_array__(self, type: Any = None) -> Any:
        home = ArrowVariableShapedTensorArray if self.is_variable_shaped else ArrowTensorArray
        return home.from_numpy(self._tensor)


def _stacked(values: Iterable[Any]) -> Array:
    """Arrays as one array with a dimension more, or as an array of arrays where their shapes differ."""
    found = [_plain(value) for value in values]
    for value in found:
        if not isinstance(value, np.ndarray | np.generic | list | tuple | int | float | bool):
            raise TypeError(
                f"a column of tensors holds arrays, got {type(value).__name__} ({value!r})"
            )
    arrays = [np.asarray(value) for value in found]
    if len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    made = np.empty(len(arrays), object)
    for position, array in enumerate(arrays):
        made[position] = array
    return made


def _is_missing(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind == "f" and bool(np.isnan(array).all())


@pd.api.extensions.register_extension_dtype
class TensorDtype(pd.api.extensions.ExtensionDtype):
    """What pandas calls a column of tensors.

    Args:
        shape: Of each tensor; None for sizes that differ.
        dtype: Of the elements.

    Example:
        >>> kind = TensorDtype((2, 2), np.dtype("int64"))
        >>> pd.Series([np.zeros((2, 2), int)], dtype=kind).dtype == kind
        True
    """

    base = None
    type = TensorArrayElement

    def __init__(self, shape: tuple[int | None, ...], dtype: Any) -> None:
        self._shape = tuple(shape)
        self._dtype: Any = np.dtype(dtype)

    @property
    def element_dtype(self) -> Any:
        """Of the elements."""
        return self._dtype

    @property
    def element_shape(self) -> tuple[int | None, ...]:
        """Of each tensor; None for sizes that differ."""
        return self._shape

    @property
    def is_variable_shaped(self) -> bool:
        """Whether the tensors have several shapes."""
        return bool(self._shape) and all(size is None for size in self._shape)

    @property
    def name(self) -> str:  # type: ignore[override]  # as pandas documents it
        """As `construct_from_string` takes it."""
        return f"TensorDtype(shape={self._shape}, dtype={self._dtype})"

    @property
    def _is_boolean(self) -> bool:
        return bool(self._dtype.kind == "b")

    @classmethod
    def construct_from_string(cls, string: str) -> "TensorDtype":
        """The dtype by its name.

        Args:
            string: Such as "TensorDtype(shape=(2, 2), dtype=int64)".

        Raises:
            TypeError: For what is no such name.

        Example:
            >>> TensorDtype.construct_from_string("TensorDtype(shape=(2,), dtype=int8)").element_shape
            (2,)
        """
        found = _NAME.fullmatch(string) if isinstance(string, str) else None
        if found is None:
            raise TypeError(
                f"Cannot construct a '{cls.__name__}' from {string!r}; expected a text like "
                "'TensorDtype(shape=(2, 2), dtype=int64)'"
            )
        return cls(ast.literal_eval(found["shape"]), np.dtype(found["dtype"]))

    @classmethod
    def construct_array_type(cls) -> Any:
        """The class of its columns."""
        return TensorArray

    def __from_arrow__(self, array: Any) -> TensorArray:
        return TensorArray(numpy_of(array))

    def __repr__(self) -> str:
        return self.name
