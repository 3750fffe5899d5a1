"""Expressions as users begin them: `col`, `lit`, `udf` and their like.

What they make is in `_expr`; what can be done with it are the methods of `Expr`.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
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
    Star,
    Udf,
    Unnest,
    Uuid,
    as_expr,
)
from heliostat.data._operations import Operation
from heliostat.data.datatype import DataType, arrow_type

__all__ = [
    "AliasExpr", "BinaryExpr", "ColumnExpr", "DownloadExpr", "Expr", "LiteralExpr",
    "MonotonicallyIncreasingIdExpr", "Operation", "RandomExpr", "StarExpr", "UDFExpr", "UUIDExpr",
    "UnaryExpr", "UnnestExpr", "coalesce", "col", "download", "lit", "monotonically_increasing_id",
    "pyarrow_udf", "random", "star", "udf", "unnest", "uuid", "when",
]  # fmt: skip

AliasExpr, ColumnExpr, LiteralExpr, StarExpr, UnnestExpr = Alias, Column, Literal, Star, Unnest
DownloadExpr, RandomExpr, UDFExpr, UUIDExpr = Download, Random, Udf, Uuid  # Ray's names


UNARY: dict[Operation, Callable[..., Any]] = {
    Operation.NOT: operator.invert,
    Operation.IS_NULL: Expr.is_null,
    Operation.IS_NOT_NULL: Expr.is_not_null,
}
BINARY: dict[Operation, Callable[..., Any]] = {
    **{one: getattr(operator, one.value) for one in Operation if hasattr(operator, one.value)},
    Operation.DIV: operator.truediv,
    Operation.AND: operator.and_,
    Operation.OR: operator.or_,
    Operation.IN: Expr.is_in,
    Operation.NOT_IN: Expr.not_in,
}


class _Operators(type):
    """Operators are all nodes of one class here; which they are, is in the node."""

    _made: dict[Operation, Callable[..., Any]]

    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, Call) and thing.op in cls._made

    def _make(cls, op: Operation, *operands: Any) -> Any:
        if op not in cls._made:
            raise ValueError(f"{cls.__name__}: {op!r} is none of {[one.name for one in cls._made]}")
        return cls._made[op](*map(as_expr, operands))


class BinaryExpr(metaclass=_Operators):
    """An operator with two operands: its `op`, `left` and `right`.

    Args:
        op: Which.
        left: An expression.
        right: Another.

    Raises:
        ValueError: if it is none that takes two.

    Example:
        >>> total = BinaryExpr(Operation.ADD, col("a"), lit(1))
        >>> total, total.op.name, isinstance(total, BinaryExpr)
        ((col('a') + 1), 'ADD', True)
    """

    _made = BINARY

    def __new__(cls, op: Operation, left: Expr, right: Expr) -> Any:
        """The same as the operator makes."""
        return cls._make(op, left, right)


class UnaryExpr(metaclass=_Operators):
    """An operator with one operand: its `op` and `operand`.

    Args:
        op: `NOT`, `IS_NULL` or `IS_NOT_NULL`.
        operand: An expression.

    Raises:
        ValueError: if it is none that takes one.

    Example:
        >>> isinstance(~col("a"), UnaryExpr), UnaryExpr(Operation.IS_NULL, col("a")).operand
        (True, col('a'))
    """

    _made = UNARY

    def __new__(cls, op: Operation, operand: Expr) -> Any:
        """The same as the operator makes."""
        return cls._make(op, operand)


def col(name: str) -> Expr:
    """A column.

    Args:
        name: Its name.

    Returns:
        An expression.

    Raises:
        TypeError: if the name is not a string.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.data.expressions import col
        >>> ray.data.range(3).with_column("next", col("id") + 1).take(1)
        [{'id': 0, 'next': 1}]
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a column must be a string, got {name!r}")
    return Column(name)


def lit(value: Any) -> Expr:
    """A constant.

    Args:
        value: What Arrow can store.

    Returns:
        An expression.

    Example:
        >>> lit(3) + col("a")
        (3 + col('a'))
    """
    return Literal(value)


def star() -> Expr:
    """All columns.

    Returns:
        An expression.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(1).select_columns([star(), (col("id") + 1).alias("b")]).take_all()
        [{'id': 0, 'b': 1}]
    """
    return Star()


def unnest(expr: Expr) -> Expr:
    """The fields of a struct, each as a column.

    Args:
        expr: A struct.

    Returns:
        An expression for `with_columns`.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": {"x": 1, "y": 2}}])
        >>> ds.with_columns(unnest(col("a"))).drop_columns("a").take_all()
        [{'x': 1, 'y': 2}]
    """
    return Unnest(as_expr(expr))


def monotonically_increasing_id() -> Expr:
    """The number of the row, from 0.

    Returns:
        An expression.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items(["a", "b"])
        >>> ds.with_column("n", monotonically_increasing_id()).take_all()
        [{'item': 'a', 'n': 0}, {'item': 'b', 'n': 1}]
    """
    return MonotonicallyIncreasingIdExpr()


def random(*, seed: int | None = None) -> Expr:
    """Numbers from 0 to 1, spread evenly.

    Args:
        seed: The same seed gives each row the same number again.

    Returns:
        An expression.

    Example:
        >>> import heliostat as ray
        >>> row = ray.data.range(1).with_column("r", random(seed=1)).take(1)[0]
        >>> 0 <= row["r"] < 1
        True
    """
    return Random(seed)


