"""TFRecords of tf.train.Example, without TensorFlow: framing, checksums and the messages.

A record is its length, a checksum of that, the bytes, and a checksum of these. An Example maps
names to lists of bytes, floats or whole numbers.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_rows, iter_rows
from heliostat.data.datasource._crc32c import masked
from heliostat.data.datasource.datasink import BlockBasedFileDatasink
from heliostat.data.datasource.files import OpenFile

__all__ = ["TfrecordsDatasink", "TfrecordsFormat"]

ROWS_A_TABLE = 4096
_BYTES, _FLOATS, _INTS = 1, 2, 3


@dataclass(frozen=True)
class TfrecordsFormat:
    """Examples as rows; lists of one value are that value."""

    name = "TFRecords"
    in_driver = False
    expansion = 2.0
    row_columns = ()
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Its records, so many at a time."""
        rows: list[dict[str, list[Any]]] = []
        with file.stream() as stream:
            for record in records(stream):
                rows.append(parse_example(record))
                if len(rows) == ROWS_A_TABLE:
                    yield _table(rows)
                    rows = []
        if rows:
            yield _table(rows)


def _table(rows: list[dict[str, list[Any]]]) -> pa.Table:
    """Columns whose lists have one value at most hold values, others lists."""
    names = dict.fromkeys(name for row in rows for name in row)
    single = {name for name in names if all(len(row.get(name, ())) <= 1 for row in rows)}
    return from_rows(
        [
            {
                name: (row[name][0] if row[name] else None) if name in single else row[name]
                for name in names
                if name in row
            }
            for row in rows
        ]
    )


def records(stream: Any) -> Iterator[bytes]:
    """The records of a file.

    Args:
        stream: An open file.

    Yields:
        Their bytes.

    Raises:
        ValueError: if it ends within a record, or a checksum is wrong; tells where.
    """
    offset = 0
    while head := stream.read(12):
        if len(head) < 12:
            raise ValueError(f"it ends within the record at byte {offset}")
        length, check = struct.unpack("<QI", head)
        if masked(head[:8]) != check:
            raise ValueError(f"the length of the record at byte {offset} has a wrong checksum")
        body = stream.read(length + 4)
        if len(body) < length + 4:
            raise ValueError(f"it ends within the record at byte {offset}")
        data = bytes(body[:length])
        if masked(data) != struct.unpack("<I", body[length:])[0]:
            raise ValueError(f"the record at byte {offset} has a wrong checksum")
        yield data
        offset += 16 + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a message ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, kind, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a message has a field of unknown kind {kind}")
        if at + size > len(data):
            raise ValueError("a message ends within a field")
        yield tag >> 3, kind, data[at : at + size]
        at += size


def parse_example(data: bytes) -> dict[str, list[Any]]:
    """The features of an Example.

    Args:
        data: The message.

    Returns:
        Name to values.

    Raises:
        ValueError: if it is no Example.

    Example:
        >>> parse_example(serialize_example({"a": [1, 2], "b": "x"}))
        {'a': [1, 2], 'b': [b'x']}
    """
    features: dict[str, list[Any]] = {}
    for inner in _messages(data, 1):
        for entry in _messages(inner, 1):
            name = b"".join(_messages(entry, 1)).decode()
            features[name] = [one for part in _messages(entry, 2) for one in _values(part)]
    return features


def _messages(data: bytes, wanted: int) -> Iterator[bytes]:
    """What the fields of this number hold, each a message or text."""
    for number, wire, value in _fields(data):
        if number == wanted and wire == 2:
            yield value


def _values(feature: bytes) -> list[Any]:
    values: list[Any] = []
    for kind, outer, inner in _fields(feature):
        if outer != 2:
            continue
        values = []
        for number, wire, value in _fields(inner):
            if number != 1:
                continue
            if wire == 0 and kind == _INTS:
                values.append(_signed(value))
            elif wire == 0:
                raise ValueError("a list of a feature holds something else")
            elif kind == _BYTES:
                values.append(value)
            elif kind == _FLOATS:
                values += np.frombuffer(value, "<f4").tolist()
            else:
                at = 0
                while at < len(value):
                    one, at = _varint(value, at)
                    values.append(_signed(one))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _number(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def serialize_example(row: Mapping[str, Any]) -> bytes:
    """A row as an Example.

    Args:
        row: Numbers, text, bytes, or lists or arrays of one of them; None is an empty list.

    Returns:
        The message.

    Raises:
        ValueError: if a value is something else; names the column.
    """
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _feature(name, value)))
        for name, value in row.items()
    )
    return _field(1, entries)


def _feature(name: str, value: Any) -> bytes:
    values = [] if value is None else value
    if isinstance(values, np.ndarray):
        values = values.ravel().tolist()
    elif isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        values = [values]
    values = list(values)
    if all(isinstance(one, bool | int | np.integer) for one in values):
        if not values:
            return b""
        if max(values) >= 1 << 63:
            raise ValueError(f"column {name!r} holds {max(values)}; a TFRecord has ints of 64 bits")
        packed = b"".join(_number(int(one)) for one in values)
        return _field(_INTS, _field(1, packed))
    if all(isinstance(one, bool | int | float | np.number) for one in values):
        with np.errstate(over="ignore"):
            floats = np.asarray(values, "<f4")
        if np.any(np.isinf(floats) & np.isfinite(np.asarray(values, "f8"))):
            raise ValueError(
                f"column {name!r} holds {values!r:.80}; a TFRecord has floats of 32 bits"
            )
        return _field(_FLOATS, _field(1, floats.tobytes()))
    if all(isinstance(one, str | bytes) for one in values):
        texts = [one.encode() if isinstance(one, str) else one for one in values]
        return _field(_BYTES, b"".join(_field(1, one) for one in texts))
    raise ValueError(
        f"column {name!r} holds {value!r:.80}; a TFRecord has numbers, text or bytes, "
        "or lists of one of them"
    )


class TfrecordsDatasink(BlockBasedFileDatasink):
    """Writes rows as Examples.

    Args:
        path: The directory.
        **options: Of every sink of files.
    """

    def __init__(self, path: Any, **options: Any) -> None:
        super().__init__(path, file_format="tfrecords", **options)

    def write_table(self, table: pa.Table, file: Any) -> None:
        """Write the rows."""
        for row in iter_rows(table):
            data = serialize_example(row)
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", masked(length)))
            file.write(data + struct.pack("<I", masked(data)))
