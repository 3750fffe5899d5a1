"""Logs of robots, written by MCAP's own library."""

import pytest

import heliostat as ray
from heliostat.data.datasource import MCAPDatasource, TimeRange

writer = pytest.importorskip("mcap.writer")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def log(tmp_path):
    """Five messages in JSON at 0, 10, ... and five of other bytes in between."""
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        log = writer.Writer(file, compression=writer.CompressionType.NONE)
        log.start()
        kind = log.register_schema("pkg/Point", "jsonschema", b"{}")
        points = log.register_channel("/points", "json", kind)
        kind = log.register_schema("pkg/Raw", "ros2msg", b"uint8 x")
        raw = log.register_channel("/raw", "cdr", kind)
        for number in range(5):
            text = b'{"x": %d}' % number
            log.add_message(points, 10 * number, text, 10 * number + 1, sequence=number)
            log.add_message(raw, 10 * number + 5, b"ab", 10 * number + 5)
        log.finish()
    return str(path)


def test_messages_are_rows_by_time_with_what_is_known_of_them(log):
    rows = ray.data.read_mcap(log).take_all()
    assert [row["log_time"] for row in rows] == list(range(0, 50, 5))
    assert rows[2] == {
        "data": b'{"x": 1}', "topic": "/points", "log_time": 10, "publish_time": 11,
        "sequence": 1, "channel_id": 1, "message_encoding": "json", "schema_name": "pkg/Point",
        "schema_encoding": "jsonschema", "schema_data": b"{}",
    }  # fmt: skip


@pytest.mark.parametrize("when", [(10, 30), TimeRange(start_time=10, end_time=30)])
def test_topics_and_times_are_chosen_and_json_is_taken_apart(log, when):
    found = ray.data.read_mcap(
        log, topics={"/points"}, time_range=when, include_metadata=False, include_paths=True
    ).take_all()
    assert [row["data"] for row in found] == [{"x": 1}, {"x": 2}]
    assert set(found[0]) == {"data", "topic", "log_time", "publish_time", "sequence", "path"}


def test_types_of_messages_are_chosen(log):
    assert ray.data.read_mcap([log], message_types=["pkg/Raw"]).count() == 5
    source = MCAPDatasource(log, None, None, {"pkg/Point"}, False)
    assert [row["data"]["x"] for row in ray.data.read_datasource(source).take_all()] == [*range(5)]


@pytest.mark.parametrize("when", [(-1, 5), (5, 5), (6, 5)])
def test_no_time_is_refused(log, when):
    with pytest.raises(ValueError, match="a TimeRange is from 0"):
        ray.data.read_mcap(log, time_range=when)
