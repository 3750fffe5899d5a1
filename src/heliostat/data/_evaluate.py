"""Compute expressions over a block, with Arrow's kernels.

Also says what type an expression has, by computing it over no rows. It does not know plans.
"""

import contextlib
import datetime
import decimal
import hashlib
import numbers
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from heliostat.data._expr import (
    Alias,
    Call,
    Column,
    Download,
    Expr,
    Literal,
    MonotonicallyIncreasingIdExpr,
    Random,
    Udf,
    Unnest,
    Uuid,
    columns_of,
    walk,
)
from heliostat.data._ordering.order import with_one_zero
from heliostat.data.arrays import no_rows, to_arrow
from heliostat.data.block import require_columns
from heliostat.data.datasource.paths import resolve
from heliostat.data.datasource.retry import RetryingFile
from heliostat.data.datatype import arrow_type

DOWNLOADS_AT_ONCE = 16

Functions = Mapping[Udf, Callable[..., Any]]


def evaluate(
    expr: Expr, table: pa.Table, functions: Functions | None = None, first: int = 0
) -> Any:
    """One value for each row.

    Args:
        expr: What to compute.
        table: The rows.
        functions: What users' classes were built into.
        first: The number of the table's first row.

    Returns:
        An Arrow array.

    Raises:
        KeyError: if it names a column that is not there.
        TypeError: if a kernel does not take these types.
    """
    value = _Evaluation(table, functions or {}, first).of(expr)
    return _repeated(value, table.num_rows)


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        value = value.item()
    if isinstance(value, int) and value >= 1 << 63:
        return pa.scalar(value, pa.uint64())
    if isinstance(value, datetime.datetime) and value != value:  # the NaT of pandas
        value = None
    # Of pandas' times Arrow takes no nanoseconds.
    if getattr(value, "nanosecond", 0):
        zone: Any = value.tz and str(value.tz)
        return pa.scalar(value.value, pa.timestamp("ns", zone))
    if getattr(value, "nanoseconds", 0):
        return pa.scalar(value.value, pa.duration("ns"))
    return pa.scalar(value)


def _repeated(value: Any, rows: int) -> Any:
    scalar: Any = value
    # Arrow repeats no list zero times.
    return pa.repeat(scalar, rows or 1)[:rows] if isinstance(value, pa.Scalar) else value


class _Evaluation:
    """One block, and what is needed besides."""

    def __init__(self, table: pa.Table, functions: Functions, first: int) -> None:
        self._table = table
        self._functions = functions
        self._first = first

    def of(self, expr: Expr) -> Any:
        """An array or a scalar."""
        match expr:
            case Column(name):
                require_columns([name], self._table.column_names, f"the expression {expr!r}")
                return self._table.column(name)
            case Literal(value):
                return _scalar(value)
            case Alias(value):
                return self.of(value)
            case Call():
                return self._call(expr)
            case Udf():
                return self._udf(expr)
            case Download(uri, filesystem):
                return _download(self._array(uri), filesystem)
            case Uuid():
                return pa.array((str(uuid.uuid4()) for _ in range(self._rows)), pa.string())
            case MonotonicallyIncreasingIdExpr():
                return pa.array(np.arange(self._first, self._first + self._rows))
            case Random(seed):
                return pa.array(_uniform(seed, self._first, self._rows))
        raise TypeError(f"{expr!r} cannot be used inside another expression")

    @property
    def _rows(self) -> int:
        return self._table.num_rows

    def _array(self, expr: Expr) -> Any:
        return _repeated(self.of(expr), self._rows)

    def _call(self, call: Call) -> Any:
        values = [self.of(one) for one in call.arguments]
        kernel = KERNELS.get(call.function) or getattr(pc, call.function)
        try:
            typed = _typed(values, call.function)
            try:
                return kernel(*typed, **dict(call.options))
            except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
                if not any(pa.types.is_dictionary(one.type) for one in typed):
                    raise
                return kernel(*map(_decoded, typed), **dict(call.options))
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            kinds = ", ".join(str(value.type) for value in values)
            raise TypeError(f"{call!r} cannot be computed of {kinds}: {error}") from error
        except pa.ArrowInvalid as error:
            raise ValueError(f"{call!r} cannot be computed: {error}") from error

    def _udf(self, call: Udf) -> Any:
        fn = self._functions.get(call, call.fn)
        args = [self._plain(one) for one in call.arguments]
        kwargs = {name: self._plain(one) for name, one in call.keywords}
        result = to_arrow(fn(*args, **kwargs), repr(call), getattr(call.fn, "__name__", "udf"))
        if len(result) != self._rows:
            raise ValueError(f"{call!r} returned {len(result)} values for {self._rows} rows")
        return result if result.type == call.kind else result.cast(call.kind)

    def _plain(self, expr: Expr) -> Any:
        if isinstance(expr, Literal):
            return expr.value
        value = self.of(expr)
        return value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value


