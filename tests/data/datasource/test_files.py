"""Files as a source: who reads which, in which order."""

import os

import pytest

import heliostat as ray
from heliostat.data.datasource.files import File, FileShuffleConfig, FileSource
from heliostat.data.datasource.text import TextFormat

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def folder(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text(str(number))
    return str(tmp_path)


def texts(ds):
    return [row["text"] for row in ds.take_all()]


def test_neighbouring_files_share_a_task_by_size():
    from pyarrow import fs

    files = tuple(File(str(size), size) for size in (100, 1, 1, 1, 1, 100))
    source = FileSource(files, fs.LocalFileSystem(), TextFormat(), min_tasks=3)
    parts = [[file.size for file in task.files] for task in source.read_tasks(1 << 30)]
    assert parts == [[100], [1, 1, 1, 1], [100]]
    assert len(source.read_tasks(1)) > 3


def test_order_is_that_of_the_names(folder):
    assert texts(ray.data.read_text(folder)) == [str(number) for number in range(10)]
    blocks = ray.data.read_text(folder, override_num_blocks=2).materialize().num_blocks()
    assert blocks == 2


def test_files_are_shuffled_when_asked(folder):
    plain = texts(ray.data.read_text(folder))
    config = FileShuffleConfig(seed=3, reseed_after_execution=False)
    first, second = (texts(ray.data.read_text(folder, shuffle=config)) for _ in range(2))
    assert first == second != plain
    assert sorted(first) == plain
    ds = ray.data.read_text(folder, shuffle=FileShuffleConfig(seed=3))
    assert texts(ds) != texts(ds)
    assert sorted(texts(ray.data.read_text(folder, shuffle="files"))) == plain
    with pytest.raises(ValueError, match="shuffle must be"):
        ray.data.read_text(folder, shuffle="rows")


def test_a_file_that_vanished_is_named(folder):
    ds = ray.data.read_text(folder)
    os.remove(f"{folder}/3.txt")
    with pytest.raises(FileNotFoundError, match=r"3\.txt"):
        ds.take_all()


def test_an_unknown_option_is_refused(folder):
    with pytest.raises(TypeError, match="'zz'"):
        ray.data.read_text(folder, zz=1)
    with pytest.raises(ValueError, match="override_num_blocks"):
        ray.data.read_text(folder, override_num_blocks=0)
    with pytest.raises(NotImplementedError, match="'zz'"):
        ray.data.read_text(folder, arrow_open_stream_args={"zz": 1})


def test_reads_run_in_workers_if_the_user_says_how(folder):
    kept = ray.data.read_text(folder, num_cpus=0.5, resources={}).materialize()
    assert "in workers" in kept.stats()


def test_a_limit_reads_no_further_file(folder):
    os.remove(f"{folder}/9.txt")
    os.mkdir(f"{folder}/9.txt")
    assert len(ray.data.read_text([f"{folder}/{n}.txt" for n in range(9)]).take(2)) == 2
