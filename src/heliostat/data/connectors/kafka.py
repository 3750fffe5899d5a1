"""Kafka topics, by confluent-kafka: what lies between two offsets as rows, and rows as messages."""

import datetime as dt
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from heliostat.data._plan import Read
from heliostat.data.block import Block, BlockMetadata, iter_rows
from heliostat.data.connectors import needed
from heliostat.data.dataset import Dataset
from heliostat.data.datasource.custom import CustomSource, Datasource, ReadTask
from heliostat.data.datasource.datasink import Datasink, TaskContext
from heliostat.data.read_options import ReadOptions, check_names, parse_place, pieces

__all__ = ["KafkaAuthConfig", "KafkaDatasink", "read_kafka"]

_FIELDS: dict[str, Any] = {
    "offset": pa.int64(), "key": pa.binary(), "value": pa.binary(), "topic": pa.string(),
    "partition": pa.int32(), "timestamp": pa.int64(), "timestamp_type": pa.int32(),
    "headers": pa.map_(pa.string(), pa.binary()),
}  # fmt: skip
SCHEMA = pa.schema(_FIELDS)
MESSAGES_A_BLOCK = 10_000
ANSWER_S = 30.0
# What confluent-kafka calls what kafka-python calls otherwise.
OPTIONS = {
    "sasl_plain_username": "sasl.username", "sasl_plain_password": "sasl.password",
    "sasl_kerberos_name": "sasl.kerberos.principal", "ssl_cafile": "ssl.ca.location",
    "ssl_certfile": "ssl.certificate.location", "ssl_keyfile": "ssl.key.location",
    "ssl_password": "ssl.key.password", "ssl_crlfile": "ssl.crl.location",
    "ssl_ciphers": "ssl.cipher.suites",
}  # fmt: skip


@dataclass
class KafkaAuthConfig:
    """How to be let in, in kafka-python's words; `consumer_config` takes librdkafka's own.

    Attributes are as kafka-python has them. Not taken, since librdkafka has no place for them:
    `sasl_kerberos_domain_name`, `sasl_oauth_token_provider`, `ssl_context` and
    `ssl_check_hostname=False`.

    Example:
        >>> KafkaAuthConfig(security_protocol="SSL", ssl_cafile="ca.pem").options()
        {'security.protocol': 'SSL', 'ssl.ca.location': 'ca.pem'}
    """

    security_protocol: str | None = None
    sasl_mechanism: str | None = None
    sasl_plain_username: str | None = None
    sasl_plain_password: str | None = None
    sasl_kerberos_name: str | None = None
    sasl_kerberos_service_name: str | None = None
    sasl_kerberos_domain_name: str | None = None
    sasl_oauth_token_provider: Any = None
    ssl_context: Any = None
    ssl_check_hostname: bool | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = None
    ssl_ciphers: str | None = None
    ssl_crlfile: str | None = None

    def options(self) -> dict[str, Any]:
        """The same in librdkafka's words.

        Raises:
            NotImplementedError: For what it has none for.
        """
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if given.get("ssl_check_hostname"):
            del given["ssl_check_hostname"]
        for name in (
            "sasl_kerberos_domain_name",
            "sasl_oauth_token_provider",
            "ssl_context",
            "ssl_check_hostname",
        ):
            if name in given:
                raise NotImplementedError(
                    f"KafkaAuthConfig({name}=...) has no place in librdkafka; use consumer_config"
                )
        return {OPTIONS.get(name, name.replace("_", ".")): value for name, value in given.items()}


