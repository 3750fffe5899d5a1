"""Missing values are filled in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from heliostat.data.preprocessor import Preprocessor, frame_column, outputs
from heliostat.data.preprocessors._statistics import count_values, moments

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.data.dataset import Dataset

__all__ = ["SimpleImputer"]

STRATEGIES = ("mean", "most_frequent", "constant")


class SimpleImputer(Preprocessor):
    """Fills missing values of columns with their mean, their most frequent value or a constant.

    A column that a batch lacks is filled as a whole.

    Args:
        columns: Which.
        strategy: `"mean"`, `"most_frequent"` or `"constant"`.
        fill_value: The constant.
        output_columns: New names; None replaces the columns.

    Raises:
        ValueError: if the strategy is unknown, or there is no constant.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": 1.0}, {"a": None}, {"a": 3.0}])
        >>> SimpleImputer(["a"]).fit_transform(ds).take_all()
        [{'a': 1.0}, {'a': 2.0}, {'a': 3.0}]
    """

    def __init__(
        self,
        columns: Sequence[str],
        strategy: str = "mean",
        fill_value: Any = None,
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.strategy = strategy
        self.fill_value = fill_value
        self.output_columns = outputs(columns, output_columns)
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {list(STRATEGIES)}, got {strategy!r}")
        if strategy == "constant":
            if fill_value is None:
                raise ValueError('strategy="constant" needs a fill_value')
            self._is_fittable = False

    def _fit(self, ds: "Dataset") -> None:
        if self.strategy == "mean":
            found = moments(ds, self.columns, "SimpleImputer")
            self.stats_ = {
                f"mean({name})": one.mean if one.count else None for name, one in found.items()
            }
            return
        counts = count_values(ds, self.columns, "SimpleImputer")
        for name, counter in counts.items():
            present = [(n, v) for v, n in counter.items() if v is not None and v == v]
            most = max((n for n, _ in present), default=0)
            self.stats_[f"most_frequent({name})"] = next(
                (value for number, value in present if number == most), None
            )

    def _needed(self) -> list[str]:
        return []  # what is not there is missing in every row

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        made = {}
        for column, output in zip(self.columns, self.output_columns, strict=True):
            value = self.fill_value
            if self.strategy != "constant":
                value = self.stats_[f"{self.strategy}({column})"]
            if value is None:
                raise ValueError(
                    f"SimpleImputer cannot fill column {column!r}: the dataset that it was fitted "
                    "on had no value there"
                )
            series = df[column] if column in df else frame_column((), df.index)
            made[output] = series.where(series.notna(), value).infer_objects()
        return df.assign(**made)
