"""Arrays in .npy files. What is pickled in them is refused: reading it would run code."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_batch
from heliostat.data.datasource.files import OpenFile

__all__ = ["NumpyFormat"]


@dataclass(frozen=True)
class NumpyFormat:
    """One row for each element along the first axis, in a column `data`."""

    options: tuple[tuple[str, Any], ...] = ()

    name = "Numpy"
    in_driver = False
    expansion = 1.0
    one_row = False
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """One table."""
        array = np.load(file.buffer(), allow_pickle=False, **dict(self.options))
        yield from_batch({"data": array}, "the file")