# -- kernels that Arrow lacks, or that differ -------------------------------------------------


def _decoded(value: Any) -> Any:
    """Few different values as what they are: there are hardly any kernels for their numbers."""
    return value.cast(value.type.value_type) if pa.types.is_dictionary(value.type) else value


def _add(left: Any, right: Any) -> Any:
    kinds = (left.type, right.type)
    if all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in kinds):
        kind = pa.string() if kinds == (pa.string(), pa.string()) else pa.large_string()
        texts = (left.cast(kind), right.cast(kind))
        return pc.binary_join_element_wise(*texts, pa.scalar("", kind))
    return pc.add(left, right)


def _floor_divide(left: Any, right: Any) -> Any:
    quotient = pc.divide(left, right)
    kind = quotient.type
    if pa.types.is_decimal(kind):
        # Without the digits behind the point, which leave no room to multiply.
        return pc.floor(quotient).cast(pa.decimal128(max(1, kind.precision - kind.scale), 0))
    if not pa.types.is_integer(kind):
        return pc.floor(quotient)
    # Arrow cuts towards zero; the floor is one less where something is left and signs differ.
    rest = pc.subtract(left, pc.multiply(quotient, right))
    differ = pc.less(pc.multiply(pc.sign(rest), pc.sign(right)), pa.scalar(0))
    return pc.if_else(differ, pc.subtract(quotient, pa.scalar(1, quotient.type)), quotient)


def _modulo(left: Any, right: Any) -> Any:
    return pc.subtract(left, pc.multiply(_floor_divide(left, right), right))


def _is_in(value: Any, values: Sequence[Any]) -> Any:
    listed = list(values)
    if pa.types.is_integer(value.type):
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            found: Any = pa.array(listed)
            if pa.types.is_integer(found.type):
                return pc.is_in(value, value_set=found.cast(value.type))
        bits = value.type.bit_width - pa.types.is_signed_integer(value.type)
        low = -(1 << bits) if pa.types.is_signed_integer(value.type) else 0

        def can_be(one: Any) -> bool:
            number = isinstance(one, numbers.Real)
            return not number or bool(one % 1 == 0 and low <= one < 1 << bits)

        # Arrow would cut 2.5 to 2, and refuse what is too large.
        listed = [int(one) if isinstance(one, float) else one for one in listed if can_be(one)]
    return pc.is_in(value, value_set=pa.array(listed, value.type))


def _list_get(value: Any, index: int) -> Any:
    lengths = pc.list_value_length(value)
    if index >= 0 and pc.min(lengths).as_py() is not None and pc.min(lengths).as_py() > index:
        return pc.list_element(value, index)
    # Arrow refuses lists that are too short; they give null.
    short = index + 1 if index >= 0 else -index
    rows = value.to_pylist()
    return pa.array(
        [None if row is None or len(row) < short else row[index] for row in rows],
        value.type.value_type,
    )


def _list_sort(value: Any, order: str, null_placement: str) -> Any:
    def ordered(values: list[Any] | None) -> list[Any] | None:
        if values is None:
            return None
        nan = [one for one in values if one != one]
        nulls = [None] * values.count(None)
        there = [one for one in values if one is not None and one == one]
        there = sorted(there, reverse=order == "descending") + nan
        return there + nulls if null_placement == "at_end" else nulls + there

    return pa.array([ordered(values) for values in value.to_pylist()], value.type)


def _list_flatten(value: Any) -> Any:
    if not pa.types.is_list(value.type.value_type) and value.type.value_type != pa.null():
        raise TypeError(f"list.flatten needs lists of lists, got {value.type}")
    rows = value.to_pylist()
    flat = [
        None if row is None else [one for inner in row if inner is not None for one in inner]
        for row in rows
    ]
    return pa.array(flat, value.type.value_type)


def _list_slice(value: Any, start: int, stop: int | None, step: int) -> Any:
    return pc.list_slice(value, start, stop, step, return_fixed_size_list=False)


def _array_to_list(value: Any) -> Any:
    if isinstance(value, pa.ChunkedArray):
        value = value.combine_chunks()
    if isinstance(value.type, pa.FixedShapeTensorType):
        rows = list(value.to_numpy_ndarray())
        return pa.array([row.tolist() for row in rows])
    return value.cast(pa.list_(value.type.value_type))


def _map_part(name: str) -> Callable[[Any], Any]:
    def part(value: Any) -> Any:
        kind = value.type.key_type if name == "keys" else value.type.item_type
        index = 0 if name == "keys" else 1
        rows = value.to_pylist()
        return pa.array(
            [None if row is None else [pair[index] for pair in row] for row in rows],
            pa.list_(kind),
        )

    return part