def read_kafka(
    topics: str | Sequence[str],
    *,
    bootstrap_servers: str | Sequence[str],
    trigger: str = "once",
    start_offset: Any = "earliest",
    end_offset: Any = "latest",
    kafka_auth_config: KafkaAuthConfig | None = None,
    consumer_config: Mapping[str, Any] | None = None,
    timeout_ms: int | None = None,
    **options: Any,
) -> Dataset:
    """Read the messages of topics between two offsets. Needs confluent-kafka.

    Each partition is a part of its own. What "latest" is, is asked when the rows are wanted.

    Args:
        topics: One or more.
        bootstrap_servers: Addresses of brokers, such as `"localhost:9092"`.
        trigger: `"once"`: what is there now, and no more.
        start_offset: The first message: its offset, `"earliest"`, a datetime (of UTC, if it has no
            zone), or `{topic: {partition: offset}}`, where others are read from the earliest.
        end_offset: The message behind the last, told the same ways; `"latest"` for all.
        kafka_auth_config: How to be let in, in the words of kafka-python.
        consumer_config: Options of librdkafka's consumer.
        timeout_ms: Give up waiting for a partition's messages after so long, with those there are.
        **options: See `ReadOptions`.

    Returns:
        A Dataset with columns offset, key, value, topic, partition, timestamp (in milliseconds),
        timestamp_type (0 if the sender set it, 1 the broker) and headers.

    Raises:
        ImportError: If confluent-kafka is not installed.
        ValueError: If an option makes no sense; when it is read, if a topic does not exist or an
            offset is not there.
    """
    check_names("read_kafka", options, ReadOptions)
    needed("confluent_kafka", "confluent-kafka", "read_kafka")
    if trigger != "once":
        raise ValueError(f'trigger must be "once", got {trigger!r}: a dataset has an end')
    if kafka_auth_config is not None and consumer_config is not None:
        raise ValueError("give kafka_auth_config or consumer_config, not both")
    listed = [topics] if isinstance(topics, str) else list(topics)
    if not listed:
        raise ValueError("read_kafka needs a topic")
    if isinstance(start_offset, int) and isinstance(end_offset, int) and start_offset > end_offset:
        raise ValueError(f"start_offset={start_offset} is behind end_offset={end_offset}")
    servers = (
        bootstrap_servers if isinstance(bootstrap_servers, str) else ",".join(bootstrap_servers)
    )
    config = dict(consumer_config or (kafka_auth_config.options() if kafka_auth_config else {}))
    config |= {"bootstrap.servers": servers, "enable.auto.commit": False}
    config = {"group.id": "heliostat-read", **config}
    wait_s = None if timeout_ms is None else timeout_ms / 1000
    source = KafkaDatasource(listed, config, start_offset, end_offset, wait_s)
    return Dataset(Read(CustomSource(source, pieces(options), SCHEMA), parse_place(options)))


