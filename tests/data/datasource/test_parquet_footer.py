"""Footers are kept while a file stays what it was, with what was found out about it."""

import math
import os
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heliostat as ray
from heliostat.data._native.scan import scan_of
from heliostat.data.datasource import parquet_footer
from heliostat.data.datasource.parquet import FEW_FILES, open_parquet
from heliostat.data.expressions import col

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(parquet_footer, "AGE_NS", 0)  # no file is too new to be known


def test_a_file_that_was_replaced_is_read_anew_though_its_size_and_time_are_the_same(tmp_path):
    path = tmp_path / "one.parquet"

    def write(values):
        table = pa.table({"a": pa.array(values, pa.int64())})
        pq.write_table(table, path, compression="none", use_dictionary=False)
        os.utime(path, ns=(10**18, 10**18))
        return path.stat().st_size

    size = write(range(100))
    assert ray.data.read_parquet(str(path)).max("a") == 99
    assert ray.data.read_parquet(str(path)).count() == 100
    changed = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == changed:  # a clock that ticks every few milliseconds
        assert write(range(100, 300, 2)) == size
    assert ray.data.read_parquet(str(path)).max("a") == 298
    assert ray.data.read_parquet(str(path)).filter(expr=col("a") > 200).count() == 49


def test_nan_is_not_looked_for_again_where_there_was_none(tmp_path):
    for name, values in (("0", [1.0, 5.0, None]), ("1", [7.0, -math.inf, 2.0])):
        pq.write_table(pa.table({"v": values, "w": values}), tmp_path / f"{name}.parquet")
    above = ray.data.read_parquet(str(tmp_path)).filter(expr=col("v") > 2)
    assert above.count() == 2
    assert open_parquet(str(tmp_path)).no_nan == {"v"}
    assert scan_of(open_parquet(str(tmp_path))).no_nan == {"v"}
    assert above.count() == 2
    assert ray.data.read_parquet(str(tmp_path)).filter(expr=col("v") > 2).count() == 2
    assert ray.data.read_parquet(str(tmp_path)).filter(expr=col("w") > 2).count() == 2
    pq.write_table(pa.table({"v": [3.0, math.nan], "w": [math.nan] * 2}), tmp_path / "1.parquet")
    for column, count in (("v", 2), ("w", 1)):
        for _ in range(2):
            ds = ray.data.read_parquet(str(tmp_path))
            assert ds.filter(expr=col(column) > 2).count() == count
    assert open_parquet(str(tmp_path)).no_nan == set()


def test_what_was_learnt_of_a_file_is_not_believed_of_another_in_its_place(tmp_path):
    path = tmp_path / "0.parquet"
    pq.write_table(pa.table({"v": [3.0, 1.0]}), path)
    above = ray.data.read_parquet(str(tmp_path)).filter(expr=col("v") > 2)
    assert [above.count(), above.count()] == [1, 1]
    pq.write_table(pa.table({"v": [3.0, math.nan]}), path)
    assert [above.count(), above.count()] == [1, 1]


def test_of_the_first_rows_nothing_is_learnt_about_the_others(tmp_path):
    pq.write_table(pa.table({"v": [3.0, 1.0, math.nan]}), tmp_path / "0.parquet")
    ds = ray.data.read_parquet(str(tmp_path))
    assert ds.limit(2).filter(expr=col("v") > 2).count() == 1
    assert ds.filter(expr=col("v") > 2).count() == 1
    assert ds.filter(expr=col("v") > 2).count() == 1


def test_only_so_many_are_kept_whoever_opens_files(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_footer, "KEPT", 5)
    parquet_footer._KNOWN.clear()
    for number in range(40):
        pq.write_table(pa.table({"v": [number]}), tmp_path / f"{number:02}.parquet")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(open_parquet(str(tmp_path)).rows))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [40] * 8
    assert len(parquet_footer._KNOWN) == 5


def test_files_that_are_alike_share_a_schema(tmp_path):
    for number in range(3):
        pq.write_table(pa.table({"v": [number]}), tmp_path / f"{number}.parquet")
    files = open_parquet(str(tmp_path)).files
    assert files[0].schema is files[1].schema is files[2].schema


def test_a_file_that_changes_under_the_native_engine_is_read_as_it_is(tmp_path):
    path = tmp_path / "0.parquet"
    for number in range(1, 60):
        values = [number] * 100
        pq.write_table(pa.table({"v": values}), path, use_dictionary=False)
        os.utime(path, (10**9, 10**9))
        ds = ray.data.read_parquet(str(path))
        assert ds.filter(expr=col("v") == number).count() == 100
        assert ds.max("v") == number


def test_groups_of_a_handful_of_texts_come_in_order_without_a_sort_of_their_own(tmp_path, capsys):
    zones = ["b", None, "a", "c"]
    for number in range(2):
        table = pa.table({
            "zone": [zones[(n + number) % 4] for n in range(1000)],
            "many": [f"text {number} {n}" for n in range(1000)],
            "v": [math.nan if n % 4 == 0 else float(n) for n in range(1000)],
        })  # fmt: skip
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=300)
    assert open_parquet(str(tmp_path)).handful == {"zone"}
    ds = ray.data.read_parquet(str(tmp_path))
    grouped = ds.groupby("zone").count()
    grouped.explain()
    assert "Sort" not in capsys.readouterr().out
    ds.groupby("many").count().explain()
    assert "Sort" in capsys.readouterr().out
    assert grouped.take_all() == [{"zone": z, "count()": 500} for z in ("a", "b", "c", None)]
    sums = ds.groupby("zone").sum("v").take_all()
    apart = ray.data.from_arrow(pq.read_table(tmp_path)).groupby("zone").sum("v").take_all()
    assert str(sums) == str(apart)
    narrow = ds.filter(expr=col("many") == "text 0 2").select_columns(["zone", "v"])
    assert narrow.groupby("zone").max("v").take_all() == [{"zone": "a", "max(v)": 2.0}]
    nothing = ds.filter(expr=col("many") == "x").groupby("zone").count()
    assert nothing.take_all() == []
    assert nothing.schema().names == ["zone", "count()"]
    assert nothing.materialize().schema().names == ["zone", "count()"]
    renamed = ds.rename_columns({"many": "zone", "zone": "many"})
    assert renamed.groupby("zone").count().count() == 2000


def test_what_is_no_dictionary_is_no_handful(tmp_path):
    table = pa.table({"zone": ["a", "b"] * 500})
    pq.write_table(table, tmp_path / "0.parquet")
    pq.write_table(table, tmp_path / "1.parquet", use_dictionary=False)
    assert open_parquet(str(tmp_path / "0.parquet")).handful == {"zone"}
    assert open_parquet(str(tmp_path)).handful == set()
    pq.write_table(table.slice(0, 0), tmp_path / "1.parquet")
    counts = ray.data.read_parquet(str(tmp_path)).groupby("zone").count().take_all()
    assert counts == [{"zone": "a", "count()": 500}, {"zone": "b", "count()": 500}]


def test_a_handful_in_each_of_many_files_may_be_many(tmp_path):
    for number in range(FEW_FILES + 1):
        pq.write_table(pa.table({"user": [f"user {number}"] * 100}), tmp_path / f"{number}.parquet")
        if number == FEW_FILES - 1:
            assert open_parquet(str(tmp_path)).handful == {"user"}
    assert open_parquet(str(tmp_path)).handful == set()
    assert (
        len(ray.data.read_parquet(str(tmp_path)).groupby("user").count().take_all()) == number + 1
    )
