"""Rules change what is done, never what comes out."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.data._optimize import PIECES, Streamed, compile_stages, optimize
from heliostat.data._plan import (
    Actors,
    Apply,
    Blocks,
    Drop,
    Filter,
    FlatMap,
    Here,
    Limit,
    MapBatches,
    MapRows,
    Read,
    Rename,
    Select,
    Shuffle,
    SortRows,
    Tasks,
    Udf,
    Union,
    count_of,
    schema_of,
)
from heliostat.data._stage import build_functions, run_steps
from heliostat.data._streamed import streamed
from heliostat.data.block import Bundle, concat
from heliostat.data.datasource.parquet import open_parquet
from heliostat.data.datasource.range import RangeSource

TABLE = pa.table({"a": range(40), "b": [float(n % 5) for n in range(40)], "c": ["x"] * 40})


def copy(value):
    return value


def odd(row):
    return hash(tuple(sorted(row.items(), key=str))) % 2 == 1


def twice(row):
    return [row, row]


def blocks():
    bundle = Bundle.of(TABLE)
    return Blocks((bundle.view(0, 15), bundle.view(15, 25)), TABLE.schema)


def evaluate(stages):
    """Run stages one after the other, each over all its input at once."""
    return [row for table in evaluated(stages) for row in table.to_pylist()]


def below(plan, memory_bytes):
    tables = evaluated(compile_stages(plan, 1 << 20))
    return (Bundle.of(table) for table in tables), schema_of(plan)


def tables_of(item):
    if isinstance(item, Streamed):
        return list(streamed(item.plan, below, 1 << 30))
    return [item.table()] if isinstance(item, Bundle) else list(item.read())


def evaluated(stages):
    made = []
    for stage in stages:
        if stage.inputs:
            tables = [table for below in stage.inputs for table in made[below]]
        else:
            tables = [table for item in stage.source for table in tables_of(item)]
        out = list(run_steps(stage.steps, build_functions(stage.steps), iter(tables)))
        if stage.limit is not None:
            out = [concat(out).slice(0, stage.limit)] if out else []
        made.append(out)
    return made[-1]


STEPS = st.lists(
    st.sampled_from(
        ["select", "drop", "rename", "limit", "shuffle", "map", "filter", "flat", "batches"]
    ),
    max_size=6,
)


@st.composite
def plans(draw):
    names = ["a", "b", "c"]
    plan = blocks()
    if draw(st.booleans()):
        plan, names = Read(RangeSource(draw(st.integers(0, 50)), 3)), ["id"]
    for number, kind in enumerate(draw(STEPS)):
        plan, names = Apply(plan, step(draw, kind, names, number)), after(draw, kind, names, number)
    if draw(st.booleans()):
        plan = Union((plan, plan))
    return plan


def step(draw, kind, names, number):
    match kind:
        case "select":
            return Select(tuple(reversed(names)))
        case "drop":
            return Drop(tuple(names[1:]))
        case "rename":
            return Rename(pairs=((names[0], f"n{number}"),))
        case "limit":
            return Limit(draw(st.integers(0, 30)))
        case "shuffle":
            return Shuffle(number)
        case "map":
            return MapRows(Udf(copy), Tasks())
        case "filter":
            return Filter(Udf(odd), Tasks())
        case "flat":
            return FlatMap(Udf(twice), Tasks(2))
    return MapBatches(Udf(copy), Tasks(), draw(st.sampled_from([None, 4])), "pyarrow", False)


def after(draw, kind, names, number):
    match kind:
        case "select":
            return list(reversed(names))
        case "drop":
            return names[:1]
        case "rename":
            return [f"n{number}", *names[1:]]
    return names


@settings(max_examples=150, deadline=None)
@given(plans())
def test_the_optimised_plan_gives_the_rows_of_the_plan(plan):
    asked = evaluate(compile_stages(plan, 1 << 20, fuse=False))
    assert evaluate(compile_stages(optimize(plan), 1 << 20)) == asked
    assert count_of(plan) in (None, len(asked))
    assert count_of(optimize(plan)) in (None, len(asked))
    schema = schema_of(plan)
    if schema is not None and asked:
        assert schema.names == list(asked[0])


def test_columns_and_limits_reach_the_read(parquet):
    source = open_parquet(parquet)
    plan = Apply(Apply(Apply(Read(source), Drop(("paid", "zone"))), Limit(30)), Limit(25))
    best = optimize(plan)
    assert isinstance(best, Read)
    assert best.source.schema.names == ["id", "fare"]
    tasks = best.source.read_tasks(1)
    assert [task.rows for task in tasks] == [20, 5]


def test_a_limit_stays_above_what_may_drop_rows(parquet):
    plan = Apply(Apply(Read(open_parquet(parquet)), Filter(Udf(odd), Tasks())), Limit(5))
    assert optimize(plan) == plan


def test_select_goes_by_the_old_names_below_a_rename():
    plan = Apply(Apply(blocks(), Rename(pairs=(("a", "z"),))), Select(("z", "b")))
    best = optimize(plan)
    assert best == Apply(Apply(blocks_of(best), Select(("a", "b"))), Rename(pairs=(("a", "z"),)))


def blocks_of(plan):
    while isinstance(plan, Apply):
        plan = plan.input
    return plan


def test_only_the_columns_wanted_and_the_keys_are_sorted(parquet):
    plan = Apply(Read(open_parquet(parquet)), SortRows(("fare",), (False,)))
    best = optimize(Apply(plan, Select(("id",))))
    assert isinstance(best, Apply)
    assert isinstance(best.input, Apply)
    assert isinstance(best.input.input, Read)
    assert best.input.input.source.schema.names == ["id", "fare"]


def test_functions_with_the_same_needs_share_a_task():
    first, second = MapRows(Udf(copy), Tasks()), Filter(Udf(odd), Tasks())
    other = MapRows(Udf(copy), Tasks(options=(("num_gpus", 1),)))
    plan = Apply(Apply(Apply(blocks(), first), second), other)
    assert [stage.steps for stage in compile_stages(plan, 1)] == [(first, second), (other,)]


def test_a_pool_of_actors_is_a_stage_of_its_own():
    place = Actors(2, 2, 2)
    step = MapBatches(Udf(int), place, None, "numpy", False)
    stages = compile_stages(Apply(Apply(blocks(), MapRows(Udf(copy), Tasks())), step), 1)
    assert [stage.place for stage in stages] == [Tasks(), place]


def test_native_steps_alone_stay_in_the_driver(parquet):
    plan = Apply(Apply(Read(open_parquet(parquet)), Rename(pairs=(("id", "n"),))), Shuffle(1))
    assert all(stage.place == Here() for stage in compile_stages(optimize(plan), 1))


def test_many_reads_move_into_the_tasks_of_the_function_and_few_stay():
    step = MapRows(Udf(copy), Tasks())
    many = compile_stages(Apply(Read(RangeSource(100, PIECES)), step), 1 << 20)
    assert [stage.place for stage in many] == [Tasks()]
    few = compile_stages(Apply(Read(RangeSource(100, 2)), step), 1 << 20)
    assert [stage.place for stage in few] == [Here(), Tasks()]
    assert few[1].pieces * 2 == PIECES


def test_blocks_in_the_driver_are_narrowed_before_they_travel():
    plan = Apply(Apply(blocks(), Select(("a",))), MapRows(Udf(copy), Tasks()))
    assert [stage.place for stage in compile_stages(plan, 1)] == [Here(), Tasks()]
