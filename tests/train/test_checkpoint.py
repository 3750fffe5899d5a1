import os
import pickle

import pytest
from pyarrow import fs

from heliostat.train import Checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "saved" / "deep").mkdir(parents=True)
    (tmp_path / "saved" / "deep" / "w").write_text("7")
    return Checkpoint.from_directory(tmp_path / "saved")


def test_a_checkpoint_says_where_it_is(checkpoint):
    assert str(checkpoint) == f"Checkpoint(filesystem=local, path={checkpoint.path})"


class PickledByRay:
    def __init__(self, path):
        self.state = {"path": path, "filesystem": fs.LocalFileSystem(), "_uuid": 7}

    def __reduce__(self):
        return object.__new__, (Checkpoint,), self.state


def test_a_checkpoint_that_ray_has_pickled_is_read(checkpoint):
    theirs = pickle.loads(pickle.dumps(PickledByRay(checkpoint.path)))
    assert str(theirs) == str(checkpoint)
    with theirs.as_directory() as path:
        assert os.listdir(path) == ["deep"]
    assert str(pickle.loads(pickle.dumps(theirs))) == str(checkpoint)


def test_reading_copies_nothing(checkpoint):
    with checkpoint.as_directory() as path:
        assert path == checkpoint.path
        assert os.listdir(path) == ["deep"]


def test_to_directory_makes_a_copy_of_ones_own(checkpoint, tmp_path):
    copy = checkpoint.to_directory(tmp_path / "copy")
    assert (tmp_path / "copy" / "deep" / "w").read_text() == "7"
    assert copy == str(tmp_path / "copy")


def test_metadata_is_set_and_updated(checkpoint):
    assert checkpoint.get_metadata() == {}
    checkpoint.set_metadata({"a": 1})
    checkpoint.update_metadata({"b": [2]})
    assert Checkpoint(checkpoint.path).get_metadata() == {"a": 1, "b": [2]}


def test_a_checkpoint_travels_as_its_path(checkpoint):
    copy = pickle.loads(pickle.dumps(checkpoint))
    assert copy == checkpoint
    assert hash(copy) == hash(checkpoint)


def test_a_missing_directory_is_named(tmp_path):
    gone = Checkpoint(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="gone"), gone.as_directory():
        pass
    with pytest.raises(FileNotFoundError, match="gone"):
        gone.to_directory()


def test_a_local_file_system_is_as_good_as_none(tmp_path):
    assert Checkpoint(f"file://{tmp_path}").path == str(tmp_path)
    checkpoint = Checkpoint(tmp_path, fs.LocalFileSystem())
    assert checkpoint.filesystem == fs.LocalFileSystem()
    assert checkpoint == Checkpoint(tmp_path)
    with pytest.raises(TypeError, match="pyarrow"):
        Checkpoint(tmp_path, 1)
