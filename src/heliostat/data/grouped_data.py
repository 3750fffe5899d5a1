"""What `Dataset.groupby` gives: groups of rows, to aggregate or to call a function on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from heliostat.data._aggregate_fn import Native
from heliostat.data._evaluate import computed
from heliostat.data._expr import Expr
from heliostat.data._gather import boundaries
from heliostat.data._native.join import Zip
from heliostat.data._native.queries import Aggregate
from heliostat.data._plan import Apply, Groups, MapBatches, Plan, Relate, SortRows
from heliostat.data._plan import Udf as Function
from heliostat.data.aggregate import AggregateFn, AggregateFnV2, Count, Max, Mean, Min, Std, Sum
from heliostat.data.block import check_batch_format, from_batch, from_rows, to_batch
from heliostat.data.compute import UdfOptions, parse_udf

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset

__all__ = ["GroupedData"]

On = str | Sequence[str] | None


class GroupedData:
    """Rows of a dataset in groups of equal keys.

    Args:
        dataset: The rows.
        keys: Columns; none makes one group of all.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"k": 1, "v": 2}, {"k": 1, "v": 4}])
        >>> ds.groupby("k").mean("v").take_all()
        [{'k': 1, 'mean(v)': 3.0}]
    """

    def __init__(self, dataset: "Dataset", keys: tuple[str, ...]) -> None:
        self._dataset = dataset
        self._keys = keys
        known = dataset.columns(fetch_if_missing=False)
        if known is not None:
            missing = [key for key in keys if key not in known]
            if missing:
                raise KeyError(f"groupby: no column named {missing[0]!r}; the columns are {known}")

    def __repr__(self) -> str:
        return f"GroupedData(dataset={self._dataset!r}, key={list(self._keys)!r})"

    def aggregate(self, *aggs: AggregateFn | AggregateFnV2[Any, Any]) -> "Dataset":
        """Aggregate each group; a row for each, in the order of the keys.

        Args:
            *aggs: What to compute; from `heliostat.data.aggregate`, or your own.

        Returns:
            A new Dataset.

        Raises:
            TypeError: if something is no aggregate.
            ValueError: if nothing is given.

        Example:
            >>> import heliostat as ray
            >>> from heliostat.data.aggregate import Count, Max
            >>> ds = ray.data.from_items([{"k": 1, "v": 2}, {"k": 1, "v": 4}])
            >>> ds.groupby("k").aggregate(Count(), Max("v")).take_all()
            [{'k': 1, 'count()': 2, 'max(v)': 4}]
        """
        if not aggs:
            raise ValueError("aggregate needs at least one aggregate, such as Count()")
        for one in aggs:
            if not isinstance(one, AggregateFn | AggregateFnV2):
                raise TypeError(
                    f"{one!r} is no aggregate; use heliostat.data.aggregate, e.g. Sum('a')"
                )
        named = _renamed(aggs)
        native = tuple(one for one in named if isinstance(one.aggregate, Native))
        plan = self._dataset._plan
        if len(native) == len(named):
            return self._dataset._derive(Relate((plan,), Aggregate(self._keys, native)))
        own = tuple(one for one in named if not isinstance(one.aggregate, Native))
        by_python = self._map(_OwnAggregates(self._keys, own), "pyarrow", {})
        if not native:
            return by_python
        ours = self._dataset._derive(Relate((plan,), Aggregate(self._keys, native)))
        own_only = by_python.select_columns([one.name for one in own])
        beside = Zip(absent=tuple(one.name for one in own))
        both = self._dataset._derive(Relate((ours._plan, own_only._plan), beside))
        return both.select_columns([*self._keys, *(one.name for one in named)])

    def count(self) -> "Dataset":
        """How many rows each group has.

        Returns:
            A new Dataset, with a column `count()`.
        """
        return self.aggregate(Count())

    def sum(self, on: On = None, ignore_nulls: bool = True) -> "Dataset":
        """The sum of each group.

        Args:
            on: A column, several, or None for all but the keys.
            ignore_nulls: Leave nulls out; otherwise one makes the sum null.

        Returns:
            A new Dataset, with columns `sum(column)`.
        """
        return self._of(Sum, on, ignore_nulls=ignore_nulls)

    def min(self, on: On = None, ignore_nulls: bool = True) -> "Dataset":
        """The least value of each group.

        Args:
            on: A column, several, or None for all but the keys.
            ignore_nulls: Leave nulls out; otherwise one makes it null.

        Returns:
            A new Dataset, with columns `min(column)`.
        """
        return self._of(Min, on, ignore_nulls=ignore_nulls)

    def max(self, on: On = None, ignore_nulls: bool = True) -> "Dataset":
        """The greatest value of each group.

        Args:
            on: A column, several, or None for all but the keys.
            ignore_nulls: Leave nulls out; otherwise one makes it null.

        Returns:
            A new Dataset, with columns `max(column)`.
        """
        return self._of(Max, on, ignore_nulls=ignore_nulls)

    def mean(self, on: On = None, ignore_nulls: bool = True) -> "Dataset":
        """The mean of each group.

        Args:
            on: A column, several, or None for all but the keys.
            ignore_nulls: Leave nulls out; otherwise one makes it null.

        Returns:
            A new Dataset, with columns `mean(column)`.
        """
        return self._of(Mean, on, ignore_nulls=ignore_nulls)

    def std(self, on: On = None, ddof: int = 1, ignore_nulls: bool = True) -> "Dataset":
        """The standard deviation of each group.

        Args:
            on: A column, several, or None for all but the keys.
            ddof: What to take off the number of rows to divide by.
            ignore_nulls: Leave nulls out; otherwise one makes it null.

        Returns:
            A new Dataset, with columns `std(column)`.
        """
        return self._of(Std, on, ddof=ddof, ignore_nulls=ignore_nulls)

    def _of(self, kind: Callable[..., Any], on: On, **options: Any) -> "Dataset":
        if on is None:
            names = [one for one in self._dataset.columns() or [] if one not in self._keys]
        else:
            names = [on] if isinstance(on, str) else list(on)
        return self.aggregate(*(kind(name, **options) for name in names))

    def map_groups(
        self,
        fn: Callable[..., Any],
        *,
        zero_copy_batch: bool = True,
        batch_format: str | None = "default",
        **options: Unpack[UdfOptions],
    ) -> "Dataset":
        """Call a function on each group; what it returns or yields follows in the order of the keys.

        Args:
            fn: Takes the rows of a group as a batch, in their order, and gives batches; or a
                callable class.
            zero_copy_batch: Let the function see read-only arrays.
            batch_format: `"default"` or `"numpy"`, `"pandas"`, `"pyarrow"`.
            **options: See `UdfOptions`, all but `on_error`; others are those of tasks and actors.

        Returns:
            A new Dataset.

        Raises:
            ValueError: if options contradict each other.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.from_items([{"k": 1, "v": 2}, {"k": 1, "v": 4}, {"k": 2, "v": 1}])
            >>> ds.groupby("k").map_groups(lambda group: {"rows": [len(group["v"])]}).take_all()
            [{'rows': 2}, {'rows': 1}]
        """
        if options.get("on_error") is not None:
            raise NotImplementedError("map_groups(on_error=...) is not offered; leave it out")
        return self._map(
            fn, check_batch_format(batch_format), options, writable=not zero_copy_batch
        )

    def with_column(self, column_name: str, expr: Expr, **options: Any) -> "Dataset":
        """Add a column by an expression, computed group by group.

        Args:
            column_name: Its name.
            expr: What it is.
            **options: As for `map_groups`.

        Returns:
            A new Dataset, in the order of the keys.
        """
        add = _AddColumn(column_name, expr)
        return self._map(add, "pyarrow", options)

    def _map(
        self,
        fn: Callable[..., Any],
        batch_format: str,
        options: Mapping[str, Any],
        *,
        writable: bool = False,
    ) -> "Dataset":
        udf, place = parse_udf(fn, options, context=self._dataset._knobs)
        plan: Plan = self._dataset._plan
        if self._keys:
            plan = Apply(plan, SortRows(self._keys, (False,) * len(self._keys)))
        plan = Apply(plan, Groups(self._keys))
        each = Function(
            _EachGroup(self._keys, udf, batch_format, writable),
            (),
            {},
            udf.constructor_args,
            udf.constructor_kwargs,
        )
        step = MapBatches(each, place, None, "pyarrow", writable=False, whole=True)
        return self._dataset._derive(Apply(plan, step))


class _EachGroup:
    """Calls a user's function on the groups of a block whose groups are whole."""

    def __init__(
        self, keys: tuple[str, ...], udf: Function, batch_format: str, writable: bool
    ) -> None:
        self._keys = keys
        self._udf = udf
        self._format = batch_format
        self._writable = writable
        self._fn: Callable[..., Any] | None = None
        self.__name__ = udf.name

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        udf = self._udf
        if self._fn is None:
            is_class = isinstance(udf.fn, type)
            self._fn = (
                udf.fn(*udf.constructor_args, **udf.constructor_kwargs) if is_class else udf.fn
            )
        for group in groups(block, self._keys):
            batch = to_batch(group, self._format, writable=self._writable)
            result = self._fn(batch, *udf.args, **udf.kwargs)
            if isinstance(result, Iterator):
                yield from (from_batch(one, udf.name) for one in result)
            else:
                yield from_batch(result, udf.name)


