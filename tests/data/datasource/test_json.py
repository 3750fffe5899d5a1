"""JSON files: lines, documents, and which file an error names."""

import json

import pyarrow as pa
import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def read(path, text, **options):
    path.write_text(text)
    return ray.data.read_json(str(path), **options).take_all()


def test_lines_arrays_and_single_objects_are_rows(tmp_path):
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    lines = "\n".join(json.dumps(row) for row in rows)
    assert read(tmp_path / "a.json", lines) == rows
    assert read(tmp_path / "a.jsonl", lines, lines=True) == rows
    assert read(tmp_path / "b.json", json.dumps(rows, indent=2)) == rows
    assert read(tmp_path / "c.json", json.dumps(rows[0], indent=2)) == rows[:1]
    assert read(tmp_path / "d.json", "  \n") == []


def test_a_long_object_is_no_error(tmp_path):
    rows = [{"a": "x" * 3_000_000}, {"a": "y"}]
    assert read(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))) == rows


def test_nested_values_stay_nested(tmp_path):
    row = {"a": {"b": [1, 2], "c": None}, "d": [{"e": 1.5}]}
    assert read(tmp_path / "a.jsonl", json.dumps(row)) == [row]


@pytest.mark.parametrize("text", ['{"a": 1}\n{"a": ', "[1, 2]", '[{"a": 1}, ', "hello"])
def test_a_corrupt_file_is_named(tmp_path, text):
    with pytest.raises(ValueError, match=r"cannot read '.*bad\.json' as JSON"):
        read(tmp_path / "bad.json", text)


def test_only_json_files_of_a_directory_count(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "b.txt").write_text("no")
    assert ray.data.read_json(str(tmp_path)).count() == 1


def test_numbers_are_written_as_they_are(tmp_path):
    values = [1 / 3, 1e-15, 1e300, 123456789.123456789, 2.0, -0.0, None, float("nan")]
    table = pa.table(
        {
            "x": pa.array(values),
            "f": pa.array([0.1] * 8, pa.float32()),
            "i": pa.array([(1 << 53) + 1, None] * 4),
            "l": pa.array([[(1 << 53) + 1, None], None] * 4),
            "s": pa.array([{"a": (1 << 53) + 1, "b": [1, None]}] * 8),
            "o": pa.array([[1e-12]] * 8),
        }
    )
    ray.data.from_arrow(table).write_json(str(tmp_path))
    back = ray.data.read_json(str(tmp_path)).take_all()
    assert [row["x"] for row in back] == [*values[:6], None, None]
    assert [type(row["x"]) for row in back[:6]] == [float] * 6
    assert back[0]["f"] == 0.1
    for name in "ilso":
        assert [row[name] for row in back] == table.column(name).to_pylist()


def test_what_is_written_is_what_pandas_writes(tmp_path):
    table = pa.table(
        {
            'a"/:é': ["plain", 'q"\\', "\u2028é", None],
            "b": [True, None, False, True],
            "c": ["1.50", None, "2", "x"],
            "d": pa.array(["x", "y", "~", " "], pa.large_string()),
        }
    )
    ray.data.from_arrow(table.slice(1, 3)).write_json(str(tmp_path))
    (path,) = tmp_path.iterdir()
    wanted = table.slice(1, 3).to_pandas().to_json(orient="records", lines=True)
    assert [*map(json.loads, path.read_text().splitlines())] == [
        *map(json.loads, wanted.splitlines())
    ]
    assert path.read_text().endswith("}\n")


def test_bytes_that_are_no_text_are_refused_by_the_name_of_their_column(tmp_path):
    with pytest.raises(ValueError, match="bytes in column 'b', which are no text"):
        ray.data.from_items([{"a": 1, "b": b"\xff"}]).write_json(str(tmp_path / "out"))


def test_files_are_packed_as_pandas_is_asked_to(tmp_path):
    ds = ray.data.from_items([{"a": 1}, {"a": 2}])
    ds.write_json(str(tmp_path), compression="gzip")
    assert all(path.name.endswith(".json.gz") for path in tmp_path.iterdir())
    assert ray.data.read_json(str(tmp_path)).take_all() == ds.take_all()
    with pytest.raises(ValueError, match=r"write_json\(compression='zip'\): use one of"):
        ds.write_json(str(tmp_path), compression="zip")
    with pytest.raises(NotImplementedError, match="storage_options"):
        ds.write_json(str(tmp_path), storage_options={"a": 1})
