import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heliostat as ray
from heliostat.data.aggregate import (
    AggregateFnV2,
    ApproximateTopK,
    AsList,
    Count,
    Sum,
    ValueCounter,
)
from heliostat.data.expressions import col

pytestmark = pytest.mark.usefixtures("inline")

NAN = float("nan")
DAY = datetime.timedelta(days=1)


def table(**columns):
    return ray.data.from_arrow(pa.table(columns))


def values(ds, name):
    return [row[name] for row in ds.iter_rows()]


class Rows(AggregateFnV2):
    def __init__(self):
        super().__init__("rows", lambda: 0, on=None, ignore_nulls=False)

    def aggregate_block(self, block):
        return block.num_rows

    def combine(self, one, other):
        return one + other


@pytest.mark.parametrize("name", ["__row", "__ROW", "__there", "__entry", "k0", "m", "p", "_"])
def test_no_name_of_a_column_is_taken_for_one_of_ours(name):
    ds = table(**{name: [2, 1, 2, None], "z": ["x", "y", "z", "x"]})
    assert values(ds.distinct(name), name) == [2, 1, None]
    assert values(ds.window({"n": "row_number()"}), name) == [2, 1, 2, None]
    assert ds.aggregate(AsList(name)) == {f"list({name})": [2, 1, 2, None]}
    assert values(ds.zip(ds), f"{name}_1") == [2, 1, 2, None]
    counted = ds.aggregate(ValueCounter(name), ApproximateTopK(name, 1))
    assert counted[f"value_counter({name})"] == {"values": [2, 1, None], "counts": [2, 1, 1]}
    assert counted[f"approx_topk({name})"] == [{name: 2, "count": 2}]
    near = ds.drop_null().join_asof(table(**{name: [1, 2], "q": [5, 6]}), on=name)
    assert values(near, "q") == [6, 5, 6]
    assert values(ds.pivot("z", Sum(name), index=name), "x") == [None, 2, None]
    assert ds.pivot(name, AsList("z")).take_all() == [{"1": ["y"], "2": ["x", "z"], "None": ["x"]}]


def test_the_first_rows_of_a_descending_sort_are_those_of_the_whole_sort():
    ds = table(f=[0.5, NAN, None, 2.0, NAN])
    whole = [repr(one) for one in values(ds.sort("f", descending=True), "f")]
    assert whole == ["2.0", "0.5", "nan", "nan", "None"]
    first = values(ds.sort("f", descending=True).limit(4), "f")
    assert [repr(one) for one in first] == whole[:4]


def test_equal_rows_have_the_same_rank_and_different_numbers():
    ds = table(v=[5, 1, 5, 7])
    ranked = ds.window(
        {"r": "rank()", "d": " DENSE_RANK ()", "n": "row_number()", "s": "sum(v)"}, order_by="v"
    )
    rows = [tuple(row.values()) for row in ranked.iter_rows()]
    assert rows == [(5, 2, 2, 2, 6), (1, 1, 1, 1, 1), (5, 2, 2, 3, 11), (7, 4, 3, 4, 18)]


def test_zero_is_one_key_whatever_its_sign():
    ds = table(k=[0.0, -0.0, 1.5, -0.0, None], v=[1, 2, 3, 4, 5])
    assert ds.groupby("k").map_groups(lambda group: {"n": [len(group["v"])]}).take_all() == [
        {"n": 3}, {"n": 1}, {"n": 1}
    ]  # fmt: skip
    both = ds.groupby("k").aggregate(Count(), Rows())
    assert [(row["count()"], row["rows"]) for row in both.iter_rows()] == [(3, 3), (1, 1), (1, 1)]
    assert ds.unique("k") == [0.0, 1.5, None]
    blocks = [ray.get(ref).column("v").to_pylist() for ref in
              ds.repartition(2, keys=["k"]).to_arrow_refs()]  # fmt: skip
    assert any({1, 2, 4} <= set(block) for block in blocks)


