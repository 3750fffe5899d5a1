import datetime
import decimal
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import heliostat as ray
from heliostat.data.aggregate import (
    AbsMax,
    AggregateFn,
    AggregateFnV2,
    ApproximateQuantile,
    ApproximateTopK,
    AsList,
    Count,
    CountDistinct,
    Max,
    Mean,
    Min,
    MissingValuePercentage,
    Quantile,
    Std,
    Sum,
    Unique,
    ValueCounter,
    ZeroPercentage,
)
from heliostat.data.block import BlockAccessor

pytestmark = pytest.mark.usefixtures("inline")

NUMBERS = st.one_of(st.none(), st.integers(-1000, 1000))
ROWS = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 3)), NUMBERS), min_size=1, max_size=30
)


def dataset(rows):
    keys, values = zip(*rows, strict=True)
    return ray.data.from_arrow(
        pa.table({"k": pa.array(keys, pa.int64()), "v": pa.array(values, pa.int64())})
    )


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_groups_have_the_aggregates_of_pandas(rows):
    got = (
        dataset(rows)
        .groupby("k")
        .aggregate(
            Count(), Count("v", ignore_nulls=True, alias_name="there"), Sum("v"), Min("v"), Max("v"),
            Mean("v"), Std("v"), Quantile("v"), CountDistinct("v"),
        )
        .take_all()
    )  # fmt: skip
    frame = pd.DataFrame(rows, columns=["k", "v"])
    groups = frame.astype({"v": "float64"}).groupby("k", dropna=False)
    assert [row["k"] for row in got] == sorted(
        {k for k, _ in rows}, key=lambda k: (k is None, k or 0)
    )
    for row in got:
        key = float("nan") if row["k"] is None else row["k"]
        v = (
            groups.get_group(key).v
            if row["k"] is not None
            else frame[frame.k.isna()].v.astype("float64")
        )
        v = v.dropna()
        assert row["count()"] == sum(1 for k, _ in rows if k == row["k"])
        assert row["there"] == len(v)
        if not len(v):
            assert [row[n] for n in ("sum(v)", "min(v)", "max(v)", "mean(v)", "std(v)")] == [
                None
            ] * 5
            continue
        assert (row["sum(v)"], row["min(v)"], row["max(v)"]) == (v.sum(), v.min(), v.max())
        assert math.isclose(row["mean(v)"], v.mean(), abs_tol=1e-9)
        assert math.isclose(row["quantile(v)"], v.median(), abs_tol=1e-9)
        assert row["count_distinct(v)"] == v.nunique()
        assert (len(v) == 1 and math.isnan(row["std(v)"])) or math.isclose(
            row["std(v)"], v.std(), rel_tol=1e-9, abs_tol=1e-9
        )


def test_all_of_rays_aggregates_give_what_rays_give():
    ds = ray.data.from_arrow(pa.table({"a": [7, -7, None, 3], "b": [2, 2, 2, 0]}))
    assert ds.aggregate(
        Count(), Count("a"), Count("a", ignore_nulls=True), Sum("a"), Std("a"), AbsMax("a"),
        Quantile("a"), Unique("a"), CountDistinct("a"), AsList("b"), ValueCounter("b"),
        MissingValuePercentage("a"), ZeroPercentage("b"), Sum("a", ignore_nulls=False, alias_name="all"),
    ) == {
        "count()": 4, "count(a)": 4, "count(a)_2": 3, "sum(a)": 3, "std(a)": 7.211102550927978,
        "abs_max(a)": 7, "quantile(a)": 3.0, "unique(a)": [-7, 3, 7, None], "count_distinct(a)": 3,
        "list(b)": [2, 2, 2, 0], "value_counter(b)": {"values": [2, 0], "counts": [3, 1]},
        "missing_pct(a)": 25.0, "zero_pct(b)": 25.0, "all": None,
    }  # fmt: skip
    near = ds.aggregate(ApproximateQuantile("b", [0.9]), ApproximateTopK("b", 1))
    assert near == {"approx_quantile(b)": [2.0], "approx_topk(b)": [{"b": 2, "count": 3}]}


def test_other_types_keep_their_type():
    table = pa.table(
        {
            "d": pa.array([decimal.Decimal("1.10"), decimal.Decimal("2.20")], pa.decimal128(10, 2)),
            "t": pa.array([datetime.datetime(2024, 1, 1), None], pa.timestamp("us", "Asia/Tokyo")),
            "f": pa.array([float("nan"), 1.0]),
            "z": [True, False],
        }
    )
    ds = ray.data.from_arrow(table)
    assert ds.sum("d") == decimal.Decimal("3.30")
    assert ds.max("t") == table["t"][0].as_py()
    assert (ds.min("f"), ds.max("f")) == (1.0, 1.0)
    assert math.isnan(ds.sum("f"))
    assert (ds.sum("z"), ds.mean("z")) == (1, 0.5)
    assert ds.groupby("t").count().schema().types[0] == pa.timestamp("us", "Asia/Tokyo")


