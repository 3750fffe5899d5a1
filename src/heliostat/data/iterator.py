"""DataIterator: rows and batches of a dataset, for a loop that wants nothing else.

What `Dataset.iterator` and `Dataset.streaming_split` give; a training worker gets one. It can be
pickled, and iterated any number of times.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from heliostat.data._batching import prefetch
from heliostat.data._pass import Cut, Pass, Passes, after, cut_tables, sliced
from heliostat.data._plan import (
    GATHERING,
    REORDERING,
    UDF_STEPS,
    Apply,
    Blocks,
    Drop,
    Plan,
    Read,
    Rename,
    Select,
    with_encoded_texts,
)
from heliostat.data.block import Bundle, Row, iter_rows
from heliostat.data.context import DataContext
from heliostat.data.datasource.source import reads_anew
from heliostat.data.frameworks import Frameworks

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.data.dataset import Dataset, MaterializedDataset, Schema

__all__ = ["DataIterator"]


class DataIterator(Frameworks):
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
        self._pass: Pass | None = None
        self._resumed: Pass | None = None

    def __repr__(self) -> str:
        return f"DataIterator({self._dataset!r})"

    def _bundles(self, plan: Plan | None = None) -> Iterator[Bundle]:
        return self._dataset._bundles(plan)

    @property
    def _is_there(self) -> bool:
        """Whether the rows are there, so that nothing has to run."""
        return isinstance(self._dataset._plan, Blocks)

    @property
    def _is_of_workers(self) -> bool:
        """Whether users' functions make its rows of what is read or there, and nothing is done after."""
        plan = self._dataset._plan
        made = isinstance(plan, Apply) and isinstance(plan.step, UDF_STEPS)
        while isinstance(plan, Apply) and not isinstance(plan.step, (*GATHERING, *REORDERING)):
            plan = plan.input
        return made and isinstance(plan, Read | Blocks)

    @property
    def _is_read_anew(self) -> bool:
        """Whether its rows are read from files for this pass alone, and only chosen from."""
        plan = self._dataset._plan
        while isinstance(plan, Apply) and isinstance(plan.step, (Select, Drop, Rename)):
            plan = plan.input
        return isinstance(plan, Read) and reads_anew(plan.source)

    def iter_rows(self) -> Iterator[Row]:
        """Iterate over rows; `state` counts each as a batch.

        Returns:
            An iterator of dicts; each loop over it begins anew.

        Example:
            >>> import heliostat as ray
            >>> iterator = ray.data.range(5).iterator()
            >>> rows = iterator.iter_rows()
            >>> next(rows)
            {'id': 0}
            >>> again = ray.data.range(5).iterator()
            >>> again.load_state(iterator.state())
            >>> next(again.iter_rows())
            {'id': 1}
        """
        return Passes(self._row_pass)

    def _row_pass(self) -> Generator[Row]:
        this_pass = self._begun(Cut(1, False, None, None))
        blocks = (bundle.table() for bundle in self._bundles())
        rows = (row for block in after(blocks, this_pass.batches) for row in iter_rows(block))
        return self._counted(rows, rows, this_pass)

    def _begun(self, cut: Cut) -> Pass:
        """The pass that begins, or goes on where `load_state` has said."""
        resumed, self._resumed = self._resumed, None
        self._pass = Pass(cut) if resumed is None else resumed.of(cut)
        return self._pass

    def _converted(
        self,
        cut: Cut,
        prefetch_batches: int,
        convert: Callable[[pa.Table], Any],
        slab: int = 1,
        encoded: bool = False,
    ) -> Iterator[Any]:
        """Batches by the way they are cut and what is made of each.

        With a slab above 1 so many batches are converted at once, and are views of one dict. What
        converts may be given texts encoded.
        """
        if prefetch_batches < 0:
            raise ValueError(f"prefetch_batches must be >= 0, got {prefetch_batches!r}")
        return Passes(lambda: self._batch_pass(cut, prefetch_batches, convert, slab, encoded))

    def _batch_pass(
        self,
        cut: Cut,
        prefetch_batches: int,
        convert: Callable[[pa.Table], Any],
        slab: int,
        encoded: bool,
    ) -> Generator[Any]:
        this_pass = self._begun(cut)
        plan = with_encoded_texts(self._dataset._plan) if encoded else None
        blocks = (bundle.table() for bundle in self._bundles(plan))
        made: Iterator[Any] = map(convert, cut_tables(blocks, this_pass, slab))
        # Rows that are there already, or come as they are from workers that run ahead themselves,
        # need nobody else to.
        ahead = self._is_there or (encoded and self._is_of_workers)
        if prefetch_batches and not ahead:
            made = prefetch(made, -(-prefetch_batches // slab))
        source = made
        if slab > 1:
            assert cut.batch_size is not None
            made = sliced(made, cut.batch_size)
        return self._counted(made, source, this_pass)

    def get_context(self) -> DataContext:
        """The knobs that its next execution works with.

        Returns:
            Its dataset's.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).iterator().get_context().max_errored_blocks
            0
        """
        return self._dataset.context

    def _counted(
        self, made: Iterator[Any], source: Iterator[Any], this_pass: Pass
    ) -> Generator[Any]:
        # Counted as they are given, not as they are made: what was made ahead is made again.
        try:
            for batch in made:
                this_pass.batches += 1
                yield batch
        finally:
            if isinstance(source, Generator):
                source.close()

    def state(self) -> dict[str, Any]:
        """Where the last pass over the rows is: how many batches it has given, and how it was cut.

        Returns:
            What `load_state` takes; plain values, to keep in a checkpoint.

        Raises:
            ValueError: if no pass has begun.

        Example:
            >>> import heliostat as ray
            >>> iterator = ray.data.range(6).iterator()
            >>> batches = iterator.iter_batches(batch_size=2, local_shuffle_buffer_size=4)
            >>> _ = next(batches)
            >>> state = iterator.state()
            >>> again = ray.data.range(6).iterator()
            >>> again.load_state(state)
            >>> rest = again.iter_batches(batch_size=2, local_shuffle_buffer_size=4)
            >>> all((a["id"] == b["id"]).all() for a, b in zip(batches, rest, strict=True))
            True
        """
        if self._pass is None:
            raise ValueError("no pass has begun: call iter_batches or iter_rows first")
        return self._pass.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Let the next pass begin where another one was, exactly.

        The dataset has to give the same rows in the same order; with `random_shuffle`, give a seed.

        Args:
            state: What `state` gave.

        Raises:
            ValueError: if it is something else. The next pass raises one if it is cut otherwise.
        """
        self._resumed = Pass.from_state(state)

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