# What these take and give is true, false or null.
_LOGICAL = ("and_kleene", "or_kleene", "invert")
# Arrow compares no two columns of the type null; as anything else that is null, they give null.
_COMPARING = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
# What these give of decimals has no more digits than it needs.
_NARROW = ("add", "subtract", "multiply")
# What these give does not depend on what the nulls are of.
_OF_ANY = ("is_null", "is_valid", "cast")


def _typed(values: list[Any], function: str) -> list[Any]:
    """Columns of nothing but nulls, which may have no type of their own, as what is beside them."""
    if function == "if_else":
        return [*_typed(values[:1], "invert"), *_typed(values[1:], "coalesce")]
    kinds = [one.type for one in values]
    signs = {pa.types.is_uint64(kind) for kind in kinds if pa.types.is_integer(kind)}
    if function in _COMPARING and len(signs) > 1:
        # Whole numbers of 64 bits with and without a sign have no other type for both.
        positive = [pa.types.is_unsigned_integer(one.type) or _is_positive(one) for one in values]
        wide: pa.DataType = pa.uint64() if all(positive) else pa.decimal128(20, 0)
        return [one.cast(wide) for one in values]
    if function in _NARROW and any(map(pa.types.is_decimal, kinds)):
        # A number beside decimals has the digits that it has, not the 19 of its type.
        values = [_as_decimal(one) for one in values]
    if pa.float64() in kinds:
        # Arrow refuses to make a double of whole numbers that it does not hold to the last digit.
        whole = (pa.int64(), pa.uint64())
        values = [
            one.cast(pa.float64(), safe=False) if one.type in whole else one for one in values
        ]
    if function in _OF_ANY or not any(map(pa.types.is_null, kinds)):
        return values
    beside = next((kind for kind in kinds if not pa.types.is_null(kind)), None)
    kind = pa.bool_() if function in _LOGICAL else beside
    if kind is None and function in _COMPARING:
        kind = pa.bool_()
    if kind is None:
        return values
    return [one.cast(kind) if pa.types.is_null(one.type) else one for one in values]


def _as_decimal(value: Any) -> Any:
    whole = isinstance(value, pa.Scalar) and value.is_valid and pa.types.is_integer(value.type)
    return pa.scalar(decimal.Decimal(value.as_py())) if whole else value


def _is_positive(value: Any) -> bool:
    return isinstance(value, pa.Scalar) and value.is_valid and value.as_py() >= 0


def _cast(value: Any, target_type: Any, safe: bool) -> Any:
    kind = arrow_type(target_type)
    exact = pa.types.is_decimal128(value.type) and value.type.precision <= 15
    if exact and kind == pa.float64():
        return _doubles(value)
    return pc.cast(value, kind, safe=safe)


def _doubles(value: Any) -> Any:
    """Decimals of at most 15 digits as the nearest doubles; Arrow's cast is a digit off for some."""
    array = value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value
    if isinstance(array, pa.Scalar) or not len(array):
        return pc.cast(value, pa.float64())
    content: Any = array.buffers()[1]
    words = np.frombuffer(content, np.int64)
    # Of the two words of each, the lower one holds so few digits whole.
    digits = words[2 * array.offset : 2 * (array.offset + len(array)) : 2]
    nulls = array.is_null().to_numpy(zero_copy_only=False)
    return pa.array(digits / 10.0**array.type.scale, mask=nulls)


def _hash_share(value: Any) -> Any:
    """A number from 0 to 1 for each value: the same for the same value, in any process."""
    if isinstance(value, pa.ChunkedArray):
        value = value.combine_chunks()
    encoded = with_one_zero(value).dictionary_encode()
    words = (repr(one).encode() for one in [*encoded.dictionary.to_pylist(), None])
    hashes = [int.from_bytes(hashlib.blake2b(word, digest_size=8).digest()) for word in words]
    shares = np.array(hashes, np.uint64) / 2.0**64
    codes = pc.fill_null(encoded.indices, len(encoded.dictionary))
    return pa.array(shares[codes.to_numpy(zero_copy_only=False)])


KERNELS: dict[str, Callable[..., Any]] = {
    "add": _add,
    "floor_divide": _floor_divide,
    "modulo": _modulo,
    "is_in": _is_in,
    "cast": _cast,
    "list_get": _list_get,
    "list_sort": _list_sort,
    "list_slice": _list_slice,
    "list_flatten_once": _list_flatten,
    "array_to_list": _array_to_list,
    "hash_share": _hash_share,
    "map_keys": _map_part("keys"),
    "map_values": _map_part("values"),
}


def _download(uris: Any, filesystem: fs.FileSystem | None) -> Any:
    def fetch(uri: str | None) -> bytes | None:
        if uri is None:
            return None
        try:
            with RetryingFile(*resolve(uri, filesystem)).native() as stream:
                return bytes(stream.read())
        except (OSError, ValueError):
            return None

    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as threads:
        return pa.array(list(threads.map(fetch, uris.to_pylist())), pa.binary())


