"""The relational verbs: sorted, grouped, joined, distinct, and SQL. All lazy, all native."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heliostat.data._aggregate_fn import Native
from heliostat.data._expr import Expr
from heliostat.data._native.join import KINDS, AsofJoin, Join, Zip
from heliostat.data._native.queries import (
    Distinct,
    Explode,
    Pivot,
    Query,
    Sort,
    Text,
    Unpivot,
    Window,
)
from heliostat.data._plan import Apply, Compute, Relate, SortRows, Where
from heliostat.data._planned import Planned, plans_of
from heliostat.data.columns import names_of
from heliostat.data.expressions import coalesce, col
from heliostat.data.grouped_data import GroupedData

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset


class Relations(Planned):
    """The part of Dataset whose verbs look at many rows at once."""

    def _relate(self, query: Query, *others: "Dataset") -> "Dataset":
        return self._derive(Relate((self._plan, *plans_of(query.name, *others)), query))

    def sort(
        self,
        key: str | Sequence[str],
        descending: bool | Sequence[bool] = False,
        boundaries: Sequence[Any] | None = None,
    ) -> "Dataset":
        """Bring the rows into order. Rows with equal keys stay in their order; nulls come last.

        Args:
            key: A column, or several: the first decides, then the second, ...
            descending: From the greatest to the least; one for all, or one for each.
            boundaries: Only None; where blocks are cut follows from their size.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.
            NotImplementedError: if `boundaries` are given.
            TypeError: if a direction is no bool.
            ValueError: if the numbers of keys and directions differ.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([2, 3, 1]).sort("item", descending=True).take_all()
            [{'item': 3}, {'item': 2}, {'item': 1}]
        """
        if boundaries is not None:
            raise NotImplementedError(
                f"sort(boundaries={boundaries!r}) is not offered: it says where blocks are cut, and "
                "no row depends on it; leave it out, or repartition() what is sorted"
            )
        keys = names_of(key, "sort")
        down = (descending,) * len(keys) if isinstance(descending, bool) else tuple(descending)
        if not all(one in (True, False) for one in down):
            raise TypeError(f"sort: descending must be a bool, or one a key, got {descending!r}")
        if len(down) != len(keys):
            raise ValueError(f"sort: {len(keys)} keys but {len(down)} directions: {down}")
        return self._derive(Apply(self._plan, SortRows(keys, down)))

    def groupby(
        self, key: str | Sequence[str] | None, num_partitions: int | None = None
    ) -> GroupedData:
        """Group rows with equal keys, to aggregate them or to call a function on each group.

        Args:
            key: A column or several; None makes one group of all rows.
            num_partitions: Not needed on one machine.

        Returns:
            The groups.

        Raises:
            KeyError: if a column does not exist.
            ValueError: if `num_partitions` is below 1.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.from_items([{"k": 1, "v": 2}, {"k": 1, "v": 3}, {"k": 2, "v": 4}])
            >>> ds.groupby("k").sum("v").take_all()
            [{'k': 1, 'sum(v)': 5}, {'k': 2, 'sum(v)': 4}]
        """
        if num_partitions is not None and num_partitions < 1:
            raise ValueError(f"num_partitions must be >= 1, got {num_partitions}")
        keys = () if key is None or key == [] else names_of(key, "groupby")
        return GroupedData(self._derive(self._plan), keys)

    def join(
        self,
        ds: "Dataset",
        join_type: str,
        num_partitions: int | None = None,
        on: str | Sequence[str] = ("id",),
        right_on: str | Sequence[str] | None = None,
        left_suffix: str | None = None,
        right_suffix: str | None = None,
        *,
        partition_size_hint: int | None = None,
        aggregator_ray_remote_args: Mapping[str, Any] | None = None,
        validate_schemas: bool = False,
    ) -> "Dataset":
        """Put rows of two datasets side by side where their keys are equal.

        Null is equal to nothing. The keys are given once, by their names on the left side. The
        order of the rows is not said; sort where it matters.

        Args:
            ds: The right side.
            join_type: `inner`, `left_outer`, `right_outer`, `full_outer`, `left_semi`,
                `right_semi`, `left_anti` or `right_anti`.
            num_partitions: Not needed on one machine.
            on: The keys, columns of the left side.
            right_on: The keys on the right side, if they have other names there.
            left_suffix: Added to other columns of the left side that the right side has, too.
            right_suffix: The same for the right side.
            partition_size_hint: Not needed on one machine.
            aggregator_ray_remote_args: Not needed on one machine.
            validate_schemas: Columns and types are always looked at.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a key does not exist.
            ValueError: if the kind is unknown, or two columns would have one name.

        Example:
            >>> import heliostat as ray
            >>> left = ray.data.from_items([{"id": 1, "a": "x"}, {"id": 2, "a": "y"}])
            >>> right = ray.data.from_items([{"id": 2, "b": "z"}])
            >>> left.join(right, "inner", 1, on=("id",)).take_all()
            [{'id': 2, 'a': 'y', 'b': 'z'}]
        """
        del num_partitions, partition_size_hint, aggregator_ray_remote_args, validate_schemas
        if join_type not in KINDS:
            raise ValueError(f"join_type must be one of {list(KINDS)}, got {join_type!r}")
        left = names_of(on, "join")
        right = left if right_on is None else names_of(right_on, "join")
        if len(left) != len(right):
            raise ValueError(f"join: {len(left)} keys on the left, {len(right)} on the right")
        return self._relate(Join(join_type, left, right, left_suffix, right_suffix), ds)

    def join_asof(
        self,
        ds: "Dataset",
        on: str,
        *,
        by: str | Sequence[str] = (),
        right_on: str | None = None,
        direction: str = "backward",
        left_suffix: str | None = None,
        right_suffix: str | None = None,
    ) -> "Dataset":
        """Put beside each row the nearest row of another dataset, in time for instance.

        Args:
            ds: The right side.
            on: The column to be near in.
            by: Columns that must be equal.
            right_on: The column on the right side, if it has another name there.
            direction: `backward` (the last one at or before) or `forward` (the first at or after);
                so it is among rows with the same value, too.
            left_suffix: Added to other columns of the left side that the right side has, too.
            right_suffix: The same for the right side.

        Returns:
            A new Dataset, with the rows of this one in their order.

        Raises:
            KeyError: if a column does not exist.
            ValueError: if the direction is unknown.

        Example:
            >>> import heliostat as ray
            >>> trades = ray.data.from_items([{"t": 3, "n": 1}, {"t": 7, "n": 2}])
            >>> quotes = ray.data.from_items([{"t": 2, "p": 10}, {"t": 6, "p": 11}])
            >>> trades.join_asof(quotes, on="t").take_all()
            [{'t': 3, 'n': 1, 'p': 10}, {'t': 7, 'n': 2, 'p': 11}]
        """
        if direction not in ("backward", "forward"):
            raise ValueError(f"direction must be 'backward' or 'forward', got {direction!r}")
        equal = (by,) if isinstance(by, str) else tuple(by)
        query = AsofJoin(on, equal, right_on or on, direction, left_suffix, right_suffix)
        return self._relate(query, ds)

    def zip(self, *other: "Dataset") -> "Dataset":
        """Put datasets side by side, row by row, in order.

        Args:
            *other: Datasets of as many rows. A column whose name is there already gets `_1`.

        Returns:
            A new Dataset; running it raises a ValueError if the numbers of rows differ.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(2).zip(ray.data.range(2)).take_all()
            [{'id': 0, 'id_1': 0}, {'id': 1, 'id_1': 1}]
        """
        if not other:
            raise ValueError("zip needs another dataset")
        return self._relate(Zip(), *other)

    def distinct(self, on: str | Sequence[str] | None = None) -> "Dataset":
        """Keep the first row of each kind, in the order of the rows.

        Args:
            on: Compare these columns only; None compares all.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([2, 1, 2]).distinct().take_all()
            [{'item': 2}, {'item': 1}]
        """
        return self._relate(Distinct(() if on is None else names_of(on, "distinct")))

    def explode(self, column: str) -> "Dataset":
        """Make a row for each value of a list; one with null where the list is empty or null.

        Args:
            column: The column of lists.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if it does not exist.
            ValueError: if it has no lists.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([{"a": [1, 2], "b": "x"}]).explode("a").take_all()
            [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'x'}]
        """
        return self._relate(Explode(column))

    def unpivot(
        self,
        on: str | Sequence[str],
        *,
        index: str | Sequence[str] = (),
        variable_name: str = "variable",
        value_name: str = "value",
    ) -> "Dataset":
        """Make rows of columns: one for each value, with the column's name beside it.

        Args:
            on: The columns.
            index: Columns to keep beside them.
            variable_name: The column for the names.
            value_name: The column for the values.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.from_items([{"k": 1, "a": 2, "b": 3}])
            >>> ds.unpivot(["a", "b"], index="k").take_all()
            [{'k': 1, 'variable': 'a', 'value': 2}, {'k': 1, 'variable': 'b', 'value': 3}]
        """
        kept = (index,) if isinstance(index, str) else tuple(index)
        return self._relate(Unpivot(names_of(on, "unpivot"), kept, variable_name, value_name))

    def pivot(
        self,
        on: str,
        aggregate: Any,
        *,
        index: str | Sequence[str] = (),
        values: Sequence[Any] | None = None,
    ) -> "Dataset":
        """Make columns of a column's values, and an aggregate of each.

        Args:
            on: The column.
            aggregate: One of `heliostat.data.aggregate`, such as `Sum("v")`.
            index: Columns that stay; a row for each combination.
            values: Which values become columns; None runs the dataset to find them.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.
            TypeError: if the aggregate is not one of ours.
            ValueError: if two columns would have one name, or there would be none.

        Example:
            >>> import heliostat as ray
            >>> from heliostat.data.aggregate import Sum
            >>> ds = ray.data.from_items([{"k": 1, "c": "x", "v": 2}, {"k": 1, "c": "y", "v": 3}])
            >>> ds.pivot("c", Sum("v"), index="k").take_all()
            [{'k': 1, 'x': 2, 'y': 3}]
        """
        if not isinstance(aggregate, Native):
            raise TypeError(f"pivot needs an aggregate such as Sum('v'), got {aggregate!r}")
        kept = (index,) if isinstance(index, str) else tuple(index)
        found = self._derive(self._plan).unique(on) if values is None else values
        ordered = sorted(found, key=lambda one: (one is None, one)) if values is None else found
        return self._relate(Pivot(on, tuple(ordered), kept, aggregate))

    def window(
        self,
        columns: Mapping[str, str],
        *,
        partition_by: str | Sequence[str] = (),
        order_by: str | Sequence[str] = (),
        descending: bool | Sequence[bool] = False,
    ) -> "Dataset":
        """Add columns computed over the rows around each row; the rows stay in their order.

        Args:
            columns: Names, and SQL window functions: `row_number()`, `rank()`, `lag(v, 1)`,
                `sum(v)`, `avg(v)`, ...
            partition_by: Look only at rows that are equal in these columns.
            order_by: In which order to look at them; without, in the order they have.
            descending: From the greatest to the least.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.
            ValueError: if a function is not understood.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.from_items([{"v": 3}, {"v": 1}, {"v": 2}])
            >>> ds.window({"total": "sum(v)"}, order_by="v").take_all()
            [{'v': 3, 'total': 6}, {'v': 1, 'total': 1}, {'v': 2, 'total': 3}]
        """
        if not columns:
            raise ValueError("window needs at least one column, such as {'n': 'row_number()'}")
        partition = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
        order = (order_by,) if isinstance(order_by, str) else tuple(order_by)
        down = (descending,) * len(order) if isinstance(descending, bool) else tuple(descending)
        if len(down) != len(order):
            raise ValueError(f"window: {len(order)} columns to order by, {len(down)} directions")
        return self._relate(Window(tuple(columns.items()), partition, order, down))

    def fill_null(self, value: Any, columns: str | Sequence[str] | None = None) -> "Dataset":
        """Put a value where there is null.

        Args:
            value: A value or an expression; or a mapping of columns to them.
            columns: In which columns; None for all.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.
            TypeError: if the value does not fit a column's type.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([{"a": 1}, {"a": None}]).fill_null(0).take_all()
            [{'a': 1}, {'a': 0}]
        """
        here = self._derive(self._plan)
        if isinstance(value, Mapping):
            pairs = tuple((name, coalesce(col(name), one)) for name, one in value.items())
        else:
            names = (here.columns() or []) if columns is None else names_of(columns, "fill_null")
            pairs = tuple((name, coalesce(col(name), value)) for name in names)
        return self._derive(Apply(self._plan, Compute(pairs))) if pairs else here

    def drop_null(self, columns: str | Sequence[str] | None = None) -> "Dataset":
        """Leave out rows with nulls.

        Args:
            columns: Look at these; None looks at all.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([{"a": 1}, {"a": None}]).drop_null().take_all()
            [{'a': 1}]
        """
        here = self._derive(self._plan)
        names = (here.columns() or []) if columns is None else names_of(columns, "drop_null")
        whole: Expr | None = None
        for name in names:
            there = col(name).is_not_null()
            whole = there if whole is None else whole & there
        return here if whole is None else self._derive(Apply(self._plan, Where(whole)))

    def sql(self, query: str, **others: "Dataset") -> "Dataset":
        """The rows that a query gives; this dataset is `ds` in it.

        Args:
            query: A SELECT, in DuckDB's dialect.
            **others: Further datasets, by the names that they have in the query.

        Returns:
            A new Dataset.

        Raises:
            ValueError: if the query is not understood; says where.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(5).sql("SELECT sum(id) AS total FROM ds WHERE id > 2").take_all()
            [{'total': 7}]
        """
        return self._relate(Text(query, ("ds", *others)), *others.values())


__all__ = ["Relations", "Sort"]
