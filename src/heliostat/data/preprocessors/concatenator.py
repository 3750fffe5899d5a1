"""Several columns become one column of vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_batch, to_batch
from heliostat.data.preprocessor import Preprocessor

__all__ = ["Concatenator"]


class Concatenator(Preprocessor):
    """Puts columns together into one column of vectors; they themselves go.

    Args:
        columns: Which, in this order.
        output_column_name: The new column.
        dtype: Of the vectors; None for one that fits all columns.
        raise_if_missing: Not needed: a missing column is always an error.
        flatten: Also take the elements of columns of vectors.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": 1, "b": 2.5}])
        >>> Concatenator(["a", "b"]).transform(ds).take_all()
        [{'concat_out': array([1. , 2.5])}]
    """

    _is_fittable = False
    _batch_format = "pyarrow"

    def __init__(
        self,
        columns: Sequence[str],
        output_column_name: str = "concat_out",
        dtype: Any = None,
        raise_if_missing: bool = False,
        flatten: bool = False,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.output_column_name = output_column_name
        self.dtype = dtype
        self.raise_if_missing = raise_if_missing
        self.flatten = flatten

    def get_output_columns(self) -> list[str]:
        """The column it makes.

        Returns:
            Its name.
        """
        return [self.output_column_name]

    def _transform_arrow(self, table: pa.Table) -> pa.Table:
        # As numpy sees them only the columns that are joined: null in the others stays null.
        batch = to_batch(table.select(list(dict.fromkeys(self.columns))), "numpy")
        parts = []
        for name in self.columns:
            part = np.asarray(batch[name])
            if part.dtype == object and self.flatten and len(part):
                part = np.stack([np.ravel(np.asarray(value)) for value in part])
            if part.ndim > 1 and not self.flatten:
                raise ValueError(
                    f"Concatenator: column {name!r} holds arrays of shape {part.shape[1:]}; "
                    "use flatten=True"
                )
            parts.append(part.reshape(len(part), -1))
        joined = np.concatenate(parts, axis=1)
        made = joined if self.dtype is None else joined.astype(self.dtype)
        gone = {*self.columns, self.output_column_name}
        rest = table.select([name for name in table.column_names if name not in gone])
        column = from_batch({self.output_column_name: made})
        return rest.append_column(column.schema.field(0), column.column(0))
