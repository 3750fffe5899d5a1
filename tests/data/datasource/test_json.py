"""JSON files: lines, documents, and which file an error names."""

import json

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
