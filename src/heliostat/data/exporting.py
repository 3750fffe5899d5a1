"""The verbs that hand all rows to other libraries."""

from typing import Any

import pyarrow as pa

import heliostat
from heliostat.data._planned import Planned
from heliostat.data.arrays import no_rows
from heliostat.data.block import concat, require_columns, to_batch


class Exporting(Planned):
    """The part of Dataset that gives its rows away."""

    def _tables(self) -> list[pa.Table]:
        bundles, schema = self._run(self._plan)
        tables = [bundle.table() for bundle in bundles]
        return tables or ([] if schema is None else [no_rows(schema)])

    def to_arrow(self) -> pa.Table:
        """All rows as one Arrow table.

        Returns:
            The table.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).to_arrow().num_rows
            3
        """
        return concat(self._tables())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows as Arrow's C stream: polars, DuckDB, pandas and others take a Dataset as it is."""
        table: Any = self.to_arrow()
        stream: object = table.__arrow_c_stream__(requested_schema)
        return stream

    def to_polars(self) -> Any:
        """All rows as a polars DataFrame.

        Returns:
            The DataFrame.

        Raises:
            ImportError: if polars is not installed.
        """
        try:
            import polars  # noqa: PLC0415 - an optional package
        except ImportError as error:
            raise ImportError("to_polars needs polars: pip install polars") from error
        return polars.from_arrow(self.to_arrow())

    def to_arrow_refs(self) -> list[Any]:
        """A reference to an Arrow table for each block.

        Returns:
            References.

        Example:
            >>> import heliostat as ray
            >>> refs = ray.data.from_items([1, 2]).to_arrow_refs()
            >>> ray.get(refs)[0].column_names
            ['item']
        """
        return [heliostat.put(table) for table in self._tables()]

    def to_pandas_refs(self) -> list[Any]:
        """A reference to a DataFrame for each block.

        Returns:
            References.

        Example:
            >>> import heliostat as ray
            >>> ray.get(ray.data.from_items([1, 2]).to_pandas_refs())[0]["item"].tolist()
            [1, 2]
        """
        return [heliostat.put(to_batch(table, "pandas")) for table in self._tables()]

    def to_numpy_refs(self, *, column: str | None = None) -> list[Any]:
        """A reference to a dict of arrays, or to the array of one column, for each block.

        Args:
            column: Which; None for all, in a dict.

        Returns:
            References.

        Raises:
            KeyError: if there is no such column.

        Example:
            >>> import heliostat as ray
            >>> ray.get(ray.data.from_items([1, 2]).to_numpy_refs(column="item"))[0].tolist()
            [1, 2]
        """
        refs = []
        for table in self._tables():
            if column is not None:
                require_columns([column], table.column_names, "to_numpy_refs")
            batch = to_batch(table, "numpy")
            refs.append(heliostat.put(batch if column is None else batch[column]))
        return refs
