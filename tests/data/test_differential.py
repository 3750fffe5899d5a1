"""Random tables through random verbs give what plain Python makes of their rows.

Nulls, NaN, decimals, timestamps with zones, lists, structs, tensors, blocks without rows, from memory
and from files. The reference is a list of dicts and a few lines for each verb.
"""

import datetime
import decimal
import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import heliostat as ray
from heliostat.data.aggregate import Count, Max, Min, Sum
from heliostat.data.expressions import coalesce, col

pytestmark = pytest.mark.usefixtures("inline")

BERLIN = "Europe/Berlin"
KINDS = {
    "i": (pa.int64(), st.integers(-3, 3)),
    "k": (pa.int32(), st.integers(0, 2)),
    "f": (pa.float64(), st.sampled_from([0.5, -1.25, 2.0, float("nan"), float("inf"), -0.0])),
    "s": (pa.string(), st.sampled_from(["", "a", "b", "ä", "a'b"])),
    "d": (pa.decimal128(12, 2), st.decimals(-9, 9, places=2)),
    "t": (
        pa.timestamp("us", BERLIN),
        st.datetimes(datetime.datetime(1960, 1, 1), datetime.datetime(2040, 1, 1)).map(
            lambda one: one.replace(tzinfo=datetime.UTC)
        ),
    ),
    "day": (pa.date32(), st.dates(datetime.date(1960, 1, 1), datetime.date(2040, 1, 1))),
    "b": (pa.bool_(), st.booleans()),
    "l": (pa.list_(pa.int64()), st.lists(st.none() | st.integers(0, 3), max_size=3)),
    "x": (
        pa.struct([("p", pa.int64()), ("q", pa.string())]),
        st.fixed_dictionaries({"p": st.none() | st.integers(0, 3), "q": st.sampled_from("ab")}),
    ),
    "y": (pa.binary(), st.binary(max_size=3)),
}


@st.composite
def tables(draw):
    """A table in blocks, some of which may have no rows."""
    rows = draw(st.integers(0, 12))
    columns = {
        name: pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)
        for name, (kind, values) in KINDS.items()
    }
    whole = pa.table({"n": pa.array(range(rows), pa.int64()), **columns})
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=4)))
    edges = [0, *cuts, rows]
    return [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]


def key(value):
    """Something that orders values: nulls last, NaN before them, after all numbers."""
    if value is None:
        return (2, 0)
    if isinstance(value, float) and math.isnan(value):
        return (1, 0)
    return (0, value)


def ordered(rows, name, descending=False):
    # Nulls come last either way, and rows that are equal stay in their order.
    there = [row for row in rows if row[name] is not None]
    there.sort(key=lambda row: key(row[name]), reverse=descending)
    return _stable(there, rows, name, descending)


def _stable(there, rows, name, descending):
    if descending:
        groups = {}
        for row in rows:
            if row[name] is not None:
                groups.setdefault(plain(row[name]), []).append(row)
        seen, there_again = set(), []
        for row in there:
            if plain(row[name]) not in seen:
                seen.add(plain(row[name]))
                there_again += groups[plain(row[name])]
        there = there_again
    return there + [row for row in rows if row[name] is None]


def grouped(rows, name):
    groups = {}
    for row in rows:
        groups.setdefault(plain(row[name]), []).append(row)
    return groups.values()


def aggregated(rows):
    def over(values, fold):
        there = [one for one in values if one is not None]
        return fold(there) if there else None

    made = [
        {
            "k": group[0]["k"],
            "count()": len(group),
            "sum(i)": over([row["i"] for row in group], sum),
            "min(day)": over([row["day"] for row in group], min),
            "max(s)": over([row["s"] for row in group], max),
            "sum(d)": over([row["d"] for row in group], sum),
        }
        for group in grouped(rows, "k")
    ]
    return sorted(made, key=lambda row: key(row["k"]))


def exploded(rows):
    return [{**row, "l": one} for row in rows for one in (row["l"] or [None])]


def joined(rows):
    return [
        {"n": row["n"], "k": row["k"], "m": other["n"]}
        for row in rows
        for other in rows
        if row["k"] is not None and row["k"] == other["k"]
    ]


def true(value):
    return value is not None and bool(value)


def both(a, b):
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def less(a, b):
    return None if a is None or b is None else a < b


def first_of_each(rows, *names):
    kinds = {}
    for row in rows:
        kinds.setdefault(tuple(plain(row[name]) for name in names), row)
    return list(kinds.values())


def ranked(rows, within, by):
    def rank(row):
        group = [one for one in rows if one[within] == row[within]]
        return 1 + sum(key(one[by]) < key(row[by]) for one in group)

    return [{**row, "i": rank(row)} for row in rows]


def turned(ds):
    first, second = ds.split_at_indices([3])
    return second.union(first)


