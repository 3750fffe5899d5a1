"""What preprocessors learn, from one pass over the columns they need, a block at a time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import require_columns

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset

__all__ = ["Moments", "column_blocks", "count_values", "moments", "quantiles"]


def column_blocks(ds: "Dataset", columns: Sequence[str], verb: str) -> Iterator[pa.Table]:
    """Blocks of these columns.

    Args:
        ds: The dataset.
        columns: Which.
        verb: Who asks, for errors.

    Yields:
        Tables.

    Raises:
        KeyError: if one is not there.
    """
    known = ds.columns()
    if known is not None:
        require_columns(columns, known, verb)
    narrow = ds.select_columns(list(dict.fromkeys(columns)))
    yield from narrow.iter_batches(batch_size=None, batch_format="pyarrow")


def _numbers(column: Any, name: str, verb: str) -> Any:
    """The values that are there; nulls and NaNs are left out."""
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise ValueError(f"{verb} needs numbers, but column {name!r} is {kind}")
    values = column.drop_null().cast(pa.float64(), safe=False).to_numpy()
    return values[~np.isnan(values)]


@dataclass
class Moments:
    """Number, mean, spread and bounds of the values seen so far."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = np.nan
    high: float = np.nan
    parts: list[Any] = field(default_factory=list)

    def add(self, values: "np.ndarray[Any, Any]") -> None:
        """Take in more values, each as exactly as the others.

        Args:
            values: Numbers.
        """
        if not len(values):
            return
        count = self.count + len(values)
        mean = float(values.mean())
        apart = mean - self.mean
        with np.errstate(invalid="ignore"):  # what is infinite is no number away from the mean
            self.squares += float(((values - mean) ** 2).sum())
        self.squares += apart * apart * self.count * len(values) / count
        self.mean += apart * len(values) / count
        self.low = float(np.fmin(self.low, values.min()))
        self.high = float(np.fmax(self.high, values.max()))
        self.count = count

    @property
    def std(self) -> float:
        """The standard deviation of a whole population."""
        return float(np.sqrt(self.squares / self.count)) if self.count else float("nan")


def moments(ds: "Dataset", columns: Sequence[str], verb: str) -> dict[str, Moments]:
    """Moments of columns.

    Args:
        ds: The dataset.
        columns: Which.
        verb: Who asks, for errors.

    Returns:
        By column; a count of 0 where there are no values.
    """
    found = {name: Moments() for name in columns}
    for table in column_blocks(ds, columns, verb):
        for name, state in found.items():
            state.add(_numbers(table.column(name), name, verb))
    return found


def quantiles(
    ds: "Dataset", columns: Sequence[str], shares: Sequence[float], verb: str
) -> dict[str, list[float]]:
    """Exact quantiles of columns, between two values by their distance.

    Args:
        ds: The dataset.
        columns: Which.
        shares: Between 0 and 1.
        verb: Who asks, for errors.

    Returns:
        By column; NaN where there are no values.
    """
    parts: dict[str, list[Any]] = {name: [] for name in columns}
    for table in column_blocks(ds, columns, verb):
        for name, seen in parts.items():
            seen.append(_numbers(table.column(name), name, verb))
    whole = {name: np.concatenate(seen) if seen else np.empty(0) for name, seen in parts.items()}
    return {
        name: np.quantile(values, shares).tolist() if len(values) else [float("nan")] * len(shares)
        for name, values in whole.items()
    }


def count_values(
    ds: "Dataset",
    columns: Sequence[str],
    verb: str,
    *,
    pieces: Callable[[str, Any], Iterable[Any]] | None = None,
) -> dict[str, Counter[Any]]:
    """How often each value occurs; None counts nulls.

    Args:
        ds: The dataset.
        columns: Which.
        verb: Who asks, for errors.
        pieces: What to count of each value, by the column's name; the value itself if not given.

    Returns:
        By column.
    """
    counts: dict[str, Counter[Any]] = {name: Counter() for name in columns}
    for table in column_blocks(ds, columns, verb):
        for name, counter in counts.items():
            column = table.column(name)
            if pieces is None and not pa.types.is_nested(column.type):
                for one in column.value_counts():
                    counter[one["values"].as_py()] += one["counts"].as_py()
                continue
            for value in column.to_pylist():
                for piece in (value,) if pieces is None else pieces(name, value):
                    counter[hashable(piece)] += 1
    return counts


def hashable(value: Any) -> Any:
    """A value that can be a key: lists become tuples.

    Args:
        value: Any.

    Returns:
        The value, or a tuple.
    """
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(hashable(one) for one in value)
    return value.item() if isinstance(value, np.generic) else value
