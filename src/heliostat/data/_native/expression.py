"""Expressions as SQL: only those that DuckDB computes exactly as Arrow does; the others give None."""

import datetime
import decimal
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data._evaluate import evaluate
from heliostat.data._expr import Alias, Call, Column, Expr, Literal, columns_of
from heliostat.data._native.relation import is_nan, quote, text
from heliostat.data.arrays import no_rows
from heliostat.data.datatype import arrow_type

COMPARISONS = {
    "equal": "=",
    "not_equal": "<>",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*"}
# Decimals up to so many digits are exact as doubles, so both divide alike.
EXACT_DIGITS = 15
MOST_DIGITS = 18


def sql_of(expr: Expr, schema: pa.Schema) -> str | None:
    """The expression as SQL.

    Args:
        expr: What to write.
        schema: Of the relation it is computed over.

    Returns:
        SQL, or None if DuckDB would not give the same.

    Example:
        >>> sql_of((Column("a") > 2) & Column("a").is_not_null(), pa.schema([("a", pa.int64())]))
        '(("a" > 2) AND ("a" IS NOT NULL))'
    """
    match expr:
        case Column(name):
            return quote(name) if name in schema.names else None
        case Literal(value):
            return _literal(value)
        case Alias(value):
            return sql_of(value, schema)
        case Call():
            return _call(expr, schema)
    return None


def _literal(value: Any) -> str | None:
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        value = value.item()
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value) if abs(value) < 1 << 63 else None
        case float():
            return f"{value!r}::DOUBLE" if math.isfinite(value) else None
        case str():
            return text(value) if "\0" not in value else None
        case decimal.Decimal():
            digits = format(value, "f")
            return digits if value.is_finite() and len(digits) <= MOST_DIGITS else None
        case datetime.datetime():
            # DuckDB's TIMESTAMP has no nanoseconds, and pandas' NaT is no time.
            exact = value == value and not getattr(value, "nanosecond", 0)
            return f"TIMESTAMP {text(str(value))}" if exact and value.tzinfo is None else None
        case datetime.date():
            return f"DATE {text(str(value))}"
    return None


def _call(call: Call, schema: pa.Schema) -> str | None:
    inside = [sql_of(one, schema) for one in call.arguments]
    if any(one is None for one in inside):
        return None
    match call.function, inside:
        case "is_null", [value]:
            return f"({value} IS NULL)"
        case "is_valid", [value]:
            return f"({value} IS NOT NULL)"
        case "invert", [value]:
            return f"(NOT {value})"
        case "and_kleene", [left, right]:
            return f"({left} AND {right})"
        case "or_kleene", [left, right]:
            return f"({left} OR {right})"
    kinds = [_kind(one, schema) for one in call.arguments]
    if call.function in ARITHMETIC and all(map(pa.types.is_float64, kinds)):
        # Of integers Arrow's wrap around where DuckDB's raise.
        return f"({inside[0]} {ARITHMETIC[call.function]} {inside[1]})"
    if call.function in COMPARISONS and _comparable(*kinds):
        return _compare(call, str(inside[0]), str(inside[1]), kinds)
    return _function(call, [str(one) for one in inside], kinds)


def _function(call: Call, inside: list[str], kinds: list[pa.DataType]) -> str | None:
    options = dict(call.options)
    match call.function, inside:
        case "cast", [value]:
            exact = arrow_type(options["target_type"]) == pa.float64() and _exact(kinds[0])
            return f"CAST({value} AS DOUBLE)" if exact else None
        case "is_in", [value]:
            listed = _listed(options["values"], kinds[0])
            return None if listed is None else f"coalesce({value} IN ({listed}), FALSE)"
        case "starts_with", [value] if pa.types.is_string(kinds[0]):
            start = _literal(options["pattern"])
            return None if options["ignore_case"] or not start else f"starts_with({value}, {start})"
        case "if_else", [condition, one, other] if _alike(kinds[1:]):
            # Null, if the condition is: as Arrow has it.
            return f"CASE WHEN {condition} THEN {one} WHEN NOT {condition} THEN {other} END"
        case "coalesce", [_, *_] if _alike(kinds):
            return f"coalesce({', '.join(inside)})"
    return None


def _exact(kind: Any) -> bool:
    """Whether every value of the type is a double."""
    if pa.types.is_decimal128(kind):
        return int(kind.precision) <= EXACT_DIGITS and int(kind.scale) >= 0
    narrow = pa.types.is_integer(kind) and kind.bit_width <= 32
    return narrow or pa.types.is_float32(kind) or pa.types.is_float64(kind)


