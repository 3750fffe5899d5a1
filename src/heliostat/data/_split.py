"""A dataset split among several consumers while it runs: an actor runs it and deals out its rows."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import heliostat
from heliostat.data._deal import Deal
from heliostat.data._execute import Execution
from heliostat.data._plan import Apply, Limit, Plan
from heliostat.data.block import Bundle, schema_of_blocks
from heliostat.data.context import DataContext
from heliostat.data.iterator import DataIterator

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset, MaterializedDataset, Schema


class Run:
    """One pass of all consumers over the rows.

    Args:
        plan: What to run.
        context: The knobs.
        deal: To whom its rows go.
    """

    def __init__(self, plan: Plan, context: DataContext, deal: Deal) -> None:
        self._deal = deal
        self._execution = Execution(plan, context, gives_way=True)
        self._bundles: Generator[Bundle] | None = self._execution.run()
        self._error: Exception | None = None

    def next(self, part: int) -> Bundle | None:
        """The next rows of a part; runs as far as it must."""
        while (piece := self._deal.take(part)) is None:
            if self._error is not None:
                raise self._error
            if self._bundles is None:
                return None
            try:
                bundle = next(self._bundles, None)
            except Exception as error:
                # For the others, too: to them it would look like the end of the rows.
                self._error = error
                raise
            if bundle is None:
                self._bundles = None
                self._deal.end()
            else:
                # What waits is in shared memory, which moves to disk when there is too much of it.
                bundle.cell.share()
                self._deal.put(bundle)
        return piece

    def leave(self, part: int) -> bool:
        """A part's consumer is done with this pass; whether all are."""
        last = self._deal.leave(part)
        if last and self._bundles is not None:
            self._bundles.close()
            self._bundles = None
        return last

    @property
    def stats(self) -> str:
        """What was run."""
        return str(self._execution.stats or "Not finished yet.")


class Splitter:
    """The actor: runs the plan once for each pass of its consumers.

    Args:
        plan: What to run.
        context: The knobs.
        parts: How many consumers.
        equal: Whether all get as many rows.
    """

    def __init__(self, plan: Plan, context: DataContext, parts: int, equal: bool) -> None:
        self._plan = plan
        self._context = context
        self._context.enable_progress_bars = False
        self._parts = parts
        self._equal = equal
        # How many passes each consumer has begun, and those that somebody is in or has yet to begin.
        self._begun = [0] * parts
        self._runs: dict[int, Run] = {}
        self._stats = "Nothing was run yet."

    def begin(self, part: int) -> int:
        """A consumer begins a pass, and has ended the one before.

        Returns:
            Its number.
        """
        number = self._begun[part]
        self._begun[part] += 1
        if number:
            self.leave(part, number - 1)
        if number not in self._runs:
            deal = Deal(self._parts, equal=self._equal)
            self._runs[number] = Run(self._plan, self._context, deal)
        return number

    def next(self, part: int, number: int) -> Bundle | None:
        """The next rows of a pass, or None at its end."""
        run = self._runs.get(number)
        if run is None:
            return None
        bundle = run.next(part)
        if bundle is None:
            self.leave(part, number)
        return bundle

    def leave(self, part: int, number: int) -> None:
        """A consumer wants no more of a pass."""
        run = self._runs.get(number)
        if run is None:
            return
        if run.leave(part):
            self._stats = run.stats
            del self._runs[number]

    def schema(self) -> pa.Schema | None:
        """The columns; runs as much as it takes to see them."""
        execution = Execution(
            Apply(self._plan, Limit(1)), self._context, unbounded=True, gives_way=True
        )
        bundles = list(execution.run())
        return bundles[0].schema if bundles else execution.schema

    def stats(self) -> str:
        """What the last finished pass did."""
        return self._stats


class SplitIterator(DataIterator):
    """One consumer's iterator.

    Args:
        splitter: The actor.
        part: Which consumer it is for.
        empty: A dataset of the same columns without rows.
    """

    def __init__(self, splitter: Any, part: int, empty: "MaterializedDataset") -> None:
        super().__init__(empty)
        self._splitter = splitter
        self._part = part

    def __repr__(self) -> str:
        return f"SplitIterator({self._part})"

    def _bundles(self, plan: Plan | None = None) -> Generator[Bundle]:
        splitter, part = self._splitter, self._part
        number = heliostat.get(splitter.begin.remote(part))
        try:
            coming = splitter.next.remote(part, number)
            while (bundle := heliostat.get(coming)) is not None:
                # Asked for before this one is looked at, so that it comes meanwhile.
                coming = splitter.next.remote(part, number)
                yield bundle
        finally:
            splitter.leave.remote(part, number)

    @property
    def _is_there(self) -> bool:
        return False

    def materialize(self) -> "MaterializedDataset":
        """Run a pass and keep the rows of this part.

        Returns:
            A dataset of rows that are there.
        """
        bundles = list(self._bundles())
        return self._dataset._keep(bundles, schema_of_blocks(bundles) or self._dataset._schema)

    def count(self) -> int:
        """How many rows this part gets; runs a pass.

        Returns:
            The number.
        """
        return sum(bundle.rows for bundle in self._bundles())

    def schema(self) -> "Schema | None":
        """The columns; runs as much as it takes to see them.

        Returns:
            The schema, or None if there are no rows to tell it from.
        """
        if self._dataset._schema is None and super().schema() is None:
            self._dataset._schema = heliostat.get(self._splitter.schema.remote())
        return super().schema()

    def columns(self) -> list[str] | None:
        """The names of the columns.

        Returns:
            Names, or None if there are no rows to tell them from.
        """
        schema = self.schema()
        return None if schema is None else schema.names

    def to_pandas(self) -> Any:
        """All rows of this part as one DataFrame; runs a pass.

        Returns:
            The DataFrame.
        """
        return self.materialize().to_pandas()

    def stats(self) -> str:
        """What the last pass of all parts did.

        Returns:
            Text.
        """
        return str(heliostat.get(self._splitter.stats.remote()))


def split_while_running(dataset: "Dataset", parts: int, *, equal: bool) -> list[DataIterator]:
    """Iterators over parts of what an actor runs, once for each pass.

    Args:
        dataset: What to run.
        parts: How many iterators.
        equal: Whether all get as many rows.

    Returns:
        The iterators.
    """
    make: Callable[..., Any] = heliostat.remote(Splitter).options(num_cpus=0).remote
    splitter = make(dataset._plan, dataset._knobs.copy(), parts, equal)
    schema = dataset.schema(fetch_if_missing=False)
    empty = dataset._keep((), None if schema is None else schema.base_schema)
    return [SplitIterator(splitter, part, empty) for part in range(parts)]