class _AddColumn:
    def __init__(self, name: str, expr: Expr) -> None:
        self._pair = (name, expr)
        self.__name__ = f"with_column[{name}]"

    def __call__(self, group: pa.Table) -> pa.Table:
        return computed(group, [self._pair])


class _OwnAggregates:
    """Users' aggregates, as a function of a group."""

    def __init__(self, keys: tuple[str, ...], named: "tuple[_Named, ...]") -> None:
        self._keys = keys
        self._named = named
        self.__name__ = ", ".join(one.name for one in named)

    def __call__(self, group: pa.Table) -> pa.Table:
        keys = group.select(self._keys).slice(0, 1)
        found = [column[0].as_py() for column in keys.columns]
        key: Any = found[0] if len(found) == 1 else tuple(found) if found else None
        values = from_rows([{one.name: one.aggregate._of(key, group) for one in self._named}])
        # As they are: not every key is the same again when Python has had it in its hands.
        return pa.table([*keys.columns, *values.columns], [*self._keys, *values.column_names])


class _Named:
    """An aggregate under the name that its column gets."""

    def __init__(self, name: str, aggregate: Any) -> None:
        self.name = name
        self.aggregate = aggregate

    def _measure(self, schema: pa.Schema | None) -> Any:
        return replace(self.aggregate._measure(schema), name=self.name)


def _renamed(aggs: Sequence[Any]) -> tuple[_Named, ...]:
    """A name that is there already gets `_2`, `_3`, ... as in Ray."""
    seen: dict[str, int] = {}
    named = []
    for one in aggs:
        seen[one.name] = seen.get(one.name, 0) + 1
        suffix = f"_{seen[one.name]}" if seen[one.name] > 1 else ""
        named.append(_Named(one.name + suffix, one))
    return tuple(named)


def groups(block: pa.Table, keys: Sequence[str]) -> Iterator[pa.Table]:
    """The groups of a block that is in the order of the keys.

    Args:
        block: Rows.
        keys: Columns; none makes one group.

    Yields:
        Views of it.

    Example:
        >>> [group.num_rows for group in groups(pa.table({"k": [1, 1, 2]}), ["k"])]
        [2, 1]
    """
    starts = boundaries(block, keys).tolist()
    ends = [*starts[1:], block.num_rows]
    for start, end in zip(starts, ends, strict=True):
        if end > start:
            yield block.slice(start, end - start)
