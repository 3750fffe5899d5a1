"""Arrays in .npy files. What is pickled in them is refused: reading it would run code."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_batch, require_columns, to_batch
from heliostat.data.datasource.datasink import BlockBasedFileDatasink
from heliostat.data.datasource.files import OpenFile

__all__ = ["NumpyDatasink", "NumpyFormat"]


@dataclass(frozen=True)
class NumpyFormat:
    """One row for each element along the first axis, in a column `data`, or columns of a .npz."""

    options: tuple[tuple[str, Any], ...] = ()

    name = "Numpy"
    in_driver = False
    expansion = 1.0
    row_columns = ()
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """One table."""
        array = np.load(file.buffer(), allow_pickle=False, **dict(self.options))
        if isinstance(array, np.lib.npyio.NpzFile):
            with array as arrays:
                yield from_batch(dict(arrays), "the file")
        else:
            yield from_batch({"data": array}, "the file")


class NumpyDatasink(BlockBasedFileDatasink):
    """Writes a column as arrays.

    Args:
        path: The directory.
        column: Which.
        **options: Of every sink of files.
    """

    in_driver = True
    tells_packing = False

    def __init__(self, path: Any, column: str, **options: Any) -> None:
        super().__init__(path, file_format="npy", **options)
        self._column = column

    def write_table(self, table: pa.Table, file: Any) -> None:
        """Write the column."""
        require_columns([self._column], table.column_names, "write_numpy")
        column = table.column(self._column)
        if column.null_count and pa.types.is_integer(column.type):
            try:
                column.cast(pa.float64())
            except pa.ArrowInvalid as error:
                raise ValueError(
                    f"column {self._column!r} has nulls, which an array of whole numbers cannot "
                    f"hold, and numbers that one of floats would round ({error}); use fill_null"
                ) from error
        array = to_batch(table.select([self._column]), "numpy")[self._column]
        if array.dtype == object:
            raise ValueError(
                f"column {self._column!r} holds {type(array[0]).__name__}s, which an array "
                "cannot; give all its values one shape and a numeric type"
            )
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        file.write(content.getvalue())