# name: ours, the reference, and whether other verbs may follow
VERBS = {
    "distinct": (
        lambda ds: ds.distinct(["k", "b"]),
        lambda rows: first_of_each(rows, "k", "b"),
    ),
    "window": (
        lambda ds: ds.window({"i": "rank()"}, partition_by="k", order_by="f"),
        lambda rows: ranked(rows, "k", "f"),
    ),
    "zip": (
        lambda ds: (
            ds.zip(ds.select_columns("n").rename_columns({"n": "m"}))
            .filter(expr=col("m") == col("n"))
            .drop_columns("m")
        ),
        lambda rows: rows,
    ),
    "map groups": (
        lambda ds: ds.groupby(["k", "s"]).map_groups(lambda group: group, batch_format="pyarrow"),
        lambda rows: ordered(ordered(rows, "s"), "k"),
    ),
    "split": (turned, lambda rows: rows[3:] + rows[:3]),
    "other order": (
        lambda ds: ds.union(ds.select_columns(NAMES[::-1]).limit(2)),
        lambda rows: rows + rows[:2],
    ),
    "filter": (
        lambda ds: ds.filter(expr=col("i") < col("k")),
        lambda rows: [row for row in rows if true(less(row["i"], row["k"]))],
    ),
    "filter not": (
        lambda ds: ds.filter(expr=~((col("i") < 1) & col("b"))),
        lambda rows: [
            row
            for row in rows
            if (found := both(less(row["i"], 1), row["b"])) is not None and not found
        ],
    ),
    "filter fn": (
        lambda ds: ds.filter(lambda row: row["s"] is not None and row["s"] > "a"),
        lambda rows: [row for row in rows if row["s"] is not None and row["s"] > "a"],
    ),
    "filter null": (
        lambda ds: ds.filter(expr=col("x").is_null() | col("t").is_not_null()),
        lambda rows: [row for row in rows if row["x"] is None or row["t"] is not None],
    ),
    "filter decimal": (
        lambda ds: ds.filter(expr=col("d") >= decimal.Decimal("0.50")),
        lambda rows: [
            row for row in rows if row["d"] is not None and row["d"] >= decimal.Decimal("0.50")
        ],
    ),
    "filter time": (
        lambda ds: ds.filter(expr=col("t") > datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)),
        lambda rows: [
            row
            for row in rows
            if row["t"] is not None
            and row["t"] > datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
        ],
    ),
    "compute": (
        lambda ds: ds.with_column("i", col("i") + col("k") * 2),
        lambda rows: [
            {**row, "i": None if None in (row["i"], row["k"]) else row["i"] + row["k"] * 2}
            for row in rows
        ],
    ),
    "fill": (
        lambda ds: ds.with_columns({"s": coalesce(col("s"), "none"), "b": col("b").is_null()}),
        lambda rows: [
            {**row, "s": "none" if row["s"] is None else row["s"], "b": row["b"] is None}
            for row in rows
        ],
    ),
    "sort": (lambda ds: ds.sort("f"), lambda rows: ordered(rows, "f")),
    "sort down": (
        lambda ds: ds.sort("t", descending=True),
        lambda rows: ordered(rows, "t", descending=True),
    ),
    "sort text": (lambda ds: ds.sort("s"), lambda rows: ordered(rows, "s")),
    "limit": (lambda ds: ds.limit(5), lambda rows: rows[:5]),
    "repartition": (lambda ds: ds.repartition(3), lambda rows: rows),
    "union": (lambda ds: ds.union(ds.limit(2)), lambda rows: rows + rows[:2]),
    "map": (lambda ds: ds.map(lambda row: row), lambda rows: rows),
    "batches": (
        lambda ds: ds.map_batches(lambda table: table, batch_format="pyarrow", batch_size=3),
        lambda rows: rows,
    ),
    "flat": (
        lambda ds: ds.flat_map(lambda row: [row] * ((row["n"] or 0) % 3)),
        lambda rows: [row for row in rows for _ in range((row["n"] or 0) % 3)],
    ),
    "drop null": (
        lambda ds: ds.drop_null(["i", "s"]),
        lambda rows: [row for row in rows if row["i"] is not None and row["s"] is not None],
    ),
    "rename": (
        lambda ds: ds.rename_columns({"i": "k", "k": "i"}).select_columns(NAMES),
        lambda rows: [{**row, "i": row["k"], "k": row["i"]} for row in rows],
    ),
}
NAMES = ["n", *KINDS]

