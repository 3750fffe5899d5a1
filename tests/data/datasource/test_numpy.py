"""Arrays in files; what is pickled is refused."""

import os
import pickle

import numpy as np
import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_elements_along_the_first_axis_are_rows(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2))
    np.save(tmp_path / "b.npy", np.arange(2).reshape(1, 2))
    rows = ray.data.read_numpy(str(tmp_path)).take_all()
    assert [row["data"].tolist() for row in rows] == [[0, 1], [2, 3], [4, 5], [0, 1]]


def test_pickles_are_never_loaded(tmp_path):
    done = str(tmp_path / "done")
    array = np.empty(1, object)
    array[0] = Attack(done)
    np.save(tmp_path / "evil.npy", array, allow_pickle=True)
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(Attack(done)))
    for name in ("evil", "bare"):
        with pytest.raises(ValueError, match=rf"{name}\.npy' as Numpy"):
            ray.data.read_numpy(str(tmp_path / f"{name}.npy")).take_all()
    with pytest.raises(NotImplementedError, match="allow_pickle=True"):
        ray.data.read_numpy(str(tmp_path / "evil.npy"), allow_pickle=True)
    assert not os.path.exists(done)


def test_arrays_of_an_archive_are_columns(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(2), y=np.ones((2, 3)))
    rows = ray.data.read_numpy(str(tmp_path / "a.npz"), file_extensions=["npz"]).take_all()
    assert [(row["x"], row["y"].tolist()) for row in rows] == [(0, [1, 1, 1]), (1, [1, 1, 1])]
    evil = np.empty(1, object)
    evil[0] = Attack(str(tmp_path / "done"))
    np.savez(tmp_path / "evil.npz", x=evil)
    with pytest.raises(ValueError, match=r"evil\.npz' as Numpy"):
        ray.data.read_numpy(str(tmp_path / "evil.npz"), file_extensions=None).take_all()
    assert not (tmp_path / "done").exists()


def test_files_of_other_endings_are_named_with_what_was_looked_for(inline, tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    with pytest.raises(
        ValueError, match=r"no Numpy files in .*looked for npy; file_extensions=None"
    ):
        ray.data.read_numpy(str(tmp_path / "a.npz"))


def test_numbers_beside_null_are_floats_unless_these_would_round_them(tmp_path):
    ds = ray.data.from_items([{"x": 7}, {"x": None}], override_num_blocks=1)
    ds.write_numpy(str(tmp_path / "out"), column="x")
    back = [row["data"] for row in ray.data.read_numpy(str(tmp_path / "out")).take_all()]
    assert back[0] == 7.0
    assert np.isnan(back[1])
    large = ray.data.from_items([{"x": (1 << 53) + 1}, {"x": None}], override_num_blocks=1)
    with pytest.raises(ValueError, match=r"column 'x' has nulls.*would round.*use fill_null"):
        large.write_numpy(str(tmp_path / "out"), column="x")
