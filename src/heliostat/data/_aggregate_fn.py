"""What aggregates stand on: users' functions and classes, and ours, which are written as SQL."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from heliostat.data._native.queries import Measure
from heliostat.data._native.relation import is_nan, quote
from heliostat.data.block import iter_rows

Accumulator = TypeVar("Accumulator")
Output = TypeVar("Output")


class AggregateFn:
    """An aggregate by functions.

    Args:
        init: Takes the key, gives the first accumulator.
        merge: Takes two accumulators, gives one.
        name: Of the column it gives.
        accumulate_row: Takes an accumulator and a row, gives an accumulator; or
        accumulate_block: takes an accumulator and a block.
        finalize: Takes the last accumulator, gives the value.

    Raises:
        TypeError: if the name is no string.
        ValueError: if not exactly one of `accumulate_row` and `accumulate_block` is given.

    Example:
        >>> import heliostat as ray
        >>> total = AggregateFn(
        ...     init=lambda key: 0,
        ...     accumulate_row=lambda total, row: total + row["id"],
        ...     merge=lambda one, other: one + other,
        ...     name="total",
        ... )
        >>> ray.data.range(4).aggregate(total)
        {'total': 6}
    """

    def __init__(
        self,
        init: Callable[[Any], Any],
        merge: Callable[[Any, Any], Any],
        name: str,
        accumulate_row: Callable[[Any, dict[str, Any]], Any] | None = None,
        accumulate_block: Callable[[Any, Any], Any] | None = None,
        finalize: Callable[[Any], Any] | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of an aggregate must be a string, got {name!r}")
        if (accumulate_row is None) == (accumulate_block is None):
            raise ValueError("give exactly one of accumulate_row and accumulate_block")
        self.name = name
        self.init = init
        self.merge = merge
        self._accumulate_row = accumulate_row
        self._accumulate_block = accumulate_block
        self.finalize = finalize or (lambda accumulator: accumulator)

    def _of(self, key: Any, block: pa.Table) -> Any:
        """The value for one group."""
        accumulator = self.init(key)
        if self._accumulate_block is not None:
            return self.finalize(self._accumulate_block(accumulator, block))
        assert self._accumulate_row is not None
        for row in iter_rows(block):
            accumulator = self._accumulate_row(accumulator, row)
        return self.finalize(accumulator)


class AggregateFnV2(Generic[Accumulator, Output]):
    """An aggregate as a class: subclass it, and write `aggregate_block` and `combine`.

    Args:
        name: Of the column it gives.
        zero_factory: Gives the accumulator of no rows.
        on: The column it is of, or None.
        ignore_nulls: Leave nulls out.

    Example:
        >>> import heliostat as ray
        >>> import math
        >>> class Product(AggregateFnV2):
        ...     def aggregate_block(self, block):
        ...         return math.prod(block[self.get_target_column()].to_pylist())
        ...     def combine(self, one, other):
        ...         return one * other
        >>> product = Product("product", lambda: 1, on="id", ignore_nulls=True)
        >>> ray.data.range(5).filter(expr="id > 0").aggregate(product)
        {'product': 24}
    """

    def __init__(
        self,
        name: str,
        zero_factory: Callable[[], Any],
        *,
        on: str | None,
        ignore_nulls: bool,
    ) -> None:
        if not name:
            raise ValueError(f"an aggregate needs a name, got {name!r}")
        self.name = name
        self._zero_factory = zero_factory
        self._target_col_name = on
        self._ignore_nulls = ignore_nulls

    def get_target_column(self) -> str | None:
        """The column it is of.

        Returns:
            Its name, or None.
        """
        return self._target_col_name

    def get_agg_name(self) -> str:
        """Its kind.

        Returns:
            The name of the class.
        """
        return type(self).__name__

    def aggregate_block(self, block: pa.Table) -> Any:
        """The accumulator of a block.

        Args:
            block: Rows.

        Returns:
            An accumulator.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define aggregate_block")

    def combine(self, current_accumulator: Any, new: Any) -> Any:
        """One accumulator of two.

        Args:
            current_accumulator: So far.
            new: Of further rows.

        Returns:
            An accumulator.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define combine")

    def finalize(self, accumulator: Any) -> Any:
        """The value of the last accumulator.

        Args:
            accumulator: Of all rows.

        Returns:
            A value.
        """
        return accumulator

    def _of(self, key: Any, block: pa.Table) -> Any:
        """The value for one group."""
        del key
        column = self._target_col_name
        if self._ignore_nulls and column is not None:
            block = block.filter(pc.is_valid(block.column(column)))
        accumulator = self._zero_factory()
        if block.num_rows:
            accumulator = self.combine(accumulator, self.aggregate_block(block))
        return self.finalize(accumulator)


class VectorizedAggregateFnV2(AggregateFnV2[Any, Any]):
    """As `AggregateFnV2`; Ray's name for one that also combines whole columns of accumulators."""


def _no_zero() -> Any:
    return None


class Native(AggregateFnV2[Any, Any]):
    """An aggregate of ours: a piece of SQL."""

    _kind = ""
    _needs_column = True

    def __init__(
        self, on: str | None = None, ignore_nulls: bool = True, alias_name: str | None = None
    ) -> None:
        if self._needs_column and not isinstance(on, str):
            raise TypeError(f"{type(self).__name__} needs the name of a column, got {on!r}")
        name = alias_name or f"{self._kind}({on or ''})"
        super().__init__(name, _no_zero, on=on, ignore_nulls=ignore_nulls)

    @property
    def _column(self) -> str:
        assert self._target_col_name is not None
        return quote(self._target_col_name)

    def _measure(self, schema: pa.Schema | None) -> Measure:
        """What it is in SQL, over rows of this schema if it is known."""
        raise NotImplementedError

    def _made(self, sql: str, kind: pa.DataType | None = None, *, by_row: bool = False) -> Measure:
        return Measure(self.name, sql, self._target_col_name, kind, by_row)

    def _but_nan(self, sql: str, schema: pa.Schema | None) -> str:
        """The value of what is not NaN, as in Arrow; NaN only where there is nothing else."""
        kind = type_of(schema, self._target_col_name)
        if kind is None or not pa.types.is_floating(kind):
            return sql
        return f"coalesce({sql} FILTER (WHERE NOT {is_nan(self._column)}), {sql})"

    def _unless_null(self, sql: str) -> str:
        """The value; null if any is null and nulls count."""
        if self._ignore_nulls:
            return sql
        return f"CASE WHEN count(*) = count({self._column}) THEN {sql} END"


def type_of(schema: pa.Schema | None, column: str | None) -> pa.DataType | None:
    """The type of a column, if it is known.

    Args:
        schema: Of the rows.
        column: Its name.

    Returns:
        The type or None.
    """
    if schema is None or column not in schema.names:
        return None
    kind: pa.DataType = schema.field(column).type
    return kind


def number(aggregate: Native, schema: pa.Schema | None) -> str:
    """The column as a number: booleans count as 0 and 1.

    Args:
        aggregate: Of which column.
        schema: Of the rows.

    Returns:
        SQL.

    Raises:
        TypeError: if it has no numbers.
    """
    kind = type_of(schema, aggregate._target_col_name)
    if kind is not None and not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    ):
        raise TypeError(f"{aggregate.name} needs a column of numbers, but it is {kind}")
    boolean = kind is not None and pa.types.is_boolean(kind)
    return f"{aggregate._column}::BIGINT" if boolean else aggregate._column