def _alike(kinds: list[pa.DataType]) -> bool:
    same = (pa.types.is_float64, pa.types.is_int64, pa.types.is_string, pa.types.is_boolean)
    return any(all(map(is_a, kinds)) for is_a in same)


def _listed(values: Sequence[Any], kind: pa.DataType) -> str | None:
    """Values to look for, if all of them are of the column's type."""
    text_only = pa.types.is_string(kind) and all(isinstance(one, str) for one in values)
    whole = pa.types.is_int64(kind) and all(type(one) is int for one in values)
    listed = [_literal(one) for one in values]
    if not values or not (text_only or whole) or None in listed:
        return None
    return ", ".join(str(one) for one in listed)


def _kind(expr: Expr, schema: pa.Schema) -> pa.DataType:
    kind: pa.DataType | None = schema.field(expr.name).type if isinstance(expr, Column) else None
    if kind is None or not pa.types.is_primitive(kind):
        read = pa.schema([schema.field(name) for name in columns_of(expr)])
        kind = evaluate(expr, no_rows(read)).type
    return kind


def _comparable(left: pa.DataType, right: pa.DataType) -> bool:
    def number(kind: pa.DataType) -> bool:
        return pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind)

    if pa.types.is_integer(left) and pa.types.is_integer(right):
        return True
    if pa.types.is_decimal128(left) or pa.types.is_decimal128(right):
        return _whole_or_decimal(left) and _whole_or_decimal(right)
    if number(left) and number(right):
        # float32 with double compares differently in the two.
        return left == right or pa.types.is_float64(left) or pa.types.is_float64(right)
    same = (pa.types.is_string, pa.types.is_boolean, pa.types.is_date32)
    if any(is_a(left) and is_a(right) for is_a in same):
        return True
    naive = [pa.types.is_timestamp(one) and one.tz is None for one in (left, right)]
    return all(naive)


def _whole_or_decimal(kind: Any) -> bool:
    if pa.types.is_decimal128(kind):
        return int(kind.precision) <= MOST_DIGITS and int(kind.scale) >= 0
    return pa.types.is_integer(kind)


def _compare(call: Call, left: str, right: str, kinds: list[pa.DataType]) -> str | None:
    plain = f"({left} {COMPARISONS[call.function]} {right})"
    if sum(map(_may_be_nan, call.arguments, kinds)) > 1:
        # NaN beside null would have to be null, and a few words of SQL do not say that.
        return None
    side = _too_high(call, kinds)
    if side is None:
        return plain
    number, other = (left, right)[side], (left, right)[1 - side]
    if isinstance(call.arguments[1 - side], Literal):
        return f"({plain} AND NOT {is_nan(number)})"
    return f"CASE WHEN {is_nan(number)} AND {other} IS NOT NULL THEN FALSE ELSE {plain} END"


def _may_be_nan(side: Expr, kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind)) and not isinstance(side, Literal)


def _too_high(call: Call, kinds: list[pa.DataType]) -> int | None:
    """Which side DuckDB takes for the greater if it is NaN; Arrow has it above and below nothing."""
    side = {"greater": 0, "greater_equal": 0, "less": 1, "less_equal": 1}.get(call.function)
    return side if side is not None and _may_be_nan(call.arguments[side], kinds[side]) else None


def count_of(predicate: Expr, schema: pa.Schema) -> tuple[str, str | None] | None:
    """How many rows it is true of, as SQL.

    Args:
        predicate: A condition.
        schema: Of the relation.

    Returns:
        An aggregate, and perhaps another, of the rows with NaN that it counts too many; or None if
        DuckDB would not give the same.

    Example:
        >>> count_of(Column("a") > 2, pa.schema([("a", pa.int64())]))
        ('coalesce(count_if(("a" > 2)), 0)::BIGINT', None)
    """
    sql = sql_of(predicate, schema)
    if sql is None:
        return None
    if compares_a_column(predicate):
        # Of a column alone DuckDB looks at each value once, however often it is there; of two
        # conditions together it does not.
        assert isinstance(predicate, Call)
        kinds = [_kind(one, schema) for one in predicate.arguments]
        side = _too_high(predicate, kinds)
        if side is not None:
            left, right = (sql_of(one, schema) for one in predicate.arguments)
            all_true = f"({left} {COMPARISONS[predicate.function]} {right})"
            return _counted(all_true), _counted(is_nan(str((left, right)[side])))
    return _counted(sql), None


def compares_a_column(predicate: Expr) -> bool:
    """Whether it compares a column with a value, and nothing else."""
    match predicate:
        case Call(function, (Column(), Literal()) | (Literal(), Column())):
            return function in COMPARISONS
    return False


def _counted(sql: str) -> str:
    # Null, where it is null for every row.
    return f"coalesce(count_if({sql}), 0)::BIGINT"
