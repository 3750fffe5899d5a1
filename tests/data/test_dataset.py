"""The public class on the inline engine, against pandas."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def same(frame, expected):
    pd.testing.assert_frame_equal(
        frame.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False
    )


VERBS = {
    "map": (
        lambda ds, a, b, n: ds.map(lambda row: {**row, a: row[a] + 1}),
        lambda df, a, b, n: df.assign(**{a: df[a] + 1}),
    ),
    "batches": (
        lambda ds, a, b, n: ds.map_batches(lambda x: {**x, b: x[b] * 2}, batch_size=n or None),
        lambda df, a, b, n: df.assign(**{b: df[b] * 2}),
    ),
    "pandas": (
        lambda ds, a, b, n: ds.map_batches(lambda x: x[x[a] > 3], batch_format="pandas"),
        lambda df, a, b, n: df[df[a] > 3],
    ),
    "filter": (
        lambda ds, a, b, n: ds.filter(lambda row: row[a] % 2 == 0),
        lambda df, a, b, n: df[df[a] % 2 == 0],
    ),
    "flat": (
        lambda ds, a, b, n: ds.flat_map(lambda row: [row, row]),
        lambda df, a, b, n: df.loc[df.index.repeat(2)],
    ),
    "limit": (lambda ds, a, b, n: ds.limit(n), lambda df, a, b, n: df.head(n)),
    "select": (lambda ds, a, b, n: ds.select_columns([b, a]), lambda df, a, b, n: df[[b, a]]),
    "rename": (
        lambda ds, a, b, n: ds.rename_columns({a: a + "x"}),
        lambda df, a, b, n: df.rename(columns={a: a + "x"}),
    ),
    "union": (lambda ds, a, b, n: ds.union(ds), lambda df, a, b, n: pd.concat([df, df])),
}


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    verbs=st.lists(st.sampled_from(sorted(VERBS)), max_size=5),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    number=st.integers(0, 40),
)
def test_every_chain_of_verbs_gives_what_pandas_gives(verbs, cuts, number):
    frame = pd.DataFrame({"a": np.arange(30), "b": np.arange(30) * 0.5})
    edges = itertools.pairwise([0, *sorted(cuts), 30])
    ds = ray.data.from_pandas([frame.iloc[start:stop] for start, stop in edges if start < stop])
    for verb in verbs:
        ours, theirs = VERBS[verb]
        a, b = frame.columns
        ds = ours(ds, a, b, number)
        frame = theirs(frame, a, b, number).reset_index(drop=True)
    assert ds.count() == len(frame)
    if len(frame):
        same(ds.to_pandas(), frame)
        assert ds.take(3) == frame.head(3).to_dict("records")
        assert ds.columns() == list(frame.columns)


def test_nothing_runs_before_rows_are_wanted():
    calls = []
    ds = ray.data.range(10).map(lambda row: calls.append(1) or row).limit(3)
    repr(ds)
    ds.schema(fetch_if_missing=False)
    assert calls == []
    assert len(ds.take_all()) == 3
    assert len(calls) == 3


def test_metadata_answers_without_running(parquet, tmp_path):
    ds = ray.data.read_parquet(parquet)
    (tmp_path / "trips.parquet").unlink()
    assert ds.count() == 100
    assert ds.limit(7).count() == 7
    assert ds.drop_columns(["zone"]).rename_columns({"id": "n"}).columns() == ["n", "fare", "paid"]
    assert ds.schema().types == [pa.int64(), pa.float64(), pa.bool_(), pa.string()]
    assert "num_rows=100" in repr(ds)


def test_schema_after_a_function_runs_one_piece_only():
    seen = []
    ds = ray.data.range(1600).map_batches(lambda b: seen.append(len(b["id"])) or {"x": b["id"]})
    assert ds.schema().names == ["x"]
    assert seen == [100]
    assert ds.schema().names == ["x"]
    assert seen == [100]


def test_a_schema_prints_as_a_table():
    assert repr(ray.data.range(1).schema()) == "Column  Type\n------  ----\nid      int64"


def test_an_empty_result_keeps_its_columns():
    ds = ray.data.range(10).filter(lambda row: False)
    assert ds.count() == 0
    assert ds.columns() == ["id"]
    assert list(ds.to_pandas().columns) == ["id"]
    assert ds.take() == []
    assert ray.data.from_items([]).schema() is None


def test_a_plan_prints_as_it_was_asked_for():
    ds = ray.data.range(5).map(abs).limit(2)
    assert repr(ds) == "Dataset\nLimit(2)\n+- Map(abs)\n   +- Range(5)"


def test_explain_says_what_a_read_has_taken_over(capsys, tmp_path):
    ray.data.from_items([{"a": 1, "b": 2}]).write_parquet(str(tmp_path / "p"))
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    ds = ray.data.read_parquet(str(tmp_path / "p"))
    ds.select_columns(["b"]).limit(10).explain()
    optimized = capsys.readouterr().out.partition("(Optimized)")[2].splitlines()
    assert optimized[1] == "ReadParquet [columns: b; limit: 10]"
    ray.data.read_csv(str(tmp_path / "a.csv")).select_columns(["b"]).explain()
    assert "\nReadCSV [columns: b]\n" in capsys.readouterr().out
    filtered = ray.data.read_parquet(str(tmp_path / "p"), filter=pc.field("a") > 0)
    filtered.explain()
    assert "\nReadParquet [filter: (a > 0)]\n" in capsys.readouterr().out


def test_explain_says_where_things_run(capsys, parquet):
    ray.data.read_parquet(parquet).map_batches(abs).drop_columns(["x"]).explain()
    out = capsys.readouterr().out
    assert "0: ReadParquet, 1 inputs, in place" in out
    assert "1: MapBatches(abs) -> Drop(x), from 0, in workers" in out


def test_stats_tell_stages_tasks_and_rows():
    ds = ray.data.range(32).map(lambda row: row)
    assert ds.stats() == "Nothing was run yet."
    kept = ds.materialize()
    assert "Stage 0 Range(32) -> Map(<lambda>): 16 tasks in workers, 32 rows" in kept.stats()


def test_a_materialized_dataset_runs_nothing_again():
    calls = []
    kept = ray.data.range(3).map(lambda row: calls.append(1) or row).materialize()
    assert kept.num_blocks() == 3
    assert kept.count() == 3
    assert kept.take_all() == kept.take_all()
    assert len(calls) == 3


def test_the_number_of_blocks_is_unknown_before():
    with pytest.raises(NotImplementedError, match="materialize"):
        ray.data.range(3).num_blocks()


def test_datasets_can_be_pickled():
    ds = ray.data.range(100).materialize().limit(3)
    assert pickle.loads(pickle.dumps(ds)).take_all() == ds.take_all()
    big = ray.data.from_numpy(np.zeros((1000, 100)))
    assert pickle.loads(pickle.dumps(big)).take(1)[0]["data"].shape == (100,)


def test_a_dataset_is_no_sequence():
    with pytest.raises(AttributeError, match="count"):
        len(ray.data.range(3))
    with pytest.raises(TypeError, match="iter_rows"):
        iter(ray.data.range(3))


def test_a_notebook_sees_the_first_rows_escaped():
    html = ray.data.from_items(["<b>"])._repr_html_()
    assert "&lt;b&gt;" in html
    assert "1 rows" in html


def test_a_notebook_shows_the_plan_of_what_has_not_run_and_no_pixels():
    ran = []
    page = ray.data.range(3).map(ran.append)._repr_html_()
    assert "Range(3)" in page
    assert ran == []
    assert "<td>id</td><td>int64</td>" in ray.data.range(3)._repr_html_()
    pictures = ray.data.from_numpy(np.zeros((2, 28, 28), np.uint8)).materialize()
    assert "<td>uint8 [28, 28]</td>" in pictures._repr_html_()


def test_rows_that_are_there_are_shown():
    ds = ray.data.from_items([{"a": n, "b": "x" * 40} for n in range(12)])
    head, names, first, *others, last = repr(ds).splitlines()
    assert head == "MaterializedDataset(num_rows=12, schema={a: int64, b: string})"
    assert (names, first) == ("a  b", f"0  {'x' * 30}")
    assert (len(others), last) == (9, "(10 of 12 rows)")
    assert "rows)" not in repr(ds.limit(2).materialize())


def test_a_dataset_is_true_however_many_rows_it_has():
    assert bool(ray.data.range(0)) is True
    with pytest.raises(AttributeError, match="count"):
        len(ray.data.range(0))


def test_one_text_is_no_list_of_new_names():
    two = ray.data.from_items([{"a": 1, "b": 2}])
    with pytest.raises(TypeError, match="needs a dict or a list of names, got 'xy'"):
        two.rename_columns("xy")
