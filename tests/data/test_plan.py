"""What a plan knows about itself."""

import pyarrow as pa
import pytest

from heliostat.data._plan import (
    Apply,
    Blocks,
    Drop,
    Filter,
    Limit,
    MapRows,
    Read,
    Rename,
    Select,
    Tasks,
    Udf,
    Union,
    count_of,
    render,
    schema_of,
    walk,
)
from heliostat.data.block import Bundle
from heliostat.data.datasource.range import RangeSource

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})
LEAF = Blocks((Bundle.of(TABLE),), TABLE.schema)
FN = MapRows(Udf(abs), Tasks())


@pytest.mark.parametrize(
    ("step", "names", "rows"),
    [
        (Select(("b",)), ["b"], 3),
        (Drop(("b",)), ["a"], 3),
        (Rename(pairs=(("a", "z"),)), ["z", "b"], 3),
        (Limit(2), ["a", "b"], 2),
        (Filter(Udf(abs), Tasks()), ["a", "b"], None),
        (FN, None, None),
    ],
)
def test_columns_and_rows_are_known_as_far_as_no_function_changes_them(step, names, rows):
    plan = Apply(LEAF, step)
    schema = schema_of(plan)
    assert (None if schema is None else schema.names) == names
    assert count_of(plan) == rows


def test_a_union_adds_rows_and_needs_to_know_all_columns():
    assert count_of(Union((LEAF, LEAF))) == 6
    assert schema_of(Union((LEAF, LEAF))) == TABLE.schema
    assert schema_of(Union((LEAF, Apply(LEAF, FN)))) is None
    numbers = Blocks((), pa.schema([("a", pa.float64())]))
    assert schema_of(Union((LEAF, numbers))).names == ["a", "b"]


def test_a_column_that_cannot_be_there_is_told():
    with pytest.raises(KeyError, match=r"'q'.*\['a', 'b'\]"):
        schema_of(Apply(LEAF, Drop(("q",))))


def test_a_plan_reads_from_the_last_step_to_the_first():
    plan = Union((Apply(Read(RangeSource(3)), FN), LEAF))
    assert list(render(plan)) == [
        "Union",
        "+- Map(abs)",
        "   +- Range(3)",
        "+- Blocks(rows=3, blocks=1)",
    ]
    assert len(list(walk(plan))) == 4
