"""Expressions: values computed from columns, written down before there are any rows.

`col("a") + 1` is a small tree of frozen nodes. It knows nothing of tables: `_evaluate` computes it
with Arrow's kernels, `_native.sql` writes the part that DuckDB computes alike as SQL. What Arrow has
a kernel for is a `Call` by the kernel's name, so the namespaces (`.str`, `.dt`, ...) are short.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import pyarrow as pa
from pyarrow import fs

from heliostat.data._namespaces import (
    ArrayNamespace,
    DatetimeNamespace,
    ListNamespace,
    MapNamespace,
    StringNamespace,
    StructNamespace,
)
from heliostat.data._operations import KERNELS, Operation
from heliostat.data.datatype import DataType, arrow_type


@dataclass(frozen=True, eq=False, repr=False)
class Expr:
    """A value for each row. Operators, `and` written as `&`, `or` as `|`, `not` as `~`, make more.

    Example:
        >>> col = Column
        >>> (col("a") + 1 > col("b")) & col("c").is_null()
        (((col('a') + 1) > col('b')) & is_null(col('c')))
    """

    # So that `numpy_scalar * col("a")` asks us, not numpy.
    __array_ufunc__: ClassVar[None] = None

    @property
    def name(self) -> str | None:
        """The column's name, or the one given by `alias`.

        Returns:
            The name, or None if it has none.
        """
        return None

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} has no truth value before there are rows; write & for `and`, | for `or`, "
            "~ for `not`, and is_in(...) for `in`"
        )

    def __hash__(self) -> int:
        return id(self)

    def __add__(self, other: Any) -> "Expr":
        return Call("add", (self, as_expr(other)))

    def __radd__(self, other: Any) -> "Expr":
        return Call("add", (as_expr(other), self))

    def __sub__(self, other: Any) -> "Expr":
        return Call("subtract", (self, as_expr(other)))

    def __rsub__(self, other: Any) -> "Expr":
        return Call("subtract", (as_expr(other), self))

    def __mul__(self, other: Any) -> "Expr":
        return Call("multiply", (self, as_expr(other)))

    def __rmul__(self, other: Any) -> "Expr":
        return Call("multiply", (as_expr(other), self))

    def __truediv__(self, other: Any) -> "Expr":
        return Call("divide", (self, as_expr(other)))

    def __rtruediv__(self, other: Any) -> "Expr":
        return Call("divide", (as_expr(other), self))

    def __floordiv__(self, other: Any) -> "Expr":
        return Call("floor_divide", (self, as_expr(other)))

    def __rfloordiv__(self, other: Any) -> "Expr":
        return Call("floor_divide", (as_expr(other), self))

    def __mod__(self, other: Any) -> "Expr":
        return Call("modulo", (self, as_expr(other)))

    def __rmod__(self, other: Any) -> "Expr":
        return Call("modulo", (as_expr(other), self))

    def __neg__(self) -> "Expr":
        return Call("negate", (self,))

    def __eq__(self, other: object) -> "Expr":  # type: ignore[override]  # Ray's operator
        return Call("equal", (self, as_expr(other)))

    def __ne__(self, other: object) -> "Expr":  # type: ignore[override]  # Ray's operator
        return Call("not_equal", (self, as_expr(other)))

    def __lt__(self, other: Any) -> "Expr":
        return Call("less", (self, as_expr(other)))

    def __le__(self, other: Any) -> "Expr":
        return Call("less_equal", (self, as_expr(other)))

    def __gt__(self, other: Any) -> "Expr":
        return Call("greater", (self, as_expr(other)))

    def __ge__(self, other: Any) -> "Expr":
        return Call("greater_equal", (self, as_expr(other)))

    def __and__(self, other: Any) -> "Expr":
        return Call("and_kleene", (self, as_expr(other)))

    def __rand__(self, other: Any) -> "Expr":
        return Call("and_kleene", (as_expr(other), self))

    def __or__(self, other: Any) -> "Expr":
        return Call("or_kleene", (self, as_expr(other)))

    def __ror__(self, other: Any) -> "Expr":
        return Call("or_kleene", (as_expr(other), self))

    def __invert__(self) -> "Expr":
        return Call("invert", (self,))

    def is_null(self) -> "Expr":
        """Whether it is null.

        Example:
            >>> Column("a").is_null()
            is_null(col('a'))
        """
        return Call("is_null", (self,))

    def is_not_null(self) -> "Expr":
        """Whether it is there."""
        return Call("is_valid", (self,))

    def is_in(self, values: "Sequence[Any] | Expr") -> "Expr":
        """Whether it is one of these values; null is only if null is among them.

        Args:
            values: A list, or a literal that is one.

        Example:
            >>> Column("a").is_in([1, 2])
            is_in(col('a'), values=(1, 2))
        """
        if isinstance(values, Literal):
            values = values.value
        if isinstance(values, Expr | str | bytes):
            raise TypeError(f"is_in needs a list of values, got {values!r}")
        return Call("is_in", (self,), (("values", tuple(values)),))

    def not_in(self, values: "Sequence[Any] | Expr") -> "Expr":
        """Whether it is none of these values.

        Args:
            values: A list, or a literal that is one.
        """
        return ~self.is_in(values)

    def between(self, low: Any, high: Any) -> "Expr":
        """Whether it lies between the two, both included.

        Args:
            low: The lowest.
            high: The highest.
        """
        return self.__ge__(low) & self.__le__(high)

    def fill_null(self, value: Any) -> "Expr":
        """Itself, or the value where it is null.

        Args:
            value: A value or an expression.
        """
        return Call("coalesce", (self, as_expr(value)))

    def alias(self, name: str) -> "Expr":
        """The same value under a name.

        Args:
            name: The name.

        Example:
            >>> (Column("a") + 1).alias("b").name
            'b'
        """
        return Alias(self, name)

    def cast(self, target_type: DataType | pa.DataType, *, safe: bool = True) -> "Expr":
        """The same value as another type.

        Args:
            target_type: The type.
            safe: Raise where a value does not fit; otherwise cut it.

        Example:
            >>> Column("a").cast(DataType.float64())
            cast(col('a'), target_type=DataType(arrow:double), safe=True)
        """
        kind = DataType.from_arrow(arrow_type(target_type))
        return Call("cast", (self,), (("target_type", kind), ("safe", safe)))

    def abs(self) -> "Expr":
        """Without its sign."""
        return Call("abs", (self,))

    def negate(self) -> "Expr":
        """With the other sign."""
        return Call("negate", (self,))

    def sign(self) -> "Expr":
        """-1, 0 or 1."""
        return Call("sign", (self,))

    def power(self, exponent: Any) -> "Expr":
        """To the power of the exponent.

        Args:
            exponent: A number or an expression.
        """
        return Call("power", (self, as_expr(exponent)))

    def ceil(self) -> "Expr":
        """The next integer above."""
        return Call("ceil", (self,))

    def floor(self) -> "Expr":
        """The next integer below."""
        return Call("floor", (self,))

    def round(self) -> "Expr":
        """The nearest integer; halves go to the even one."""
        return Call("round", (self,))

    def trunc(self) -> "Expr":
        """The next integer towards zero."""
        return Call("trunc", (self,))

    def ln(self) -> "Expr":
        """The natural logarithm."""
        return Call("ln", (self,))

    def log10(self) -> "Expr":
        """The logarithm to base 10."""
        return Call("log10", (self,))

    def log2(self) -> "Expr":
        """The logarithm to base 2."""
        return Call("log2", (self,))

    def exp(self) -> "Expr":
        """E to its power."""
        return Call("exp", (self,))

    def sqrt(self) -> "Expr":
        """Its square root."""
        return Call("sqrt", (self,))

    def sin(self) -> "Expr":
        """Sine."""
        return Call("sin", (self,))

    def cos(self) -> "Expr":
        """Cosine."""
        return Call("cos", (self,))

    def tan(self) -> "Expr":
        """Tangent."""
        return Call("tan", (self,))

    def asin(self) -> "Expr":
        """Inverse sine."""
        return Call("asin", (self,))

    def acos(self) -> "Expr":
        """Inverse cosine."""
        return Call("acos", (self,))

    def atan(self) -> "Expr":
        """Inverse tangent."""
        return Call("atan", (self,))

    @property
    def str(self) -> StringNamespace:
        """What can be done with strings."""
        return StringNamespace(self._call)

    @property
    def list(self) -> ListNamespace:
        """What can be done with lists."""
        return ListNamespace(self._call)

    @property
    def struct(self) -> StructNamespace:
        """What can be done with structs."""
        return StructNamespace(self._call)

    @property
    def dt(self) -> DatetimeNamespace:
        """What can be done with dates and times."""
        return DatetimeNamespace(self._call)

    @property
    def arr(self) -> ArrayNamespace:
        """What can be done with arrays of a fixed shape."""
        return ArrayNamespace(self._call)

    @property
    def map(self) -> MapNamespace:
        """What can be done with maps."""
        return MapNamespace(self._call)

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """What the namespaces make their nodes with."""
        return Call(function, (self, *map(as_expr, arguments)), tuple(options.items()))

    def structurally_equals(self, other: Any) -> bool:
        """Whether the other is written alike. `==` makes an expression instead.

        Args:
            other: Anything.

        Returns:
            True or False.

        Example:
            >>> (Column("a") + 1).structurally_equals(Column("a") + 1)
            True
        """
        return type(self) is type(other) and all(
            _alike(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)
        )


def _alike(mine: Any, other: Any) -> bool:
    if isinstance(mine, Expr):
        return mine.structurally_equals(other)
    if isinstance(mine, tuple):
        return (
            isinstance(other, tuple) and len(mine) == len(other) and all(map(_alike, mine, other))
        )
    return type(mine) is type(other) and bool(mine == other)


# -- nodes ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Column(Expr):
    """A column of the input."""

    column: str

    @property
    def name(self) -> str:
        """Its own."""
        return self.column

    def __repr__(self) -> str:
        return f"col({self.column!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Literal(Expr):
    """The same value in each row."""

    value: Any

    def __repr__(self) -> str:
        return repr(self.value)


SIGNS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "floor_divide": "//",
    "modulo": "%",
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "and_kleene": "&",
    "or_kleene": "|",
}


@dataclass(frozen=True, eq=False, repr=False)
class Call(Expr):
    """A kernel, by its name in Arrow, applied to values."""

    function: str
    arguments: tuple[Expr, ...]
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def op(self) -> Operation | None:
        """Ray's name of the operator, if it is one; `~` of `is_in` is `not_in`."""
        return Operation.NOT_IN if self._inner is not self else KERNELS.get(self.function)

    @property
    def left(self) -> Expr:
        """The operand of a unary operator, or the left one of two."""
        return self._inner.arguments[0]

    operand = left

    @property
    def right(self) -> Expr:
        """The right operand."""
        call = self._inner
        if call.function == "is_in":
            return Literal([*dict(call.options)["values"]])
        return call.arguments[1]

    @property
    def _inner(self) -> "Call":
        inner = self.arguments[0] if self.function == "invert" else None
        return inner if isinstance(inner, Call) and inner.function == "is_in" else self

    def __repr__(self) -> str:
        inside = [repr(one) for one in self.arguments]
        if self.function in SIGNS:
            return f"({inside[0]} {SIGNS[self.function]} {inside[1]})"
        if self.function == "invert":
            return f"~{inside[0]}"
        inside += [f"{name}={value!r}" for name, value in self.options]
        return f"{self.function}({', '.join(inside)})"


