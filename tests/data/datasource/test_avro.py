"""Avro files."""

import pytest

import heliostat as ray

fastavro = pytest.importorskip("fastavro")
pytestmark = pytest.mark.usefixtures("inline")

SCHEMA = {
    "type": "record",
    "name": "trip",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "zone", "type": ["null", "string"]},
        {"name": "stops", "type": {"type": "array", "items": "int"}},
    ],
}


def test_records_are_rows(tmp_path):
    rows = [{"id": n, "zone": None if n % 2 else "a", "stops": [n]} for n in range(10_000)]
    with open(tmp_path / "a.avro", "wb") as file:
        fastavro.writer(file, SCHEMA, rows, codec="deflate")
    assert ray.data.read_avro(str(tmp_path)).take_all() == rows


def test_a_corrupt_file_is_named(tmp_path):
    (tmp_path / "bad.avro").write_bytes(b"Obj\x01no")
    with pytest.raises(ValueError, match=r"bad\.avro' as Avro"):
        ray.data.read_avro(str(tmp_path)).take_all()
