"""One column between Arrow, numpy and pandas; arrays of more than one dimension are tensors.

Tensors of one shape are Arrow's own; where shapes differ, each value keeps its own shape beside its
elements. Nothing is pickled.
"""

import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data._times import as_times, in_known_units

__all__ = [
    "RaggedTensorType",
    "from_numbers",
    "has_few_texts",
    "is_frame",
    "is_tensor",
    "no_rows",
    "refuse_objects",
    "schema_without_views",
    "tensors",
    "to_arrow",
    "to_numbers",
    "to_numpy",
    "without_views",
]


# From so many texts on it is looked whether they are few different ones, at so many of them.
MANY_TEXTS = 1 << 10
SAMPLE = 1 << 8


# Set to 1 by users who trust whoever wrote their files.
TRUST = "RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR"

# So many characters of another library's error are told.
MESSAGE = 300

# Rows of more columns than this are not worth a function of their own.
MANY_COLUMNS = 100


class RaggedTensorType(pa.ExtensionType):
    """Tensors of different shapes.

    Args:
        value_type: Of their elements.

    Example:
        >>> RaggedTensorType(pa.uint8()).value_type
        DataType(uint8)
    """

    def __init__(self, value_type: pa.DataType) -> None:
        parts = [("data", pa.large_list(value_type)), ("shape", pa.list_(pa.int32()))]
        super().__init__(pa.struct(parts), "heliostat.ragged_tensor")

    @property
    def value_type(self) -> pa.DataType:
        """The type of the elements."""
        storage: Any = self.storage_type
        value_type: pa.DataType = storage.field("data").type.value_type
        return value_type

    def __hash__(self) -> int:
        return hash((self.extension_name, self.storage_type))

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(
        cls, storage_type: pa.DataType, serialized: bytes
    ) -> "RaggedTensorType":
        kind: Any = storage_type
        if not pa.types.is_struct(kind) or [part.name for part in kind] != ["data", "shape"]:
            raise pa.ArrowInvalid(f"a column of type {kind} says that it holds tensors")
        found = cls(kind.field("data").type.value_type)
        if found.storage_type != kind:
            raise pa.ArrowInvalid(f"a column of type {kind} says that it holds tensors")
        return found


# The stubs know the older class only.
_REGISTER: Any = pa.register_extension_type
with contextlib.suppress(pa.ArrowKeyError):  # this module may be loaded twice
    _REGISTER(RaggedTensorType(pa.uint8()))


def to_arrow(column: Any, name: str, source: str) -> Any:
    """One column as an Arrow array; arrays of more than one dimension become tensors."""
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    column = _as_numpy(column, name, source)
    if isinstance(column, np.ma.MaskedArray) and column.ndim == 1:  # what is masked is null
        return pa.array(column)
    if isinstance(column, str | bytes | np.generic) or not hasattr(column, "__len__"):
        raise ValueError(
            f"{source} returned {type(column).__name__} for column {name!r}; a column is a list "
            "or an array with one value for each row"
        )
    try:
        if is_pandas(column, "Series"):
            if column.dtype != object or not _holds_arrays(column):
                return pa.Array.from_pandas(column)
            column = list(column)
        column = as_times(column)
        if _holds_arrays(column) and not (
            isinstance(column, np.ndarray) and column.dtype != object
        ):
            column = _stack([_as_numpy(value, name, source) for value in column])
            if isinstance(column, pa.Array):
                return column
        if isinstance(column, np.ndarray) and column.dtype != object:
            return _from_numpy(column)
        return pa.array(column)
    except (pa.ArrowException, OverflowError) as error:
        from heliostat.data.extensions._objects import kept  # noqa: PLC0415 - it loads pandas

        return kept(column, f"column {name!r} from {source}", short(error))


def short(error: Exception) -> str:
    """What an error says, without a picture that is in it."""
    text = " ".join(str(error).split())
    return text if len(text) <= MESSAGE else f"{text[: MESSAGE // 2]} ... {text[-MESSAGE // 2 :]}"


