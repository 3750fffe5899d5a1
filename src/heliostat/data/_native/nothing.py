"""What a native part gives where an input has neither rows nor columns.

A user's function that has given no rows has not shown its columns either. Most verbs make nothing
of nothing, whatever its columns would have been called.
"""

import pyarrow as pa

from heliostat.data._expr import Literal
from heliostat.data._native.join import Join, Zip
from heliostat.data._native.queries import Aggregate, Text
from heliostat.data._plan import (
    Apply,
    Blocks,
    Compute,
    Drop,
    Limit,
    Plan,
    Relate,
    Rename,
    Select,
    Where,
)
from heliostat.data.block import Bundle

# Of whose rows there is one for rows of both sides only.
_OF_BOTH = ("inner", "left_semi", "right_semi")


class NothingKnownError(Exception):
    """An input has no rows, and nothing tells its columns.

    Args:
        leaf: The input.
    """

    def __init__(self, leaf: Plan) -> None:
        super().__init__(leaf)
        self.leaf = leaf


# What stands for such an input where its columns are of no matter.
_NONE = pa.table({"heliostat.nothing": pa.nulls(0, pa.int64())})
_EMPTY = Blocks((Bundle.of(_NONE),), _NONE.schema)


def of_nothing(plan: Plan, leaf: Plan) -> Plan | None:
    """What gives the rows of a plan, one of whose inputs has neither rows nor columns.

    Args:
        plan: A native plan.
        leaf: The input.

    Returns:
        A plan that can be run, or None if there are no rows.

    Raises:
        ValueError: if the rows depend on columns that are not known.
    """
    if plan is leaf:
        return None
    match plan:
        case Relate((below,), Aggregate((), aggregates)) if of_nothing(below, leaf) is None:
            columns = {one._measure(None).on for one in aggregates} - {None}
            none = pa.table({str(name): pa.nulls(0, pa.int64()) for name in columns or {"_"}})
            return Relate((Blocks((Bundle.of(none),), none.schema),), plan.query)
        case Relate((below,), query) if not isinstance(query, Text):
            inner = of_nothing(below, leaf)
            return None if inner is None else Relate((inner,), query)
        case Relate((ours, _), Zip(absent)) if absent:
            return Apply(ours, Compute(tuple((name, Literal(None)) for name in absent)))
        case Relate(inputs, Zip()) if any(one is leaf for one in inputs):
            known = [one for one in inputs if one is not leaf and one is not _EMPTY]
            # Whether these have rows, which is an error, is for the query to find out.
            zipped = Relate((*known, _EMPTY), plan.query)
            dropped = any(one is _EMPTY for one in inputs)
            instead = zipped if dropped else Apply(zipped, Drop(tuple(_NONE.column_names)))
            return instead if known else None
        case Relate(_, Join(kind)) if kind in _OF_BOTH:
            return None
        case Apply(below, Limit() | Select() | Drop() | Rename() | Where() | Compute() as step):
            inner = of_nothing(below, leaf)
            return None if inner is None else Apply(inner, step)
        case Relate(_, query):
            raise ValueError(
                f"{query.name}: a function has given no rows, so nothing tells which columns this "
                "reads; let it give a row at least, or run this only if count() is above 0"
            )
    return None
