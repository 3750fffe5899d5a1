"""TPC-H at a small scale factor: what DuckDB answers, through SQL and in verbs."""

import sys
from pathlib import Path

import duckdb
import pytest

import heliostat as ray
from benchmarks.tpch import TABLES, make
from benchmarks.tpch.answers import differences
from benchmarks.tpch.queries import QUERIES
from benchmarks.tpch.verbs import VERBS

pytestmark = [
    pytest.mark.usefixtures("inline"),
    pytest.mark.skipif(
        not (Path(sys.executable).parent / "tpchgen-cli").exists(), reason="needs tpchgen-cli"
    ),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make(str(tmp_path_factory.mktemp("tpch")), 0.01)


@pytest.fixture(scope="module")
def plain(files):
    """DuckDB alone, over the same files."""
    connection = duckdb.connect(config={"threads": 2})
    for name in TABLES:
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{files[name]}')")
    yield connection
    connection.close()


@pytest.fixture
def tables(files):
    return {name: ray.data.read_parquet(file) for name, file in files.items()}


@pytest.mark.parametrize("number", QUERIES)
def test_a_query_gives_what_duckdb_gives(number, tables, plain):
    made = ray.data.sql(QUERIES[number], **tables).to_arrow()
    assert list(differences(made, plain.sql(QUERIES[number]).to_arrow_table())) == []


@pytest.mark.parametrize("number", VERBS)
def test_verbs_give_what_the_query_gives(number, tables, plain):
    expected = plain.sql(QUERIES[number]).to_arrow_table()
    assert expected.num_rows
    assert list(differences(VERBS[number](tables).to_arrow(), expected)) == []
