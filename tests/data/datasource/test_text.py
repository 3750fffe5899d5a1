"""Lines of text, and whole files."""

import pytest

import heliostat as ray
from heliostat.data.datasource import text as ours

pytestmark = pytest.mark.usefixtures("inline")


def lines(path, content, **options):
    path.write_bytes(content)
    return [row["text"] for row in ray.data.read_text(str(path), **options).take_all()]


def test_lines_are_rows_and_empty_ones_are_left_out(tmp_path):
    assert lines(tmp_path / "a.txt", b"a\n\n  \nb") == ["a", "b"]
    assert lines(tmp_path / "a.txt", b"a\n\nb\n", drop_empty_lines=False) == ["a", "", "b"]


def test_lines_end_as_in_files_of_any_system(tmp_path, monkeypatch):
    content = b"a\r\nb\rc\n\r\nd"
    for size in (1, 2, 3, 100):
        monkeypatch.setattr(ours, "CHUNK_BYTES", size)
        assert lines(tmp_path / "a.txt", content) == ["a", "b", "c", "d"]
        every = lines(tmp_path / "a.txt", content, drop_empty_lines=False)
        assert every == content.decode().splitlines()


def test_pieces_of_a_large_file_are_cut_at_lines_not_within_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "CHUNK_BYTES", 3)
    content = "größer\näß\nend"
    assert lines(tmp_path / "a.txt", content.encode()) == content.split("\n")


def test_another_encoding_is_taken_or_named(tmp_path):
    content = "grün\n".encode("latin-1")
    assert lines(tmp_path / "a.txt", content, encoding="latin-1") == ["grün"]
    with pytest.raises(ValueError, match=r"a\.txt' as Text: not utf-8 near byte 2.*encoding="):
        lines(tmp_path / "a.txt", content)
    with pytest.raises(LookupError, match="zz-8"):
        lines(tmp_path / "a.txt", content, encoding="zz-8")


def test_whole_files_are_rows(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]))
    ds = ray.data.read_binary_files(str(tmp_path), include_paths=True)
    assert ds.count() == 3
    rows = ds.take_all()
    assert [row["bytes"] for row in rows] == [b"\0", b"\1", b"\2"]
    assert rows[2]["path"].endswith("2.bin")
    assert ds.limit(2).input_files() == ds.input_files()
    assert len(ds.take(2)) == 2
    assert ds.schema().names == ["bytes", "path"]
