"""The integers below a number, as a column or as tensors."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from heliostat.data.arrays import tensors
from heliostat.data.datasource.source import Part

__all__ = ["RangeSource", "TensorRangeSource"]


def _cuts(rows: int, pieces: int) -> list[tuple[int, int]]:
    """Where equal parts begin and end."""
    pieces = min(pieces, rows)
    return [(rows * part // pieces, rows * (part + 1) // pieces) for part in range(pieces)]


@dataclass(frozen=True)
class RangeTask:
    """Some consecutive integers."""

    start: int
    stop: int
    columns: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.stop - self.start

    @property
    def size_bytes(self) -> int:
        """Eight bytes each."""
        return 8 * self.rows

    def read(self) -> Iterator[pa.Table]:
        """One table of them."""
        ids = pa.array(np.arange(self.start, self.stop, dtype=np.int64))
        yield pa.table({"id": ids}).select(self.columns)


@dataclass(frozen=True)
class RangeSource:
    """The integers below a number, in a column `id`."""

    rows: int
    pieces: int | None = None
    columns: tuple[str, ...] = ("id",)

    @property
    def schema(self) -> pa.Schema:
        """One column of int64."""
        return pa.schema([(name, pa.int64()) for name in self.columns])

    @property
    def reads_in_driver(self) -> bool:
        """Counting is cheap."""
        return True

    def describe(self) -> str:
        """Its name."""
        return f"Range({self.rows})"

    def read_tasks(self, target_bytes: int) -> Sequence[Part]:
        """Equal parts."""
        # Also a short range is cut: what is done with each number may be slow.
        wanted = max(16, min(256, self.rows >> 17), -(-8 * self.rows // target_bytes))
        cuts = _cuts(self.rows, self.pieces or wanted)
        return [RangeTask(start, stop, self.columns) for start, stop in cuts]

    def select(self, columns: tuple[str, ...]) -> "RangeSource":
        """With or without its column."""
        return replace(self, columns=columns)

    def head(self, rows: int) -> "RangeSource":
        """A shorter range."""
        return replace(self, rows=min(rows, self.rows))

    def input_files(self) -> list[str]:
        """None."""
        return []


@dataclass(frozen=True)
class TensorRangeTask:
    """Tensors of some consecutive integers."""

    start: int
    stop: int
    shape: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.stop - self.start

    @property
    def size_bytes(self) -> int:
        """Eight bytes for each element."""
        return 8 * self.rows * math.prod(self.shape)

    def read(self) -> Iterator[pa.Table]:
        """One table of them."""
        numbers = np.arange(self.start, self.stop, dtype=np.int64)
        wide = numbers.reshape(-1, *(1 for _ in self.shape))
        whole = np.broadcast_to(wide, (len(numbers), *self.shape))
        yield pa.table({"data": tensors(np.ascontiguousarray(whole))})


@dataclass(frozen=True)
class TensorRangeSource:
    """Tensors filled with the integers below a number, in a column `data`."""

    rows: int
    shape: tuple[int, ...]
    pieces: int | None = None

    @property
    def schema(self) -> pa.Schema:
        """One column of tensors."""
        return pa.schema([("data", pa.fixed_shape_tensor(pa.int64(), self.shape))])

    @property
    def reads_in_driver(self) -> bool:
        """Filling memory is what takes the time."""
        return True

    def describe(self) -> str:
        """Its name."""
        return f"RangeTensor({self.rows})"

    def read_tasks(self, target_bytes: int) -> Sequence[Part]:
        """Equal parts."""
        whole = TensorRangeTask(0, self.rows, self.shape)
        cuts = _cuts(self.rows, self.pieces or max(16, -(-whole.size_bytes // target_bytes)))
        return [TensorRangeTask(start, stop, self.shape) for start, stop in cuts]

    def select(self, columns: tuple[str, ...]) -> None:
        """It has one column."""

    def head(self, rows: int) -> "TensorRangeSource":
        """A shorter range."""
        return replace(self, rows=min(rows, self.rows))

    def input_files(self) -> list[str]:
        """None."""
        return []
