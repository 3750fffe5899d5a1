"""Skewed columns are made more like a normal distribution."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.data.preprocessor import Preprocessor, outputs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PowerTransformer"]

METHODS = ("yeo-johnson", "box-cox")


class PowerTransformer(Preprocessor):
    """Applies the power transform of Yeo and Johnson, or of Box and Cox.

    Args:
        columns: Which.
        power: The exponent, called lambda in formulas.
        method: `"yeo-johnson"`, or `"box-cox"` for values above 0.
        output_columns: New names; None replaces the columns.

    Raises:
        ValueError: if the method is unknown.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": 3.0}])
        >>> PowerTransformer(["a"], power=2, method="box-cox").transform(ds).take_all()
        [{'a': 4.0}]
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        power: float,
        method: str = "yeo-johnson",
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.power = power
        self.method = method
        self.output_columns = outputs(columns, output_columns)
        if method not in METHODS:
            raise ValueError(f"method must be one of {list(METHODS)}, got {method!r}")

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        apply = _box_cox if self.method == "box-cox" else _yeo_johnson
        pairs = zip(self.columns, self.output_columns, strict=True)
        return df.assign(
            **{
                output: apply(df[name].to_numpy(dtype="float64", na_value=np.nan), self.power)
                for name, output in pairs
            }
        )


def _box_cox(values: Any, power: float) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values) if power == 0 else (values**power - 1) / power


def _yeo_johnson(values: Any, power: float) -> Any:
    # Each half is computed for its own values only: others may not have a power.
    upper = np.where(values >= 0, values, 0.0)
    lower = np.where(values < 0, -values, 0.0)
    above = np.log1p(upper) if power == 0 else ((upper + 1) ** power - 1) / power
    rest = 2 - power
    below = -np.log1p(lower) if rest == 0 else -((lower + 1) ** rest - 1) / rest
    return np.where(np.isnan(values), np.nan, np.where(values >= 0, above, below))
