"""Numbers become the number of the interval they lie in."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.data.preprocessor import Preprocessor, outputs
from heliostat.data.preprocessors._statistics import moments

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.data.dataset import Dataset

__all__ = ["CustomKBinsDiscretizer", "UniformKBinsDiscretizer"]


class CustomKBinsDiscretizer(Preprocessor):
    """Cuts columns at edges that are given; values outside become missing.

    Args:
        columns: Which.
        bins: Ascending edges, or for each column its edges.
        right: Whether intervals contain their upper edge, or else their lower one.
        include_lowest: Whether the first interval contains its lower edge too.
        duplicates: `"raise"` or `"drop"`: what to do about equal edges.
        dtypes: For some columns a `pandas.CategoricalDtype` that names the intervals.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.range(4)
        >>> CustomKBinsDiscretizer(["id"], bins=[-1, 1, 3]).transform(ds).take_all()
        [{'id': 0}, {'id': 0}, {'id': 1}, {'id': 1}]
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        bins: Any,
        *,
        right: bool = True,
        include_lowest: bool = False,
        duplicates: str = "raise",
        dtypes: "Mapping[str, pd.CategoricalDtype] | None" = None,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.bins = bins
        self.right = right
        self.include_lowest = include_lowest
        self.duplicates = duplicates
        self.dtypes = dict(dtypes or {})
        self.output_columns = outputs(columns, output_columns)
        if isinstance(bins, Mapping):
            missing = [name for name in columns if name not in bins]
            if missing:
                raise ValueError(f"bins has nothing for {missing}; it is for {list(bins)}")

    def _edges(self, column: str) -> Any:
        return self.bins[column] if isinstance(self.bins, Mapping) else self.bins

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        import pandas as pd  # noqa: PLC0415 - see frame_column

        made = {}
        for column, output in zip(self.columns, self.output_columns, strict=True):
            dtype = self.dtypes.get(column)
            named = isinstance(dtype, pd.CategoricalDtype)
            made[output] = pd.cut(  # type: ignore[call-overload]  # labels are False or names
                df[column].astype("float64"),
                self._edges(column),
                right=self.right,
                labels=list(dtype.categories) if named and dtype is not None else False,
                include_lowest=self.include_lowest,
                duplicates=self.duplicates,
                ordered=bool(dtype.ordered) if named and dtype is not None else True,
            )
        return df.assign(**made)


class UniformKBinsDiscretizer(CustomKBinsDiscretizer):
    """Cuts columns into intervals of equal width between their smallest and largest value.

    Args:
        columns: Which.
        bins: How many intervals, or for each column how many.
        right: Whether intervals contain their upper edge, or else their lower one.
        include_lowest: Whether the first interval contains its lower edge too.
        duplicates: `"raise"` or `"drop"`: what to do about equal edges.
        dtypes: For some columns a `pandas.CategoricalDtype` that names the intervals.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> UniformKBinsDiscretizer(["id"], bins=2).fit_transform(ray.data.range(4)).take_all()
        [{'id': 0}, {'id': 0}, {'id': 1}, {'id': 1}]
    """

    _is_fittable = True

    def _fit(self, ds: "Dataset") -> None:
        found = moments(ds, self.columns, "UniformKBinsDiscretizer")
        for column in self.columns:
            number = self.bins[column] if isinstance(self.bins, Mapping) else self.bins
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"bins must be an int >= 1, got {number!r} for {column!r}")
            low, high = found[column].low, found[column].high
            if np.isnan(low):
                raise ValueError(f"column {column!r} has no values to cut into intervals")
            if not np.isfinite(high - low):
                raise ValueError(
                    f"column {column!r} goes from {low} to {high}: no interval is even"
                )
            if low == high:
                # As pandas.cut does it.
                low, high = low - (abs(low) or 1) * 0.001, high + (abs(high) or 1) * 0.001
                self.stats_[column] = np.linspace(low, high, number + 1)
                continue
            edges = np.linspace(low, high, number + 1)
            # The value at the open end belongs to its interval, too.
            edges[0 if self.right else -1] += (high - low) * (-0.001 if self.right else 0.001)
            self.stats_[column] = edges

    def _edges(self, column: str) -> Any:
        return self.stats_[column]
