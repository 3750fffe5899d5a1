"""Names of a study here and beyond this machine."""

from pathlib import Path

import pytest
from pyarrow import fs

from heliostat import tune
from heliostat.tune._beyond import Beyond, find


@pytest.fixture
def beyond(tmp_path):
    (tmp_path / "store").mkdir()
    store = fs.SubTreeFileSystem(str(tmp_path / "store"), fs.LocalFileSystem())
    return Beyond(str(tmp_path / "here" / "study"), "runs/study", store)


def made(directory, text):
    directory.mkdir()
    (directory / "model").write_text(text)
    return tune.Checkpoint(directory)


def test_a_checkpoint_has_the_same_name_there_and_takes_the_place_of_a_torn_one(beyond, tmp_path):
    target = f"{beyond.here}/trial/checkpoint_000000"
    torn = tmp_path / "store/runs/study/trial/checkpoint_000000/torn"
    torn.parent.mkdir(parents=True)
    torn.touch()
    assert beyond.keep(made(tmp_path / "source", "m"), target) == target
    assert beyond.path(target) == "runs/study/trial/checkpoint_000000"
    with beyond.checkpoint(target).as_directory() as copy:
        assert {p.name: p.read_text() for p in Path(copy).iterdir()} == {"model": "m"}


def test_what_is_there_already_stays_where_it_is(beyond, tmp_path):
    inner = tune.Checkpoint("runs/study/trial/train/checkpoint_000007", beyond.filesystem)
    target = f"{beyond.here}/trial/checkpoint_000000"
    assert beyond.keep(inner, target) == f"{beyond.here}/trial/train/checkpoint_000007"
    assert not (tmp_path / "store/runs").exists()


def test_a_path_is_of_this_machine_unless_it_says_otherwise(tmp_path):
    local = fs.LocalFileSystem()
    assert find("storage_path", tmp_path, None) == (str(tmp_path), None)
    assert find("storage_path", f"file://{tmp_path}", local) == (str(tmp_path), None)
    with pytest.raises(ValueError, match="storage_path='memory://a': each process has"):
        find("storage_path", "memory://a", None)