class KafkaDatasource(Datasource):
    """Partitions of topics, each from one offset to another."""

    def __init__(
        self, topics: list[str], config: dict[str, Any], start: Any, end: Any, wait_s: float | None
    ) -> None:
        self._topics, self._config, self._wait_s = topics, config, wait_s
        self._bounds = (start, end)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One for each partition that has messages there."""
        kafka = needed("confluent_kafka", "confluent-kafka", "read_kafka")
        consumer = kafka.Consumer(self._config)
        try:
            spans = [span for topic in self._topics for span in self._spans(kafka, consumer, topic)]
        finally:
            consumer.close()
        return [
            ReadTask(_reading(self._config, span, self._wait_s), BlockMetadata(None, None), SCHEMA)
            for span in spans
        ] or [ReadTask(lambda: [SCHEMA.empty_table()], BlockMetadata(0, 0), SCHEMA)]

    def _spans(self, kafka: Any, consumer: Any, topic: str) -> Iterator[tuple[str, int, int, int]]:
        found = consumer.list_topics(topic, timeout=ANSWER_S).topics[topic]
        if found.error is not None or not found.partitions:
            raise ValueError(f"Kafka has no topic {topic!r}: {found.error}")
        for partition in sorted(found.partitions):
            place = kafka.TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
            start, end = (
                self._offset(kafka, consumer, place, bound, (low, high)) for bound in self._bounds
            )
            # What Kafka has let go of is not waited for.
            if max(start, low) < min(end, high):
                yield topic, partition, max(start, low), min(end, high)

    def _offset(
        self, kafka: Any, consumer: Any, place: Any, bound: Any, known: tuple[int, int]
    ) -> int:
        if isinstance(bound, Mapping):
            default = "earliest" if bound is self._bounds[0] else "latest"
            bound = bound.get(place.topic, {}).get(place.partition, default)
        if isinstance(bound, dt.datetime):
            zoned = bound if bound.tzinfo else bound.replace(tzinfo=dt.UTC)
            asked = kafka.TopicPartition(
                place.topic, place.partition, int(zoned.timestamp() * 1000)
            )
            offset = consumer.offsets_for_times([asked], timeout=ANSWER_S)[0].offset
            return known[1] if offset < 0 else int(offset)
        if bound in ("earliest", "latest"):
            return known[bound == "latest"]
        if isinstance(bound, bool) or not isinstance(bound, int) or bound < 0:
            raise ValueError(
                f"an offset is a number from 0, earliest, latest or a time, got {bound!r}"
            )
        return bound


def _reading(
    config: dict[str, Any], span: tuple[str, int, int, int], wait_s: float | None
) -> Callable[[], Iterator[pa.Table]]:
    """What reads a partition; called in a worker."""

    def read() -> Iterator[pa.Table]:
        kafka = needed("confluent_kafka", "confluent-kafka", "read_kafka")
        topic, partition, at, end = span
        until = None if wait_s is None else time.monotonic() + wait_s
        # An empty answer says where the end is: transactions leave offsets without messages.
        consumer = kafka.Consumer({**config, "enable.partition.eof": True})
        try:
            consumer.assign([kafka.TopicPartition(topic, partition, at)])
            while at < end:
                left = ANSWER_S if until is None else until - time.monotonic()
                if left <= 0:
                    return
                rows = []
                many = min(MESSAGES_A_BLOCK, end - at)
                for message in consumer.consume(many, timeout=min(left, 1.0)):
                    error = message.error()
                    if error is not None and error.code() != kafka.KafkaError._PARTITION_EOF:
                        raise kafka.KafkaException(error)
                    at = end if error is not None else message.offset() + 1
                    if error is None and message.offset() < end:
                        rows.append(_row(message))
                if rows:
                    yield pa.Table.from_pylist(rows, SCHEMA)
        finally:
            consumer.close()

    return read


def _row(message: Any) -> dict[str, Any]:
    kind, when = message.timestamp()
    headers = message.headers() or []
    return {
        "offset": message.offset(), "key": message.key(), "value": message.value(),
        "topic": message.topic(), "partition": message.partition(), "timestamp": when,
        "timestamp_type": int(kind == 2), "headers": headers,
    }  # fmt: skip


class KafkaDatasink(Datasink[int]):
    """Each row as a message of a topic.

    Args:
        topic: Which.
        servers: Addresses of brokers.
        key_field: The column that becomes the key.
        key_serializer: How: `"string"`, `"json"` or `"bytes"`.
        value_serializer: How a row becomes the value: `"json"`, `"string"`, or `"bytes"`, for rows
            of one column besides the key.
        config: Options of librdkafka's producer.
    """

    def __init__(
        self,
        topic: str,
        servers: str,
        key_field: str | None,
        key_serializer: str,
        value_serializer: str,
        config: Mapping[str, Any] | None,
    ) -> None:
        for name, kind in {"key": key_serializer, "value": value_serializer}.items():
            if kind not in ("string", "json", "bytes"):
                raise ValueError(f"{name}_serializer must be string, json or bytes, got {kind!r}")
        needed("confluent_kafka", "confluent-kafka", "write_kafka")
        self._topic, self._key_field = topic, key_field
        self._key_kind, self._value_kind = key_serializer, value_serializer
        self._config = {**(config or {}), "bootstrap.servers": servers}

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> int:
        """Send the rows, and wait until the brokers have them."""
        kafka = needed("confluent_kafka", "confluent-kafka", "write_kafka")
        producer = kafka.Producer(self._config)
        failed: list[Any] = []
        sent = 0
        for block in blocks:
            for row in iter_rows(block):
                key = None
                if self._key_field is not None:
                    key = _bytes(row[self._key_field], self._key_kind)
                value = _bytes(self._value(row), self._value_kind)
                self._send(producer, key, value, failed)
                sent += 1
        left = producer.flush(300)
        if failed or left:
            raise RuntimeError(
                f"write_kafka: {len(failed) + left} of {sent} messages were not taken: {failed[:1]}"
            )
        return sent

    def _value(self, row: dict[str, Any]) -> Any:
        others = [name for name in row if name != self._key_field]
        return row[others[0]] if self._value_kind == "bytes" and len(others) == 1 else row

    def _send(self, producer: Any, key: Any, value: Any, failed: list[Any]) -> None:
        def told(error: Any, message: Any) -> None:
            if error is not None:
                failed.append(error)

        while True:
            try:
                producer.produce(self._topic, value=value, key=key, on_delivery=told)
            except BufferError:
                producer.poll(0.1)  # its queue is full: it sends while we wait
                continue
            producer.poll(0)
            return


def _bytes(value: Any, kind: str) -> bytes | None:
    if value is None:
        return None
    if kind == "bytes":
        if not isinstance(value, bytes):
            raise TypeError(f"a serializer of bytes takes bytes, got {type(value).__name__}")
        return value
    return (json.dumps(value, default=_plain) if kind == "json" else str(value)).encode()


def _plain(value: Any) -> Any:
    """What JSON has no word for: arrays as lists, times as text, bytes in hexadecimal digits."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return value.hex() if isinstance(value, bytes) else str(value)