def test_ours_and_users_aggregates_of_no_rows_are_those_of_no_rows():
    ds = table(k=pa.array([], pa.int64()))
    assert ds.aggregate(Count(), Rows()) == {"count()": 0, "rows": None}
    assert ds.groupby("k").aggregate(Rows(), Count()).take_all() == []


@pytest.mark.parametrize(
    ("found", "names"),
    [
        ([True, False, True], ["False", "True"]),
        ([b"a", b"\xff", b"a"], ["b'a'", "b'\\xff'"]),
        ([DAY, 2 * DAY, DAY], ["1 day, 0:00:00", "2 days, 0:00:00"]),
        (pa.array([0.1, 0.2, 0.1], pa.float32()), None),
        (pa.array([0, 1, 0], pa.timestamp("us", "Europe/Berlin")), None),
        (pa.array([500_000, 1, 500_000], pa.timestamp("us")), None),
        (pa.array([decimal.Decimal("1.5"), decimal.Decimal(2), decimal.Decimal("1.5")]), None),
        (pa.array(["x", "y'", "x"]).dictionary_encode(), ["x", "y'"]),
        ([[1], [2], [1]], ["[1]", "[2]"]),
    ],
)
def test_pivot_finds_values_of_any_type(found, names):
    (row,) = table(c=found, v=[1, 2, 3]).pivot("c", Sum("v")).take_all()
    assert sorted(row.values()) == [2, 4]
    assert names is None or list(row) == names


def test_columns_that_would_have_one_name_are_refused():
    ds = table(k=[1, 2], c=["k", "x"], v=[1, 2])
    for verb in (
        lambda: ds.pivot("c", Sum("v"), index="k"),
        lambda: ds.pivot("c", Sum("v"), values=["x", "x"]),
        lambda: ds.unpivot(["k"], index="v", value_name="v"),
        lambda: ds.groupby("k").aggregate(Sum("v", alias_name="k")),
    ):
        with pytest.raises(ValueError, match=r"are named '[kxv]'; rename one"):
            verb()
    with pytest.raises(ValueError, match="'c' has no values"):
        table(c=pa.array([], pa.string()), v=pa.array([], pa.int64())).pivot("c", Sum("v"))


def test_spans_of_different_units_are_not_compared_by_their_numbers():
    seconds, millis = pa.array([1], pa.duration("s")), pa.array([1], pa.duration("ms"))
    one, other = table(d=seconds, a=[1]), table(d=millis, b=[2])
    remedy = r"cast\(pa.duration\('s'\)\)"
    with pytest.raises(TypeError, match=remedy):
        one.join(other, "inner", on="d")
    with pytest.raises(TypeError, match=remedy):
        one.join_asof(other, on="d")
    with pytest.raises(TypeError, match=remedy):
        one.join(table(d=[1], b=[2]), "inner", on="d")
    alike = other.with_column("d", col("d") * 1000).with_column(
        "d", col("d").cast(pa.duration("s"))
    )
    assert one.join(alike, "inner", on="d").count() == 1
    with pytest.raises(TypeError, match="fit into one"):
        table(a=seconds, b=millis).unpivot(["a", "b"])


def test_keys_of_a_full_join_have_a_type_that_holds_those_of_both_sides():
    for left, right, kind in (
        (pa.array([1], pa.int8()), pa.array([1000]), pa.int64()),
        (pa.array([1]), pa.array([2.5]), pa.float64()),
        (pa.array([0.5], pa.float32()), pa.array([0.1]), pa.float64()),
        (pa.array([1], pa.timestamp("s")), pa.array([1], pa.timestamp("ns")), pa.timestamp("ns")),
        (pa.array(["a"]).dictionary_encode(), pa.array(["b"]), pa.string()),
    ):
        joined = table(k=left).join(table(k=right), "full_outer", on="k")
        assert joined.schema().base_schema.field("k").type == kind
        assert {*values(joined, "k")} == {*left.cast(kind).tolist(), *right.tolist()}


