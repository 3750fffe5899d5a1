"""Expressions as SQL: only those that DuckDB computes exactly as Arrow does; the others give None."""

import datetime
import math
from typing import Any

import pyarrow as pa

from heliostat.data._evaluate import evaluate
from heliostat.data._expr import Alias, Call, Column, Expr, Literal
from heliostat.data._native.relation import quote, text

COMPARISONS = {
    "equal": "=",
    "not_equal": "<>",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*"}


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
        case datetime.datetime():
            return f"TIMESTAMP {text(str(value))}" if value.tzinfo is None else None
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
    return None


def _kind(expr: Expr, schema: pa.Schema) -> pa.DataType:
    rows = pa.table([pa.array([], one.type) for one in schema], schema=schema)
    kind: pa.DataType = evaluate(expr, rows).type
    return kind


def _comparable(left: pa.DataType, right: pa.DataType) -> bool:
    def number(kind: pa.DataType) -> bool:
        return pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind)

    if pa.types.is_integer(left) and pa.types.is_integer(right):
        return True
    if number(left) and number(right):
        # float32 with double compares differently in the two.
        return left == right or pa.types.is_float64(left) or pa.types.is_float64(right)
    same = (pa.types.is_string, pa.types.is_boolean, pa.types.is_date32)
    if any(is_a(left) and is_a(right) for is_a in same):
        return True
    naive = [pa.types.is_timestamp(one) and one.tz is None for one in (left, right)]
    return all(naive)


def _compare(call: Call, left: str, right: str, kinds: list[pa.DataType]) -> str | None:
    """NaN is equal to nothing for Arrow; for DuckDB it equals itself and is above all numbers."""
    plain = f"({left} {COMPARISONS[call.function]} {right})"
    doubtful = [
        sql
        for sql, kind, one in zip((left, right), kinds, call.arguments, strict=True)
        if pa.types.is_floating(kind) and not isinstance(one, Literal)
    ]
    if not doubtful:
        return plain
    if len(doubtful) > 1:
        # NaN beside null would have to be null, and a few words of SQL do not say that.
        return None
    if call.function == "not_equal":
        return f"({plain} OR isnan({doubtful[0]}))"
    return f"({plain} AND NOT isnan({doubtful[0]}))"
