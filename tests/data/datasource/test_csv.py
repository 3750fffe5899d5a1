"""CSV files: types, what is packed, and which file and row an error names."""

import gzip
import os

import pyarrow as pa
import pytest
from pyarrow import csv

import heliostat as ray
from heliostat.data.datasource import csv as ours
from heliostat.data.datasource import files

pytestmark = pytest.mark.usefixtures("inline")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_types_are_found_over_the_whole_file(tmp_path):
    rows = "".join(f"{number},x\n" for number in range(300_000))
    path = write(tmp_path / "a.csv", f"id,name\n{rows}2.5,y\n")
    ds = ray.data.read_csv(path)
    assert [str(kind) for kind in ds.schema().types] == ["double", "string"]
    assert ds.count() == 300_001


def test_files_of_different_types_fit_together(tmp_path):
    write(tmp_path / "a.csv", "id\n1\n")
    write(tmp_path / "b.csv", "id\n2.5\n")
    assert ray.data.read_csv(str(tmp_path)).to_pandas()["id"].tolist() == [1.0, 2.5]


def test_directories_become_columns_and_packed_files_are_unpacked(tmp_path):
    write(tmp_path / "year=2023" / "a.csv", "id\n1\n")
    (tmp_path / "year=2024").mkdir()
    (tmp_path / "year=2024" / "b.csv.br").write_bytes(
        pa.compress(b"id\n3\n", "brotli", asbytes=True)
    )
    (tmp_path / "year=2024" / "a.csv.gz").write_bytes(gzip.compress(b"id\n2\n"))
    ds = ray.data.read_csv(str(tmp_path))
    rows = [(row["id"], row["year"]) for row in ds.take_all()]
    assert rows == [(1, "2023"), (2, "2024"), (3, "2024")]


def test_only_the_wanted_columns_are_read(tmp_path):
    path = write(tmp_path / "a.csv", "a,b,c\n1,2,3\n")
    ds = ray.data.read_csv(path, include_paths=True).select_columns(["c", "path"])
    assert ds.take_all() == [{"c": 3, "path": path}]
    with pytest.raises(KeyError, match="nope"):
        ray.data.read_csv(path).select_columns(["nope"]).take_all()


def test_options_of_arrow_are_taken(tmp_path):
    path = write(tmp_path / "a.txt", "1;2\n3;4\n")
    ds = ray.data.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter=";"),
        read_options=csv.ReadOptions(column_names=["a", "b"]),
    )
    assert ds.take_all() == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_a_broken_row_is_named(tmp_path):
    write(tmp_path / "a.csv", "a,b\n1,2\n")
    write(tmp_path / "b.csv", "a,b\n1,2\n3,4,5\n")
    with pytest.raises(ValueError, match=r"cannot read '.*b\.csv' as CSV: .*[Rr]ow #?3"):
        ray.data.read_csv(str(tmp_path)).take_all()


def test_a_large_file_is_read_in_pieces_and_a_late_type_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(files, "TOGETHER_BYTES", 1000)
    rows = "".join(f"{number}\n" for number in range(300_000))
    path = write(tmp_path / "a.csv", f"id\n{rows}")
    ds = ray.data.read_csv(path)
    assert ds.materialize().num_blocks() > 1
    assert sum(row["id"] for row in ds.iter_rows()) == 300_000 * 299_999 // 2
    late = write(tmp_path / "late.csv", f"id\n{rows}x\n")
    with pytest.raises(ValueError, match=r"late\.csv' as CSV.*column_types"):
        ray.data.read_csv(late).count()


def test_files_without_rows_or_without_anything(tmp_path):
    write(tmp_path / "a.csv", "a,b\n")
    ds = ray.data.read_csv(str(tmp_path))
    assert (ds.take_all(), ds.columns()) == ([], ["a", "b"])
    write(tmp_path / "b.csv", "")
    assert ray.data.read_csv(str(tmp_path)).count() == 0


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.date32(), pa.string()])
def test_a_row_whose_only_value_is_null_stays_a_row(tmp_path, kind):
    values = [None, "x" if kind == pa.string() else pa.scalar(5).cast(pa.int32()).cast(kind), None]
    ds = ray.data.from_arrow(pa.table({"a": pa.array(values, kind)}))
    ds.write_csv(str(tmp_path))
    options = csv.ConvertOptions(strings_can_be_null=True)
    back = ray.data.read_csv(str(tmp_path), convert_options=options).take_all()
    assert [row["a"] for row in back] == [row["a"] for row in ds.take_all()]
    assert ray.data.read_csv(str(tmp_path)).count() == 3


def test_bytes_that_are_no_text_are_refused_by_the_name_of_their_column(tmp_path):
    for rows in ([{"a": 1, "b": b"\xff"}], [{"b": b"\xff"}, {"b": None}]):
        with pytest.raises(ValueError, match="column 'b' of type binary cannot be written"):
            ray.data.from_items(rows).write_csv(str(tmp_path / "out"))
    assert not os.listdir(tmp_path)