@dataclass(frozen=True, eq=False, repr=False)
class Alias(Expr):
    """A value under a name."""

    value: Expr
    to: str

    @property
    def name(self) -> str:
        """The one given."""
        return self.to

    def __repr__(self) -> str:
        return f"{self.value!r}.alias({self.to!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Star(Expr):
    """All columns of the input."""

    def __repr__(self) -> str:
        return "star()"


@dataclass(frozen=True, eq=False, repr=False)
class Unnest(Expr):
    """A struct, as one column for each of its fields."""

    value: Expr

    def __repr__(self) -> str:
        return f"unnest({self.value!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Udf(Expr):
    """A user's function of whole columns; a class is built once in each worker."""

    fn: Callable[..., Any]
    kind: pa.DataType
    arguments: tuple[Expr, ...]
    keywords: tuple[tuple[str, Expr], ...] = ()
    constructor: tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]] | None = None

    def __repr__(self) -> str:
        inside = [repr(one) for one in self.arguments]
        inside += [f"{name}={one!r}" for name, one in self.keywords]
        return f"{getattr(self.fn, '__name__', 'udf')}({', '.join(inside)})"


@dataclass(frozen=True, eq=False, repr=False)
class Download(Expr):
    """What lies at the URIs of a column."""

    uri: Expr
    filesystem: fs.FileSystem | None = field(default=None)

    def __repr__(self) -> str:
        return f"download({self.uri!r})"