def test_a_query_may_begin_and_end_with_a_comment():
    ds = ray.data.range(3)
    for query in (
        "SELECT id FROM ds -- all of them",
        "-- first\nWITH t AS (SELECT id FROM ds) SELECT id FROM t",
        "/* first\n*/ WITH t AS (SELECT id FROM ds) SELECT id FROM t;\n",
        "SELECT id FROM ds WHERE '-- no' = '-- no';",
    ):
        assert ds.sql(query).count() == 3
    for query in (5, "", " \n"):
        with pytest.raises(TypeError, match="needs a query"):
            ds.sql(query)
    with pytest.raises(ValueError, match=r"near \"\)\"$"):
        ds.sql("SELECT id FROM ds WHERE")


def test_a_query_whose_columns_depend_on_rows_is_told():
    ds = table(k=["a", "b"], v=[1, 2], n=[1, 2])
    with pytest.raises(ValueError, match=r"other columns where there are rows.*ON kind IN"):
        ds.sql("PIVOT ds ON k USING sum(v)").take_all()
    assert ds.sql("PIVOT ds ON k IN ('a') USING sum(v)").count() == 2


def test_a_query_gives_spans_zones_and_whole_decimals_as_they_were():
    schema = pa.schema(
        {
            "d": pa.duration("ms"),
            "z": pa.timestamp("us", "Europe/Berlin"),
            "w": pa.decimal128(38, 0),
            "s": pa.struct({"d": pa.duration("ns")}),
        }
    )
    row = {
        "d": DAY,
        "z": datetime.datetime(2020, 7, 1, tzinfo=datetime.UTC),
        "w": decimal.Decimal(10) ** 30,
        "s": {"d": datetime.timedelta(0, 1)},
    }
    given = pa.Table.from_pylist([row], schema=schema)
    ds = ray.data.from_arrow(given)
    got = ds.sql("SELECT * FROM ds")
    assert got.schema().base_schema == schema
    assert got.to_arrow() == given
    assert ds.sql("SELECT sum(w) AS s FROM ds").take_all() == [{"s": row["w"]}]
    with pytest.raises(ValueError, match=r"'h' has values that int64 cannot hold.*DOUBLE"):
        ds.sql("SELECT sum(9223372036854775807) AS h FROM ds, range(2)").take_all()


@pytest.mark.parametrize(
    "kind",
    [
        pa.struct({"d": pa.duration("us")}),
        pa.list_(pa.struct({"d": pa.duration("ns")})),
        pa.struct({"d": pa.float16()}),
        pa.list_(pa.float16()),
        pa.decimal128(5, -2),
    ],
)
def test_what_duckdb_cannot_hold_inside_of_lists_and_structs_passes_through(kind):
    inner = {"d": None}
    example = {
        pa.list_(pa.float16()): [1.5, None],
        pa.list_(pa.struct({"d": pa.duration("ns")})): [{"d": DAY}, inner],
        pa.decimal128(5, -2): decimal.Decimal(1500),
        pa.struct({"d": pa.float16()}): {"d": 1.5},
    }.get(kind, {"d": DAY})
    given = pa.table({"n": [0, 1], "v": pa.array([example, None], kind)})
    ds = ray.data.from_arrow(given)
    assert ds.sort("n").limit(2).to_arrow() == given
    assert ds.distinct().to_arrow() == given


@pytest.mark.parametrize("name", ["a[1].parquet", "a*.parquet", "a?.parquet", "a\\1.parquet"])
def test_the_name_of_a_file_is_no_pattern(name, tmp_path):
    for one in (name, "a1.parquet"):
        pq.write_table(pa.table({"f": [one], "n": [1]}), tmp_path / one)
    ds = ray.data.read_parquet(str(tmp_path / name))
    assert values(ds.filter(expr=col("n") > 0), "f") == [name]
    assert values(ds.sort("n").limit(1), "f") == [name]
    assert ds.sql("SELECT count(*) AS n FROM ds").take_all() == [{"n": 1}]


