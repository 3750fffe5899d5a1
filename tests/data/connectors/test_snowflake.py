"""Snowflake's connector before fakesnow, which answers it with DuckDB: over HTTP, and in this process."""

import subprocess
import sys

import pytest

import heliostat as ray

connector = pytest.importorskip("snowflake.connector")
fakesnow = pytest.importorskip("fakesnow")
pytest.importorskip("uvicorn")
pytestmark = [
    pytest.mark.usefixtures("inline"),
    pytest.mark.filterwarnings("ignore"),  # of fakesnow, about DuckDB
]
WHERE = {"database": "db", "schema": "public"}


# In a process of its own: server and client leave sockets open.
READ = """
import os, fakesnow, snowflake.connector
import heliostat as ray

os.environ["HELIOSTAT_PROGRESS"] = "0"
ray.init(engine="inline")
with fakesnow.server() as server:
    place = {**server, "database": "db", "schema": "public"}
    with snowflake.connector.connect(**place) as connection:
        connection.cursor().execute("CREATE TABLE trips (id int, name text)")
        rows = [(n, f"n{n}") for n in range(50)]
        connection.cursor().executemany("INSERT INTO trips VALUES (%s, %s)", rows)
    found = ray.data.read_snowflake("SELECT id, name FROM trips ORDER BY id;", place)
    print("READ", found.take_all() == [{"ID": n, "NAME": f"n{n}"} for n in range(50)])
    print("READ", ray.data.read_snowflake("SELECT id FROM trips WHERE id > 90", place).count())
    keys = {"shard_keys": ["id"], "override_num_blocks": 3}
    parts = ray.data.read_snowflake("SELECT id FROM trips", place, **keys).materialize()
    print("READ", parts.num_blocks(), sorted(row["ID"] for row in parts.take_all()) == [*range(50)])
os._exit(0)
"""


def test_what_a_query_gives_is_read_over_http():
    command = [sys.executable, "-W", "ignore", "-c", READ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    said = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("READ")]
    assert said == [["True"], ["0"], ["3", "True"]], done.stderr[-2000:]


def test_rows_are_added_to_a_table_that_is_made():
    with fakesnow.patch():
        for _ in range(2):
            ray.data.range(10).write_snowflake("db.public.numbers", WHERE)
        with connector.connect(**WHERE) as connection:
            found = connection.cursor().execute("SELECT id FROM numbers").fetchall()
    assert sorted(found) == [(n,) for n in range(10) for _ in range(2)]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(TypeError, match="connection_parameters is a dict, got 'account'"):
        ray.data.read_snowflake("SELECT 1", "account")
    with pytest.raises(ValueError, match="needs shard_keys"):
        ray.data.read_snowflake("SELECT 1", WHERE, override_num_blocks=2)
    with pytest.raises(TypeError, match="connection_parameters is a dict"):
        ray.data.range(1).write_snowflake("t", None)