# Whose rows have other columns, so that they come last; and whose order is not said.
LAST = {
    "groups": (
        lambda ds: ds.groupby("k").aggregate(Count(), Sum("i"), Min("day"), Max("s"), Sum("d")),
        aggregated,
        True,
    ),
    "explode": (lambda ds: ds.explode("l"), exploded, True),
    "join": (
        lambda ds: ds.select_columns(["n", "k"]).join(
            ds.select_columns(["n", "k"]).rename_columns({"n": "m"}), "inner", on="k"
        ),
        joined,
        False,
    ),
    "distinct": (
        lambda ds: ds.select_columns(["s", "b"]).distinct(),
        lambda rows: list(
            {(row["s"], row["b"]): {"s": row["s"], "b": row["b"]} for row in rows}.values()
        ),
        False,
    ),
    "select": (
        lambda ds: ds.select_columns(["t", "x", "l"]),
        lambda rows: [{name: row[name] for name in ("t", "x", "l")} for row in rows],
        True,
    ),
    "sql": (
        lambda ds: ds.sql("SELECT n, t, d, x.q AS q FROM ds WHERE day IS NOT NULL ORDER BY n"),
        lambda rows: [
            {"n": row["n"], "t": row["t"], "d": row["d"], "q": row["x"] and row["x"]["q"]}
            for row in sorted(rows, key=lambda row: row["n"])
            if row["day"] is not None
        ],
        True,
    ),
}


def plain(value):
    """A value to compare and to hash: arrays as lists, times in one zone, NaN equal to itself."""
    if isinstance(value, np.ndarray | list | tuple):
        return tuple(plain(one) for one in value)
    if isinstance(value, dict):
        return tuple((name, plain(one)) for name, one in value.items())
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat()
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, float) and value == 0:
        return 0.0  # its sign may go where only the first row of a kind stays
    return value


def told(rows):
    # Two rows may have the same columns in another order after a join.
    return [tuple(sorted((name, repr(plain(one))) for name, one in row.items())) for row in rows]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tables(),
    st.lists(st.sampled_from(sorted(VERBS)), max_size=4),
    st.none() | st.sampled_from(sorted(LAST)),
    st.booleans(),
)
def test_verbs_give_what_python_makes_of_the_rows(tmp_path_factory, blocks, names, last, on_disk):
    rows = [row for block in blocks for row in block.to_pylist()]
    ds = ray.data.from_arrow(blocks)
    if on_disk and rows:
        folder = str(tmp_path_factory.mktemp("tables"))
        ds.write_parquet(folder)
        ds = ray.data.read_parquet(folder)
    for name in names:
        ours, reference = VERBS[name]
        ds, rows = ours(ds), reference(rows)
    in_order = True
    if last == "sql" and not rows:
        last = None  # a function that gives no rows does not tell a query its columns
    if last is not None:
        ours, reference, in_order = LAST[last]
        if last == "sql":
            in_order = len({row["n"] for row in rows}) == len(rows)
        ds, rows = ours(ds), reference(rows)
    found, expected = told(ds.iter_rows()), told(rows)
    assert (found if in_order else sorted(found)) == (expected if in_order else sorted(expected))
    assert ds.count() == len(rows)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=9),
    st.sampled_from([(), (2,), (2, 3)]),
    st.lists(st.sampled_from(["map", "batches", "sort", "limit", "union", "file"]), max_size=4),
)
def test_tensors_stay_as_they_are(tmp_path_factory, numbers, shape, names):
    tensors = np.stack([np.full((2, *shape), number, np.float32) for number in numbers])
    ds = ray.data.from_numpy(tensors).map_batches(
        lambda batch: {**batch, "n": batch["data"].reshape(len(batch["data"]), -1)[:, 0]}
    )
    expected = list(numbers)
    for name in names:
        if name == "file":
            folder = str(tmp_path_factory.mktemp("tensors"))
            ds.write_parquet(folder)
            ds = ray.data.read_parquet(folder)
        elif name == "sort":
            ds, expected = ds.sort("n"), sorted(expected)
        elif name == "limit":
            ds, expected = ds.limit(5), expected[:5]
        elif name == "union":
            ds, expected = ds.union(ds), expected * 2
        elif name == "map":
            ds = ds.map(lambda row: row)
        else:
            ds = ds.map_batches(lambda batch: batch, batch_size=2, batch_format="numpy")
    rows = ds.take_all()
    assert [int(row["n"]) for row in rows] == expected
    for row in rows:
        assert row["data"].shape == (2, *shape)
        assert row["data"].dtype == np.float32
        assert (row["data"] == row["n"]).all()


def test_two_columns_of_one_name_are_told_and_none_is_lost(tmp_path):
    twice = pa.table([[1], [2]], names=["a", "a"])
    for verb in (ray.data.from_arrow, lambda table: ray.data.from_blocks([table])):
        with pytest.raises(ValueError, match="are named 'a'"):
            verb(twice)
    with pytest.raises(ValueError, match=r"Batches.* are named 'a'"):
        ray.data.range(2).map_batches(lambda _: twice, batch_size=None).take_all()
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    for run in (ray.data.Dataset.take_all, ray.data.Dataset.to_pandas, ray.data.Dataset.count):
        with pytest.raises(ValueError, match="are named 'a'"):
            run(ray.data.read_csv(str(tmp_path / "twice.csv")))