def _is_array_like(value: Any) -> bool:
    """Whether it is an array of another library's, such as a tensor of torch's."""
    if isinstance(value, np.ndarray | np.generic) or not hasattr(type(value), "__array__"):
        return False
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _as_numpy(value: Any, name: str, source: str) -> Any:
    """What is array-like as an array, with numbers for those without dimensions."""
    if isinstance(value, np.ndarray):
        return value if value.ndim else value[()]
    if not _is_array_like(value) or is_pandas(value, "Series"):
        return value
    try:
        # The gradient of a value that is stored leads nowhere.
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"column {name!r} from {source} cannot be stored: no array can be made of a "
            f"{type(value).__name__} of {value.dtype}: {short(error)}"
        ) from error
    return array if array.ndim else array[()]


def _from_numpy(array: "np.ndarray[Any, Any]") -> Any:
    # Arrow would keep a view, and the user's function may write into the same array next time.
    array = array.astype(array.dtype.newbyteorder("="), order="C")
    if array.ndim > 1:
        return tensors(array)
    return _elements_of(array)


def _elements_of(array: "np.ndarray[Any, Any]") -> Any:
    return from_numbers(array) if array.dtype.kind in "iuf" else pa.array(in_known_units(array))


def from_numbers(array: "np.ndarray[Any, Any]") -> Any:
    """What `pa.array` gives for numbers. That loads pandas: half a second and 35 MB a process.

    Args:
        array: Of one dimension, of ints or floats, without gaps; it is not copied.

    Returns:
        An Arrow array.

    Example:
        >>> from_numbers(np.arange(3)).to_pylist()
        [0, 1, 2]
    """
    kind = pa.from_numpy_dtype(array.dtype)
    return pa.Array.from_buffers(kind, len(array), [None, pa.py_buffer(array.data)])


def to_numbers(array: Any, owned: bool = False) -> "np.ndarray[Any, Any]":
    """What `array.to_numpy` gives, and for ints and floats without loading pandas, as it does.

    Args:
        array: Of any type.
        owned: Nobody else has its memory, so that it may be written to.

    Returns:
        An array; of numbers a view.

    Example:
        >>> to_numbers(pa.array([1, 2, 3]).slice(1)).tolist()
        [2, 3]
    """
    kind = array.type
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    content = array.buffers()[1] if plain and not array.null_count and len(array) else None
    if content is None:
        made: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
        return made
    dtype = _DTYPES[kind.id]
    view: np.ndarray[Any, Any] = np.frombuffer(
        content, dtype, len(array), array.offset * dtype.itemsize
    )
    view.flags.writeable = owned and content.is_mutable
    return view


# Arrow says them by itself, but from Python at a hundred times the price.
_DTYPES = {
    pa.from_numpy_dtype(np.dtype(code)).id: np.dtype(code)
    for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}


def tensors(array: "np.ndarray[Any, Any]", missing: "np.ndarray[Any, Any] | None" = None) -> Any:
    """An array of several dimensions as a column of tensors.

    Not Arrow's own `from_numpy_ndarray`: it has none for no rows, and gives the type a permutation
    that says nothing, with which Arrow makes no column without rows.

    Args:
        array: In C's order; it is not copied.
        missing: Which tensors are null, whatever is in their places.

    Returns:
        An Arrow array; without elements, of lists or of tensors that may have several shapes.
    """
    size = math.prod(array.shape[1:])
    if size == 0:  # for which Arrow has no type
        absent = [False] * len(array) if missing is None else missing
        values = [None if no else one for one, no in zip(array, absent, strict=True)]
        element = _elements_of(array.reshape(-1)).type
        if array.ndim == 2:
            return pa.array(values, pa.list_(element))
        return ragged(values) if values else pa.nulls(0, RaggedTensorType(element))
    flat = array.reshape(-1)
    elements = _elements_of(flat)
    kind = pa.fixed_shape_tensor(elements.type, array.shape[1:])
    mask = None if missing is None else pa.array(missing)
    storage = pa.FixedSizeListArray.from_arrays(elements, size, mask=mask)
    return pa.ExtensionArray.from_storage(kind, storage)


