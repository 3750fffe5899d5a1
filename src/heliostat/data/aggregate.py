"""Aggregates: one value of many rows. Ours are written as SQL; users write theirs in Python.

A class of ours says its SQL (`_measure`), and the native engine computes it. A user's subclass of
`AggregateFnV2`, or an `AggregateFn`, is run block by block in Python.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from heliostat.data._aggregate_fn import (
    AggregateFn,
    AggregateFnV2,
    Native,
    VectorizedAggregateFnV2,
    number,
    type_of,
)
from heliostat.data._native.queries import Measure
from heliostat.data._native.relation import is_nan, quote, unused
from heliostat.data.arrays import is_object

__all__ = [
    "AbsMax",
    "AggregateFn",
    "AggregateFnV2",
    "ApproximateQuantile",
    "ApproximateTopK",
    "AsList",
    "Count",
    "CountDistinct",
    "Max",
    "Mean",
    "Min",
    "MissingValuePercentage",
    "Quantile",
    "Std",
    "Sum",
    "Unique",
    "ValueCounter",
    "VectorizedAggregateFnV2",
    "ZeroPercentage",
]


def _entry(schema: pa.Schema | None) -> str:
    """A name in lambdas of SQL, where a column of that name would be meant instead."""
    return unused("__entry", [] if schema is None else schema.names)


class Count(Native):
    """How many rows, or values that are not null.

    Args:
        on: A column, or None for rows.
        ignore_nulls: Count only what is not null.
        alias_name: Instead of `count(column)`.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([{"a": 1}, {"a": None}]).aggregate(
        ...     Count(), Count("a", ignore_nulls=True, alias_name="there"))
        {'count()': 2, 'there': 1}
    """

    _kind = "count"
    _needs_column = False

    def __init__(
        self, on: str | None = None, ignore_nulls: bool = False, alias_name: str | None = None
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def _measure(self, schema: pa.Schema | None) -> Measure:
        column = self._target_col_name is not None and self._ignore_nulls
        return self._made(f"count({self._column if column else '*'})", pa.int64())


class Sum(Native):
    """The sum.

    Args:
        on: The column.
        ignore_nulls: Leave nulls out; otherwise one makes the sum null.
        alias_name: Instead of `sum(column)`.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(4).aggregate(Sum("id"))
        {'sum(id)': 6}
    """

    _kind = "sum"

    def _measure(self, schema: pa.Schema | None) -> Measure:
        kind = type_of(schema, self._target_col_name)
        whole = kind is not None and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
        sql = self._unless_null(f"sum({number(self, schema)})")
        if kind is not None and pa.types.is_uint64(kind):
            return self._made(f"({sql})::UBIGINT", kind)
        if whole:
            return self._made(f"({sql})::BIGINT", pa.int64())
        if kind is not None and pa.types.is_decimal(kind):
            return self._made(sql, pa.decimal128(38, max(kind.scale, 0)))
        floating = kind is not None and pa.types.is_floating(kind)
        return self._made(sql, pa.float64() if floating else None)


class Min(Native):
    """The least value.

    Args:
        on: The column.
        ignore_nulls: Leave nulls out; otherwise one makes it null.
        alias_name: Instead of `min(column)`.
        zero_factory: Not needed.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(4).aggregate(Min("id"))
        {'min(id)': 0}
    """

    _kind = "min"

    def __init__(
        self,
        on: str | None = None,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
        zero_factory: Callable[[], Any] | None = None,
    ) -> None:
        del zero_factory  # the native engine begins without a value
        super().__init__(on, ignore_nulls, alias_name)

    def _measure(self, schema: pa.Schema | None) -> Measure:
        kind = type_of(schema, self._target_col_name)
        if kind is not None and is_object(kind):
            raise TypeError(
                f"{self.name} needs values with an order, but they are objects of any kind"
            )
        sql = self._but_nan(f"{self._kind}({self._column})", schema)
        return self._made(self._unless_null(sql), kind)


class Max(Min):
    """The greatest value.

    Args:
        on: The column.
        ignore_nulls: Leave nulls out; otherwise one makes it null.
        alias_name: Instead of `max(column)`.
        zero_factory: Not needed.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(4).aggregate(Max("id"))
        {'max(id)': 3}
    """

    _kind = "max"


class Mean(Native):
    """The mean.

    Args:
        on: The column.
        ignore_nulls: Leave nulls out; otherwise one makes it null.
        alias_name: Instead of `mean(column)`.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(4).aggregate(Mean("id"))
        {'mean(id)': 1.5}
    """

    _kind = "mean"

    def _measure(self, schema: pa.Schema | None) -> Measure:
        return self._made(self._unless_null(f"avg({number(self, schema)})"), pa.float64())


class Std(Native):
    """The standard deviation.

    Args:
        on: The column.
        ddof: What to take off the number of rows to divide by.
        ignore_nulls: Leave nulls out; otherwise one makes it null.
        alias_name: Instead of `std(column)`.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(3).aggregate(Std("id"))
        {'std(id)': 1.0}
    """

    _kind = "std"

    def __init__(
        self,
        on: str | None = None,
        ddof: int = 1,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)
        self._ddof = ddof

    def _measure(self, schema: pa.Schema | None) -> Measure:
        value = f"{number(self, schema)}::DOUBLE"
        rows = f"count({self._column})"
        # One row has no deviation, which is NaN, not null.
        sql = (
            f"CASE WHEN {rows} > {self._ddof} "
            f"THEN sqrt(var_pop({value}) * {rows} / ({rows} - {self._ddof})) "
            f"WHEN {rows} > 0 THEN 'NaN'::DOUBLE END"
        )
        return self._made(self._unless_null(sql), pa.float64())


class AbsMax(Min):
    """The greatest absolute value.

    Args:
        on: The column.
        ignore_nulls: Leave nulls out; otherwise one makes it null.
        alias_name: Instead of `abs_max(column)`.
        zero_factory: Not needed.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([{"a": -3}, {"a": 2}]).aggregate(AbsMax("a"))
        {'abs_max(a)': 3}
    """

    _kind = "abs_max"

    def _measure(self, schema: pa.Schema | None) -> Measure:
        kind = type_of(schema, self._target_col_name)
        value = self._column
        if kind is not None and (pa.types.is_signed_integer(kind) or pa.types.is_boolean(kind)):
            # The least of a type has a greatest that is not in it.
            value, kind = f"{value}::BIGINT", pa.int64()
        elif kind is None or not pa.types.is_duration(kind):
            value = number(self, schema)
        return self._made(self._unless_null(self._but_nan(f"max(abs({value}))", schema)), kind)


class Quantile(Native):
    """A quantile, between two rows by a straight line.

    Args:
        on: The column.
        q: From 0 to 1.
        ignore_nulls: Leave nulls out; otherwise one makes it null.
        alias_name: Instead of `quantile(column)`.

    Raises:
        ValueError: if `q` is not from 0 to 1.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(4).aggregate(Quantile("id", q=0.5))
        {'quantile(id)': 1.5}
    """

    _kind = "quantile"

    def __init__(
        self,
        on: str | None = None,
        q: float = 0.5,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
    ) -> None:
        if not 0 <= q <= 1:
            raise ValueError(f"q must be from 0 to 1, got {q}")
        super().__init__(on, ignore_nulls, alias_name)
        self._q = q

    def _measure(self, schema: pa.Schema | None) -> Measure:
        value = f"{number(self, schema)}::DOUBLE"
        sql = self._but_nan(f"quantile_cont({value}, {self._q!r})", schema)
        return self._made(self._unless_null(sql), pa.float64())


class ApproximateQuantile(Native):
    """Several quantiles at once, nearly.

    Args:
        on: The column.
        quantiles: Each from 0 to 1.
        quantile_precision: Not needed: the sketch adapts.
        alias_name: Instead of `approx_quantile(column)`.

    Raises:
        ValueError: if a quantile is not from 0 to 1.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(101).aggregate(ApproximateQuantile("id", [0.5]))
        {'approx_quantile(id)': [50.0]}
    """

    _kind = "approx_quantile"

    def __init__(
        self,
        on: str,
        quantiles: list[float],
        quantile_precision: int = 800,
        alias_name: str | None = None,
    ) -> None:
        if not quantiles or not all(0 <= one <= 1 for one in quantiles):
            raise ValueError(f"quantiles must be from 0 to 1, got {quantiles!r}")
        if quantile_precision < 1:
            raise ValueError(f"quantile_precision must be >= 1, got {quantile_precision}")
        super().__init__(on, True, alias_name)
        self._quantiles = quantiles

    def _measure(self, schema: pa.Schema | None) -> Measure:
        listed = ", ".join(repr(float(one)) for one in self._quantiles)
        sql = f"approx_quantile({number(self, schema)}::DOUBLE, [{listed}])"
        return self._made(sql, pa.list_(pa.float64()))


class ApproximateTopK(Native):
    """The most frequent values, nearly, with how often they occur.

    Args:
        on: The column.
        k: How many.
        log_capacity: Not needed: the values are counted exactly.
        alias_name: Instead of `approx_topk(column)`.
        encode_lists: Count the values in lists.

    Raises:
        ValueError: if `k` is below 1.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([{"a": "x"}, {"a": "y"}, {"a": "x"}]).aggregate(
        ...     ApproximateTopK("a", k=1))
        {'approx_topk(a)': [{'a': 'x', 'count': 2}]}
    """

    _kind = "approx_topk"

    def __init__(
        self,
        on: str,
        k: int,
        log_capacity: int = 15,
        alias_name: str | None = None,
        encode_lists: bool = False,
    ) -> None:
        if k < 1 or log_capacity < 1:
            raise ValueError(f"k and log_capacity must be >= 1, got {k} and {log_capacity}")
        if encode_lists:
            raise NotImplementedError(
                "ApproximateTopK(encode_lists=True) is not offered; explode() the lists first"
            )
        super().__init__(on, True, alias_name)
        self._k = k

    def _measure(self, schema: pa.Schema | None) -> Measure:
        # Exact: the histogram of the values, the most frequent first.
        name, it = self._target_col_name or "value", _entry(schema)
        entries = f"map_entries(histogram({self._column}))"
        ranked = (
            f"list_reverse_sort(list_transform({entries}, "
            f"lambda {it}: {{'n': {it}.value, 'v': {it}.key}}))"
        )
        count = unused("count", [name])
        pair = f"{{{quote(name)}: {it}.v, {count}: {it}.n::BIGINT}}"
        sql = f"list_transform(list_slice({ranked}, 1, {self._k}), lambda {it}: {pair})"
        kind = type_of(schema, self._target_col_name)
        if kind is None:
            return self._made(sql)
        fields: Any = {name: kind, count: pa.int64()}
        return self._made(sql, pa.list_(pa.struct(fields)))


class Unique(Native):
    """The different values, in order.

    Args:
        on: The column.
        ignore_nulls: Leave null out.
        alias_name: Instead of `unique(column)`.
        encode_lists: Of lists, the different values in them.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([{"a": 2}, {"a": 1}, {"a": 2}]).aggregate(Unique("a"))
        {'unique(a)': [1, 2]}
    """

    _kind = "unique"

    def __init__(
        self,
        on: str | None = None,
        ignore_nulls: bool = False,
        alias_name: str | None = None,
        encode_lists: Any = None,
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)
        self._encode_lists = bool(encode_lists)

    def _measure(self, schema: pa.Schema | None) -> Measure:
        column = self._column
        kind = type_of(schema, self._target_col_name)
        if self._encode_lists and kind is not None and pa.types.is_list(kind):
            return self._made(f"list_sort(list_distinct(flatten(list({column}))))", kind)
        sql = f"list(DISTINCT {column} ORDER BY {column} NULLS LAST)"
        if self._ignore_nulls:
            sql += f" FILTER (WHERE {column} IS NOT NULL)"
        return self._made(f"coalesce({sql}, [])", None if kind is None else pa.list_(kind))


class CountDistinct(Native):
    """How many different values.

    Args:
        on: The column.
        ignore_nulls: Do not count null as one.
        alias_name: Instead of `count_distinct(column)`.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([{"a": 2}, {"a": 1}, {"a": 2}]).aggregate(CountDistinct("a"))
        {'count_distinct(a)': 2}
    """

    _kind = "count_distinct"

    def _measure(self, schema: pa.Schema | None) -> Measure:
        sql = f"count(DISTINCT {self._column})"
        if not self._ignore_nulls:
            sql += f" + (count(*) > count({self._column}))::BIGINT"
        return self._made(sql, pa.int64())


class AsList(Native):
    """All values, in the order of the rows.

    Args:
        on: The column.
        alias_name: Instead of `list(column)`.
        ignore_nulls: Leave nulls out.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(3).aggregate(AsList("id"))
        {'list(id)': [0, 1, 2]}
    """

    _kind = "list"

    def __init__(
        self, on: str | None = None, alias_name: str | None = None, ignore_nulls: bool = False
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def _measure(self, schema: pa.Schema | None) -> Measure:
        row = unused("__row", [] if schema is None else schema.names)
        sql = f"list({self._column} ORDER BY {row})"
        if self._ignore_nulls:
            sql += f" FILTER (WHERE {self._column} IS NOT NULL)"
        kind = type_of(schema, self._target_col_name)
        listed = None if kind is None else pa.list_(kind)
        return self._made(f"coalesce({sql}, [])", listed, by_row=True)


class ValueCounter(Native):
    """The different values, null among them, and how often each occurs, the most frequent first.

    Args:
        on: The column.
        alias_name: Instead of `value_counter(column)`.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([{"a": 2}, {"a": 1}, {"a": 2}]).aggregate(ValueCounter("a"))
        {'value_counter(a)': {'values': [2, 1], 'counts': [2, 1]}}
    """

    _kind = "value_counter"

    def __init__(self, on: str | None = None, alias_name: str | None = None) -> None:
        super().__init__(on, True, alias_name)

    def _measure(self, schema: pa.Schema | None) -> Measure:
        nulls = f"(count(*) - count({self._column}))"
        null = f"CASE WHEN {nulls} > 0 THEN [{{'key': NULL, 'value': {nulls}}}] ELSE [] END"
        entries = f"list_concat(map_entries(histogram({self._column})), {null})"
        it = _entry(schema)
        ranked = (
            f"list_sort(list_transform({entries}, "
            f"lambda {it}: {{'n': -{it}.value::BIGINT, 'v': {it}.key}}))"
        )
        values = f"list_transform({ranked}, lambda {it}: {it}.v)"
        counts = f"list_transform({ranked}, lambda {it}: -{it}.n)"
        kind = type_of(schema, self._target_col_name)
        sql = f"{{'values': {values}, 'counts': {counts}}}"
        if kind is None:
            return self._made(sql)
        lists: Any = {"values": pa.list_(kind), "counts": pa.list_(pa.int64())}
        return self._made(sql, pa.struct(lists))


class MissingValuePercentage(Native):
    """How many of a hundred values are null or NaN.

    Args:
        on: The column.
        alias_name: Instead of `missing_pct(column)`.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([{"a": 2}, {"a": None}]).aggregate(MissingValuePercentage("a"))
        {'missing_pct(a)': 50.0}
    """

    _kind = "missing_pct"

    def __init__(self, on: str, alias_name: str | None = None) -> None:
        super().__init__(on, False, alias_name)

    def _measure(self, schema: pa.Schema | None) -> Measure:
        kind = type_of(schema, self._target_col_name)
        missing = f"{self._column} IS NULL"
        if kind is not None and pa.types.is_floating(kind):
            missing = f"({missing} OR {is_nan(self._column)})"
        sql = f"CASE WHEN count(*) > 0 THEN 100.0::DOUBLE * count_if({missing}) / count(*) END"
        return self._made(sql, pa.float64())


class ZeroPercentage(Native):
    """How many of a hundred values are zero.

    Args:
        on: The column.
        ignore_nulls: Count only what is not null.
        alias_name: Instead of `zero_pct(column)`.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(4).aggregate(ZeroPercentage("id"))
        {'zero_pct(id)': 25.0}
    """

    _kind = "zero_pct"

    def _measure(self, schema: pa.Schema | None) -> Measure:
        rows = f"count({self._column})" if self._ignore_nulls else "count(*)"
        # In TRY, of which no bounds are known: those of a file's numbers say nothing of NaN.
        zero = f"count_if(try({number(self, schema)}) = 0)"
        sql = f"CASE WHEN {rows} > 0 THEN 100.0::DOUBLE * coalesce({zero}, 0) / {rows} END"
        return self._made(sql, pa.float64())
