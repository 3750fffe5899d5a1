"""DuckDB of this process."""

import os

import pytest

import heliostat as ray
from heliostat.data._native.binding import _ask, cursor, database, limit_memory

pytest.importorskip("duckdb")
pytestmark = pytest.mark.usefixtures("inline")


def test_a_limit_holds_for_the_process_until_another_is_wanted():
    with cursor() as one, cursor() as other:
        for mebibytes in (300, 300, 400):
            limit_memory(one, mebibytes)
            [(said,)] = other.execute("SELECT current_setting('memory_limit')").fetchall()
            assert said == f"{mebibytes}.0 MiB"


def test_what_is_set_once_holds_for_every_query():
    database(os.getpid())
    names = ("TimeZone", "ieee_floating_point_ops", "python_enable_replacements")
    settings = ", ".join(f"current_setting('{name}')" for name in names)
    with cursor() as one:
        assert one.execute(f"SELECT {settings}").fetchall() == [("UTC", True, False)]


def test_the_columns_of_a_query_are_asked_for_once(tmp_path):
    ds = ray.data.range(3)
    ds.write_parquet(str(tmp_path))
    before = _ask.cache_info()
    for _ in range(2):
        made = ray.data.sql("select id + 1 as next from t", t=ray.data.read_parquet(str(tmp_path)))
        assert made.take_all() == [{"next": 1}, {"next": 2}, {"next": 3}]
    after = _ask.cache_info()
    assert (after.misses - before.misses, after.hits > before.hits) == (1, True)


def test_a_query_that_cannot_be_is_refused_each_time():
    for _ in range(2):
        with pytest.raises(ValueError, match="nope"):
            ray.data.sql("select nope from t", t=ray.data.range(3)).take_all()
