import datetime
import decimal
import math
import operator
import random

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import heliostat as ray
from heliostat.data._evaluate import evaluate
from heliostat.data._native.expression import sql_of
from heliostat.data._native.scan import scan_of
from heliostat.data.aggregate import (
    Count,
    Max,
    Min,
    MissingValuePercentage,
    Sum,
    Unique,
    ZeroPercentage,
)
from heliostat.data.expressions import col, lit, when

pytestmark = pytest.mark.usefixtures("inline")

CHECK = settings(max_examples=40, deadline=None)
KEYS = st.one_of(st.none(), st.integers(0, 5))
ROWS = st.lists(
    st.tuples(KEYS, st.one_of(st.none(), st.floats(width=32), st.just(1.0))), max_size=25
)


def dataset(rows, names=("k", "v"), blocks=1):
    kinds = [pa.int64(), pa.float64()]
    columns = list(zip(*rows, strict=True)) or [(), ()]
    table = pa.table(
        [pa.array(c, t) for c, t in zip(columns, kinds, strict=True)], names=list(names)
    )
    step = max(1, -(-len(rows) // blocks))
    parts = [table.slice(start, step) for start in range(0, len(rows), step)] or [table]
    return ray.data.from_arrow(parts)


def plain(rows):
    """Rows that can be compared: NaN is equal to NaN."""
    return [tuple("nan" if one != one else one for one in row.values()) for row in rows]


def python_sorted(rows, key, down):
    def place(row):
        value = row[key]
        return (
            (2, 0)
            if value is None
            else (1, 0)
            if value != value
            else (0, -value if down else value)
        )

    return sorted(rows, key=place)


@CHECK
@given(ROWS, st.booleans(), st.sampled_from(["k", "v"]), st.integers(1, 4))
def test_a_sort_is_stable_and_puts_nan_then_null_last(rows, down, key, blocks):
    ds = dataset(rows, blocks=blocks)
    assert plain(ds.sort(key, descending=down).take_all()) == plain(
        python_sorted(ds.take_all(), key, down)
    )


def test_a_sort_by_several_keys_lets_each_have_its_direction():
    ds = ray.data.from_items([{"a": i % 3, "b": i} for i in range(9)])
    got = ds.sort(["a", "b"], descending=[True, False]).take_all()
    assert [(row["a"], row["b"]) for row in got] == [
        (a, b) for a in (2, 1, 0) for b in (a, a + 3, a + 6)
    ]
    for wrong in ("yes", ["a"]):
        with pytest.raises(TypeError, match="sort: descending must be a bool, or one a key"):
            ray.data.range(1).sort("id", descending=wrong)
    with pytest.raises(ValueError, match="2 keys but 1 directions"):
        ds.sort(["a", "b"], descending=[True])
    with pytest.raises(KeyError, match="no column named 'zz'"):
        ds.sort("zz")


HOW = {"inner": "inner", "left_outer": "left", "right_outer": "right", "full_outer": "outer"}


@CHECK
@given(ROWS, ROWS, st.sampled_from(list(HOW)))
def test_outer_and_inner_joins_give_the_rows_of_pandas(left, right, kind):
    ours = dataset(left).join(dataset(right, ("k", "w")), kind, 1, on=("k",)).take_all()
    one = pd.DataFrame(left, columns=["k", "v"]).astype({"k": "Int64", "v": "object"})
    two = pd.DataFrame(right, columns=["k", "w"]).astype({"k": "Int64", "w": "object"})
    # Pandas joins null with null; SQL and Arrow do not.
    there = one[one.k.notna()].merge(two[two.k.notna()], on="k", how=HOW[kind])
    alone = [f for f, kinds in ((one, ("left_outer", "full_outer")), (two, ("right_outer", "full_outer")))
             if kind in kinds]  # fmt: skip
    theirs = pd.concat([there, *(f[f.k.isna()] for f in alone)]).astype("object")
    theirs = theirs.reindex(columns=["k", "v", "w"]).where(theirs.notna(), None)
    count = lambda rows: sorted(map(repr, rows))  # noqa: E731
    clean = [
        tuple(None if one != one else one for one in row) for row in theirs.itertuples(index=False)
    ]
    assert count(
        tuple(None if row[name] != row[name] else row[name] for name in "kvw") for row in ours
    ) == count(clean)


@CHECK
@given(ROWS, ROWS)
def test_semi_and_anti_joins_part_the_rows_in_two(left, right):
    one, two = dataset(left), dataset(right, ("k", "w"))
    keys = {k for k, _ in right if k is not None}
    semi = one.join(two, "left_semi", 1, on="k").take_all()
    anti = one.join(two, "left_anti", 1, on="k").take_all()
    assert {row["k"] for row in semi} <= keys
    assert not {row["k"] for row in anti} & keys
    assert len(semi) + len(anti) == len(left)
    assert len(two.join(one, "right_semi", 1, on="k").take_all()) == len(semi)
    assert len(two.join(one, "right_anti", 1, on="k").take_all()) == len(anti)


def test_a_join_names_what_it_cannot_do():
    ds = ray.data.from_items([{"id": 1, "x": 1}])
    with pytest.raises(ValueError, match=r"both sides have columns \['x'\]; give left_suffix"):
        ds.join(ds, "inner", 1)
    with pytest.raises(ValueError, match="join_type must be one of"):
        ds.join(ds, "sideways", 1)
    with pytest.raises(KeyError, match="no column named 'zz'"):
        ds.join(ds, "inner", 1, on="zz")
    got = ds.join(ds, "inner", 1, left_suffix="_l", right_suffix="_r").take_all()
    assert got == [{"id": 1, "x_l": 1, "x_r": 1}]


def test_keys_may_have_other_names_on_the_right():
    left = ray.data.from_items([{"id": 1}, {"id": 2}])
    right = ray.data.from_items([{"key": 2, "b": "x"}, {"key": 3, "b": "y"}])
    got = left.join(right, "full_outer", 1, on="id", right_on="key").sort("id").take_all()
    assert got == [{"id": 1, "b": None}, {"id": 2, "b": "x"}, {"id": 3, "b": "y"}]


def test_where_the_rows_of_the_right_side_count_the_keys_have_its_names():
    left = ray.data.from_items([{"id": 1, "v": 5}, {"id": 2, "v": 6}])
    right = ray.data.from_items([{"v": 7, "key": 2}, {"v": 8, "key": 3}])
    joined = left.join(right, "right_outer", 1, on="id", right_on="key", left_suffix="_l")
    assert joined.columns() == ["v_l", "v", "key"]
    assert [list(row.values()) for row in joined.sort("key").take_all()] == [
        [6, 7, 2],
        [None, 8, 3],
    ]


def test_an_asof_join_finds_the_nearest_row_of_the_same_group():
    left = ray.data.from_items([{"t": 5, "g": "a"}, {"t": 1, "g": "b"}, {"t": 9, "g": "a"}])
    right = ray.data.from_items([{"t": 4, "g": "a", "p": 1}, {"t": 6, "g": "a", "p": 2}])
    back = left.join_asof(right, on="t", by="g").take_all()
    assert [row["p"] for row in back] == [1, None, 2]
    ahead = left.join_asof(right, on="t", by="g", direction="forward").take_all()
    assert [row["p"] for row in ahead] == [2, None, None]


@CHECK
@given(ROWS, st.integers(1, 4))
def test_distinct_keeps_the_first_of_each_kind_in_order(rows, blocks):
    ds = dataset(rows, blocks=blocks)
    assert plain(ds.distinct().take_all()) == list(dict.fromkeys(plain(ds.take_all())))
    firsts = {}
    for row in ds.take_all():
        firsts.setdefault(row["k"], row)
    assert plain(ds.distinct("k").take_all()) == plain(firsts.values())


def test_the_first_rows_of_a_zip_are_as_many_as_were_asked_for():
    ds = ray.data.range(9000, override_num_blocks=9)
    zipped = ds.zip(ds.map(lambda row: {"b": -row["id"]}))
    first = [{"id": n, "b": -n} for n in range(2)]
    assert zipped.take(2) == first
    assert zipped.filter(expr="id != 5").take(2) == first
    assert zipped.sort("id").filter(expr="b <= 0").limit(2).take_all() == first
    nothing = ray.data.from_items([{"id": 1}]).filter(expr="id > 1")
    assert zipped.join(nothing, "inner", 1, on=("id",)).take_all() == []


def test_zip_puts_rows_side_by_side_and_refuses_uneven_ones():
    got = ray.data.range(3).zip(ray.data.range(3).map(lambda row: {"id": -row["id"], "b": 1}))
    assert got.take_all() == [{"id": i, "id_1": -i, "b": 1} for i in range(3)]
    for rows in (2, 4):
        with pytest.raises(ValueError, match=r"different numbers of rows; .* limit\(\)"):
            ray.data.range(3).zip(ray.data.range(rows)).take_all()


def test_keys_that_can_never_be_equal_are_refused_before_anything_runs():
    left, right = ray.data.from_items([{"a": 1}]), ray.data.from_items([{"k": "1", "b": 2}])
    with pytest.raises(TypeError, match=r"join: 'a' is int64 and 'k' string; .*cast"):
        left.join(right, join_type="inner", on=("a",), right_on=("k",), num_partitions=1)
    floats = ray.data.from_items([{"a": 1.0, "b": 2}])
    assert left.join(floats, join_type="inner", on=("a",), num_partitions=1).count() == 1


def test_unpivot_and_pivot_are_each_others_inverse():
    ds = ray.data.from_items([{"k": 1, "a": 2, "b": 3}, {"k": 2, "a": None, "b": 5}])
    long = ds.unpivot(["a", "b"], index="k")
    assert long.count() == 4
    assert long.pivot("variable", Sum("value"), index="k").take_all() == ds.take_all()


def test_window_functions_keep_the_rows_in_their_order():
    ds = ray.data.from_items([{"g": "a", "v": 3}, {"g": "b", "v": 1}, {"g": "a", "v": 1}])
    got = ds.window(
        {"n": "row_number()", "before": "lag(v)"}, partition_by="g", order_by="v"
    ).take_all()
    assert [(row["n"], row["before"]) for row in got] == [(2, 1), (1, None), (1, None)]


def test_nulls_are_filled_and_dropped():
    ds = ray.data.from_items([{"a": 1, "b": "x"}, {"a": None, "b": None}])
    assert ds.fill_null({"a": 0, "b": "-"}).take_all()[1] == {"a": 0, "b": "-"}
    assert ds.fill_null(7, "a").take_all()[1] == {"a": 7, "b": None}
    assert ds.drop_null().count() == ds.drop_null("b").count() == 1


def test_sql_and_python_mix_in_one_plan():
    ds = ray.data.range(100).map(lambda row: {"k": row["id"] % 3, "v": row["id"]})
    got = ds.sql("SELECT k, sum(v) AS s FROM ds GROUP BY k ORDER BY k").map(
        lambda row: {"k": row["k"], "half": row["s"] / 2}
    )
    assert got.filter(expr=col("k") > 0).sql("SELECT max(half) AS m FROM ds").take_all() == [
        {"m": sum(range(2, 100, 3)) / 2}
    ]


def test_sql_sees_several_datasets_and_common_table_expressions():
    one = ray.data.from_items([{"id": 1}, {"id": 2}])
    query = "WITH big AS (SELECT * FROM a WHERE id > 1) SELECT big.id, n FROM big JOIN b USING (id)"
    two = ray.data.from_items([{"id": 2, "n": "x"}])
    assert ray.data.sql(query, a=one, b=two).take_all() == [{"id": 2, "n": "x"}]
    with pytest.raises(TypeError, match="is not a Dataset"):
        ray.data.sql("SELECT 1", a=5)


def test_a_query_that_is_not_understood_is_told_at_its_line():
    with pytest.raises(ValueError, match='Referenced column "zz" not found'):
        ray.data.range(1).sql("SELECT zz FROM ds")
    with pytest.raises(ValueError, match=r"SQL\(SELCT 1\): Parser.* at or near \"SELCT\"$"):
        ray.data.range(1).sql("SELCT 1")
    with pytest.raises(ValueError, match=r"(?s)at or near \"FRM\"\n\nLINE 2: FRM ds"):
        ray.data.range(1).sql("SELECT 1 a\nFRM ds\n")
    with pytest.raises(ValueError, match="differ only in case"):
        ray.data.from_items([{"a": 1, "A": 2}]).distinct()


def test_a_query_sees_no_variables_of_the_program():
    relation = pa.table({"a": [1]})
    with pytest.raises(ValueError, match="relation does not exist"):
        ray.data.range(1).sql("SELECT * FROM relation")
    assert relation.num_rows == 1


def test_what_is_no_dataset_is_refused():
    with pytest.raises(TypeError, match="5 is not a Dataset"):
        ray.data.range(1).join(5, "inner", 1, on="id")
    with pytest.raises(TypeError, match="is not a Dataset"):
        ray.data.range(1).sql("SELECT * FROM x", x=[1])


def test_an_error_below_a_query_is_the_users_own():
    def broken(row):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ray.data.range(5).map(broken).sort("id").sql("SELECT * FROM ds").take_all()


TYPES = {
    "tiny": pa.array([1, None], pa.int8()),
    "unsigned": pa.array([1, 2**64 - 1], pa.uint64()),
    "half": pa.array(np.array([1, 2.5], np.float16)),
    "decimal": pa.array([decimal.Decimal("1.10"), None], pa.decimal128(20, 2)),
    "naive": pa.array([1, None], pa.timestamp("ns")),
    "zoned": pa.array([1001, None], pa.timestamp("ns", "Europe/Berlin")),
    "date": pa.array([datetime.date(2024, 1, 2), None]),
    "time": pa.array([1, None], pa.time32("s")),
    "span": pa.array([1, None], pa.duration("us")),
    "coded": pa.array(["a", None]).dictionary_encode(),
    "lists": pa.array([[1, None], None]),
    "structs": pa.array([{"x": 1, "y": [1.5]}, None]),
    "bytes": pa.array([b"a", None]),
    "large": pa.array(["a", None], pa.large_string()),
    "nothing": pa.nulls(2),
    "pairs": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(8.0).reshape(2, 2, 2)),
}


@pytest.mark.parametrize("name", TYPES)
def test_a_column_of_any_type_comes_through_the_native_engine_as_it_was(name):
    table = pa.table({"x": TYPES[name], "order": [2, 1]})
    got = ray.data.from_arrow(table).join(
        ray.data.from_items([{"order": 1}, {"order": 2}]), "inner", 1, on="order"
    )
    (bundle,) = got.sort("order", descending=True).materialize()._plan.bundles
    out = bundle.table()
    assert out.column("x").type == table.column("x").type
    assert str(out.column("x").to_pylist()) == str(table.column("x").to_pylist())


PREDICATES = st.recursive(
    st.builds(
        lambda name, sign, value: getattr(col(name), sign)(value),
        st.sampled_from(["k", "v"]),
        st.sampled_from(["__gt__", "__ge__", "__lt__", "__le__", "__eq__", "__ne__"]),
        st.one_of(st.integers(0, 5), st.sampled_from([0.5, 1.0, -1e300])),
    )
    | st.sampled_from([col("k").is_null(), col("v").is_not_null(), col("v") * 2.0 > 1.0]),
    lambda inner: (
        st.builds(lambda a, b: a & b, inner, inner)
        | st.builds(lambda a, b: a | b, inner, inner)
        | st.builds(lambda a: ~a, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, PREDICATES)
def test_a_filter_of_files_keeps_the_rows_that_arrow_keeps(tmp_path_factory, rows, predicate):
    folder = tmp_path_factory.mktemp("files")
    ds = dataset(rows)
    ds.write_parquet(folder) if rows else None
    if rows:
        there = ray.data.read_parquet(folder).filter(expr=predicate)
        assert plain(there.take_all()) == plain(ds.filter(expr=predicate).take_all())
        assert there.count() == ds.filter(expr=predicate).count()


@pytest.mark.parametrize("sign", ["gt", "ge", "lt", "le", "eq", "ne"])
@pytest.mark.parametrize("rest", [[None], [], [0.0], [math.inf]])
def test_the_bounds_of_a_file_say_nothing_of_nan(tmp_path, sign, rest):
    table = pa.table({"v": [1.0, math.nan, *rest]})
    pq.write_table(table, tmp_path / "one.parquet")
    there, here = ray.data.read_parquet(tmp_path), ray.data.from_arrow(table)
    for value in (0, 1, 5):
        predicate = getattr(col("v"), f"__{sign}__")(value)
        for one in (predicate, predicate & (col("v") < 9), ~predicate):
            kept = here.filter(expr=one).take_all()
            assert str(there.filter(expr=one).take_all()) == str(kept)
            assert there.filter(expr=one).count() == len(kept)


@pytest.mark.parametrize("values", [[1.0, math.nan], [0.0, math.nan], [math.nan, 0.0, 2.0]])
def test_aggregates_of_a_file_know_of_nan_in_spite_of_its_bounds(tmp_path, values):
    table = pa.table({"v": values})
    pq.write_table(table, tmp_path / "one.parquet")
    wanted = [Min("v"), Max("v"), MissingValuePercentage("v"), ZeroPercentage("v"), Unique("v")]
    there, here = ray.data.read_parquet(tmp_path), ray.data.from_arrow(table)
    assert str(there.aggregate(*wanted)) == str(here.aggregate(*wanted))


@pytest.mark.parametrize("down", [False, True])
def test_the_first_rows_of_a_file_have_nan_after_the_numbers(tmp_path, down):
    table = pa.table({"v": [1.0, math.nan, 2.0, 0.0]})
    pq.write_table(table, tmp_path / "one.parquet")
    for rows in range(5):
        there, here = ray.data.read_parquet(tmp_path), ray.data.from_arrow(table)
        wanted = here.sort("v", down).take_all()[:rows]
        assert str(there.sort("v", down).take(rows)) == str(wanted)


@pytest.mark.parametrize(
    "values", [[math.nan, None], [math.nan, 7.0], [None, 2.0], [9.0, math.nan]]
)
@pytest.mark.parametrize("sign", ["gt", "ge", "lt", "le", "eq", "ne"])
def test_rows_of_several_files_are_counted_as_they_are_filtered(tmp_path, values, sign):
    for number, part in enumerate([values, [1.0, 5.0, math.inf, -math.inf], []]):
        table = pa.table({"v": pa.array(part, pa.float64()), "n": pa.array(range(len(part)))})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    read = ray.data.read_parquet(tmp_path)
    for value in (0, 5, 1e300):
        one = getattr(col("v"), f"__{sign}__")(value)
        for predicate in (one, one & (col("n") < 2), ~one, col("n").is_in([0, 1])):
            kept = read.materialize().filter(expr=predicate).take_all()
            assert read.filter(expr=predicate).count() == len(kept)


def test_columns_without_rows_are_those_that_the_steps_leave():
    table = pa.table(
        {
            "n": pa.array([], pa.int64()),
            "k": pa.array([], pa.int32()),
            "z": pa.array([], pa.string()),
        }
    )
    ds = ray.data.from_arrow(table).repartition(3)
    left = ds.select_columns(["n", "k"])
    right = ds.select_columns(["n", "k"]).rename_columns({"n": "m"})
    assert left.join(right, "inner", on="k").take_all() == []


def test_a_plan_says_what_runs_natively_and_what_below_it(parquet, capsys):
    ds = ray.data.read_parquet(parquet).filter(expr=col("id") > 5).groupby("zone").mean("fare")
    ds.map(lambda row: row).explain()
    stages = capsys.readouterr().out.split("Stages --------\n")[1].splitlines()
    assert stages == [
        "   0: ReadParquet -> Filter((col('id') > 5)) -> Aggregate(zone; mean(fare)), 0 inputs, natively",
        "0: Sort(zone), 1 inputs, in place",
        "1: Map(<lambda>), from 0, in workers",
    ]
    mapped = ray.data.range(4).map(lambda row: row).sql("SELECT sum(id) AS s FROM ds")
    mapped.explain()
    stages = capsys.readouterr().out.split("Stages --------\n")[1].splitlines()
    assert stages[0] == "   0: Range(4), 4 inputs, in place"
    assert stages[1] == "   1: Map(<lambda>), from 0, in workers"
    assert stages[2].startswith("0: SQL(SELECT sum(id)")
    assert mapped.materialize().stats().count("Stage ") == 3


def test_where_sorted_blocks_are_cut_cannot_be_said():
    with pytest.raises(NotImplementedError, match="repartition"):
        ray.data.range(3).sort("id", boundaries=[1])


NOTHING_OF_NOTHING = {
    "distinct": lambda ds: ds.select_columns(["s"]).distinct(),
    "groups": lambda ds: ds.groupby("s").count(),
    "sort": lambda ds: ds.sort("n").limit(3),
    "explode": lambda ds: ds.explode("n"),
    "window": lambda ds: ds.window({"a": "row_number()"}),
    "join": lambda ds: ds.join(ds, "inner", on="n"),
    "semi": lambda ds: ray.data.range(3).join(ds, "left_semi", on="id", right_on="n"),
}


@pytest.mark.parametrize("name", NOTHING_OF_NOTHING)
def test_nothing_is_made_of_what_a_function_gave_no_rows_of(name):
    ds = NOTHING_OF_NOTHING[name](ray.data.range(3).flat_map(lambda row: []))
    assert ds.take_all() == []
    assert ds.count() == 0


def test_nothing_is_counted_and_added_up_all_the_same():
    ds = ray.data.range(3).flat_map(lambda row: [])
    assert ds.distinct().count() == 0
    assert ds.aggregate(Count(), Sum("n")) == {"count()": 0, "sum(n)": None}
    assert ds.max("n") is None


def test_what_depends_on_columns_nobody_knows_is_told():
    ds = ray.data.range(3).flat_map(lambda row: [])
    for made in (
        ds.sql("SELECT n FROM ds"),
        ray.data.range(3).join(ds, "left_outer", on="id", right_on="n"),
    ):
        with pytest.raises(ValueError, match="a function has given no rows"):
            made.take_all()


BOTH_WAYS = {
    "cast of decimals": col("d").cast(pa.float64()),
    "cast of integers": col("h").cast(pa.float64()),
    "product of casts": col("d").cast(pa.float64()) * (1.0 - col("d").cast(pa.float64())),
    "decimals compared": col("d") >= decimal.Decimal("0.50"),
    "decimals and integers": col("d") < 24,
    "decimals of two scales": col("d") > col("e"),
    "in text": col("s").is_in(["a", "it's"]),
    "in numbers": ~col("i").is_in([1, -3]),
    "beginning": col("s").str.starts_with("it'"),
    "either": when(col("i") > 0).then(1.5).otherwise(col("f")),
    "filled": col("s").fill_null("none"),
    "null and not": when(col("b")).then(col("s")).otherwise("no"),
}


DECIMAL = pa.decimal128(15, 2)


def cents(number, places):
    return decimal.Decimal(number).scaleb(-places)


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_what_is_written_as_sql_gives_what_arrow_gives(name):
    drawn = random.Random(name)

    def column(draw, kind):
        return pa.array([None if drawn.random() < 0.2 else draw() for _ in range(500)], kind)

    table = pa.table(
        {
            "d": column(lambda: cents(drawn.randint(-(10**15) + 1, 10**15 - 1), 2), DECIMAL),
            "e": column(lambda: cents(drawn.randint(-9999, 9999), 3), pa.decimal128(6, 3)),
            "h": column(lambda: drawn.randint(-(2**31), 2**31 - 1), pa.int32()),
            "i": column(lambda: drawn.randint(-3, 3), pa.int64()),
            "f": column(lambda: drawn.choice([0.5, -1e300, 1e-9, float("inf")]), pa.float64()),
            "s": column(lambda: drawn.choice(["a", "it's", "it", ""]), pa.string()),
            "b": column(lambda: drawn.random() < 0.5, pa.bool_()),
        }
    )
    expr = BOTH_WAYS[name]
    sql = sql_of(expr, table.schema)
    assert sql is not None
    with duckdb.connect(config={"threads": 1}) as duck:
        duck.register("t", table)
        made = duck.sql(f"SELECT {sql} AS x FROM t").to_arrow_table()["x"].to_pylist()
    assert made == evaluate(expr, table).to_pylist()


def test_what_may_differ_is_left_to_arrow():
    schema = pa.schema([("d", pa.decimal128(30, 2)), ("i", pa.int64()), ("s", pa.string())])
    for expr in (
        col("d").cast(pa.float64()),
        col("d") > 1,
        col("i").cast(pa.float64()),
        col("i").cast(pa.int8()),
        col("s").is_in(["a", None]),
        col("i").is_in([1.5]),
        col("s").str.starts_with("a", ignore_case=True),
        when(col("i") > 0).then(1.5).otherwise(col("i")),
    ):
        assert sql_of(expr, schema) is None


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sign", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_files_are_compared_as_arrow_compares_nan_and_null(tmp_path, kind, turned, sign):
    values = pa.array([1.0, 2.0, 3.0, math.nan, math.inf, -math.inf, None], kind)
    pq.write_table(pa.table({"f": values, "two": [2] * 7}), tmp_path / "a.parquet")
    compare = getattr(operator, sign)
    predicate = compare(col("two"), col("f")) if turned else compare(col("f"), 2)
    if turned and kind == pa.float32():
        predicate = compare(lit(2), col("f"))
    kept = evaluate(predicate, pa.table({"f": values, "two": [2] * 7}))
    expected = [one for one, true in zip(values.to_pylist(), kept.to_pylist(), strict=True) if true]
    ds = ray.data.read_parquet(str(tmp_path)).filter(expr=predicate)
    assert [repr(row["f"]) for row in ds.take_all()] == [repr(one) for one in expected]
    assert ds.count() == len(expected)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sign", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_nan_beside_null_is_null_in_files_too(tmp_path, sign, turned):
    table = pa.table({"f": [math.nan, math.nan, 1.0, None], "i": [None, 2, 2, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    compare = getattr(operator, sign)
    predicate = compare(col("i"), col("f")) if turned else compare(col("f"), col("i"))
    assert sql_of(predicate, table.schema) is not None
    for one in (predicate, ~predicate, predicate.is_null()):
        expected = pc.sum(evaluate(one, table)).as_py()
        files = ray.data.read_parquet(str(tmp_path)).filter(expr=one)
        assert files.count() == expected == len(files.take_all()), one


def test_files_by_whose_whole_numbers_rows_are_matched_are_scanned_each_by_itself(tmp_path):
    table = pa.table({"k": [3, None, 1, 3, -5, 200_000], "s": list("abcdef")})
    for number in range(3):
        pq.write_table(table.slice(2 * number, 2), tmp_path / f"{number}.parquet")
    files, one = ray.data.read_parquet(str(tmp_path)), ray.data.from_arrow(table)
    assert scan_of(files._plan.source, {"k"}).sql.count("read_parquet") == 3
    assert scan_of(files._plan.source, {"s"}).sql.count("read_parquet") == 1
    assert scan_of(files._plan.source.head(5), {"k"}).sql.count("read_parquet") == 1

    def answers(ds):
        grouped = ds.groupby("k").aggregate(Count(), Sum("k")).take_all()
        joined = ds.join(ds, "inner", 2, on=("k",), right_suffix="_r").take_all()
        asked = ray.data.sql("SELECT k, max(s) AS m FROM t GROUP BY k ORDER BY k", t=ds).take_all()
        return grouped, sorted(joined, key=repr), asked

    assert answers(files) == answers(one)


def test_files_that_a_query_names_twice_are_read_twice_and_streams_are_kept(tmp_path):
    ray.data.range(10).write_parquet(str(tmp_path))
    query = "SELECT a.id FROM t a JOIN t b ON a.id = b.id + 1 WHERE a.id > 7"
    for ds in (ray.data.read_parquet(str(tmp_path)), ray.data.range(10).map(lambda row: row)):
        made = ray.data.sql(query, t=ds)
        assert sorted(row["id"] for row in made.iter_rows()) == [8, 9]


def test_lists_none_of_which_is_there_are_a_row_each():
    # What a function gives knows no type of lists then.
    ds = ray.data.range(2).map(lambda row: {"n": row["id"], "l": None})
    assert ds.explode("l").take_all() == [{"n": 0, "l": None}, {"n": 1, "l": None}]


def test_columns_that_do_not_fit_into_one_are_not_unpivoted(inline):
    ds = ray.data.from_items([{"k": 1, "a": 1, "b": "x"}])
    with pytest.raises(TypeError, match=r"got a: int64, b: string; cast them before"):
        ds.unpivot(["a", "b"], index="k")
    assert ds.unpivot(["k", "a"]).take_all()[1] == {"variable": "a", "value": 1}


def test_a_query_that_names_no_dataset_says_which_it_sees(inline):
    ds = ray.data.from_items([{"a": 1}])
    with pytest.raises(ValueError, match=r"trips does not exist! The query sees trip$"):
        ray.data.sql("SELECT * FROM trips", trip=ds)
