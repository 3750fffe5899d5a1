"""From paths to files."""

import os

import pytest
from pyarrow import fs

import heliostat as ray
from heliostat.data.datasource.paths import find, resolve, to_filesystem

pytestmark = pytest.mark.usefixtures("inline")


def names(paths, **options):
    _, found = find(paths, kind="Text", **options)
    return [os.path.basename(one.path) for one in found]


@pytest.fixture
def folder(tmp_path):
    for name in ("b.txt", "a.txt", "a.log", "sub/c.txt", ".hidden/d.txt", "_temporary/e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return str(tmp_path)


def test_paths_mean_files_in_order(folder):
    assert names(folder) == ["a.log", "a.txt", "b.txt", "c.txt"]
    assert names(folder, extensions="txt") == ["a.txt", "b.txt", "c.txt"]
    assert names([f"{folder}/b.txt", f"{folder}/a.txt"]) == ["b.txt", "a.txt"]
    assert names(f"{folder}/*.txt") == ["a.txt", "b.txt"]
    assert names(f"{folder}/**/*.txt") == ["a.txt", "b.txt", "c.txt"]
    assert names(f"file://{folder}/a.txt") == ["a.txt"]
    assert names(f"local://{folder}/a.txt") == ["a.txt"]


def test_what_is_not_there_is_named_or_left_out(folder):
    for path in (f"{folder}/zz.txt", f"{folder}/zz*"):
        with pytest.raises(FileNotFoundError, match="zz"):
            names(path)
        assert names([path, f"{folder}/a.txt"], ignore_missing=True) == ["a.txt"]
    with pytest.raises(ValueError, match="empty list"):
        names([])
    with pytest.raises(TypeError, match=r"paths must be a string or a list of them, got 3"):
        ray.data.read_csv(3)
    with pytest.raises(TypeError, match="int"):
        names([1])


def test_filesystems_of_fsspec_are_taken(folder):
    fsspec = pytest.importorskip("fsspec")
    assert names(f"{folder}/a.txt", filesystem=fsspec.filesystem("file")) == ["a.txt"]
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/x.txt", b"hello\nworld\n")
    try:
        ds = ray.data.read_text("/bucket/x.txt", filesystem=memory)
        assert [row["text"] for row in ds.take_all()] == ["hello", "world"]
        assert ray.data.read_text("memory://bucket/x.txt").count() == 2
    finally:
        memory.rm("/bucket/x.txt")
    with pytest.raises(TypeError, match="filesystem must be"):
        to_filesystem("s3")


def test_schemes_without_a_filesystem_are_refused():
    with pytest.raises((ValueError, ImportError), match="zz"):
        resolve("zz://a/b")
    assert isinstance(resolve("~/x")[0], fs.LocalFileSystem)
