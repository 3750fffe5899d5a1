"""Messages of Kafka, of the broker that librdkafka brings for tests; it speaks Kafka's protocol."""

import json

import pytest

import heliostat as ray

kafka = pytest.importorskip("confluent_kafka")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def server():
    """Where a broker listens, on loopback, while the producer that made it lives."""
    owner = kafka.Producer(
        {"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0}
    )
    (broker,) = owner.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del owner


def test_rows_become_messages_and_messages_rows(server):
    rows = ray.data.range(300).map(lambda row: {"id": row["id"], "name": f"n{row['id']}"})
    rows.write_kafka("t", server, key_field="name")
    found = ray.data.read_kafka("t", bootstrap_servers=server).take_all()
    assert sorted(json.loads(row["value"])["id"] for row in found) == list(range(300))
    assert {row["key"].decode() for row in found} == {f"n{number}" for number in range(300)}
    assert {row["topic"] for row in found} == {"t"}
    assert {row["timestamp_type"] for row in found} == {0}
    assert set(found[0]) == {
        *("offset", "key", "value", "topic", "partition", "timestamp", "timestamp_type", "headers")
    }


def test_a_partition_is_read_from_one_offset_to_another(server):
    producer = kafka.Producer({"bootstrap.servers": server})
    for number in range(20):
        headers = [("n", str(number).encode())]
        producer.produce("t", b"%d" % number, partition=0, headers=headers)
    producer.flush(10)

    def values(**bounds):
        return [
            int(row["value"])
            for row in ray.data.read_kafka(["t"], bootstrap_servers=[server], **bounds).take_all()
        ]

    assert values() == list(range(20))
    assert values(start_offset=5, end_offset=8) == [5, 6, 7]
    assert values(start_offset={"t": {0: 18}}) == [18, 19]
    assert values(end_offset={"t": {0: 2}}) == [0, 1]
    assert values(start_offset=20) == []
    assert values(end_offset=10**6) == list(range(20))
    row = ray.data.read_kafka("t", bootstrap_servers=server).take(1)[0]
    assert row["headers"] == [("n", b"0")]


@pytest.mark.parametrize(
    ("kinds", "key", "value"),
    [
        (("bytes", "bytes"), b"k", b"v"),
        (("json", "json"), None, None),
        (("string", "string"), b"b'k'", b"{'k': b'k', 'v': b'v'}"),
    ],
)
def test_keys_and_values_are_written_as_said(server, kinds, key, value):
    rows = ray.data.from_items([{"k": b"k", "v": b"v"}])
    rows.write_kafka("t", server, "k", *kinds)
    row = ray.data.read_kafka("t", bootstrap_servers=server).take_all()[0]
    assert row["key"] == (key or b'"6b"')
    assert row["value"] == (value or b'{"k": "6b", "v": "76"}')


def test_what_makes_no_sense_is_refused(server):
    read = ray.data.read_kafka
    with pytest.raises(ValueError, match="trigger must be"):
        read("t", bootstrap_servers=server, trigger="continuous")
    auth = ray.data.KafkaAuthConfig()
    with pytest.raises(ValueError, match="not both"):
        read("t", bootstrap_servers=server, kafka_auth_config=auth, consumer_config={})
    with pytest.raises(ValueError, match="start_offset=5 is behind end_offset=3"):
        read("t", bootstrap_servers=server, start_offset=5, end_offset=3)
    with pytest.raises(NotImplementedError, match="ssl_context"):
        ray.data.KafkaAuthConfig(ssl_context=object()).options()
    with pytest.raises(ValueError, match="value_serializer must be"):
        ray.data.range(1).write_kafka("t", server, value_serializer="avro")
    ray.data.range(1).write_kafka("t", server)
    with pytest.raises(ValueError, match="an offset is a number"):
        read("t", bootstrap_servers=server, start_offset="newest").take_all()
