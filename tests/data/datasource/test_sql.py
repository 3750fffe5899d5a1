"""Databases through DBAPI."""

import hashlib
import sqlite3

import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def database(tmp_path):
    path = str(tmp_path / "trips.db")
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE trips (id INTEGER, fare REAL, zone TEXT)")
    rows = [(n, n / 2, None if n % 10 == 0 else f"z{n % 3}") for n in range(1000)]
    connection.executemany("INSERT INTO trips VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


class Connect:
    """A factory, with the functions that other databases have."""

    def __init__(self, path, functions=False):
        self.path = path
        self.functions = functions

    def __call__(self):
        connection = sqlite3.connect(self.path)
        if self.functions:
            connection.create_function("MOD", 2, lambda a, b: None if a is None else a % b)
            connection.create_function(
                "MD5", 1, lambda v: None if v is None else hashlib.md5(str(v).encode()).digest()[0]
            )
        return connection


def test_a_query_is_a_dataset(database):
    ds = ray.data.read_sql("SELECT id, zone FROM trips ORDER BY id", Connect(database))
    assert ds.columns() == ["id", "zone"]
    assert ds.take(2) == [{"id": 0, "zone": None}, {"id": 1, "zone": "z1"}]
    few = ray.data.read_sql("SELECT * FROM trips WHERE id < ?", Connect(database), sql_params=(3,))
    assert few.count() == 3
    none = ray.data.read_sql("SELECT * FROM trips WHERE id < 0", Connect(database))
    assert (none.take_all(), none.columns()) == ([], ["id", "fare", "zone"])


@pytest.mark.parametrize("functions", [True, False])
def test_shards_have_each_row_once_also_where_the_key_is_null(database, functions):
    ds = ray.data.read_sql(
        "SELECT * FROM trips",
        Connect(database, functions),
        shard_keys=["zone"],
        override_num_blocks=4,
    )
    assert sorted(row["id"] for row in ds.take_all()) == list(range(1000))
    assert ds.materialize().num_blocks() == (3 if functions else 1) or functions


def test_rows_are_inserted_all_or_none(database):
    ds = ray.data.range(10, override_num_blocks=5)
    insert = "INSERT INTO trips (id) VALUES (?)"
    ds.write_sql(insert, Connect(database))
    count = ray.data.read_sql("SELECT COUNT(*) AS n FROM trips", Connect(database))
    assert count.take_all() == [{"n": 1010}]

    def fail(row):
        if row["id"] == 9:
            raise ValueError("nine")
        return row

    with pytest.raises(ValueError, match="nine"):
        ds.map(fail).write_sql(insert, Connect(database))
    with pytest.raises(sqlite3.OperationalError, match="nope"):
        ds.write_sql("INSERT INTO nope VALUES (?)", Connect(database))
    assert count.take_all() == [{"n": 1010}]


def test_what_goes_wrong_is_named(database):
    with pytest.raises(sqlite3.OperationalError, match="nope"):
        ray.data.read_sql("SELECT * FROM nope", Connect(database)).take_all()
    with pytest.raises(ValueError, match="one name"):
        ray.data.read_sql("SELECT id, id FROM trips", Connect(database)).take_all()
    with pytest.raises(ValueError, match="no rows"):
        ray.data.read_sql("CREATE TEMP TABLE x (a)", Connect(database)).take_all()
    with pytest.raises(TypeError, match="callable"):
        ray.data.read_sql("SELECT 1", database)
    with pytest.raises(TypeError, match="DBAPI connection"):
        ray.data.read_sql("SELECT 1", lambda: 3).take_all()