def test_what_is_made_of_no_rows_is_not_taken_for_no_rows():
    none = ray.data.range(3).flat_map(lambda _: [])
    counted = none.groupby(None).count()
    assert counted.count() == counted.groupby(None).count().take(1)[0]["count()"] == 1
    again = ray.data.range(3).groupby(None).count().flat_map(lambda _: [])
    assert again.distinct().take_all() == again.sort("x").take_all() == []


def test_rows_stay_side_by_side_whatever_is_made_of_a_zip(tmp_path):
    for number in range(3):
        ids = range(100 * number, 100 * number + 100)
        block = pa.table({"i": ids, "a": [one % 7 for one in ids]})
        pq.write_table(block, tmp_path / f"{number}.parquet", row_group_size=10)
    ds = ray.data.read_parquet(str(tmp_path))
    both = ds.zip(ds.select_columns("i").rename_columns({"i": "j"}))
    sums = [sum(range(key, 300, 7)) for key in range(7)]
    for _ in range(5):
        assert values(both.groupby("a").sum("j"), "sum(j)") == sums
        alike = both.filter(expr=col("i") == col("j"))
        assert alike.groupby("a").count().aggregate(Sum("count()")) == {"sum(count())": 300}
        twice = alike.union(alike)
        again = twice.zip(twice.select_columns("j").rename_columns({"j": "k"}))
        assert again.filter(expr=col("i") == col("k")).window({"n": "count(*)"}).count() == 600


def test_a_column_without_a_name_goes_through_every_verb(tmp_path):
    (tmp_path / "index.csv").write_text(",a,b\n0,x,1\n1,,2\n2,x,3\n")
    read = ray.data.read_csv(str(tmp_path / "index.csv"))
    read.write_parquet(str(tmp_path / "parquet"))
    for ds in (read, ray.data.read_parquet(str(tmp_path / "parquet"))):
        other = table(a=["x"], c=[7])
        for made in (
            ds.sort("b").limit(3),
            ds.distinct(),
            ds.zip(other.union(other, other)),
            ds.join(other, "inner", on="a").sort("b"),
            ds.window({"n": "row_number()"}, order_by=""),
            ds.join_asof(table(b=[1], d=[5]), on="b"),
            ds.sql("SELECT * FROM ds ORDER BY b"),
            ds.unpivot("b", index=""),
            ds.filter(expr=col("") >= 0).sort("b"),
        ):
            assert made.columns()[0] == ""
            assert made.take_all()[0][""] == 0
        assert values(ds.groupby("").count(), "") == [0, 1, 2]
        assert ds.sum("") == 3
        assert ds.summary().get_column_stats("")["max"] == 2
        assert ds.pivot("a", Sum("b")).take_all() == [{"": 2, "x": 4}]


def test_of_rows_that_are_as_near_the_nearest_in_their_order_is_taken():
    left = table(t=[2, 1])
    right = table(t=[1, 2, 1, 2], q=[1, 2, 3, 4])
    assert values(left.join_asof(right, on="t"), "q") == [4, 3]
    assert values(left.join_asof(right, on="t", direction="forward"), "q") == [2, 1]


