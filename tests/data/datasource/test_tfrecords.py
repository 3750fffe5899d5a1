"""TFRecords without TensorFlow."""

import contextlib
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import heliostat as ray
from heliostat.data.datasource.tfrecords import parse_example, serialize_example

pytestmark = pytest.mark.usefixtures("inline")


def test_rows_come_back(tmp_path):
    rows = [
        {"id": -5, "x": 0.5, "name": "é", "raw": b"\0\xff", "list": [1, 2], "none": None},
        {"id": 1 << 40, "x": -1.0, "name": "", "raw": b"", "list": [], "none": None},
    ]
    ray.data.from_items(rows).write_tfrecords(str(tmp_path))
    back = ray.data.read_tfrecords(str(tmp_path)).take_all()
    assert [row["id"] for row in back] == [-5, 1 << 40]
    assert [row["x"] for row in back] == [0.5, -1.0]
    assert [row["name"] for row in back] == ["é".encode(), b""]
    assert [row["list"] for row in back] == [[1, 2], []]
    assert [row["none"] for row in back] == [None, None]


def test_packed_and_unpacked_numbers_are_understood():
    unpacked = b"\x0a\x0b\x0a\x09\x0a\x01a\x12\x04\x1a\x02\x08\x07"
    assert parse_example(unpacked) == {"a": [7]}


values = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.lists(st.binary(), min_size=1),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1),
)


@given(st.dictionaries(st.text(min_size=1), values, max_size=5))
def test_any_example_is_read_as_it_was_written(row):
    assert parse_example(serialize_example(row)) == row


@given(st.lists(st.integers(0, 26), max_size=30).map(bytes) | st.binary(max_size=60))
def test_any_bytes_are_an_example_or_a_value_error(data):
    with contextlib.suppress(ValueError):
        parse_example(data)


def test_damage_is_named_with_the_byte(tmp_path):
    ray.data.range(3, override_num_blocks=1).write_tfrecords(str(tmp_path))
    (name,) = os.listdir(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    size = struct.unpack("<Q", whole[:8])[0] + 16
    broken = bytearray(whole)
    broken[size + 13] ^= 1
    path.write_bytes(broken)
    with pytest.raises(ValueError, match=rf"{name}' as TFRecords: the record at byte {size} has"):
        ray.data.read_tfrecords(str(path)).take_all()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=f"ends within the record at byte {2 * size}"):
        ray.data.read_tfrecords(str(path)).take_all()
    path.write_bytes(b"no records at all")
    with pytest.raises(ValueError, match="the length of the record at byte 0"):
        ray.data.read_tfrecords(str(path)).take_all()


def test_what_no_record_can_hold_is_named():
    with pytest.raises(ValueError, match="column 'a' holds"):
        serialize_example({"a": {"b": 1}})
    assert parse_example(serialize_example({"a": np.ones((2, 2))})) == {"a": [1.0] * 4}
    with pytest.raises(NotImplementedError, match="tf_schema"):
        ray.data.read_tfrecords("x", tf_schema=1)


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"column 'x' holds 9223372036854775808; .* 64 bits"):
        serialize_example({"x": [1, 1 << 63]})
    with pytest.raises(ValueError, match=r"column 'x' holds \[1e\+300\]; .* 32 bits"):
        serialize_example({"x": 1e300})
    kept = parse_example(serialize_example({"x": [float("inf"), -(1 << 63) * 1.0]}))
    assert kept == {"x": [float("inf"), -(1 << 63) * 1.0]}
