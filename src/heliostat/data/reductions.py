"""The verbs that give one value of all rows: sums, means, different values. They run the plan."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from heliostat.data._ordering.order import with_one_zero
from heliostat.data._plan import Apply, Plan, Select
from heliostat.data._planned import Planned
from heliostat.data.aggregate import AggregateFn, AggregateFnV2, Max, Mean, Min, Std, Sum
from heliostat.data.block import Row, concat, require_columns
from heliostat.data.grouped_data import GroupedData, On
from heliostat.data.summary import DatasetSummary, aggregates_for


class Reductions(Planned):
    """The part of Dataset that makes one value of all rows."""

    def aggregate(self, *aggs: AggregateFn | AggregateFnV2[Any, Any]) -> Row:
        """Aggregate all rows.

        Args:
            *aggs: What to compute; from `heliostat.data.aggregate`, or your own.

        Returns:
            A dict of values, by the names of the aggregates.

        Raises:
            KeyError: if a column does not exist.
            TypeError: if something is no aggregate.
            ValueError: if nothing is given.

        Example:
            >>> import heliostat as ray
            >>> from heliostat.data.aggregate import Max, Mean
            >>> ray.data.range(5).aggregate(Max("id"), Mean("id"))
            {'max(id)': 4, 'mean(id)': 2.0}
        """
        rows = GroupedData(self._self(), ()).aggregate(*aggs).take_all()
        if rows:
            return rows[0]
        # Only aggregates in Python give no row for no rows.
        return {one.name: None for one in aggs}

    def sum(self, on: On = None, ignore_nulls: bool = True) -> Any:
        """The sum of a column, or of several.

        Args:
            on: A column, several, or None for all.
            ignore_nulls: Leave nulls out; otherwise one makes the sum null.

        Returns:
            The sum, None if there are no values; a dict by `sum(column)` for several columns.

        Raises:
            KeyError: if a column does not exist.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(5).sum("id")
            10
        """
        return self._of(Sum, on, ignore_nulls=ignore_nulls)

    def min(self, on: On = None, ignore_nulls: bool = True) -> Any:
        """The least value of a column, or of several.

        Args:
            on: A column, several, or None for all.
            ignore_nulls: Leave nulls out; otherwise one makes it null.

        Returns:
            The value, None if there are none; a dict by `min(column)` for several columns.

        Raises:
            KeyError: if a column does not exist.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(5).min("id")
            0
        """
        return self._of(Min, on, ignore_nulls=ignore_nulls)

    def max(self, on: On = None, ignore_nulls: bool = True) -> Any:
        """The greatest value of a column, or of several.

        Args:
            on: A column, several, or None for all.
            ignore_nulls: Leave nulls out; otherwise one makes it null.

        Returns:
            The value, None if there are none; a dict by `max(column)` for several columns.

        Raises:
            KeyError: if a column does not exist.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(5).max("id")
            4
        """
        return self._of(Max, on, ignore_nulls=ignore_nulls)

    def mean(self, on: On = None, ignore_nulls: bool = True) -> Any:
        """The mean of a column, or of several.

        Args:
            on: A column, several, or None for all.
            ignore_nulls: Leave nulls out; otherwise one makes it null.

        Returns:
            The mean, None if there are no values; a dict by `mean(column)` for several columns.

        Raises:
            KeyError: if a column does not exist.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(5).mean("id")
            2.0
        """
        return self._of(Mean, on, ignore_nulls=ignore_nulls)

    def std(self, on: On = None, ddof: int = 1, ignore_nulls: bool = True) -> Any:
        """The standard deviation of a column, or of several.

        Args:
            on: A column, several, or None for all.
            ddof: What to take off the number of rows to divide by.
            ignore_nulls: Leave nulls out; otherwise one makes it null.

        Returns:
            The deviation, None if there are no values; a dict by `std(column)` for several columns.

        Raises:
            KeyError: if a column does not exist.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).std("id")
            1.0
        """
        return self._of(Std, on, ddof=ddof, ignore_nulls=ignore_nulls)

    def _of(self, kind: Callable[..., Any], on: On, **options: Any) -> Any:
        names: Sequence[str] = [on] if isinstance(on, str) else (on or self._self().columns() or [])
        if not names:
            return None
        values = self.aggregate(*(kind(name, **options) for name in names))
        return next(iter(values.values())) if len(values) == 1 else values

    def summary(
        self, columns: list[str] | None = None, override_dtype_agg_mapping: Any = None
    ) -> DatasetSummary:
        """Statistics of each column, by its type.

        Of numbers mean, least, greatest, deviation, median and zeros; of texts the most frequent;
        of all how many there are and how many are missing.

        Args:
            columns: Of which columns; None for all.
            override_dtype_agg_mapping: For a DataType, a function from a column's name to the
                aggregates to compute instead.

        Returns:
            The summary.

        Raises:
            KeyError: if a column does not exist.
            ValueError: if there are no columns.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(5).summary().get_column_stats("id")["mean"]
            2.0
        """
        known = self._self().schema()
        if known is None:
            raise ValueError("the dataset is empty: it has no columns to summarise")
        schema = known.base_schema
        names = schema.names if columns is None else columns
        require_columns(names, schema.names, "summary")
        wanted = [
            (name, one)
            for name in names
            for one in aggregates_for(name, schema.field(name).type, override_dtype_agg_mapping)
        ]
        found = self.aggregate(*(one for _, one in wanted))
        stats: dict[str, dict[str, Any]] = {name: {} for name in names}
        for name, one in wanted:
            value, kind = found[one.name], one.name.removesuffix(f"({name})")
            if isinstance(value, list) and kind.startswith("approx"):
                stats[name].update({f"{kind}[{n}]": part for n, part in enumerate(value)})
            else:
                stats[name][kind] = value
        return DatasetSummary(schema, stats)

    def unique(self, column: str, ignore_nulls: bool = False) -> list[Any]:
        """The different values of a column, in the order in which they first occur.

        Args:
            column: Its name.
            ignore_nulls: Leave null out.

        Returns:
            Values.

        Raises:
            KeyError: if it does not exist.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([2, 1, 2]).unique("item")
            [2, 1]
        """
        plan = Apply(self._plan, Select((column,)))
        self._self()._derive(plan)
        found: list[pa.Table] = []
        for bundle in self._bundles(plan):
            values = bundle.table().column(0)
            try:
                found.append(pa.table([pc.unique(with_one_zero(values))], names=[column]))
            except pa.ArrowNotImplementedError:
                return self._unique_nested(plan, ignore_nulls)
        different = concat(found).column(0).unique() if found else pa.array([])
        return [one for one in different.to_pylist() if one is not None or not ignore_nulls]

    def _unique_nested(self, plan: Plan, ignore_nulls: bool) -> list[Any]:
        """Of lists and structs, which Arrow does not compare."""
        seen: dict[str, Any] = {}
        for bundle in self._bundles(plan):
            for value in bundle.table().column(0).to_pylist():
                seen.setdefault(repr(value), value)
        return [one for one in seen.values() if one is not None or not ignore_nulls]