def without_views(table: pa.Table) -> pa.Table:
    """A table whose text and bytes are laid out as Arrow's kernels take them.

    Polars and others give views, for which there are hardly any kernels.

    Args:
        table: Any.

    Returns:
        The same values; the same object, if there are no views in it.
    """
    schema = schema_without_views(table.schema)
    return table if schema.equals(table.schema) else table.cast(schema)


def schema_without_views(schema: pa.Schema) -> pa.Schema:
    """The columns that `without_views` gives."""
    if not any(one.type.id in _MAY_BE_VIEWS for one in schema):
        return schema
    return pa.schema([one.with_type(_without_views(one.type)) for one in schema])


def _without_views(kind: Any) -> Any:
    match kind.id:
        case _Type.STRING_VIEW:
            return pa.string() if _can_cast() else kind
        case _Type.BINARY_VIEW:
            return pa.binary() if _can_cast() else kind
        case _Type.DICTIONARY:
            return pa.dictionary(kind.index_type, _without_views(kind.value_type), kind.ordered)
        case _Type.LIST:
            return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)))
        case _Type.LARGE_LIST:
            return pa.large_list(kind.value_field.with_type(_without_views(kind.value_type)))
        case _Type.STRUCT:
            return pa.struct([one.with_type(_without_views(one.type)) for one in kind])
        case _Type.MAP:
            items = kind.item_field.with_type(_without_views(kind.item_type))
            return pa.map_(kind.key_field.with_type(_without_views(kind.key_type)), items)
    return kind


class _Type:
    """Numbers of Arrow's types, by which they are told apart faster than by asking each."""

    STRING_VIEW = pa.string_view().id
    BINARY_VIEW = pa.binary_view().id
    DICTIONARY = pa.dictionary(pa.int8(), pa.string()).id
    LIST = pa.list_(pa.int8()).id
    LARGE_LIST = pa.large_list(pa.int8()).id
    STRUCT = pa.struct([]).id
    MAP = pa.map_(pa.int8(), pa.int8()).id


_MAY_BE_VIEWS = {value for name, value in vars(_Type).items() if name.isupper()}


@functools.cache
def _can_cast() -> bool:
    # Arrow 17 has the types, but makes nothing else of them: what cannot be cast stays as it is.
    # Asked when there is a view, not on import: Arrow loads pandas to make an array.
    try:
        pa.array([], pa.string_view()).cast(pa.string())
    except pa.ArrowNotImplementedError:
        return False
    return True


def no_rows(schema: pa.Schema) -> pa.Table:
    """A table of these columns without rows, whatever their types are."""
    columns = [pa.nulls(0, field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _holds_arrays(column: Any) -> bool:
    for value in column:
        if value is not None:
            return isinstance(value, np.ndarray) or _is_array_like(value)
    return False


def _stack(values: Any) -> Any:
    shapes = {getattr(value, "shape", None) for value in values if value is not None}
    kinds: set[Any] = {value.dtype for value in values if hasattr(value, "dtype")}
    if len(shapes) == 1 and len(kinds) == 1 and kinds != {np.dtype(object)}:
        missing = np.array([value is None for value in values])
        if not missing.any():
            return np.stack(list(values))
        (shape,), (kind,) = shapes, kinds
        nothing = np.zeros(shape or (), kind)
        whole = np.stack([nothing if value is None else value for value in values])
        if whole.ndim > 1:
            return tensors(whole, missing)
    deep = any(shape is not None and len(shape) > 1 for shape in shapes)
    if deep and len(kinds) == 1 and next(iter(kinds)).kind in "biuf":
        return ragged(values)
    return [None if value is None else value.tolist() for value in values]


def ragged(values: Sequence[Any]) -> Any:
    """Tensors of different shapes as one column.

    Args:
        values: Arrays of one type, or None.

    Returns:
        The column.

    Example:
        >>> ragged([np.zeros((1, 2)), np.zeros((2, 2))]).type.value_type
        DataType(double)
    """
    there = [value for value in values if value is not None]
    flat = _elements_of(np.concatenate([np.ravel(value) for value in there]))
    sizes = [0 if value is None else value.size for value in values]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    data: Any = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), flat)
    shapes = pa.array([None if value is None else value.shape for value in values])
    shapes = shapes.cast(pa.list_(pa.int32()))
    kind = RaggedTensorType(flat.type)
    missing = pa.array([value is None for value in values])
    storage: Any = pa.StructArray.from_arrays([data, shapes], fields=_fields(kind), mask=missing)
    return pa.ExtensionArray.from_storage(kind, storage)


