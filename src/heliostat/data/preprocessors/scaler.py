"""Scalers: each column becomes (value - a) / b, with what was learnt about the column."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from heliostat.data.preprocessor import Preprocessor, outputs
from heliostat.data.preprocessors._statistics import moments, quantiles

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.data.dataset import Dataset

__all__ = ["MaxAbsScaler", "MinMaxScaler", "RobustScaler", "StandardScaler"]


class _Scaler(Preprocessor):
    def __init__(self, columns: Sequence[str], output_columns: Sequence[str] | None = None) -> None:
        super().__init__()
        self.columns = list(columns)
        self.output_columns = outputs(columns, output_columns)

    def _around(self, column: str) -> tuple[float, float]:
        """What is taken off, and by what is divided."""
        raise NotImplementedError

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        made = {}
        for column, output in zip(self.columns, self.output_columns, strict=True):
            offset, width = self._around(column)
            made[output] = (df[column].astype("float64") - offset) / (width or 1.0)
        return df.assign(**made)


class StandardScaler(_Scaler):
    """Gives columns a mean of 0 and a standard deviation of 1 (of a whole population).

    Args:
        columns: Which.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": 1.0}, {"a": 3.0}])
        >>> StandardScaler(["a"]).fit_transform(ds).take_all()
        [{'a': -1.0}, {'a': 1.0}]
    """

    def _fit(self, ds: "Dataset") -> None:
        found = moments(ds, self.columns, "StandardScaler")
        self.stats_ = {f"mean({name})": one.mean for name, one in found.items()}
        self.stats_ |= {f"std({name})": one.std for name, one in found.items()}

    def _around(self, column: str) -> tuple[float, float]:
        return self.stats_[f"mean({column})"], self.stats_[f"std({column})"]


class MinMaxScaler(_Scaler):
    """Brings columns into the range from 0 to 1.

    Args:
        columns: Which.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> MinMaxScaler(["id"]).fit_transform(ray.data.range(3)).take_all()
        [{'id': 0.0}, {'id': 0.5}, {'id': 1.0}]
    """

    def _fit(self, ds: "Dataset") -> None:
        found = moments(ds, self.columns, "MinMaxScaler")
        self.stats_ = {f"min({name})": one.low for name, one in found.items()}
        self.stats_ |= {f"max({name})": one.high for name, one in found.items()}

    def _around(self, column: str) -> tuple[float, float]:
        low = self.stats_[f"min({column})"]
        return low, self.stats_[f"max({column})"] - low


class MaxAbsScaler(_Scaler):
    """Divides columns by their largest absolute value; zeros stay zeros.

    Args:
        columns: Which.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> MaxAbsScaler(["id"]).fit_transform(ray.data.range(3)).take_all()
        [{'id': 0.0}, {'id': 0.5}, {'id': 1.0}]
    """

    def _fit(self, ds: "Dataset") -> None:
        found = moments(ds, self.columns, "MaxAbsScaler")
        self.stats_ = {
            f"abs_max({name})": max(abs(one.low), abs(one.high)) for name, one in found.items()
        }

    def _around(self, column: str) -> tuple[float, float]:
        return 0.0, self.stats_[f"abs_max({column})"]


class RobustScaler(_Scaler):
    """Takes the median off columns and divides by the distance of two quantiles.

    The quantiles are exact, as scikit-learn's; Ray's are approximations.

    Args:
        columns: Which.
        quantile_range: The lower and the upper quantile, between 0 and 1.
        output_columns: New names; None replaces the columns.
        quantile_precision: Not needed, since quantiles are exact.

    Raises:
        ValueError: if the quantiles are not in order.

    Example:
        >>> import heliostat as ray
        >>> RobustScaler(["id"]).fit_transform(ray.data.range(5)).take(2)
        [{'id': -1.0}, {'id': -0.5}]
    """

    def __init__(
        self,
        columns: Sequence[str],
        quantile_range: tuple[float, float] = (0.25, 0.75),
        output_columns: Sequence[str] | None = None,
        quantile_precision: int | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        if not 0 <= quantile_range[0] < quantile_range[1] <= 1:
            raise ValueError(
                f"quantile_range must be two ascending shares of 1, got {quantile_range!r}"
            )
        self.quantile_range = quantile_range

    def _fit(self, ds: "Dataset") -> None:
        low, high = self.quantile_range
        found = quantiles(ds, self.columns, (low, 0.5, high), "RobustScaler")
        names = ("low_quantile", "median", "high_quantile")
        self.stats_ = {
            f"{kind}({name})": values[number]
            for number, kind in enumerate(names)
            for name, values in found.items()
        }

    def _around(self, column: str) -> tuple[float, float]:
        low, high = (self.stats_[f"{end}_quantile({column})"] for end in ("low", "high"))
        return self.stats_[f"median({column})"], high - low
