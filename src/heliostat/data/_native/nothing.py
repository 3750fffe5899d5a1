"""What a native part gives where an input has neither rows nor columns.

A user's function that has given no rows has not shown its columns either. Most verbs make nothing
of nothing, whatever its columns would have been called.
"""

from collections.abc import Sequence

import pyarrow as pa

from heliostat.data._expr import Literal
from heliostat.data._native.join import AsofJoin, Join, Zip
from heliostat.data._native.queries import Aggregate, Query, Text
from heliostat.data._plan import Apply, Blocks, Compute, Drop, Plan, Relate, Union
from heliostat.data.block import Bundle

# Of which side of a join nothing leaves nothing, by kind; and which leaves the rows of the other.
_NOTHING_OF = {
    "inner": (0, 1),
    "left_semi": (0, 1),
    "right_semi": (0, 1),
    "left_outer": (0,),
    "left_anti": (0,),
    "right_outer": (1,),
    "right_anti": (1,),
    "full_outer": (),
}
_ANTI = ("left_anti", "right_anti")


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
        case Apply(below, step):
            inner = of_nothing(below, leaf)
            return None if inner is None else Apply(inner, step)
        case Relate(inputs, query):
            sides = [of_nothing(one, leaf) for one in inputs]
            known = tuple(one for one in sides if one is not None)
            return Relate(known, query) if len(known) == len(sides) else _related(sides, query)
        case Union(inputs):
            sides = [of_nothing(one, leaf) for one in inputs]
            known = tuple(one for one in sides if one is not None)
            return Union(known) if known else None
    return plan


def _related(inputs: Sequence[Plan | None], query: Query) -> Plan | None:
    """A verb, of whose inputs those that are None are nothing."""
    known = [one for one in inputs if one is not None]
    match query:
        case Aggregate((), aggregates):
            columns = {one._measure(None).on for one in aggregates} - {None}
            none = pa.table({str(name): pa.nulls(0, pa.int64()) for name in columns or {"_"}})
            return Relate((Blocks((Bundle.of(none),), none.schema),), query)
        case Zip(absent) if absent and inputs[0] is not None:
            return Apply(inputs[0], Compute(tuple((name, Literal(None)) for name in absent)))
        case Zip() if known:
            # Whether these have rows, which is an error, is for the query to find out.
            return Apply(Relate((*known, _EMPTY), query), Drop(tuple(_NONE.column_names)))
        case Join(kind) if any(inputs[side] is None for side in _NOTHING_OF[kind]):
            return None
        case Join(kind) if kind in _ANTI:
            return known[0]
        case AsofJoin() if inputs[0] is None:
            return None
        case _ if known or isinstance(query, Text):
            raise ValueError(
                f"{query.name}: a function has given no rows, so nothing tells which columns this "
                "reads; let it give a row at least, or run this only if count() is above 0"
            )
    return None