def _fields(kind: Any) -> list[Any]:
    return list(kind.storage_type)


def is_tensor(kind: pa.DataType) -> bool:
    """Whether a column holds tensors, of one shape or of several."""
    return isinstance(kind, pa.FixedShapeTensorType | RaggedTensorType)


def _elements(chunk: Any) -> "np.ndarray[Any, Any]":
    """Tensors as one array with a dimension more."""
    kind = chunk.type
    if pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type):
        return chunk.to_numpy_ndarray()  # type: ignore[no-any-return]  # the stubs lack it
    # Arrow's tensors are of numbers alone: masks and times go by their elements.
    flat = chunk.storage.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), *kind.shape)
    order = kind.permutation
    return flat if order is None else flat.transpose(0, *(axis + 1 for axis in order))  # type: ignore[no-any-return]


def to_numpy(column: Any, writable: bool, owned: bool = False) -> Any:
    """One column as an array; tensors of several shapes, or some missing, as an array of arrays.

    Args:
        column: A chunked array.
        writable: Copy what would be a read-only view.
        owned: Nobody else has its memory, so that numbers need no copy to be written to.

    Returns:
        The array.
    """
    if isinstance(column.type, RaggedTensorType):
        return _several_shapes(list(_shaped(column)), writable)
    if is_tensor(column.type) and column.null_count:
        values = np.full(len(column), None, object)
        there = to_numpy(column.drop_null(), writable, owned)
        for at, value in zip(np.flatnonzero(column.is_valid()), there, strict=True):
            values[at] = value
        return values
    if is_tensor(column.type):
        parts = [_elements(chunk) for chunk in column.chunks if len(chunk)]
        if not parts:
            return np.empty((0, *column.type.shape), column.type.value_type.to_pandas_dtype())
        array = parts[0] if len(parts) == 1 else np.concatenate(parts)
    elif is_encoded_text(column.type) or has_few_texts(column):
        return _each_value_once(column)
    elif column.num_chunks == 1:
        array = to_numbers(column.chunk(0), owned)
    elif _is_whole(column):
        array = np.concatenate([to_numbers(chunk) for chunk in column.chunks])
    else:
        array = column.to_numpy()
    return array.copy() if writable and not array.flags.writeable else array


def _several_shapes(tensors: list[Any], writable: bool) -> "np.ndarray[Any, Any]":
    shapes = {None if one is None else one.shape for one in tensors}
    if len(shapes) == 1 and 0 in (shapes.copy().pop() or ()):
        return np.stack(tensors)  # of one shape, for which there is no other type
    values = np.empty(len(tensors), object)
    for position, value in enumerate(tensors):
        values[position] = value.copy() if writable and value is not None else value
    return values


def _is_whole(column: Any) -> bool:
    """Whether a column's chunks are arrays of one type: numbers of which none is missing, or objects."""
    kind = column.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    whole = (number or isinstance(kind, pa.ExtensionType)) and not column.null_count
    return column.num_chunks > 1 and (whole or is_object(kind))