def test_no_rows_have_no_sum():
    assert ray.data.range(0).sum("id") is None
    assert ray.data.range(3).filter(lambda row: False).mean("id") is None
    assert ray.data.range(0).aggregate(Count(), Max("id")) == {"count()": 0, "max(id)": None}


def test_what_cannot_be_added_is_told():
    with pytest.raises(TypeError, match=r"sum\(item\) needs a column of numbers, but it is string"):
        ray.data.from_items(["a"]).sum("item")
    with pytest.raises(KeyError, match="no column named 'zz'"):
        ray.data.range(1).sum("zz")
    with pytest.raises(TypeError, match="is no aggregate"):
        ray.data.range(1).aggregate("sum")
    with pytest.raises(ValueError, match="q must be from 0 to 1"):
        Quantile("a", q=2)


class Longest(AggregateFnV2):
    def __init__(self, on):
        super().__init__(f"longest({on})", lambda: "", on=on, ignore_nulls=True)

    def aggregate_block(self, block):
        return max(block[self.get_target_column()].to_pylist(), key=len)

    def combine(self, one, other):
        return max(one, other, key=len)


def test_users_own_aggregates_stand_beside_ours():
    ds = ray.data.from_items(
        [{"k": k, "s": s} for k, s in ((2, "aaa"), (1, "b"), (2, None), (1, "cc"))]
    )
    total = AggregateFn(
        init=lambda key: 0,
        accumulate_row=lambda n, row: n + 1,
        merge=lambda a, b: a + b,
        name="rows",
    )
    got = ds.groupby("k").aggregate(Longest("s"), Count(), total).take_all()
    assert got == [
        {"k": 1, "longest(s)": "cc", "count()": 2, "rows": 2},
        {"k": 2, "longest(s)": "aaa", "count()": 2, "rows": 2},
    ]
    assert ds.aggregate(Longest("s"), Max("k")) == {"longest(s)": "aaa", "max(k)": 2}


def test_a_group_goes_to_a_function_whole_and_in_order():
    ds = ray.data.from_items([{"k": i % 7, "v": i} for i in range(100)]).repartition(9)
    got = ds.groupby("k").map_groups(lambda b: {"k": b["k"][:1], "v": [b["v"].tolist()]}).take_all()
    assert [row["k"] for row in got] == list(range(7))
    assert all(list(row["v"]) == list(range(row["k"], 100, 7)) for row in got)


def test_groups_by_several_keys_and_by_none():
    ds = ray.data.from_items([{"a": i % 2, "b": i % 3, "v": i} for i in range(12)])
    got = ds.groupby(["a", "b"]).map_groups(lambda df: df.head(1), batch_format="pandas").take_all()
    assert [(row["a"], row["b"]) for row in got] == [(a, b) for a in range(2) for b in range(3)]
    whole = ds.groupby(None).map_groups(lambda b: {"n": np.array([len(b["v"])])}).take_all()
    assert whole == [{"n": 12}]


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, batch):
        return {"v": batch["v"] * self.by}


def test_groups_may_go_to_a_class():
    ds = ray.data.from_items([{"k": i % 2, "v": i} for i in range(4)])
    got = ds.groupby("k").map_groups(Scale, fn_constructor_args=(10,), concurrency=1).take_all()
    assert [row["v"] for row in got] == [0, 20, 10, 30]


