"""The lazy verbs: each adds one step to the plan and gives a new Dataset; nothing runs."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from heliostat.data._expr import Expr
from heliostat.data._failures import OnError
from heliostat.data._mix import MixStoppingCondition
from heliostat.data._plan import (
    Apply,
    Filter,
    FlatMap,
    Limit,
    MapBatches,
    MapRows,
    Mix,
    Repartition,
    Shuffle,
    SortRows,
    Union,
    aligned,
)
from heliostat.data._planned import plans_of
from heliostat.data.block import check_batch_format, from_batch, to_batch
from heliostat.data.columns import Columns, names_of
from heliostat.data.compute import UdfOptions, parse_on_error, parse_udf
from heliostat.data.context import DataContext
from heliostat.data.randomness import Randomness

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset


class Transforms(Columns, Randomness):
    """The half of Dataset that builds plans."""

    def map(self, fn: Callable[..., Any], **options: Unpack[UdfOptions]) -> "Dataset":
        """Call a function on each row; what it returns is the new row.

        Args:
            fn: Takes a dict, returns a dict; or a callable class that does.
            **options: See `UdfOptions`; others are those of tasks and actors.

        Returns:
            A new Dataset.

        Raises:
            ValueError: if options contradict each other.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).map(lambda row: {"twice": 2 * row["id"]}).take_all()
            [{'twice': 0}, {'twice': 2}, {'twice': 4}]
        """
        udf, place = parse_udf(fn, options, _on_error("map", options, self._knobs), self._knobs)
        return self._derive(Apply(self._plan, MapRows(udf, place)))

    def map_batches(
        self,
        fn: Callable[..., Any],
        *,
        batch_size: int | str | None = None,
        batch_format: str | None = "default",
        zero_copy_batch: bool = False,
        udf_modifying_row_count: bool = True,
        **options: Unpack[UdfOptions],
    ) -> "Dataset":
        """Call a function on batches of rows; what it returns or yields follows in order.

        Args:
            fn: Takes and returns a batch; or a generator function; or a callable class, which
                is built once in each actor of a pool.
            batch_size: Rows a batch, counted over the whole dataset; None or "auto" gives
                batches of the size that suits the machine.
            batch_format: `"default"` or `"numpy"` (a dict of arrays), `"pandas"`, `"pyarrow"`.
            zero_copy_batch: Let the function see read-only arrays; False gives it its own.
            udf_modifying_row_count: A hint that is not needed here.
            **options: See `UdfOptions`; others are those of tasks and actors.

        Returns:
            A new Dataset.

        Raises:
            ValueError: if an option is unknown or options contradict each other.

        Example:
            >>> import heliostat as ray
            >>> def twice(batch, by):
            ...     batch["id"] *= by
            ...     return batch
            >>> ray.data.range(3).map_batches(twice, fn_kwargs={"by": 2}).take_all()
            [{'id': 0}, {'id': 2}, {'id': 4}]
        """
        udf, place = parse_udf(
            fn, options, _on_error("map_batches", options, self._knobs), self._knobs
        )
        size = _batch_size(batch_size)
        step = MapBatches(udf, place, size, check_batch_format(batch_format), not zero_copy_batch)
        return self._derive(Apply(self._plan, step))

    def flat_map(self, fn: Callable[..., Any], **options: Unpack[UdfOptions]) -> "Dataset":
        """Call a function on each row; it returns a list of rows, or yields them.

        Args:
            fn: Takes a dict, gives dicts; or a callable class that does.
            **options: See `UdfOptions`; others are those of tasks and actors.

        Returns:
            A new Dataset.

        Raises:
            ValueError: if options contradict each other.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(2).flat_map(lambda row: [row] * row["id"]).take_all()
            [{'id': 1}]
        """
        udf, place = parse_udf(
            fn, options, _on_error("flat_map", options, self._knobs), self._knobs
        )
        return self._derive(Apply(self._plan, FlatMap(udf, place)))

    def filter(
        self, fn: Callable[..., Any] | None = None, expr: Any = None, **options: Unpack[UdfOptions]
    ) -> "Dataset":
        """Keep the rows for which a function is true.

        Args:
            fn: Takes a dict, returns a bool; or a callable class that does.
            expr: Instead of a function: an expression, or one as text (`"a > 0 and b == 'x'"`).
                Rows for which it is null are left out, too.
            **options: See `UdfOptions`; others are those of tasks and actors.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if the expression names a column that does not exist.
            TypeError: if the expression is not a boolean one.
            ValueError: if neither or both are given, or options contradict each other.

        Example:
            >>> import heliostat as ray
            >>> from heliostat.data.expressions import col
            >>> ray.data.range(5).filter(lambda row: row["id"] > 3).take_all()
            [{'id': 4}]
            >>> ray.data.range(5).filter(expr=(col("id") > 3) | (col("id") == 0)).take_all()
            [{'id': 0}, {'id': 4}]
        """
        if (fn is None) == (expr is None):
            raise ValueError(
                "filter needs a function or an expression, and not both: "
                "filter(lambda row: ...) or filter(expr=col('a') > 0)"
            )
        # Ray also takes an expression in the first place.
        expr = fn if isinstance(fn, Expr) else expr
        on_error = _on_error("filter", options, self._knobs)
        if expr is not None:
            return self._where(expr, options, on_error)
        assert fn is not None
        udf, place = parse_udf(fn, options, on_error, self._knobs)
        return self._derive(Apply(self._plan, Filter(udf, place)))

    def add_column(
        self,
        col: str,
        fn: Callable[[Any], Any],
        *,
        batch_format: str | None = "pandas",
        **options: Any,
    ) -> "Dataset":
        """Add a column, or replace it, by a function of the batch.

        Args:
            col: Its name.
            fn: Takes a batch, returns a column.
            batch_format: What the function sees.
            **options: As for `map_batches`.

        Returns:
            A new Dataset.

        Raises:
            ValueError: if the name is not a string or an option is unknown.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(2).add_column("next", lambda df: df["id"] + 1).take_all()
            [{'id': 0, 'next': 1}, {'id': 1, 'next': 2}]
        """
        if not isinstance(col, str):
            raise ValueError(f"a column's name must be a string, got {col!r}")
        if not callable(fn):
            raise TypeError(f"fn must be a function of the batch, got {fn!r}")
        form = check_batch_format(batch_format)

        def add(table: pa.Table) -> pa.Table:
            batch = to_batch(table, form, writable=not options.get("zero_copy_batch"))
            column = fn(batch)
            if form == "pandas":  # which gives a single value to all rows, and looks at the index
                batch[col] = column
                column = batch[col]
            made = from_batch({col: column}, "add_column", table.schema).column(0)
            if len(made) != table.num_rows:
                raise ValueError(f"add_column: {len(made)} values for {table.num_rows} rows")
            if col in table.column_names:
                return table.set_column(table.column_names.index(col), col, made)
            return table.append_column(col, made)

        add.__name__ = f"add_column[{col}]"
        # The other columns stay as they are: frames and arrays have no null for whole numbers.
        return self.map_batches(add, batch_format="pyarrow", **options)

    def limit(self, limit: int) -> "Dataset":
        """Keep the first rows; no more is read or computed than they need.

        Args:
            limit: How many.

        Returns:
            A new Dataset.

        Raises:
            TypeError: if it is not an int.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(1_000_000).limit(2).take_all()
            [{'id': 0}, {'id': 1}]
        """
        if isinstance(limit, bool) or not hasattr(limit, "__index__"):
            raise TypeError(f"limit must be an int, got {limit!r}")
        return self._derive(Apply(self._plan, Limit(max(0, int(limit)))))

    def union(self, *other: "Dataset") -> "Dataset":
        """The rows of this dataset, then those of the others.

        Args:
            *other: Datasets. A column that one does not have is null in its rows.

        Returns:
            A new Dataset.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(1).union(ray.data.range(2)).take_all()
            [{'id': 0}, {'id': 0}, {'id': 1}]
        """
        return self._derive(Union(aligned((self._plan, *plans_of("union", *other)))))

    def mix(
        self,
        *other: "Dataset",
        weights: Sequence[float] | None = None,
        stopping_condition: MixStoppingCondition = MixStoppingCondition.STOP_ON_LONGEST_DROP,
    ) -> "Dataset":
        """Take blocks of several datasets in turn, so that their rows keep to the weights.

        Args:
            *other: Further datasets.
            weights: For this one, then for each of the others; None makes them equal.
            stopping_condition: End with the shortest, or go on to the end of the longest.

        Returns:
            A new Dataset.

        Raises:
            ValueError: if there are not as many weights as datasets, or one is not above 0.

        Example:
            >>> import heliostat as ray
            >>> ones, twos = (ray.data.from_items([n] * 2).repartition(2) for n in (1, 2))
            >>> [row["item"] for row in ones.mix(twos).take_all()]
            [1, 2, 1, 2]
        """
        given = tuple(weights) if weights is not None else (1.0,) * (1 + len(other))
        if len(given) != 1 + len(other) or not all(0 < one < math.inf for one in given):
            raise ValueError(
                f"mix needs a weight above 0 for each of {1 + len(other)} datasets, got {given}"
            )
        inputs = aligned((self._plan, *plans_of("mix", *other)))
        return self._derive(Mix(inputs, given, MixStoppingCondition(stopping_condition)))

    def repartition(
        self,
        num_blocks: int | None = None,
        target_num_rows_per_block: int | None = None,
        *,
        strict: bool = False,
        shuffle: bool = False,
        keys: Sequence[str] | None = None,
        sort: bool = False,
    ) -> "Dataset":
        """Cut the rows into blocks anew. Their order stays, unless `shuffle` or `keys` is given.

        Args:
            num_blocks: How many blocks; or
            target_num_rows_per_block: how many rows in each, the last one excepted.
            strict: Blocks always have exactly that many rows.
            shuffle: Bring the rows into a random order, too.
            keys: Put rows with equal keys into one block.
            sort: Sort each block by the keys.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a key does not exist.
            ValueError: if not exactly one of the first two is given, or options contradict.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(10).repartition(3).materialize().num_blocks()
            3
        """
        del strict
        if (num_blocks is None) == (target_num_rows_per_block is None):
            raise ValueError("give exactly one of num_blocks and target_num_rows_per_block")
        for name, value in (
            ("num_blocks", num_blocks),
            ("target_num_rows_per_block", target_num_rows_per_block),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if target_num_rows_per_block is not None and (shuffle or keys):
            raise ValueError("target_num_rows_per_block goes with neither shuffle nor keys")
        if sort and not keys:
            raise ValueError("sort=True sorts by the keys; give keys")
        by = names_of(keys, "repartition") if keys else ()
        plan = Apply(self._plan, Shuffle(None)) if shuffle else self._plan
        if sort:
            plan = Apply(plan, SortRows(by, (False,) * len(by)))
        return self._derive(Apply(plan, Repartition(num_blocks, target_num_rows_per_block, by)))


def _on_error(verb: str, options: UdfOptions, context: DataContext) -> OnError:
    """What a verb does with rows for which a function raises; taken out of its options."""
    return parse_on_error(
        options.pop("on_error", None), verb, one_each=verb == "map", context=context
    )


def _batch_size(batch_size: int | str | None) -> int | None:
    if batch_size is None or batch_size in ("auto", "default"):
        return None
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f'batch_size must be an int >= 1, None or "auto", got {batch_size!r}')
    return batch_size
