"""`heliostat.data.sql`: a query over datasets that are named beside it."""

from heliostat.data._native.queries import Text
from heliostat.data._plan import Relate
from heliostat.data._planned import plans_of
from heliostat.data.dataset import Dataset


def sql(query: str, **datasets: Dataset) -> Dataset:
    """The rows that a query gives. Lazy: nothing runs before rows are wanted.

    Args:
        query: A SELECT, in DuckDB's dialect. It sees the datasets named here, and nothing else of
            your program.
        **datasets: Datasets, by the names that they have in the query.

    Returns:
        A new Dataset.

    Raises:
        TypeError: if something is no Dataset.
        ValueError: if the query is not understood; says where.

    Example:
        >>> import heliostat as ray
        >>> trips = ray.data.from_items([{"zone": 1, "fare": 5}, {"zone": 2, "fare": 7}])
        >>> zones = ray.data.from_items([{"zone": 2, "name": "north"}])
        >>> ray.data.sql("SELECT name, fare FROM t JOIN z USING (zone)", t=trips, z=zones).take_all()
        [{'name': 'north', 'fare': 7}]
    """
    plans = plans_of("sql", *datasets.values())
    plan = Relate(plans, Text(query, tuple(datasets)))
    made = Dataset(plan)
    made.schema(fetch_if_missing=False)
    return made
