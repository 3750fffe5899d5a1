"""What gives a block at a time keeps to its memory, and gives the same with disk."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heliostat as ray
from heliostat.data._ordering import sorting as _sorting
from heliostat.data.datasource.parquet import open_parquet

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def rows():
    return ray.data.range(10_000, override_num_blocks=4).map(
        lambda r: {"k": r["id"] % 7, "v": r["id"]}
    )


@pytest.fixture
def little_memory(monkeypatch):
    def set_it():
        monkeypatch.setattr(ray.data.DataContext.get_current(), "memory_budget_bytes", 100_000)

    return set_it


def test_what_is_larger_than_memory_is_sorted_in_the_same_order(rows, little_memory, monkeypatch):
    large = rows.sort(["k", "v"], descending=[True, False])
    expected = large.take_all()
    files = []
    write = _sorting.SpillFile.write
    monkeypatch.setattr(
        _sorting.SpillFile, "write", lambda self, t: files.append(self) or write(self, t)
    )
    little_memory()
    assert large.take_all() == expected
    assert files
    assert "Sort(k, v)" in large.stats()


def test_a_shuffle_follows_its_seed_however_much_memory_there_is(rows, little_memory):
    once = [row["v"] for row in rows.random_shuffle(seed=3).take_all()]
    assert sorted(once) == list(range(10_000))
    assert once[:100] != list(range(100))
    little_memory()
    assert [row["v"] for row in rows.random_shuffle(seed=3).take_all()] == once


def test_an_error_below_a_sort_is_the_users_own():
    def refuse(row):
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        ray.data.range(5).map(refuse).sort("id").take_all()


def test_a_sort_says_how_it_runs_and_what_below_it(capsys):
    ray.data.range(5).map(lambda row: row).sort("id").select_columns("id").explain()
    said = capsys.readouterr().out
    assert "Sort(id), 1 inputs, in place" in said
    assert "   0: Range(5)" in said


def test_who_looks_at_the_first_rows_only_stops_what_is_below():
    batches = ray.data.range(1000).random_shuffle(seed=1).iter_batches(batch_size=10)
    assert len(next(batches)["id"]) == 10
    batches.close()


def texts(folder, rows=3000):
    """Files with few different texts, other ones in each; in one none is missing, one has no rows."""
    rng = np.random.default_rng(0)
    whole = []
    for number, values in enumerate([["b", "a", None], ["c", "b"], ["é", "", None, "a"], ["z"]]):
        size = 0 if number == 3 else rows
        table = pa.table(
            {
                "k": rng.integers(0, 50, size),
                "t": pa.array(rng.choice(np.array(values, object), size), pa.string()),
                "u": pa.array([f"{number} {n}" for n in range(size)], pa.string()),
            }
        )
        pq.write_table(table, folder / f"{number}.parquet")
        whole.append(table)
    return pa.concat_tables(whole)


@pytest.mark.parametrize("budget", [None, 200_000])
@pytest.mark.parametrize("keys", ["t", ["k", "t"], "k"])
def test_files_of_few_texts_are_sorted_and_shuffled_as_rows_that_are_there(
    tmp_path, monkeypatch, budget, keys
):
    whole = texts(tmp_path)
    assert any(one.few_texts for one in open_parquet(tmp_path).files)
    monkeypatch.setattr(ray.data.DataContext.get_current(), "memory_budget_bytes", budget)
    files, there = ray.data.read_parquet(tmp_path), ray.data.from_arrow(whole)
    for down in (False, True):
        for read, made in (
            (files.sort(keys, down), there.sort(keys, down)),
            (files.select_columns(["t", "k"]).random_shuffle(seed=3),
             there.select_columns(["t", "k"]).random_shuffle(seed=3)),
        ):  # fmt: skip
            assert read.to_arrow().equals(made.to_arrow())
            assert read.materialize().schema() == made.schema()


def test_batches_of_few_texts_are_those_of_rows_that_are_there(tmp_path):
    whole = texts(tmp_path)
    read, there = ray.data.read_parquet(tmp_path), ray.data.from_arrow(whole)
    for form in ("numpy", "pandas", "pyarrow"):
        pairs = zip(
            read.rename_columns({"t": "x"}).iter_batches(batch_size=700, batch_format=form),
            there.rename_columns({"t": "x"}).iter_batches(batch_size=700, batch_format=form),
            strict=True,
        )
        for one, other in pairs:
            if form == "numpy":
                assert {name: (v.dtype, v.tolist()) for name, v in one.items()} == {
                    name: (v.dtype, v.tolist()) for name, v in other.items()
                }
            else:
                assert one.equals(other)
    assert read.schema().base_schema == whole.schema
    assert next(read.iter_batches(batch_size=None, batch_format="pyarrow")).schema == whole.schema


@pytest.mark.parametrize("groups", [3, 100])
def test_rows_of_files_that_a_filter_keeps_are_counted_without_a_query(tmp_path, groups):
    values = [1.0, float("nan"), None, 25.0, float("inf"), 20.0, 30.0]
    for number in range(3):
        table = pa.table({"v": values, "n": range(7), "t": ["x", "y"] * 3 + ["z"]})
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=groups)
    ds = ray.data.read_parquet(str(tmp_path))
    there = ray.data.from_arrow(ds.to_arrow())
    v, n = ray.data.expressions.col("v"), ray.data.expressions.col("n")
    for kept in (v > 20, v <= 20, ~(v > 20), n == 3, v.is_null(), v > n, (v > 2) | (n < 1)):
        assert ds.filter(expr=kept).count() == there.filter(expr=kept).count() > 0, kept
    assert ds.limit(9).filter(expr=v > 20).count() == 3
    assert ds.filter(expr=v > 1e9).count() == 3
    assert ds.filter(expr=v < -1.0).count() == 0


def test_a_file_that_changed_since_is_named_when_its_rows_are_counted(tmp_path):
    pq.write_table(pa.table({"v": [1.0]}), tmp_path / "a.parquet")
    ds = ray.data.read_parquet(str(tmp_path)).filter(expr=ray.data.expressions.col("v") > 0)
    (tmp_path / "a.parquet").write_bytes(b"not any more")
    with pytest.raises(ValueError, match=r"a\.parquet"):
        ds.count()
