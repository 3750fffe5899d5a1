"""A source that makes rows up and a sink that counts them: to try a pipeline without any storage."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.arrays import from_numbers
from heliostat.data.block import Block, BlockAccessor, BlockMetadata
from heliostat.data.datasource.custom import Datasource, ReadTask
from heliostat.data.datasource.datasink import Datasink, TaskContext, WriteResult

__all__ = ["DummyOutputDatasink", "RandomIntRowDatasource"]

LARGEST = np.iinfo(np.int64).max


class RandomIntRowDatasource(Datasource):
    """Rows of random whole numbers, in columns c_0, c_1 and so on; other ones each time.

    Args:
        n: How many rows.
        num_columns: How many columns.

    Raises:
        ValueError: For less than no rows, or no columns.

    Example:
        >>> import heliostat as ray
        >>> rows = ray.data.read_datasource(RandomIntRowDatasource(10, 2))
        >>> rows.count(), rows.columns()
        (10, ['c_0', 'c_1'])
    """

    def __init__(self, n: int, num_columns: int) -> None:
        if n < 0 or num_columns < 1:
            raise ValueError(f"n must be >= 0 and num_columns >= 1, got {n!r} and {num_columns!r}")
        self._rows, self._names = n, [f"c_{number}" for number in range(num_columns)]

    def estimate_inmemory_data_size(self) -> int:
        """Eight bytes for each number."""
        return self._rows * len(self._names) * 8

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Tasks of about as many rows each.

        Args:
            parallelism: How many.
            per_task_row_limit: How many rows are wanted of each at most.
            data_context: Not needed.
        """
        cuts = np.linspace(0, self._rows, min(max(parallelism, 1), self._rows or 1) + 1).astype(int)
        sizes = [int(size) for size in np.diff(cuts)]
        each = 8 * len(self._names)
        return [
            ReadTask(_making(size, self._names), BlockMetadata(size, size * each)) for size in sizes
        ]


def _making(rows: int, names: list[str]) -> Callable[[], list[pa.Table]]:
    def make() -> list[pa.Table]:
        rng = np.random.default_rng()
        return [pa.table({name: from_numbers(rng.integers(LARGEST, size=rows)) for name in names})]

    return make


class DummyOutputDatasink(Datasink[int]):
    """A sink that keeps nothing: it counts the rows, and the writes that went well or not.

    Example:
        >>> import heliostat as ray
        >>> sink = DummyOutputDatasink()
        >>> ray.data.range(10).write_datasink(sink)
        >>> sink.num_ok, sink.num_failed, sink.rows_written
        (1, 0, 10)
    """

    def __init__(self) -> None:
        self.num_ok = self.num_failed = self.rows_written = 0
        self.enabled = True

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> int:
        """Count the rows.

        Args:
            blocks: Of one task.
            ctx: Not needed.

        Raises:
            ValueError: If `enabled` is False.
        """
        if not self.enabled:
            raise ValueError("this sink is disabled: its `enabled` is False")
        return sum(BlockAccessor.for_block(block).num_rows() for block in blocks)

    def on_write_complete(self, write_result: WriteResult[int]) -> None:
        """All went well.

        Args:
            write_result: What the tasks gave.
        """
        self.num_ok += 1
        self.rows_written += sum(write_result.write_returns)

    def on_write_failed(self, error: Exception) -> None:
        """It went wrong.

        Args:
            error: What did.
        """
        self.num_failed += 1
