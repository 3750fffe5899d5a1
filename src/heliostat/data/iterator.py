"""DataIterator: rows and batches of a dataset, for a loop that wants nothing else.

What `Dataset.iterator` and `Dataset.streaming_split` give; a training worker gets one. It can be
pickled, and iterated any number of times.
"""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from heliostat.data._batching import batches, prefetch
from heliostat.data._plan import Blocks
from heliostat.data.block import Row, check_batch_format, iter_rows

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.data.dataset import Dataset, MaterializedDataset, Schema

__all__ = ["DataIterator"]


class DataIterator:
    """Iterates over a dataset.

    Args:
        dataset: What to iterate over.

    Example:
        >>> import heliostat as ray
        >>> iterator = ray.data.range(3).iterator()
        >>> [batch["id"].tolist() for batch in iterator.iter_batches(batch_size=2)]
        [[0, 1], [2]]
    """

    def __init__(self, dataset: "Dataset") -> None:
        self._dataset = dataset

    def __repr__(self) -> str:
        return f"DataIterator({self._dataset!r})"

    def iter_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        batch_format: str | None = "default",
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Iterator[Any]:
        """Iterate over batches.

        Args:
            prefetch_batches: How many batches to prepare ahead while rows are still being made.
            batch_size: Rows a batch; None gives blocks as they are.
            batch_format: `"default"` or `"numpy"`, `"pandas"`, `"pyarrow"`.
            drop_last: Leave out a last batch that is short.
            local_shuffle_buffer_size: Draw rows at random from a buffer of at least this many.
            local_shuffle_seed: For the same draw again.

        Returns:
            An iterator of batches. Numpy arrays may be read-only views; copy what you change.

        Raises:
            ValueError: if an argument makes no sense.

        Example:
            >>> import heliostat as ray
            >>> batch = next(ray.data.range(5).iter_batches(batch_size=2))
            >>> batch["id"].tolist()
            [0, 1]
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be >= 1 or None, got {batch_size!r}")
        if prefetch_batches < 0:
            raise ValueError(f"prefetch_batches must be >= 0, got {prefetch_batches!r}")
        if local_shuffle_buffer_size is not None and batch_size is None:
            raise ValueError("local_shuffle_buffer_size needs a batch_size")
        if local_shuffle_buffer_size is not None and local_shuffle_buffer_size < 1:
            raise ValueError(
                f"local_shuffle_buffer_size must be >= 1, got {local_shuffle_buffer_size}"
            )
        made = batches(
            (bundle.table() for bundle in self._dataset._bundles()),
            batch_size=batch_size,
            batch_format=check_batch_format(batch_format),
            drop_last=drop_last,
            shuffle_rows=local_shuffle_buffer_size,
            seed=local_shuffle_seed,
        )
        # Rows that are there already need nobody to run ahead.
        there = isinstance(self._dataset._plan, Blocks)
        return _each(made) if there or not prefetch_batches else prefetch(made, prefetch_batches)

    def iter_rows(self) -> Iterator[Row]:
        """Iterate over rows.

        Yields:
            Dicts.

        Example:
            >>> import heliostat as ray
            >>> next(ray.data.range(5).iterator().iter_rows())
            {'id': 0}
        """
        for bundle in self._dataset._bundles():
            yield from iter_rows(bundle.table())

    def materialize(self) -> "MaterializedDataset":
        """Run it and keep the rows.

        Returns:
            A dataset of rows that are there.
        """
        return self._dataset.materialize()

    def schema(self) -> "Schema | None":
        """The columns.

        Returns:
            The schema, or None if there are no rows to tell it from.
        """
        return self._dataset.schema()

    def columns(self) -> list[str] | None:
        """The names of the columns.

        Returns:
            Names, or None if there are no rows to tell them from.
        """
        return self._dataset.columns()

    def to_pandas(self) -> "pd.DataFrame":
        """All rows as one DataFrame.

        Returns:
            The DataFrame.
        """
        return self._dataset.to_pandas()

    def count(self) -> int:
        """How many rows there are.

        Returns:
            The number.
        """
        return self._dataset.count()

    def stats(self) -> str:
        """What the last execution did.

        Returns:
            Text.
        """
        return self._dataset.stats()


def _each(made: Iterator[Any]) -> Generator[Any]:
    yield from made
