"""What one task runs."""

import pyarrow as pa
import pytest

from heliostat.data._plan import Filter, Limit, MapBatches, MapRows, Select, Tasks, Udf
from heliostat.data._stage import build_functions, run_stage
from heliostat.data.block import Position
from heliostat.data.datasource.range import RangeTask

TABLE = pa.table({"a": range(6), "b": range(6)})


WHOLE = (Position(0, 0, 6),)


def run(*steps, parts=WHOLE):
    return run_stage(steps, build_functions(steps), parts, [TABLE], share=False).bundles


def test_parts_are_reads_or_rows_of_a_table():
    found = run(parts=(Position(0, 4, 2), RangeTask(0, 2, ("id",))))
    assert [bundle.table().to_pylist() for bundle in found] == [
        [{"a": 4, "b": 4}, {"a": 5, "b": 5}],
        [{"id": 0}, {"id": 1}],
    ]


def test_a_limit_at_the_end_stops_the_work_at_the_beginning():
    calls = []
    step = MapBatches(Udf(lambda b: calls.append(1) or b), Tasks(), 2, "pyarrow", False)
    [bundle] = run(step, Limit(1))
    assert bundle.rows == 1
    assert calls == [1]


def test_a_task_without_rows_still_tells_its_columns():
    [bundle] = run(Filter(Udf(lambda row: False), Tasks()), Select(("b",)))
    assert (bundle.rows, bundle.schema.names) == (0, ["b"])


def test_only_the_users_frames_are_in_the_traceback():
    def theirs(row):
        raise KeyError(row["a"])

    with pytest.raises(KeyError) as caught:
        run(MapRows(Udf(theirs), Tasks()))
    frames = [entry.name for entry in caught.traceback]
    assert frames[-2:] == ["run_stage", "theirs"]
    assert "raised in Map(theirs)" in caught.value.__notes__[0]
