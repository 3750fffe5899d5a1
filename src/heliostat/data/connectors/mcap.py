"""MCAP, robots' logs of messages, by its own library: a row a message."""

import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from heliostat.data.block import Block, from_rows
from heliostat.data.connectors import needed
from heliostat.data.dataset import Dataset
from heliostat.data.datasource.file_based import FileBasedDatasource
from heliostat.data.datasource.files import OpenFile
from heliostat.data.datasource.paths import Paths
from heliostat.data.read_files import read_files

__all__ = ["MCAPDatasource", "TimeRange", "read_mcap"]

ROWS_A_TABLE = 4096


@dataclass(frozen=True)
class TimeRange:
    """Messages from one time to before another.

    Args:
        start_time: In nanoseconds.
        end_time: In nanoseconds; itself not in it.

    Raises:
        ValueError: If the end is not behind the start, or a time is below 0.
    """

    start_time: int
    end_time: int

    def __post_init__(self) -> None:
        if self.start_time < 0 or self.start_time >= self.end_time:
            raise ValueError(
                f"a TimeRange is from 0 or later to a later time, got {self.start_time!r} to "
                f"{self.end_time!r}"
            )


@dataclass(frozen=True)
class McapFormat:
    """Messages as rows: the library skips chunks of a file that have none of those wanted."""

    topics: tuple[str, ...] | None = None
    time_range: TimeRange | None = None
    message_types: frozenset[str] | None = None
    include_metadata: bool = True

    name = "MCAP"
    in_driver = False
    expansion = 4.0
    row_columns = ()
    schema = None

    @classmethod
    def of(
        cls,
        topics: Collection[str] | None,
        time_range: TimeRange | tuple[int, int] | None,
        message_types: Collection[str] | None,
        include_metadata: bool,
    ) -> "McapFormat":
        """What the user said.

        Raises:
            ValueError: If there is no time between start and end.
        """
        when = TimeRange(*time_range) if isinstance(time_range, tuple | list) else time_range
        return cls(
            None if topics is None else tuple(_names(topics)),
            when,
            None if message_types is None else frozenset(_names(message_types)),
            include_metadata,
        )

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Its messages, by their time."""
        with file.random_access() as stream:
            yield from self.tables(stream)

    def tables(self, stream: Any) -> Iterator[pa.Table]:
        """The messages of an open file."""
        if not stream.seekable():
            stream = io.BytesIO(stream.read())  # its index is at the end
        reader = needed("mcap.reader", "mcap", "read_mcap").make_reader(stream)
        when, taken_apart = self.time_range, self._all_json(reader.get_summary())
        rows: list[dict[str, Any]] = []
        for schema, channel, message in reader.iter_messages(
            topics=self.topics,
            starting_at=None if when is None else when.start_time,
            ending_before=None if when is None else when.end_time,
        ):
            kind = None if schema is None else schema.name
            if self.message_types is not None and kind not in self.message_types:
                continue
            rows.append(self._row(schema, channel, message, taken_apart))
            if len(rows) == ROWS_A_TABLE:
                yield from_rows(rows)
                rows = []
        if rows:
            yield from_rows(rows)

    def _all_json(self, summary: Any) -> bool:
        """Whether all messages that are wanted of a file are JSON: a column has values of one kind."""
        channels = [] if summary is None else list(summary.channels.values())
        kinds = {} if summary is None else {key: one.name for key, one in summary.schemas.items()}
        return bool(channels) and all(
            channel.message_encoding == "json"
            for channel in channels
            if (self.topics is None or channel.topic in self.topics)
            and (self.message_types is None or kinds.get(channel.schema_id) in self.message_types)
        )

    def _row(self, schema: Any, channel: Any, message: Any, taken_apart: bool) -> dict[str, Any]:
        data = json.loads(message.data) if taken_apart else message.data
        row = {
            "data": data,
            "topic": channel.topic,
            "log_time": message.log_time,
            "publish_time": message.publish_time,
            "sequence": message.sequence,
        }
        if self.include_metadata:
            row |= {
                "channel_id": message.channel_id,
                "message_encoding": channel.message_encoding,
                "schema_name": None if schema is None else schema.name,
                "schema_encoding": None if schema is None else schema.encoding,
                "schema_data": None if schema is None else schema.data,
            }
        return row


def _names(given: Collection[str]) -> list[str]:
    return [given] if isinstance(given, str) else sorted(given)


def read_mcap(
    paths: Paths,
    *,
    topics: Collection[str] | None = None,
    time_range: TimeRange | tuple[int, int] | None = None,
    message_types: Collection[str] | None = None,
    include_metadata: bool = True,
    **options: Any,
) -> Dataset:
    """Read MCAP files, a row a message. Needs mcap.

    Args:
        paths: Files, directories, globs or URIs.
        topics: Only messages of these.
        time_range: Only messages that were logged in it; in nanoseconds.
        message_types: Only messages whose schema has one of these names.
        include_metadata: With the channel's and the schema's columns.
        **options: See `FileOptions`.

    Returns:
        A Dataset with columns data (taken apart if all that is wanted of a file is JSON, else bytes), topic,
        log_time, publish_time and sequence, and, unless they are not wanted, channel_id,
        message_encoding, schema_name, schema_encoding and schema_data.

    Raises:
        ImportError: If mcap is not installed.
        FileNotFoundError: If a path does not exist.
        ValueError: If there are no files, or no time between start and end.
    """
    needed("mcap.reader", "mcap", "read_mcap")
    form = McapFormat.of(topics, time_range, message_types, include_metadata)
    return read_files("read_mcap", paths, form, options, extensions=("mcap",))


class MCAPDatasource(FileBasedDatasource):
    """What `read_mcap` reads, for `read_datasource`.

    Args:
        paths: Files, directories, globs or URIs.
        topics, time_range, message_types, include_metadata: As for `read_mcap`.
        **options: Of `FileBasedDatasource`.

    Raises:
        ImportError: If mcap is not installed.
    """

    def __init__(
        self,
        paths: Paths,
        topics: Collection[str] | None = None,
        time_range: TimeRange | tuple[int, int] | None = None,
        message_types: Collection[str] | None = None,
        include_metadata: bool = True,
        **options: Any,
    ) -> None:
        needed("mcap.reader", "mcap", "MCAPDatasource")
        self._form = McapFormat.of(topics, time_range, message_types, include_metadata)
        super().__init__(paths, **{"file_extensions": ["mcap"], **options})

    def _read_stream(self, f: Any, path: str) -> Iterator[Block]:
        yield from self._form.tables(f)