def test_sums_of_all_columns_are_a_dict():
    ds = ray.data.from_items([{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    assert ds.sum() == {"sum(a)": 4, "sum(b)": 6}
    assert ds.mean(["a", "b"]) == {"mean(a)": 2.0, "mean(b)": 3.0}
    assert ds.sum(["a"]) == 4


def test_different_values_come_in_the_order_in_which_they_first_occur():
    ds = ray.data.from_items([3, 1, None, 3, 1]).repartition(3)
    assert ds.unique("item") == [3, 1, None]
    assert ds.unique("item", ignore_nulls=True) == [3, 1]
    nested = ray.data.from_items([{"a": [1]}, {"a": [1]}, {"a": None}, {"a": [2]}])
    assert nested.unique("a") == [[1], None, [2]]
    assert nested.unique("a", ignore_nulls=True) == [[1], [2]]


def test_a_list_has_the_order_of_the_rows_however_many_threads_make_it(tmp_path):
    ds = ray.data.range(600_000, override_num_blocks=12)
    assert ds.aggregate(AsList("id"))["list(id)"] == list(range(600_000))
    by_key = ds.add_column("k", lambda batch: batch["id"] % 3, batch_format="numpy").groupby("k")
    got = by_key.aggregate(AsList("id")).take_all()
    assert [row["list(id)"] for row in got] == [list(range(k, 600_000, 3)) for k in range(3)]
    ds.write_parquet(str(tmp_path))
    read = ray.data.read_parquet(str(tmp_path)).aggregate(AsList("id"))
    assert read["list(id)"] == list(range(600_000))


def test_counted_values_tell_of_nulls_whatever_the_columns_are_called():
    table = pa.table({"x": [2, None, 2], "__it": ["a", "b", "a"], "g": [1, 1, 2]})
    ds = ray.data.from_arrow(table)
    assert ds.aggregate(ValueCounter("x"), ValueCounter("__it"), ApproximateTopK("x", 1)) == {
        "value_counter(x)": {"values": [2, None], "counts": [2, 1]},
        "value_counter(__it)": {"values": ["a", "b"], "counts": [2, 1]},
        "approx_topk(x)": [{"x": 2, "count": 2}],
    }
    alone = ray.data.from_arrow(pa.table({"x": pa.array([None, None], pa.int64())}))
    assert alone.aggregate(ValueCounter("x")) == {
        "value_counter(x)": {"values": [None], "counts": [2]}
    }


def test_nulls_alone_are_no_zeros():
    ds = ray.data.from_arrow(pa.table({"x": pa.array([None, None], pa.int64())}))
    among_all = ZeroPercentage("x", ignore_nulls=False, alias_name="all")
    assert ds.aggregate(ZeroPercentage("x"), among_all) == {"zero_pct(x)": None, "all": 0.0}


class Spread(AggregateFnV2):
    """How far apart a column's values are, told by what Ray's accessor of a block offers."""

    def __init__(self, on):
        super().__init__(f"spread({on})", lambda: None, on=on, ignore_nulls=True)

    def aggregate_block(self, block):
        column, told = self._target_col_name, BlockAccessor.for_block(block)
        assert told.sum(column, True) == told.mean(column, True) * told.count(column, True)
        return [told.min(column, True), told.max(column, True)]

    def combine(self, current, new):
        return new if current is None else [min(current[0], new[0]), max(current[1], new[1])]

    def finalize(self, accumulated):
        return accumulated[1] - accumulated[0]


def test_an_aggregate_of_ones_own_asks_the_accessor_of_a_block():
    ds = ray.data.from_arrow(pa.table({"g": [1, 1, 2], "x": [4, None, -2]}))
    assert ds.aggregate(Spread("x")) == {"spread(x)": 6}
    assert [row["spread(x)"] for row in ds.groupby("g").aggregate(Spread("x")).take_all()] == [0, 0]
    told = BlockAccessor.for_block(pa.table({"x": [4, None]}))
    assert (told.count("x"), told.sum("x", False), told.min("x", False)) == (2, None, None)


def test_nan_is_neither_the_greatest_nor_in_the_middle():
    ds = ray.data.from_items([{"v": 1.0}, {"v": math.nan}, {"v": None}, {"v": -3.0}])
    assert ds.aggregate(AbsMax("v"), Quantile("v")) == {"abs_max(v)": 3.0, "quantile(v)": -1.0}
    nothing = ray.data.from_items([{"v": math.nan}]).aggregate(AbsMax("v"), Quantile("v"))
    assert all(map(math.isnan, nothing.values()))


def test_the_greatest_absolute_value_may_be_above_the_type():
    least = ray.data.from_arrow(pa.table({"v": pa.array([-128, 3], pa.int8()), "b": [True, None]}))
    assert least.aggregate(AbsMax("v"), AbsMax("b")) == {"abs_max(v)": 128, "abs_max(b)": 1}
    with pytest.raises(TypeError, match=r"abs_max\(s\) needs a column of numbers"):
        ray.data.from_items([{"s": "x"}]).aggregate(AbsMax("s"))


def test_sums_have_room_for_what_the_column_has_room_for():
    large = decimal.Decimal(10) ** 20
    ds = ray.data.from_arrow(
        pa.table({"u": pa.array([1 << 63, 1], pa.uint64()), "d": pa.array([large, 3])})
    )
    assert ds.aggregate(Sum("u"), Sum("d")) == {"sum(u)": (1 << 63) + 1, "sum(d)": large + 3}


def test_counted_values_keep_their_type():
    span = datetime.timedelta(seconds=5)
    ds = ray.data.from_arrow(pa.table({"d": [span, span], "count": ["x", "x"]}))
    found = ds.aggregate(ValueCounter("d"), ApproximateTopK("d", 1), ApproximateTopK("count", 1))
    assert found["value_counter(d)"] == {"values": [span], "counts": [2]}
    assert found["approx_topk(d)"] == [{"d": span, "count": 2}]
    assert list(found["approx_topk(count)"][0].values()) == ["x", 2]
