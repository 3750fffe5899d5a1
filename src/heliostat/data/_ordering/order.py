"""Which order sorts rows: equal ones stay in theirs, NaN and then null come last."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from heliostat.data.arrays import from_numbers, to_numbers

FEW_VALUES = 1 << 16
# Arrow counts integers that are no further apart, three times as fast as numpy's radix sort is.
COUNTED = 1 << 12
# From so many values it is guessed whether most of a column's are different.
SAMPLE = 1 << 10


def sort_order(columns: Sequence[Any], descending: Sequence[bool]) -> "np.ndarray[Any, Any]":
    """The positions that bring rows into order, stable.

    Args:
        columns: The keys.
        descending: For each of them.

    Returns:
        Positions.

    Example:
        >>> sort_order([pa.chunked_array([[2, None, 1, 2]])], [True]).tolist()
        [0, 3, 2, 1]
    """
    order: np.ndarray[Any, Any] | None = None
    # From the last key to the first: each stable sort keeps the order of those before it.
    for column, down in reversed(list(zip(columns, descending, strict=True))):
        ranks = _ranks(column, down)
        order = _stable(ranks) if order is None else order[_stable(ranks[order])]
    assert order is not None
    return order


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of a type are sorted here for sure, as the native engine would.

    Args:
        kind: Of a column.

    Returns:
        True for numbers, texts, truth values and times.

    Example:
        >>> is_plain(pa.int8()), is_plain(pa.list_(pa.int8()))
        (True, False)
    """
    checks = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_date,
        pa.types.is_timestamp,
    )
    return any(check(kind) for check in checks)


def is_searched(kind: pa.DataType) -> bool:
    """Whether `as_numbers` knows a type."""
    moment = pa.types.is_temporal(kind) and not pa.types.is_interval(kind)
    return moment or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def as_numbers(column: Any, down: bool) -> "np.ndarray[Any, Any]":
    """Numbers in the order of the values, which none of is null.

    Args:
        column: Of a type that `is_searched`.
        down: Largest first; NaN comes last all the same.

    Returns:
        A number for each value, a view of it where it can be.

    Example:
        >>> as_numbers(pa.chunked_array([[1, 3]]), True).tolist()
        [-2, -4]
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_temporal(column.type):
        column = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())
    values = to_numbers(column)
    if not down:
        return values
    return -values if values.dtype.kind == "f" else ~values


def with_one_zero(column: Any) -> Any:
    """Numbers with a point in which zero, which has two signs and one place, has one sign."""
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if not pa.types.is_floating(column.type):
        return column
    zero = from_numbers(np.zeros(1, "f4" if pa.types.is_float32(column.type) else "f8"))
    return pc.add(column, zero[0])


def _stable(ranks: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Argsort, stable. Up to 16 bits by counting; wider ones fast, and then equal ones are mended."""
    if ranks.dtype.itemsize <= 2:
        if len(ranks) and int(ranks.max()) - int(ranks.min()) < COUNTED:
            return to_numbers(pc.array_sort_indices(from_numbers(ranks))).view(np.int64)
        return np.argsort(ranks, kind="stable")
    order = np.argsort(ranks)
    ordered = ranks[order]
    # NaN, which comes last, is not even equal to itself.
    same = (ordered[1:] == ordered[:-1]) | (ordered[:-1] != ordered[:-1])
    if not same.any():
        return order
    tied = np.zeros(len(order), bool)
    tied[1:] |= same
    tied[:-1] |= same
    where = np.flatnonzero(tied)
    group = np.cumsum(~np.r_[False, same])[where]
    members = order[where]
    order[where] = members[np.lexsort((members, group))]
    return order


def _ranks(column: Any, down: bool) -> "np.ndarray[Any, Any]":
    """Something to sort by for each value: a small integer, or the value itself if it is a number.

    Radix sorts of small integers are fast and stable; where most values are different, numbering
    them takes longer than sorting them.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    column = with_one_zero(column)
    if _are_different_numbers(column):
        return as_numbers(column, down)
    return _numbered(column, down)


def _are_different_numbers(column: Any) -> bool:
    if not is_searched(column.type) or column.null_count or len(column) < SAMPLE:
        return False
    sample = as_numbers(column, False)[:: len(column) // SAMPLE]
    return len(np.unique(sample)) > len(sample) * 0.9


def _numbered(column: Any, down: bool) -> "np.ndarray[Any, Any]":
    place: Any = "descending" if down else "ascending"
    try:
        encoded = column.dictionary_encode()
        values = encoded.dictionary
        order = to_numbers(pc.array_sort_indices(values, order=place, null_placement="at_end"))
    except pa.ArrowNotImplementedError as error:
        raise TypeError(
            f"values of type {column.type} have no order to sort by; sort by a column of numbers, "
            "texts or times that is made of them, with map or with_column"
        ) from error
    rank = np.empty(len(values) + 1, np.uint16 if len(values) < FEW_VALUES - 1 else np.uint32)
    rank[order] = np.arange(len(values))
    rank[len(values)] = len(values)
    codes = encoded.indices
    if codes.null_count:
        codes = pc.fill_null(codes, len(values))
    return to_numbers(from_numbers(rank).take(codes))
