"""ClickHouse's own engine in this process (chDB), by the client that speaks to a server as well."""

import datetime
import tempfile

import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data import ClickHouseTableSettings, SinkMode
from heliostat.data.connectors.clickhouse import ClickHouseDatasink

pytest.importorskip("clickhouse_connect")
pytest.importorskip("chdb")
pytestmark = pytest.mark.usefixtures("inline")
# One database for the process: chDB opens no second one.
FOLDER = tempfile.TemporaryDirectory()
DSN = f"chdb://{FOLDER.name}"


@pytest.fixture
def table(request):
    return f"t_{request.node.name}"


def test_rows_go_both_ways(table):
    rows = [
        {
            "id": n,
            "name": f"n{n}" if n % 3 else None,
            "x": n / 2,
            "l": [n],
            "t": datetime.date(2024, 1, 1 + n),
        }
        for n in range(20)
    ]
    ds = ray.data.from_items(rows)
    ds.write_clickhouse(table, DSN, table_settings=ClickHouseTableSettings(order_by="id"))
    found = ray.data.read_clickhouse(table=table, dsn=DSN, order_by=(["id"], False))
    assert found.take_all() == rows
    assert found.schema().names == ["id", "name", "x", "l", "t"]
    less = ray.data.read_clickhouse(table=table, dsn=DSN, columns=["x"], filter="id > 17")
    assert sorted(row["x"] for row in less.take_all()) == [9.0, 9.5]


def test_an_order_lets_it_be_read_in_parts(table):
    ray.data.range(100).write_clickhouse(table, DSN, max_insert_block_rows=30)
    ds = ray.data.read_clickhouse(
        table=table, dsn=DSN, order_by=(["id"], True), override_num_blocks=4
    )
    assert ds.materialize().num_blocks() == 4
    assert [row["id"] for row in ds.take_all()] == list(range(99, -1, -1))


def test_modes_are_kept(table):
    ds = ray.data.range(3)
    ds.write_clickhouse(table, DSN)
    with pytest.raises(ValueError, match=r"has a table .*SinkMode\.APPEND or OVERWRITE"):
        ds.write_clickhouse(table, DSN)
    ds.write_clickhouse(table, DSN, mode=SinkMode.APPEND)
    assert ray.data.read_clickhouse(table=table, dsn=DSN).count() == 6
    ds.write_clickhouse(table, DSN, mode=SinkMode.OVERWRITE, schema=pa.schema([("id", pa.int32())]))
    found = ray.data.read_clickhouse(table=table, dsn=DSN)
    assert (found.count(), found.schema().types) == (3, [pa.int32()])


def test_what_makes_no_sense_is_refused(table):
    with pytest.raises(TypeError, match="column 'd': ClickHouse has no type for duration"):
        ray.data.from_items([{"d": datetime.timedelta(1)}]).write_clickhouse(table, DSN)
    with pytest.raises(ValueError, match="table must be its name"):
        ray.data.read_clickhouse(table="", dsn=DSN)
    with pytest.raises(ValueError, match="must be >= 1"):
        ClickHouseDatasink(table, (DSN, None, None), max_insert_block_rows=0)
    with pytest.raises(Exception, match=table):
        ray.data.read_clickhouse(table=table, dsn=DSN)


def test_nulls_stay_nulls_whatever_a_column_is_called(table):
    # Neither the letters of a key's name nor those of "None" make a column a key.
    rows = [{"id": 1, "i": 5, "d": 5, "n": "a"}, {"id": 2, "i": None, "d": None, "n": None}]
    how = ClickHouseTableSettings(order_by="`id`")
    for settings in (None, how):
        ray.data.from_items(rows).write_clickhouse(
            table, DSN, mode=SinkMode.OVERWRITE, table_settings=settings
        )
        found = ray.data.read_clickhouse(table=table, dsn=DSN, order_by=(["id"], False))
        assert found.take_all() == rows


@pytest.mark.parametrize("values", [pa.array([1, None]), pa.array([[1], None])])
def test_a_null_that_has_no_place_is_said_not_made_zero(values):
    table = "t_nulls_" + ("lists" if pa.types.is_list(values.type) else "keys")
    how = None if pa.types.is_list(values.type) else ClickHouseTableSettings(order_by="x")
    with pytest.raises(ValueError, match="column 'x' has nulls"):
        ray.data.from_arrow(pa.table({"x": values})).write_clickhouse(
            table, DSN, table_settings=how
        )
    assert ray.data.read_clickhouse(table=table, dsn=DSN).count() == 0


def test_a_number_too_large_for_the_schema_is_said_not_made_zero(table):
    ds = ray.data.from_items([{"id": 1}, {"id": 2**40}])
    with pytest.raises(pa.ArrowInvalid, match=str(2**40)):
        ds.write_clickhouse(table, DSN, schema=pa.schema([("id", pa.int32())]))
    assert SinkMode.CREATE == 1


def test_what_would_be_silently_otherwise_is_refused(table):
    read = ray.data.read_clickhouse
    with pytest.raises(ValueError, match="give order_by, and filter the rows afterwards"):
        read(table=table, dsn=DSN, filter="id > 1", override_num_blocks=3)
    with pytest.raises(TypeError, match="are a list of names"):
        read(table=table, dsn=DSN, columns="id")
    with pytest.raises(TypeError, match="are a list of names"):
        read(table=table, dsn=DSN, order_by=("id", False))
    with pytest.raises(ValueError, match=r"mode must be SinkMode\.CREATE.*got 'append'"):
        ray.data.range(1).write_clickhouse(table, DSN, mode="append")