def _uniform(seed: int | None, first: int, rows: int) -> Any:
    """The same numbers for the same rows, however the rows are cut into blocks."""
    if seed is None:
        return np.random.default_rng().random(rows)
    mask = np.uint64(0xFFFFFFFFFFFFFFFF)
    mixed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    state = (np.arange(first, first + rows, dtype=np.uint64) + mixed) * np.uint64(
        0x9E3779B97F4A7C15
    )
    state = ((state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)) & mask
    state = ((state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)) & mask
    return ((state ^ (state >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


# -- many at once, and types ------------------------------------------------------------------


def filtered(
    table: pa.Table, predicate: Expr, functions: Functions | None = None, first: int = 0
) -> pa.Table:
    """The rows for which it is true; null is not.

    Args:
        table: The rows.
        predicate: What must be true.
        functions: What users' classes were built into.
        first: The number of the first row.

    Returns:
        A block.

    Raises:
        TypeError: if it is not a boolean.
    """
    mask = evaluate(predicate, table, functions, first)
    _require_boolean(predicate, mask.type)
    return table.filter(mask)


def computed(
    table: pa.Table,
    pairs: Sequence[tuple[str, Expr]],
    functions: Functions | None = None,
    first: int = 0,
) -> pa.Table:
    """The table with more columns; one that has the name of an old one takes its place.

    Args:
        table: The rows.
        pairs: Names and expressions, all over the old columns.
        functions: What users' classes were built into.
        first: The number of the first row.

    Returns:
        A block.
    """
    made: list[tuple[str, Any]] = []
    for name, expr in pairs:
        if isinstance(expr, Unnest):
            made.extend(_unnested(evaluate(expr.value, table, functions, first)))
        else:
            made.append((name, evaluate(expr, table, functions, first)))
    for name, values in made:
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, values)
        else:
            table = table.append_column(name, values)
    return table


def _unnested(value: Any) -> Iterable[tuple[str, Any]]:
    if not pa.types.is_struct(value.type):
        raise TypeError(f"unnest needs a struct, got {value.type}")
    for number in range(value.type.num_fields):
        name = value.type.field(number).name
        yield name, pc.struct_field(value, indices=[number])


def computed_schema(schema: pa.Schema, pairs: Sequence[tuple[str, Expr]]) -> pa.Schema:
    """The schema of `computed`, without calling users' functions.

    Args:
        schema: Of the input.
        pairs: Names and expressions.

    Returns:
        The schema.

    Raises:
        KeyError: if a column is not there.
        TypeError: if a kernel does not take these types.
    """
    stand_ins = {
        one: _stand_in(one) for _, expr in pairs for one in walk(expr) if isinstance(one, Udf)
    }
    return computed(no_rows(schema), pairs, stand_ins).schema


def _stand_in(call: Udf) -> Callable[..., Any]:
    return lambda *_, **__: pa.array([], call.kind)


def check_predicate(schema: pa.Schema, predicate: Expr) -> None:
    """Raise now what `filtered` would raise later.

    Args:
        schema: Of the rows.
        predicate: What must be true.

    Raises:
        KeyError: if a column is not there.
        TypeError: if it is not a boolean, or cannot be computed.
    """
    require_columns(sorted(columns_of(predicate)), schema.names, "filter")
    stand_ins = {one: _stand_in(one) for one in walk(predicate) if isinstance(one, Udf)}
    _require_boolean(predicate, evaluate(predicate, no_rows(schema), stand_ins).type)


def _require_boolean(predicate: Expr, kind: pa.DataType) -> None:
    if not pa.types.is_boolean(kind):
        raise TypeError(f"filter needs a boolean expression, but {predicate!r} is {kind}")


def needs_worker(expr: Expr) -> bool:
    """Whether it holds a user's function, or waits for the network."""
    return any(isinstance(one, Udf | Download) for one in walk(expr))


def is_positional(expr: Expr) -> bool:
    """Whether it depends on where its row is.

    Args:
        expr: The expression.

    Returns:
        True for `monotonically_increasing_id` and `random` with a seed.
    """
    return any(
        isinstance(one, MonotonicallyIncreasingIdExpr)
        or (isinstance(one, Random) and one.seed is not None)
        for one in walk(expr)
    )


def build_udfs(exprs: Iterable[Expr]) -> dict[Udf, Callable[..., Any]]:
    """Make the objects of users' classes."""
    built: dict[Udf, Callable[..., Any]] = {}
    for expr in exprs:
        for one in walk(expr):
            if isinstance(one, Udf) and one.constructor is not None:
                args, kwargs = one.constructor
                built[one] = one.fn(*args, **dict(kwargs))
    return built
