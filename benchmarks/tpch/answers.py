"""Whether two tables have the same rows in the same order, but for the last digits of floats."""

import decimal
from collections.abc import Iterator
from math import isclose

import pyarrow as pa


def differences(mine: pa.Table, other: pa.Table) -> Iterator[str]:
    """What differs between two tables.

    Args:
        mine: One.
        other: The other.

    Yields:
        A sentence for each difference.
    """
    if mine.column_names != other.column_names:
        yield f"columns {mine.column_names} instead of {other.column_names}"
        return
    if mine.num_rows != other.num_rows:
        yield f"{mine.num_rows} rows instead of {other.num_rows}"
        return
    for number, (one, two) in enumerate(zip(mine.to_pylist(), other.to_pylist(), strict=True)):
        if any(not same(one[name], two[name]) for name in one):
            yield f"row {number} is {one} instead of {two}"


def same(one: object, two: object) -> bool:
    """Whether two values are equal, numbers of any type by their size."""
    numbers = (int, float, decimal.Decimal)
    if isinstance(one, numbers) and isinstance(two, numbers):
        return isclose(float(one), float(two), rel_tol=1e-9, abs_tol=1e-6)
    return one == two