def has_few_texts(column: Any) -> bool:
    """Whether a column is of texts of which most occur again and again; a guess by the first ones.

    Args:
        column: A chunked array.

    Returns:
        True if it is worth while to work with each of them once.

    Example:
        >>> has_few_texts(pa.chunked_array([["a", "b"] * 1000]))
        True
    """
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not text or len(column) < MANY_TEXTS:
        return False
    return len(column.slice(0, SAMPLE).unique()) <= SAMPLE // 4


def is_object(kind: Any) -> bool:
    """Whether a column is of pickled objects."""
    return isinstance(kind, pa.ExtensionType) and kind.extension_name == "heliostat.python_object"


def refuse_objects(schema: pa.Schema, where: str) -> None:
    """Raise if a column is of pickled objects, which files do not hold: to read it is to run it.

    Args:
        schema: The columns.
        where: Who reads or writes a file, for the error.

    Raises:
        ValueError: which names the column.
    """
    for field in schema:
        if is_object(field.type) and os.environ.get(TRUST) != "1":
            raise ValueError(
                f"{where}: column {field.name!r} holds pickled objects, and who reads them from a "
                "file runs what is in them: leave it out, or make numbers, texts or bytes of it; if "
                f"you trust all who write the file, set {TRUST}=1"
            )


def is_encoded_text(kind: Any) -> bool:
    """Whether a column has numbers of texts instead of the texts."""
    return pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type)


def _each_value_once(column: Any) -> "np.ndarray[Any, Any]":
    """Texts as Python has them, made once for each different one: that is what takes the time."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = np.empty(len(encoded.dictionary) + 1, object)
    # Null is the last, which is also the one at -1.
    values[:-1] = encoded.dictionary.to_pylist()
    indices = encoded.indices
    if indices.null_count:
        indices = indices.fill_null(-1)
    taken: np.ndarray[Any, Any] = values[to_numbers(indices)]
    return taken


def _shaped(column: Any) -> Iterator[Any]:
    for chunk in column.chunks:
        storage = chunk.storage
        data, shapes = storage.field("data"), storage.field("shape").to_pylist()
        flat = data.values.to_numpy(zero_copy_only=False)
        starts = data.offsets.to_numpy()
        there = storage.is_valid().to_pylist()
        for number, (shape, valid) in enumerate(zip(shapes, there, strict=True)):
            value = flat[starts[number] : starts[number + 1]]
            yield value.reshape(shape) if valid and shape is not None else None


def is_frame(value: Any) -> bool:
    """Whether it is a pandas DataFrame. Does not load pandas: it takes longer than all else here.

    Example:
        >>> is_frame({"a": [1]})
        False
    """
    return is_pandas(value, "DataFrame")


def is_pandas(value: Any, kind: str) -> bool:
    """Whether it is an object of pandas of this class."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, getattr(pandas, kind))


@functools.lru_cache(maxsize=128)
def row_maker(names: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    """A function from values to a row, written for these columns: half the time of dict and zip.

    Args:
        names: Of the columns.

    Returns:
        The function, which takes a value for each column.

    Example:
        >>> row_maker(("a", "b"))(1, 2)
        {'a': 1, 'b': 2}
    """
    arguments = [f"_{number}" for number in range(len(names))]
    pairs = ", ".join(f"{name!r}: {value}" for name, value in zip(names, arguments, strict=True))
    # A name comes from a file, but its repr is a text literal whatever is in it.
    made: Callable[..., dict[str, Any]] = eval(f"lambda {', '.join(arguments)}: {{{pairs}}}", {})
    return made


def values_of(column: Any) -> list[Any]:
    """The values of a column in Python; through numpy where it gives the same many times faster.

    Example:
        >>> values_of(pa.chunked_array([[1, None]]))
        [1, None]
    """
    kind = column.type
    if is_tensor(kind):
        return list(to_numpy(column, False))
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    text = pa.types.is_string(kind) or pa.types.is_binary(kind)
    if text or (plain and not column.null_count):
        return list(to_numpy(column, False).tolist())
    return list(column.to_pylist())
