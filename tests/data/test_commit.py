"""Stage, then rename."""

import os

import pytest
from pyarrow import fs

from heliostat.data._commit import SaveMode, staged

LOCAL = fs.LocalFileSystem()


def put(path, mode, name):
    with staged(str(path), LOCAL, mode) as stage:
        if stage is not None:
            with open(os.path.join(stage, name), "w") as file:
                file.write(name)


def test_nothing_is_seen_before_the_end(tmp_path):
    with staged(str(tmp_path / "out"), LOCAL, SaveMode.APPEND) as stage:
        open(os.path.join(stage, "a"), "w").close()
        assert not (tmp_path / "out").exists()
        assert all(name.startswith(".") for name in os.listdir(tmp_path))
    assert os.listdir(tmp_path / "out") == ["a"]
    assert os.listdir(tmp_path) == ["out"]


def test_an_error_leaves_what_was_there(tmp_path):
    put(tmp_path / "out", SaveMode.APPEND, "a")
    for mode in (SaveMode.APPEND, SaveMode.OVERWRITE):
        with pytest.raises(IsADirectoryError):
            put(tmp_path / "out", mode, ".")
        assert os.listdir(tmp_path / "out") == ["a"]
        assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (SaveMode.APPEND, ["a", "b"]),
        (SaveMode.OVERWRITE, ["b"]),
        (SaveMode.IGNORE, ["a"]),
    ],
)
def test_modes_decide_about_what_is_there(tmp_path, mode, names):
    put(tmp_path / "out", SaveMode.CREATE, "a")
    put(tmp_path / "out", mode, "b")
    assert sorted(os.listdir(tmp_path / "out")) == names


@pytest.mark.parametrize("mode", [SaveMode.ERROR, SaveMode.CREATE])
def test_some_modes_refuse_what_is_there(tmp_path, mode):
    (tmp_path / "out").mkdir()
    put(tmp_path / "out", mode, "a")
    with pytest.raises(FileExistsError, match="mode='append'"):
        put(tmp_path / "out", mode, "b")