@dataclass(frozen=True, eq=False, repr=False)
class MonotonicallyIncreasingIdExpr(Expr):
    """The number of the row, from 0."""

    def __repr__(self) -> str:
        return "monotonically_increasing_id()"


@dataclass(frozen=True, eq=False, repr=False)
class Random(Expr):
    """Numbers between 0 and 1; a function of the seed and the row's number."""

    seed: int | None = None

    def __repr__(self) -> str:
        return f"random(seed={self.seed})"


@dataclass(frozen=True, eq=False, repr=False)
class Uuid(Expr):
    """A new UUID in each row."""

    def __repr__(self) -> str:
        return "uuid()"


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything in it."""
    yield expr
    match expr:
        case Call(_, arguments):
            inside = arguments
        case Udf(_, _, arguments, keywords):
            inside = (*arguments, *(one for _, one in keywords))
        case Alias(value) | Unnest(value) | Download(value):
            inside = (value,)
        case _:
            inside = ()
    for one in inside:
        yield from walk(one)


def columns_of(expr: Expr) -> set[str]:
    """The names of the columns it needs.

    Args:
        expr: The expression.

    Returns:
        Names.

    Example:
        >>> sorted(columns_of(Column("a") + Column("b") * 2))
        ['a', 'b']
    """
    return {one.column for one in walk(expr) if isinstance(one, Column)}


def as_expr(value: Any) -> Expr:
    """The value, or a literal of it."""
    return value if isinstance(value, Expr) else Literal(value)
