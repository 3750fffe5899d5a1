"""Which dataset it is, what it did, and its plan as bytes: to be kept, and run again elsewhere."""

from typing import TYPE_CHECKING, cast

import cloudpickle  # type: ignore[import-untyped]  # ships no types

from heliostat.data._plan import Blocks, Read, walk
from heliostat.data._planned import Planned
from heliostat.data._stats import Stats
from heliostat.data.datasource.iterable import IterableSource
from heliostat.data.stats_summary import DatasetStatsSummary, summarize

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset


class Lineage(Planned):
    """The part of Dataset that is about the dataset itself."""

    _stats: Stats | None
    _name: str | None
    _uuid: str
    _runs: int

    def copy(self) -> "Dataset":
        """Another dataset of the same rows, with the same name and statistics of its own.

        Returns:
            A dataset of the same class.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.range(3)
            >>> ds.copy().count()
            3
        """
        mine = self._self()
        other = type(mine)(self._plan)
        other._schema, other._stats, other._name = mine._schema, self._stats, self._name
        return other

    def get_dataset_id(self) -> str:
        """What identifies this dataset and how often it has been run.

        Returns:
            Its name, a random part, and the number of its executions.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.range(3)
            >>> ds.set_name("three")
            >>> ds.get_dataset_id().startswith("three_")
            True
        """
        return f"{self._name or 'dataset'}_{self._uuid}_{self._runs}"

    def get_stats_summary(self, detail: bool = False) -> DatasetStatsSummary:
        """What the last execution of this dataset did, as values.

        Args:
            detail: There is no more to tell: everything is in the summary.

        Returns:
            A summary, without stages if nothing was run yet.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.range(3).map(lambda row: row).materialize()
            >>> ds.get_stats_summary().num_rows
            3
        """
        return summarize(self._stats, self.get_dataset_id(), self._name)

    def has_serializable_lineage(self) -> bool:
        """Whether its plan can be kept and run elsewhere: it holds no rows of this process.

        Returns:
            True for what `read_*` and `range` make and what is made of that; false for `from_*`.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).has_serializable_lineage()
            True
            >>> ray.data.from_items([1]).has_serializable_lineage()
            False
        """
        return not any(
            isinstance(one, Blocks)
            or (isinstance(one, Read) and isinstance(one.source, IterableSource))
            for one in walk(self._plan)
        )

    def serialize_lineage(self) -> bytes:
        """Its plan as bytes; the rows are read and computed anew where it is run.

        Returns:
            A pickle: as with any other, load only what comes from whom you trust.

        Raises:
            ValueError: if the plan holds rows of this process.
            TypeError: if a function or source of the plan cannot be pickled.

        Example:
            >>> import heliostat as ray
            >>> kept = ray.data.range(3).map(lambda row: {"a": row["id"] + 1}).serialize_lineage()
            >>> ray.data.Dataset.deserialize_lineage(kept).take_all()
            [{'a': 1}, {'a': 2}, {'a': 3}]
        """
        if not self.has_serializable_lineage():
            raise ValueError(
                "the plan of this dataset holds rows of this process (it was made by from_*, or "
                "materialized), so it cannot be kept without them; write the rows to files and "
                "serialize a dataset that reads these"
            )
        return cast("bytes", cloudpickle.dumps((self._plan, self._name, self._uuid)))
