"""What one task runs."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.data._batching import joined
from heliostat.data._plan import Compute, Filter, Limit, MapBatches, MapRows, Select, Tasks, Udf
from heliostat.data._stage import JOINED_BYTES, build_functions, run_stage, run_steps
from heliostat.data.block import Position
from heliostat.data.datasource.parquet import open_parquet
from heliostat.data.datasource.range import RangeTask
from heliostat.data.expressions import col

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


def in_place(batch):
    own = batch["a"].flags.owndata
    batch["a"][:] += 1
    return {"a": batch["a"], "b": batch["b"], "own": np.full(len(batch["a"]), own)}


def test_a_function_writes_into_what_was_read_for_it_and_into_a_copy_of_what_others_have(tmp_path):
    pq.write_table(TABLE, tmp_path / "x.parquet")
    step = MapBatches(Udf(in_place), Tasks(), 4, "numpy", True)
    [part] = open_parquet(str(tmp_path)).read_tasks(1 << 20)
    expected = {"a": [1, 2, 3, 4, 5, 6], "b": [0, 1, 2, 3, 4, 5]}
    for parts, own in (((part,), False), (WHOLE, True)):
        for _ in range(2):
            made = pa.concat_tables(bundle.table() for bundle in run(step, parts=parts))
            assert made.to_pydict() == {**expected, "own": [own] * 6}
    assert TABLE["a"].to_pylist() == list(range(6))


def test_a_column_that_stands_in_two_places_is_copied_before_it_is_written_to(tmp_path):
    pq.write_table(TABLE, tmp_path / "x.parquet")
    [part] = open_parquet(str(tmp_path)).read_tasks(1 << 20)
    step = MapBatches(Udf(in_place), Tasks(), 4, "numpy", True)
    twice = Compute((("b", col("a")),))
    made = pa.concat_tables(bundle.table() for bundle in run(twice, step, parts=(part,)))
    assert made.to_pydict()["b"] == list(range(6))


def test_small_blocks_of_one_schema_go_on_as_one():
    def parts(batch):
        yield {"a": batch["a"][:2]}
        yield {"a": batch["a"][2:4]}
        yield {"a": np.array(["x"])}
        yield {"a": batch["a"][4:4]}
        yield {"a": np.zeros(JOINED_BYTES // 8)}
        yield {"a": batch["a"][4:] * 1.0}

    step = MapBatches(Udf(parts), Tasks(), None, "numpy", False)
    blocks = run_steps([step], build_functions([step]), iter([TABLE]))
    made = list(joined(blocks, JOINED_BYTES))
    assert [one.num_rows for one in made] == [4, 1, 0, JOINED_BYTES // 8, 2]
    assert made[0].to_pydict() == {"a": [0, 1, 2, 3]}
