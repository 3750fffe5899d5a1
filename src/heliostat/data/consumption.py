"""The eager verbs: each runs the plan, as far as it must, and gives rows or writes them."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from heliostat.data._deal import split_at
from heliostat.data._gather import stratified
from heliostat.data._native.queries import Aggregate, CountWhere
from heliostat.data._optimize import is_native, optimize
from heliostat.data._plan import (
    Apply,
    Blocks,
    Limit,
    Plan,
    Relate,
    Select,
    Shuffle,
    Where,
    count_of,
    schema_of,
)
from heliostat.data._planned import Planned
from heliostat.data._split import split_while_running
from heliostat.data.aggregate import Count
from heliostat.data.arrays import no_rows
from heliostat.data.block import (
    Bundle,
    Row,
    check_batch_format,
    concat,
    iter_rows,
    take_rows,
    to_batch,
)
from heliostat.data.iterator import DataIterator

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.data.dataset import MaterializedDataset


class Consumption(Planned):
    """The half of Dataset that runs plans."""

    # -- rows to look at

    def take(self, limit: int = 20) -> list[Row]:
        """The first rows; no more is run than they need.

        Args:
            limit: How many at most.

        Returns:
            Dicts.

        Raises:
            TypeError: if the limit is no whole number.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(100).take(2)
            [{'id': 0}, {'id': 1}]
        """
        _require_whole(limit, "take: limit", "take_all() gives every row")
        return list(self._rows(Apply(self._plan, Limit(max(0, limit)))))

    def take_all(self, limit: int | None = None) -> list[Row]:
        """All rows.

        Args:
            limit: Refuse if there are more than this.

        Returns:
            Dicts.

        Raises:
            ValueError: if there are more rows than `limit`.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(2).take_all()
            [{'id': 0}, {'id': 1}]
        """
        if limit is None:
            return list(self._rows(self._plan))
        _require_whole(limit, "take_all: limit", "None is for no limit")
        rows = list(self._rows(Apply(self._plan, Limit(limit + 1))))
        if len(rows) > limit:
            raise ValueError(f"the dataset has more rows than the limit of {limit}")
        return rows

    def take_batch(self, batch_size: int = 20, *, batch_format: str | None = "default") -> Any:
        """The first rows as one batch; no more is run than they need.

        Args:
            batch_size: How many rows at most.
            batch_format: `"default"` or `"numpy"`, `"pandas"`, `"pyarrow"`.

        Returns:
            A batch.

        Raises:
            ValueError: if the dataset is empty.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(100).take_batch(2)
            {'id': array([0, 1])}
        """
        form = check_batch_format(batch_format)
        _require_whole(batch_size, "take_batch: batch_size", "to_pandas() gives every row")
        bundles, _ = self._run(Apply(self._plan, Limit(max(0, batch_size))))
        tables = [bundle.table() for bundle in bundles]
        if not tables:
            raise ValueError("the dataset is empty: there is no batch to take")
        return to_batch(concat(tables), form, writable=True)

    def show(self, limit: int = 20) -> None:
        """Print the first rows.

        Args:
            limit: How many at most.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(100).show(2)
            {'id': 0}
            {'id': 1}
        """
        for row in self.take(limit):
            print(row)  # noqa: T201 - what it is for

    def count(self) -> int:
        """How many rows there are; from metadata where that knows.

        Returns:
            The number.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(100).count()
            100
        """
        count = count_of(self._plan)
        if count is not None:
            return count
        best = optimize(self._plan)
        match best:
            case Apply(below, Where(predicate)) if is_native(best):
                return int(next(self._rows(Relate((below,), CountWhere(predicate))))["count()"])
            case _ if is_native(best):
                counted = Relate((best,), Aggregate((), (Count(),)))
                return int(next(self._rows(counted))["count()"])
        known = schema_of(best)
        # One column is enough to count rows by.
        narrow = Apply(best, Select(tuple(known.names[:1]))) if known else None
        return sum(bundle.rows for bundle in self._bundles(narrow))

    # -- iteration

    def _converted(self, *args: Any, **options: Any) -> Iterator[Any]:
        return self.iterator()._converted(*args, **options)

    @property
    def _is_read_anew(self) -> bool:
        return self.iterator()._is_read_anew

    def iterator(self) -> DataIterator:
        """This dataset as something that can only be iterated.

        Returns:
            The iterator.

        Example:
            >>> import heliostat as ray
            >>> len(list(ray.data.range(3).iterator().iter_rows()))
            3
        """
        return DataIterator(self._self())

    def _rows(self, plan: Plan) -> Iterator[Row]:
        for bundle in self._bundles(plan):
            yield from iter_rows(bundle.table())

    # -- into other hands

    def to_pandas(self, limit: int | None = None) -> "pd.DataFrame":
        """All rows as one DataFrame.

        Args:
            limit: Refuse if there are more rows than this.

        Returns:
            The DataFrame.

        Raises:
            ValueError: if there are more rows than `limit`.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).to_pandas()["id"].tolist()
            [0, 1, 2]
        """
        if limit is not None:
            _require_whole(limit, "to_pandas: limit", "None is for no limit")
        plan = self._plan if limit is None else Apply(self._plan, Limit(limit + 1))
        bundles, schema = self._run(plan)
        rows = sum(bundle.rows for bundle in bundles)
        if limit is not None and rows > limit:
            raise ValueError(
                f"the dataset has more rows than the limit of {limit}; "
                "raise the limit, or use limit() first"
            )
        tables = [bundle.table() for bundle in bundles]
        if not tables and schema is not None:
            tables = [no_rows(schema)]
        frame: pd.DataFrame = to_batch(concat(tables), "pandas")
        return frame

    # -- parts

    def split(
        self, n: int, *, equal: bool = False, locality_hints: list[Any] | None = None
    ) -> "list[MaterializedDataset]":
        """Run it and cut the rows into `n` datasets, in order, as even as can be.

        Args:
            n: How many.
            equal: Leave out the rows by which some would be longer.
            locality_hints: Not needed on one machine.

        Returns:
            The parts.

        Raises:
            ValueError: if `n` is below 1.

        Example:
            >>> import heliostat as ray
            >>> [part.count() for part in ray.data.range(10).split(3)]
            [4, 3, 3]
        """
        _require_whole(n, "split: n", "split_proportionately takes shares")
        if n < 1:
            raise ValueError(f"the number of splits must be >= 1, got {n}")
        bundles, schema = self._run(self._plan)
        rows = sum(bundle.rows for bundle in bundles)
        each, more = divmod(rows, n)
        more = 0 if equal else more
        cuts = [each * part + min(part, more) for part in range(1, n + 1)]
        parts = split_at(bundles, cuts)[:n]
        return [self._keep(part, schema) for part in parts]

    def split_at_indices(self, indices: list[int]) -> "list[MaterializedDataset]":
        """Run it and cut it at these rows.

        Args:
            indices: Row numbers, ascending.

        Returns:
            One dataset more than there are indices.

        Raises:
            ValueError: if they are empty, negative or not ascending.

        Example:
            >>> import heliostat as ray
            >>> [part.count() for part in ray.data.range(10).split_at_indices([2, 5])]
            [2, 3, 5]
        """
        if not indices or indices[0] < 0 or indices != sorted(indices):
            raise ValueError(f"indices must be ascending and >= 0, got {indices!r}")
        bundles, schema = self._run(self._plan)
        return [self._keep(part, schema) for part in split_at(bundles, indices)]

    def split_proportionately(self, proportions: list[float]) -> "list[MaterializedDataset]":
        """Run it and cut it into shares, in order.

        Args:
            proportions: Shares of the rows, together below 1; what is left is the last part.

        Returns:
            One dataset more than there are proportions.

        Raises:
            ValueError: if a share is not above 0, they leave nothing, or a part would have no row.

        Example:
            >>> import heliostat as ray
            >>> [part.count() for part in ray.data.range(10).split_proportionately([0.2, 0.5])]
            [2, 5, 3]
        """
        if not proportions or min(proportions) <= 0 or sum(proportions) >= 1:
            raise ValueError(
                f"proportions must be above 0, and below 1 together, got {proportions!r}"
            )
        bundles, schema = self._run(self._plan)
        rows = sum(bundle.rows for bundle in bundles)
        shares = itertools.accumulate(proportions)
        # Each part but the last is rounded down to whole rows, and has one at least.
        cuts = [int(rows * share + 1e-9) for share in shares]
        for part in range(len(cuts) - 1, 0, -1):
            cuts[part - 1] = min(cuts[part - 1], cuts[part] - 1)
        if cuts[0] < 1:
            raise ValueError(f"{rows} rows are too few for shares of {proportions!r} and the rest")
        return [self._keep(part, schema) for part in split_at(bundles, cuts)]

    def train_test_split(
        self,
        test_size: int | float,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        stratify: str | None = None,
    ) -> "tuple[MaterializedDataset, MaterializedDataset]":
        """Run it and cut it in two; the test rows are the last ones, unless shuffled.

        Args:
            test_size: A share between 0 and 1, or a number of rows.
            shuffle: Bring the rows into a random order first.
            seed: For the same order again.
            stratify: A column: each of its values has the same share in both, rounded down if
                `test_size` is a share.

        Returns:
            Train and test.

        Raises:
            KeyError: if the column does not exist.
            ValueError: if the size does not fit.

        Example:
            >>> import heliostat as ray
            >>> train, test = ray.data.range(10).train_test_split(0.3)
            >>> train.count(), test.take(1)
            (7, [{'id': 7}])
        """
        if isinstance(test_size, bool) or not isinstance(test_size, int | float):
            raise TypeError(f"test_size must be an int or a float, got {test_size!r}")
        if isinstance(test_size, float) and not 0 < test_size < 1:
            raise ValueError(f"test_size as a share must be between 0 and 1, got {test_size}")
        bundles, schema = self._run(Apply(self._plan, Shuffle(seed)) if shuffle else self._plan)
        rows = sum(bundle.rows for bundle in bundles)
        if isinstance(test_size, int):
            if not 0 < test_size < rows:
                raise ValueError(
                    "test_size as a number of rows must be above 0 and below the size of the "
                    f"dataset ({rows}), got {test_size}"
                )
            cut = rows - test_size
        else:
            cut = int(rows * (1 - test_size))
        if stratify is not None and rows:
            whole = concat([bundle.table() for bundle in bundles])
            train_rows, test_rows = stratified(whole, stratify, test_size)
            return (
                self._keep([Bundle.of(take_rows(whole, train_rows))], whole.schema),
                self._keep([Bundle.of(take_rows(whole, test_rows))], whole.schema),
            )
        train, test = split_at(bundles, [cut])
        return self._keep(train, schema), self._keep(test, schema)

    def streaming_split(
        self, n: int, *, equal: bool = False, locality_hints: list[Any] | None = None
    ) -> list[DataIterator]:
        """Cut it into `n` iterators, for that many consumers that take rows while it runs.

        It runs once for each pass of all consumers. Every block is dealt out evenly as it comes;
        what a slow consumer has not taken waits for it.

        Args:
            n: How many.
            equal: Give each the same number of rows, and leave out the last ones if need be.
            locality_hints: Not needed on one machine.

        Returns:
            The iterators; they can be sent to other processes.

        Raises:
            ValueError: if `n` is below 1.

        Example:
            >>> import heliostat as ray
            >>> [part.count() for part in ray.data.range(5).streaming_split(2, equal=True)]
            [2, 2]
        """
        _require_whole(n, "streaming_split: n", "it is how many iterators there are")
        if n < 1:
            raise ValueError(f"the number of splits must be >= 1, got {n}")
        if isinstance(self._plan, Blocks):
            return [part.iterator() for part in self.split(n, equal=equal)]
        return split_while_running(self._self(), n, equal=equal)

    # -- what is kept

    def materialize(self) -> "MaterializedDataset":
        """Run it and keep the rows.

        Returns:
            A dataset of rows that are there.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).materialize().num_blocks() > 0
            True
        """
        return self._keep(*self._run(self._plan))

    def size_bytes(self) -> int:
        """How many bytes the rows take in memory; runs the plan if they are not there.

        Returns:
            Bytes.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(10).materialize().size_bytes()
            80
        """
        plan = self._plan
        bundles = plan.bundles if isinstance(plan, Blocks) else self._bundles()
        return sum(bundle.size_bytes for bundle in bundles)


def _require_whole(number: object, where: str, remedy: str) -> None:
    if not hasattr(number, "__index__"):
        raise TypeError(f"{where} must be an int, got {number!r}; {remedy}")
