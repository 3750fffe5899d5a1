"""Formats of users' own: files are found, shared out and opened as for every reader."""

import gzip
import pickle

import cloudpickle
import pytest

import heliostat as ray
from heliostat.data.datasource import (
    DefaultFileMetadataProvider,
    FileBasedDatasource,
    FileMetadataProvider,
    Partitioning,
)
from heliostat.data.datasource.custom import Datasource, Reader

pytestmark = pytest.mark.usefixtures("inline")


class Words(FileBasedDatasource):
    def _read_stream(self, f, path):
        yield {"word": f.read().decode().split()}


@pytest.fixture
def folder(tmp_path):
    for year, text in ((2023, "one two"), (2024, "three")):
        (tmp_path / f"year={year}").mkdir()
        (tmp_path / f"year={year}" / "a.words").write_text(text)
    return str(tmp_path)


def test_each_file_is_read_by_the_users_function(folder):
    source = Words(folder, partitioning=Partitioning("hive"), include_paths=True)
    rows = ray.data.read_datasource(source).take_all()
    assert [(row["word"], row["year"]) for row in rows] == [
        ("one", "2023"),
        ("two", "2023"),
        ("three", "2024"),
    ]
    assert rows[0]["path"].endswith("year=2023/a.words")
    assert source.estimate_inmemory_data_size() == 12
    assert len(source.get_read_tasks(1)) == 1


def test_packed_files_are_unpacked_and_others_left_out(folder, tmp_path):
    (tmp_path / "b.words.gz").write_bytes(gzip.compress(b"four"))
    source = Words(folder, file_extensions=["gz"], shuffle="files")
    assert ray.data.read_datasource(source).take_all() == [{"word": "four"}]


def test_a_provider_lists_files_and_tells_their_rows(folder):
    class Last(DefaultFileMetadataProvider):
        def expand_paths(self, paths, filesystem, partitioning=None, ignore_missing_paths=False):
            yield sorted(super().expand_paths(paths, filesystem))[-1]

    class Counted(Words):
        def _rows_per_file(self):
            return 1

    source = Counted(folder, meta_provider=Last())
    assert [task.rows for task in source.get_read_tasks(4)] == [1]
    assert ray.data.read_datasource(source).take_all() == [{"word": "three"}]


def test_what_a_subclass_must_define_is_named(folder):
    with pytest.raises(NotImplementedError, match="must define _read_stream"):
        ray.data.read_datasource(FileBasedDatasource(folder)).take_all()
    with pytest.raises(NotImplementedError, match="must define _get_block_metadata"):
        FileMetadataProvider()([])
    with pytest.raises(ValueError, match="no files are left"):
        Words(folder, partition_filter=lambda paths: [])


def test_an_older_source_makes_a_reader(folder):
    class Mine(Reader):
        def estimate_inmemory_data_size(self):
            return None

        def get_read_tasks(self, parallelism):
            return Words(folder).get_read_tasks(parallelism)

    class Old(Datasource):
        def create_reader(self, **read_args):
            return Mine()

    assert ray.data.read_datasource(Old()).count() == 3
    with pytest.raises(NotImplementedError, match="must define get_read_tasks"):
        Reader().get_read_tasks(1)


class Broken(FileBasedDatasource):
    def _read_stream(self, f, path):
        if b"two" in f.read():
            raise ValueError("no words")
        yield {"word": ["three"]}


def test_a_dataset_of_it_can_travel(folder):
    ds = pickle.loads(pickle.dumps(ray.data.read_datasource(Words(folder))))
    assert ds.count() == 3


def test_a_task_carries_its_own_files_only(folder):
    first, _ = Words(folder).get_read_tasks(2)
    assert b"year=2023" in cloudpickle.dumps(first)
    assert b"year=2024" not in cloudpickle.dumps(first)


def test_files_that_cannot_be_read_are_left_out_if_said(folder):
    source = Broken(folder, on_error="skip")
    assert ray.data.read_datasource(source).take_all() == [{"word": "three"}]
    with pytest.raises(ValueError, match="no words"):
        ray.data.read_datasource(Broken(folder)).take_all()


def test_how_it_is_read_is_told_the_verb(folder):
    with pytest.raises(TypeError, match=r"Words\(concurrency=2\).*give read_datasource"):
        Words(folder, concurrency=2)
    with pytest.raises(NotImplementedError, match="'zz' of a stream's arguments"):
        Words(folder, open_stream_args={"zz": 1})
