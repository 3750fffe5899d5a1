"""Rows are brought to a length of 1."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from heliostat.data.preprocessor import Preprocessor, outputs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Normalizer"]

# A value that is missing counts as none, as in pandas.
NORMS = {
    "l1": lambda values: np.nansum(np.abs(values), axis=1),
    "l2": lambda values: np.sqrt(np.nansum(values**2, axis=1)),
    "max": lambda values: np.nanmax(np.abs(values), axis=1, initial=0),
}


class Normalizer(Preprocessor):
    """Divides the columns of each row by their norm.

    Args:
        columns: Which.
        norm: `"l1"`, `"l2"` or `"max"` (of absolute values).
        output_columns: New names; None replaces the columns.

    Raises:
        ValueError: if the norm is unknown.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": 3.0, "b": -4.0}])
        >>> Normalizer(["a", "b"]).transform(ds).take_all()
        [{'a': 0.6, 'b': -0.8}]
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        norm: str = "l2",
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.norm = norm
        self.output_columns = outputs(columns, output_columns)
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {list(NORMS)}, got {norm!r}")

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        values = df[self.columns].to_numpy(dtype="float64", na_value=np.nan)
        lengths = NORMS[self.norm](values)
        # A row of zeros stays one.
        scaled = values / np.where(lengths == 0, 1.0, lengths)[:, np.newaxis]
        return df.assign(
            **{name: scaled[:, number] for number, name in enumerate(self.output_columns)}
        )