def uuid() -> Expr:
    """A new random UUID in each row.

    Returns:
        An expression.

    Example:
        >>> import heliostat as ray
        >>> len(ray.data.range(1).with_column("key", uuid()).take(1)[0]["key"])
        36
    """
    return Uuid()


def coalesce(*values: Any) -> Expr:
    """The first of these that is not null.

    Args:
        *values: Expressions or values.

    Returns:
        An expression.

    Example:
        >>> coalesce(col("a"), col("b"), 0)
        coalesce(col('a'), col('b'), 0)
    """
    return Call("coalesce", tuple(map(as_expr, values)))


@dataclass(frozen=True)
class When:
    """What `when` gives: cases, waiting for `then`, `when` or `otherwise`."""

    cases: tuple[tuple[Expr, Expr], ...]
    condition: Expr | None = None

    def then(self, value: Any) -> "When":
        """The value where the condition is true.

        Args:
            value: An expression or a value.

        Returns:
            To go on with `when` or `otherwise`.

        Raises:
            ValueError: if there is no condition before it.
        """
        if self.condition is None:
            raise ValueError("then() follows a when(): when(a).then(1).when(b).then(2)")
        return When((*self.cases, (self.condition, as_expr(value))))

    def when(self, condition: Any) -> "When":
        """A further case, for rows where those before it are not true.

        Args:
            condition: A boolean expression.

        Returns:
            To go on with `then`.

        Raises:
            ValueError: if the case before has no value.
        """
        if self.condition is not None:
            raise ValueError("when() follows a then(): when(a).then(1).when(b).then(2)")
        return When(self.cases, as_expr(condition))

    def otherwise(self, value: Any) -> Expr:
        """The value where no case is true.

        Args:
            value: An expression or a value; None for null.

        Returns:
            The whole as an expression.

        Raises:
            ValueError: if the last case has no value.
        """
        if self.condition is not None or not self.cases:
            raise ValueError("otherwise() follows a then(): when(a).then(1).otherwise(0)")
        result = as_expr(value)
        for condition, chosen in reversed(self.cases):
            # Null counts as not true, as in SQL.
            result = Call("if_else", (condition.fill_null(False), chosen, result))
        return result


def when(condition: Any) -> When:
    """Begin a choice by cases.

    Args:
        condition: A boolean expression.

    Returns:
        To go on with `then`.

    Example:
        >>> import heliostat as ray
        >>> size = when(col("id") > 1).then("large").otherwise("small")
        >>> ray.data.range(3).with_column("size", size).take_all()[1:]
        [{'id': 1, 'size': 'small'}, {'id': 2, 'size': 'large'}]
    """
    return When((), as_expr(condition))


def download(uri_column_name: str | Expr, *, filesystem: fs.FileSystem | None = None) -> Expr:
    """The bytes that lie at the URIs of a column; null where nothing can be read.

    Args:
        uri_column_name: The column.
        filesystem: Where the paths are, if they do not say.

    Returns:
        An expression for `with_column`.

    Example:
        >>> import pathlib
        >>> import heliostat as ray
        >>> _ = pathlib.Path("a.txt").write_text("hello")
        >>> ds = ray.data.from_items([{"uri": str(pathlib.Path("a.txt").absolute())}])
        >>> ds.with_column("data", download("uri")).take(1)[0]["data"]
        b'hello'
    """
    uri = Column(uri_column_name) if isinstance(uri_column_name, str) else uri_column_name
    return Download(uri, filesystem)


def udf(return_dtype: DataType | pa.DataType) -> Callable[[Any], Callable[..., Expr]]:
    """Make a function of Arrow arrays one that can be used in expressions.

    A class is built once in each worker of a pool; its constructor's arguments are given first.

    Args:
        return_dtype: The type of what it returns.

    Returns:
        A decorator.

    Raises:
        TypeError: if the type is not one.

    Example:
        >>> import pyarrow.compute as pc
        >>> import heliostat as ray
        >>> @udf(return_dtype=DataType.int64())
        ... def double(values):
        ...     return pc.multiply(values, 2)
        >>> ray.data.range(2).with_column("b", double(col("id"))).take_all()
        [{'id': 0, 'b': 0}, {'id': 1, 'b': 2}]
    """
    kind = arrow_type(return_dtype)

    def decorate(fn: Any) -> Callable[..., Expr]:
        def call(*args: Any, **kwargs: Any) -> Expr:
            given = tuple((name, as_expr(value)) for name, value in kwargs.items())
            return Udf(fn, kind, tuple(map(as_expr, args)), given)

        def build(*args: Any, **kwargs: Any) -> Callable[..., Expr]:
            constructor = (args, tuple(kwargs.items()))

            def of_instance(*values: Any, **keywords: Any) -> Expr:
                given = tuple((name, as_expr(value)) for name, value in keywords.items())
                return Udf(fn, kind, tuple(map(as_expr, values)), given, constructor)

            return of_instance

        made: Callable[..., Any] = build if isinstance(fn, type) else call
        made.__name__ = getattr(fn, "__name__", "udf")
        made.__doc__ = fn.__doc__
        return made

    return decorate


def pyarrow_udf(return_dtype: DataType | pa.DataType) -> Callable[[Any], Callable[..., Expr]]:
    """The same as `udf`: Arrow arrays are what all such functions get.

    Args:
        return_dtype: The type of what it returns.

    Returns:
        A decorator.
    """
    return udf(return_dtype)