def test_rows_that_fail_and_are_left_out_do_not_count_for_a_limit():
    ds = ray.data.range(40).map(lambda row: {"x": 1 // (row["id"] % 2)}, on_error="skip")
    assert len(ds.take(5)) == ds.limit(5).count() == 5
    nulls = ray.data.range(40).map(lambda row: {"x": 1 // (row["id"] % 2)}, on_error="null")
    assert values(nulls.limit(3), "x") == [None, 1, None]


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([1, 2, 1001], pa.timestamp("ns", "UTC")),
        pa.array([1, 2, 1001], pa.duration("ns")),
        pa.array([5, 1 << 63, (1 << 64) - 1], pa.uint64()),
        pa.array([1, 2, 3]).dictionary_encode(),
    ],
)
def test_keys_of_users_aggregates_are_as_they_were(keys):
    ds = table(k=keys)
    assert ds.groupby("k").aggregate(Rows()).to_arrow().column("k").combine_chunks() == keys
    both = ds.groupby("k").aggregate(Rows(), Count()).to_arrow()
    assert both.column("k").to_pylist() == keys.to_pylist()
    assert both.column("rows").to_pylist() == [1, 1, 1]


def test_a_dataset_keeps_a_column():
    with pytest.raises(ValueError, match="would leave no column"):
        ray.data.range(3).drop_columns("id")


def test_a_share_of_no_rows_by_a_column_is_no_rows():
    train, test = table(s=pa.array([], pa.string())).train_test_split(0.5, stratify="s")
    assert (train.count(), test.count()) == (0, 0)


def test_both_zeros_come_into_the_same_dataset():
    ds = table(k=[0.0, -0.0] * 4)
    parts = ds.streaming_train_test_split(0.7, split_type="hash", hash_column="k")
    assert sorted(part.count() for part in parts) == [0, 8]


def test_a_zip_of_functions_that_give_no_rows_is_none():
    nothing = ray.data.range(0).map_batches(lambda batch: batch)
    other = ray.data.range(0).map_batches(lambda batch: batch)
    none = ray.data.from_arrow(pa.table({"m": pa.array([], pa.int64())}))
    renamed = nothing.select_columns("id").rename_columns({"id": "m"})
    assert nothing.zip(renamed).filter(expr=col("m") == col("id")).take_all() == []
    assert none.zip(nothing, other).take_all() == []
    assert nothing.zip(other).count() == 0
    assert nothing.zip(none).columns() == ["m"]
    two = ray.data.range(2)
    for uneven in (
        nothing.zip(two),
        two.zip(nothing),
        two.map(lambda row: row).zip(nothing, other),
    ):
        with pytest.raises(ValueError, match="different numbers of rows"):
            uneven.take_all()


def test_nothing_stays_nothing_below_other_verbs():
    nothing = ray.data.range(0).map_batches(lambda batch: batch)
    two = ray.data.range(2)
    none = nothing.distinct()
    assert none.zip(nothing.rename_columns({"id": "m"}).distinct()).take_all() == []
    assert two.union(nothing).distinct().sort("id").take_all() == two.take_all()
    assert nothing.union(none).distinct().take_all() == []
    of_all = nothing.groupby(None).count()
    assert two.join(of_all, "inner", on="id", right_on="count()").take_all() == [{"id": 0}]
    with pytest.raises(ValueError, match="different numbers of rows"):
        none.zip(two).take_all()


def test_a_join_with_nothing_gives_what_its_kind_says():
    nothing = ray.data.range(0).map_batches(lambda batch: batch).distinct()
    two = ray.data.range(2)
    for kind in ("inner", "left_semi", "right_semi", "left_outer", "left_anti"):
        assert nothing.join(two, kind, on="id").take_all() == []
    for kind in ("inner", "left_semi", "right_semi", "right_outer", "right_anti"):
        assert two.join(nothing, kind, on="id").take_all() == []
    assert two.join(nothing, "left_anti", on="id").sort("id").take_all() == two.take_all()
    assert nothing.join(two, "right_anti", on="id").sort("id").take_all() == two.take_all()
    assert nothing.join_asof(two, on="id").take_all() == []
    for unknown in (
        two.join(nothing, "left_outer", on="id"),
        nothing.join(two, "right_outer", on="id"),
        nothing.join(two, "full_outer", on="id"),
        two.join_asof(nothing, on="id"),
    ):
        with pytest.raises(ValueError, match="nothing tells which columns"):
            unknown.take_all()
